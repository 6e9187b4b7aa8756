/* controller/fastpush_conf.c: reading cf-fastpush-controller.yml and its variables. */
#include "controller/fastpush_conf.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/conf/conf_flat.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define FILE_NAME      "cf-fastpush-controller.yml"
#define FILE_MAX_BYTES ((size_t)64 * 1024)

static const char *const keys[LP_FP_KEY_COUNT_] = {
	[LP_FP_BIND_ADDRESS] = "bind_address",       [LP_FP_PORT] = "port",
	[LP_FP_BACKEND_COMMAND] = "backend_command", [LP_FP_BACKEND_DIRS] = "backend_dirs",
	[LP_FP_BACKEND_PORT] = "backend_port",       [LP_FP_RESTART_REGEX] = "restart_regex",
	[LP_FP_IGNORE_REGEX] = "ignore_regex",       [LP_FP_BASE_PATH] = "base_path",
};

void lp_fastpush_conf_finish(struct lp_fastpush_conf *conf)
{
	for (size_t i = 0; i < LP_FP_KEY_COUNT_; i++)
		free(conf->values[i]);
	*conf = (struct lp_fastpush_conf){0};
}

static void set(struct lp_fastpush_conf *conf, size_t key, const char *value)
{
	free(conf->values[key]);
	conf->values[key] = lp_xstrdup(value);
}

static int take(void *ctx, const char *key, const char *value, struct lp_err *err)
{
	for (size_t i = 0; i < LP_FP_KEY_COUNT_; i++) {
		if (strcasecmp(key, keys[i]) != 0)
			continue;
		if (!value)
			return lp_err_say(err, EINVAL, "'%s' has to be a text", keys[i]);
		set(ctx, i, value);
	}
	return 0;
}

static int try_file(struct lp_fastpush_conf *out, int dir_fd, const char *path, struct lp_err *err)
{
	struct lp_buf text;
	int r;

	lp_buf_init(&text, FILE_MAX_BYTES);
	r = lp_read_file(dir_fd, path, &text);
	if (r == 0)
		r = lp_conf_flat_parse(text.len ? (const char *)text.data : "", text.len, path,
				       take, out, err);
	else if (r != -ENOENT)
		r = lp_err_set(err, -r, "%s: cannot be read", path);
	lp_buf_finish(&text);
	return r;
}

/* The variable of a key is its name in capitals. */
static const char *variable_of(const char *key)
{
	char name[32];
	size_t n = 0;

	for (; n < sizeof(name) - 1 && key[n]; n++)
		name[n] = (char)toupper((unsigned char)key[n]);
	name[n] = '\0';
	return getenv(name);
}

static void take_variables(struct lp_fastpush_conf *conf)
{
	for (size_t i = 0; i < LP_FP_KEY_COUNT_; i++) {
		const char *value = variable_of(keys[i]);

		if (value && value[0])
			set(conf, i, value);
	}
}

int lp_fastpush_conf_load(struct lp_fastpush_conf *out, int tree_fd, struct lp_err *err)
{
	const char *home = getenv("HOME");
	LP_AUTO_FREE char *in_home =
		lp_xasprintf("%s/.config/" FILE_NAME, home && home[0] == '/' ? home : "");
	int r;

	*out = (struct lp_fastpush_conf){0};
	r = try_file(out, AT_FDCWD, "/etc/" FILE_NAME, err);
	if (r == -ENOENT && home && home[0] == '/')
		r = try_file(out, AT_FDCWD, in_home, err);
	if (r == -ENOENT)
		r = try_file(out, tree_fd, FILE_NAME, err);
	if (r < 0 && r != -ENOENT) {
		lp_fastpush_conf_finish(out);
		return r;
	}
	take_variables(out);
	return 0;
}
