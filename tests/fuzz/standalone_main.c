/* standalone_main.c: runs a fuzzer without libFuzzer: over files, over all files in folders, and
 * with --rounds N over N mutations of them, the same ones each time (--seed S for others). */
#include "common/base/lp_buf.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX_BYTES ((size_t)1024 * 1024)
#define GROWN_MAX_BYTES 4096

/* The inputs, and the state of the generator. */
struct run {
	struct lp_buf *inputs;
	size_t n, cap;
	uint64_t random;
};

/* splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators"). */
static size_t below(struct run *run, size_t n)
{
	uint64_t z = run->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (size_t)((z ^ z >> 31) % n);
}

/* A copy of exactly the right size, so that reading past its end is noticed. */
static void feed(const uint8_t *data, size_t len)
{
	LP_AUTO_FREE uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	if (len > 0)
		memcpy(copy, data, len);
	(void)LLVMFuzzerTestOneInput(copy, len);
}

static int add_file(struct run *run, const char *path)
{
	struct lp_buf *input;
	int r;

	lp_grow(&run->inputs, &run->cap, run->n + 1, sizeof(*run->inputs));
	input = &run->inputs[run->n];
	lp_buf_init(input, INPUT_MAX_BYTES);
	r = lp_read_file(AT_FDCWD, path, input);
	if (r < 0) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(-r));
		lp_buf_finish(input);
		return r;
	}
	run->n++;
	return 0;
}

static int is_visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

/* Adds a file, or all files in a folder by name, so that the order is the same everywhere. */
static int add_path(struct run *run, const char *path)
{
	struct dirent **names;
	int n, r = 0;

	n = scandir(path, &names, is_visible, alphasort);
	if (n < 0)
		return add_file(run, path);
	for (int i = 0; i < n; i++) {
		LP_AUTO_FREE char *file = lp_xasprintf("%s/%s", path, names[i]->d_name);

		if (r == 0)
			r = add_file(run, file);
		free(names[i]);
	}
	free(names);
	return r;
}

/* Changes one thing about b: a bit, a byte, a piece removed, doubled, or taken from other input. */
static void mutate(struct run *run, struct lp_buf *b)
{
	static const uint8_t telling[] = {0,   1,   '\t', '\n', '\r', ' ',  '!',  '"', '#', '*',
					  '-', '/', ':',  '?',  '[',  '\\', ']',  '{', '}', 0x7f,
					  127, 128, 0xc3, 0xed, 0xef, 0xfe, 0xff, '0', '9'};
	const struct lp_buf *other = &run->inputs[below(run, run->n)];
	size_t at = below(run, b->len + 1), len = 1 + below(run, 16), from;

	switch (below(run, 6)) {
	case 0:
		if (at < b->len)
			b->data[at] ^= (uint8_t)(1U << below(run, 8));
		return;
	case 1:
		if (at < b->len)
			b->data[at] = telling[below(run, sizeof(telling))];
		return;
	case 2:
		len = len < b->len - at ? len : b->len - at;
		if (len > 0)
			memmove(b->data + at, b->data + at + len, b->len - at - len);
		b->len -= len;
		return;
	case 3:
		b->len = at;
		return;
	case 4:
		other = b;
		break;
	default:
		break;
	}
	from = below(run, other->len + 1);
	len = len < other->len - from ? len : other->len - from;
	if (len == 0 || lp_buf_reserve(b, len) < 0)
		return;
	/* Both may be the same buffer: the piece goes to the end first, then into its place. */
	memcpy(b->data + b->len, other->data + from, len);
	b->len += len;
	for (size_t i = 0; i < len && at < b->len; i++) {
		uint8_t last = b->data[b->len - 1];

		memmove(b->data + at + 1, b->data + at, b->len - 1 - at);
		b->data[at] = last;
	}
}

static void run_mutation(struct run *run)
{
	const struct lp_buf *input = &run->inputs[below(run, run->n)];
	struct lp_buf b;

	lp_buf_init(&b, input->len + GROWN_MAX_BYTES);
	if (lp_buf_add(&b, input->data, input->len) < 0)
		abort();
	for (size_t n = 1 + below(run, 8); n > 0; n--)
		mutate(run, &b);
	feed(b.data, b.len);
	lp_buf_finish(&b);
}

/* The number behind an option, or no answer. */
static bool number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = text ? strtoull(text, &end, 10) : 0;
	return text && *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

int main(int argc, char **argv)
{
	struct run run = {.random = 1};
	uint64_t rounds = 0;
	int r = 0;

	for (int i = 1; i < argc && r == 0; i++) {
		uint64_t *option = NULL;

		if (strcmp(argv[i], "--rounds") == 0)
			option = &rounds;
		else if (strcmp(argv[i], "--seed") == 0)
			option = &run.random;
		if (!option)
			r = add_path(&run, argv[i]);
		else if (!number(argv[++i], option))
			r = -EINVAL;
	}
	if (r < 0 || run.n == 0) {
		(void)fprintf(stderr, "usage: %s [--rounds N] [--seed S] FILE-OR-FOLDER...\n",
			      argv[0]);
		return 2;
	}
	for (size_t i = 0; i < run.n; i++)
		feed(run.inputs[i].data, run.inputs[i].len);
	for (uint64_t i = 0; i < rounds; i++)
		run_mutation(&run);
	(void)printf("%zu inputs and %" PRIu64 " mutations\n", run.n, rounds);
	for (size_t i = 0; i < run.n; i++)
		lp_buf_finish(&run.inputs[i]);
	free(run.inputs);
	return 0;
}
