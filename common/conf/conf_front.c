/* common/conf/conf_front.c: the keys of `front:`, the limits of the front door, and of `tls:`, its
 * certificate. */
#include "common/conf/conf_front.h"

#include "common/conf/conf_value.h"
#include "common/conf/conf_word.h"

#include <string.h>

#define HOURS_24_MS  (24U * 3600U * 1000U)
#define CONNS_MAX    1000000U
#define SIZE_EXAMPLE "a size such as 64KiB, 10MiB or 1GiB"

#define DURATION(key, member)                                                                      \
	{                                                                                          \
		key, conf_read_duration, .offset = offsetof(struct lp_conf_front, member),         \
					 .min = 1, .max = HOURS_24_MS                              \
	}

/* Reads the digits at *text into *out and goes behind them. Returns 0, or -EINVAL for none or more
 * than 2^50. */
static int take_digits(const char **text, uint64_t *out)
{
	const char *p = *text;
	uint64_t n = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		n = n * 10 + (uint64_t)(*p - '0');
		if (n > UINT64_C(1) << 50)
			return -EINVAL;
	}
	if (p == *text)
		return -EINVAL;
	*text = p;
	*out = n;
	return 0;
}

/* uint64_t: a number of bytes, at least 1. */
static int read_size(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	static const struct {
		const char *unit;
		uint64_t bytes;
	} units[] = {
		{"", 1},
		{"KiB", UINT64_C(1) << 10},
		{"MiB", UINT64_C(1) << 20},
		{"GiB", UINT64_C(1) << 30},
	};
	const char *text = conf_scalar(r, SIZE_EXAMPLE);
	const char *at = text;
	char shown[CONF_SHOWN_BYTES];
	uint64_t n = 0;

	if (!text)
		return -r->err->code;
	for (size_t i = 0; take_digits(&at, &n) == 0 && i < LP_COUNT_OF(units); i++) {
		if (n == 0 || strcmp(at, units[i].unit) != 0) {
			at = text;
			continue;
		}
		n *= units[i].bytes;
		memcpy((char *)obj + f->offset, &n, sizeof(n));
		return 0;
	}
	return conf_fail(r, conf_here(r), "'%s' takes " SIZE_EXAMPLE ", not '%s'", r->what,
			 conf_shown(shown, text));
}

/* uint32_t: a whole number within min and max. */
static int read_count(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	const char *text = conf_scalar(r, "a number");
	uint64_t n = 0;
	uint32_t value;

	if (!text)
		return -r->err->code;
	if (take_digits(&text, &n) < 0 || *text || n < f->min || n > f->max)
		return conf_fail(r, conf_here(r), "'%s' takes a number from %u to %u", r->what,
				 f->min, f->max);
	value = (uint32_t)n;
	memcpy((char *)obj + f->offset, &value, sizeof(value));
	return 0;
}

static const struct conf_field front_fields[] = {
	{"max_body", read_size, .offset = offsetof(struct lp_conf_front, max_body_bytes)},
	{"max_conns", read_count, .offset = offsetof(struct lp_conf_front, max_conns), .min = 1,
	 .max = CONNS_MAX},
	DURATION("header_timeout", header_ms),
	DURATION("body_timeout", body_ms),
	DURATION("write_timeout", write_ms),
	DURATION("response_timeout", response_ms),
	DURATION("idle_timeout", idle_ms),
	{"via", conf_read_word, .offset = offsetof(struct lp_conf_front, via),
	 .words = conf_yes_words},
	{"h2c", conf_read_word, .offset = offsetof(struct lp_conf_front, h2c),
	 .words = conf_yes_words},
};

static const struct conf_map front_map = {
	"front",
	.fields = front_fields,
	.n_fields = LP_COUNT_OF(front_fields),
};

int conf_read_front(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	return conf_read_map(r, &front_map, (char *)obj + f->offset);
}

static const struct conf_field tls_fields[] = {
	{"cert", conf_read_string, .offset = offsetof(struct lp_conf_tls, cert)},
	{"key", conf_read_string, .offset = offsetof(struct lp_conf_tls, key)},
};

static int check_tls(struct conf_reader *r, const struct conf_seen *seen, void *obj)
{
	(void)obj;
	if (conf_seen_at(seen, "cert") && conf_seen_at(seen, "key"))
		return 0;
	return conf_fail(r, seen->start, "'tls' takes both 'cert' and 'key'");
}

static const struct conf_map tls_map = {
	"tls",
	.fields = tls_fields,
	.n_fields = LP_COUNT_OF(tls_fields),
	.check = check_tls,
};

int conf_read_tls(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	return conf_read_map(r, &tls_map, (char *)obj + f->offset);
}
