/* controller/fastpush_setup.c: whether fastpush's calls are on, and what its configuration changes
 * of ours. */
#include "controller/fastpush_internal.h"

#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"

#include <string.h>

#define RESTART_REGEX "\\.py$"

void lp_fastpush_forget_conf(struct lp_fastpush *fp)
{
	if (fp->has_restarts)
		regfree(&fp->restarts);
	if (fp->has_ignored)
		regfree(&fp->ignored);
	fp->is_on = fp->has_restarts = fp->has_ignored = false;
	lp_fastpush_conf_finish(&fp->conf);
	free(fp->path);
	fp->path = NULL;
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

static int take_path(struct lp_fastpush *fp, const char *text, struct lp_err *err)
{
	size_t len = strlen(text);

	while (len > 1 && text[len - 1] == '/')
		len--;
	if (text[0] != '/' || len < 2 || len > 200 || strcspn(text, "%?#* ") < len ||
	    strncmp(text, "/_livepush", 10) == 0)
		return lp_err_say(err, EINVAL, "base_path: '%.200s' cannot be used", text);
	fp->path = lp_xstrndup(text, len);
	return 0;
}

/* An app that was started by fastpush listens on its backend_port. */
static int settle_app(const struct lp_fastpush *fp, struct lp_conf *conf, struct lp_err *err)
{
	const char *command = fp->conf.values[LP_FP_BACKEND_COMMAND],
		   *port = fp->conf.values[LP_FP_BACKEND_PORT];
	const char *const argv[] = {"/bin/sh", "-c", command, NULL};

	if (!command || conf->command.n > 0)
		return 0;
	lp_conf_set_command(conf, argv);
	if (conf->restart.port != 0)
		return 0;
	conf->restart.strategy = LP_STRATEGY_STOP_START;
	return take_port(port ? port : "8080", "backend_port", &conf->restart.port, err);
}

static int settle_listen(struct lp_fastpush *fp, struct lp_err *err)
{
	const char *address = fp->conf.values[LP_FP_BIND_ADDRESS],
		   *port = fp->conf.values[LP_FP_PORT];
	uint16_t number = 0;
	int r;

	if (!port || fp->listen)
		return 0;
	r = take_port(port, "port", &number, err);
	if (r == 0)
		fp->listen = lp_xasprintf("%s:%u", address ? address : "", number);
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
	       fp->path);
	if (!fp->token)
		lp_log(LP_WARN, "fastpush",
		       "but nobody gets in: VCAP_APPLICATION has no application_id");
}

int lp_fastpush_configure(struct lp_instance *in, struct lp_conf *conf, struct lp_err *err)
{
	struct lp_fastpush *fp = in->fastpush;
	const char *wish = getenv("LIVEPUSH_COMPAT"), *text;
	char *const *v = fp->conf.values;
	int r;

	lp_fastpush_forget_conf(fp);
	if (wish && wish[0] && strcmp(wish, "fastpush") != 0 && strcmp(wish, "none") != 0)
		return lp_err_say(err, EINVAL,
				  "LIVEPUSH_COMPAT: '%.100s' is neither fastpush nor "
				  "none",
				  wish);
	if (conf->compat != LP_COMPAT_FASTPUSH && !(wish && strcmp(wish, "fastpush") == 0))
		return 0;
	text = RESTART_REGEX;
	if ((r = lp_fastpush_conf_load(&fp->conf, lp_apply_tree_fd(in->apply), err)) < 0 ||
	    (r = take_path(fp, v[LP_FP_BASE_PATH] ? v[LP_FP_BASE_PATH] : LP_FP_BASE_PATH_DEFAULT,
			   err)) < 0 ||
	    (r = compile(&fp->restarts, &fp->has_restarts,
			 v[LP_FP_RESTART_REGEX] ? v[LP_FP_RESTART_REGEX] : text, "restart_regex",
			 err)) < 0 ||
	    (r = compile(&fp->ignored, &fp->has_ignored, v[LP_FP_IGNORE_REGEX], "ignore_regex",
			 err)) < 0 ||
	    (r = settle_listen(fp, err)) < 0 || (r = settle_app(fp, conf, err)) < 0) {
		lp_fastpush_forget_conf(fp);
		return lp_err_wrap(err, r, "cf-fastpush-controller");
	}
	fp->is_on = true;
	say_state(fp);
	return 0;
}
