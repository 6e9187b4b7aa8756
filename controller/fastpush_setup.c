/* controller/fastpush_setup.c: whether fastpush's calls are on, and what its configuration changes
 * of ours. */
#include "controller/fastpush_internal.h"

#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"

#include <string.h>

#define RESTART_REGEX "\\.py$"

void lp_fastpush_calls_destroy(struct fp_calls *calls)
{
	if (!calls)
		return;
	if (calls->has_restarts)
		regfree(&calls->restarts);
	if (calls->has_ignored)
		regfree(&calls->ignored);
	lp_fastpush_conf_finish(&calls->conf);
	free(calls->path);
	free(calls->listen);
	free(calls);
}

static int compile(regex_t *out, bool *has, const char *text, const char *key, struct lp_err *err)
{
	char why[128];
	int r;

	if (!text || !text[0])
		return 0;
	r = regcomp(out, text, REG_EXTENDED | REG_NOSUB);
	if (r == 0) {
		*has = true;
		return 0;
	}
	(void)regerror(r, out, why, sizeof(why));
	return lp_err_say(err, EINVAL, "%s: '%.200s': %s", key, text, why);
}

static int take_port(const char *text, const char *key, uint16_t *out, struct lp_err *err)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*end || end == text || text[0] == '-' || port < 1 || port > 65535)
		return lp_err_say(err, EINVAL, "%s: '%.100s' is no port", key, text);
	*out = (uint16_t)port;
	return 0;
}

static int take_path(struct fp_calls *calls, const char *text, struct lp_err *err)
{
	size_t len = strlen(text);

	while (len > 1 && text[len - 1] == '/')
		len--;
	if (text[0] != '/' || len < 2 || len > 200 || strcspn(text, "%?#* ") < len ||
	    strncmp(text, "/_livepush", 10) == 0)
		return lp_err_say(err, EINVAL, "base_path: '%.200s' cannot be used", text);
	calls->path = lp_xstrndup(text, len);
	return 0;
}

/* An app that was started by fastpush listens on its backend_port. */
static int settle_app(const struct fp_calls *calls, struct lp_conf *conf, struct lp_err *err)
{
	const char *command = calls->conf.values[LP_FP_BACKEND_COMMAND],
		   *port = calls->conf.values[LP_FP_BACKEND_PORT];
	const char *const argv[] = {"/bin/sh", "-c", command, NULL};

	if (!command || conf->command.n > 0)
		return 0;
	lp_conf_set_command(conf, argv);
	if (conf->restart.port != 0)
		return 0;
	conf->restart.strategy = LP_STRATEGY_STOP_START;
	return take_port(port ? port : "8080", "backend_port", &conf->restart.port, err);
}

static int settle_listen(struct fp_calls *calls, struct lp_err *err)
{
	const char *address = calls->conf.values[LP_FP_BIND_ADDRESS],
		   *port = calls->conf.values[LP_FP_PORT];
	uint16_t number = 0;
	int r;

	if (!port)
		return 0;
	r = take_port(port, "port", &number, err);
	if (r == 0)
		calls->listen = lp_xasprintf("%s:%u", address ? address : "", number);
	return r;
}

static void say_state(struct lp_fastpush *fp)
{
	if (fp->is_said)
		return;
	fp->is_said = true;
	lp_log(LP_WARN, "fastpush",
	       "the calls of cf-fastpush are on at %s: whoever knows the app's GUID, which many "
	       "tools "
	       "print, can replace its files; take 'compat: fastpush' away to end that",
	       fp->calls->path);
	if (!fp->token)
		lp_log(LP_WARN, "fastpush",
		       "but nobody gets in: VCAP_APPLICATION has no application_id");
}

static int make_calls(struct fp_calls *calls, int tree_fd, struct lp_err *err)
{
	char *const *v = calls->conf.values;
	const char *path, *restarts;
	int r = lp_fastpush_conf_load(&calls->conf, tree_fd, err);

	if (r < 0)
		return r;
	path = v[LP_FP_BASE_PATH];
	restarts = v[LP_FP_RESTART_REGEX];
	r = take_path(calls, path ? path : LP_FP_BASE_PATH_DEFAULT, err);
	if (r == 0)
		r = compile(&calls->restarts, &calls->has_restarts,
			    restarts ? restarts : RESTART_REGEX, "restart_regex", err);
	if (r == 0)
		r = compile(&calls->ignored, &calls->has_ignored, v[LP_FP_IGNORE_REGEX],
			    "ignore_regex", err);
	return r;
}

int lp_fastpush_configure(struct lp_instance *in, struct lp_conf *conf, struct lp_err *err)
{
	struct lp_fastpush *fp = in->fastpush;
	const char *wish = getenv("LIVEPUSH_COMPAT");
	struct fp_calls *calls;
	int r;

	if (wish && wish[0] && strcmp(wish, "fastpush") != 0 && strcmp(wish, "none") != 0)
		return lp_err_say(err, EINVAL,
				  "LIVEPUSH_COMPAT: '%.100s' is neither fastpush nor "
				  "none",
				  wish);
	lp_fastpush_calls_destroy(fp->next);
	fp->next = NULL;
	if (conf->compat != LP_COMPAT_FASTPUSH && !(wish && strcmp(wish, "fastpush") == 0))
		return 0;
	calls = lp_xcalloc(1, sizeof(*calls));
	r = make_calls(calls, lp_apply_tree_fd(in->apply), err);
	if (r == 0)
		r = settle_listen(calls, err);
	if (r == 0)
		r = settle_app(calls, conf, err);
	if (r < 0) {
		lp_fastpush_calls_destroy(calls);
		return lp_err_wrap(err, r, "cf-fastpush-controller");
	}
	fp->next = calls;
	return 0;
}

void lp_fastpush_adopt(struct lp_instance *in)
{
	struct lp_fastpush *fp = in->fastpush;

	lp_fastpush_calls_destroy(fp->calls);
	fp->calls = lp_take_ptr(&fp->next);
	if (fp->calls)
		say_state(fp);
}
