/* cli/target.c: finding an app's instances and its secret. */
#include "cli/target.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_hex.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_secret.h"

#include <stdio.h>
#include <string.h>

/* Of the command line, which there is one of in a process. */
static struct {
	const char *ca_file;
	const char *pins;
	bool is_asked;
} trust;

void lp_target_trust(const char *ca_file, const char *pins, bool is_asked)
{
	trust.ca_file = ca_file;
	trust.pins = pins;
	trust.is_asked = is_asked;
}

bool lp_target_are_pins(const char *text)
{
	size_t len;

	for (; *text; text += len + (text[len] == ';')) {
		len = strcspn(text, ";");
		if (!lp_conf_is_pin(text, len))
			return false;
	}
	return true;
}

/* Puts what the command line says in the place of what the target has. */
static int settle_trust(struct lp_target *t, const struct lp_conf_target *conf, struct lp_err *err)
{
	bool tls = false;

	for (size_t i = 0; i < t->n_urls; i++)
		tls |= strncmp(t->urls[i], "wss://", 6) == 0;
	if (trust.is_asked && !tls)
		return lp_err_say(err, EINVAL,
				  "%s: --ca and --pin are for wss:// addresses, and this has none: "
				  "nothing would be checked",
				  t->app);
	if (trust.ca_file || (conf && conf->ca_file))
		t->ca_file = lp_xstrdup(trust.ca_file ? trust.ca_file : conf->ca_file);
	if (trust.pins)
		t->pins = lp_xstrdup(trust.pins);
	for (size_t i = 0; conf && !trust.pins && i < conf->n_pins; i++) {
		char *before = t->pins;

		t->pins = lp_xasprintf("%s%s%s", before ? before : "", before ? ";" : "",
				       conf->pins[i]);
		free(before);
	}
	return 0;
}

bool lp_target_is_url(const char *app)
{
	return strncmp(app, "ws://", 5) == 0 || strncmp(app, "wss://", 6) == 0;
}

/* "HOST:PORT", which no app is called. */
static bool is_bare_address(const char *app)
{
	const char *colon = strrchr(app, ':');

	return colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
	       lp_conf_is_host(app);
}

int lp_target_check_name(const char *app, struct lp_err *err)
{
	const char *fault = lp_target_is_url(app) ? lp_conf_url_fault(app) : NULL;
	const char *rest = strstr(app, "://");
	bool tls = strncmp(app, "https://", 8) == 0;

	if (fault)
		return lp_err_say(err, EINVAL, "%s: %s", app, fault);
	if (is_bare_address(app))
		return lp_err_say(err, EINVAL, "%s: for an address write ws://%s, or wss://%s", app,
				  app, app);
	/* People write what they see in the browser. */
	if (tls || strncmp(app, "http://", 7) == 0)
		return lp_err_say(err, EINVAL, "%s: write %s%.*s", app, tls ? "wss" : "ws",
				  (int)(3 + strcspn(rest + 3, "/?#")), rest);
	if (rest && !lp_target_is_url(app))
		return lp_err_say(err, EINVAL, "%s: %s", app, LP_CONF_NO_URL);
	return app[0] ? 0 : lp_err_say(err, EINVAL, "the name of an app is empty");
}

/* What the variable says; an empty one says nothing. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

/* Several targets may have the same file. */
static void warn_once(const char *file, const char *warning)
{
	static char *warned_of;

	if (warned_of && strcmp(warned_of, file) == 0)
		return;
	free(warned_of);
	warned_of = lp_xstrdup(file);
	lp_log(LP_WARN, "secret", "%s: %s", file, warning);
}

static int find_secret(struct lp_target *t, const struct lp_conf_target *conf,
		       const char *secret_file, struct lp_err *err)
{
	const char *name = "LIVEPUSH_SECRET", *given = variable(name), *fault, *warning;
	bool from_conf = false;
	int r;

	/* Flags over variables over the file. */
	if (!given && conf && conf->secret_env) {
		name = conf->secret_env;
		given = variable(name);
	} else if (!given && conf && !secret_file) {
		secret_file = conf->secret_file;
		from_conf = true;
	}
	if (secret_file) {
		r = lp_secret_read(&t->secret, secret_file, &warning, err);
		if (r < 0)
			return r;
		if (warning)
			warn_once(secret_file, warning);
	} else if (given) {
		t->secret = lp_xstrdup(given);
	} else {
		return lp_err_say(err, ENOKEY,
				  "%s: no secret: set %s or give --secret-file; it must be the one "
				  "that the instance was started with",
				  t->app, name);
	}
	fault = lp_secret_fault(t->secret);
	if (!fault)
		return 0;
	return lp_err_say(err, from_conf ? EBADMSG : EINVAL,
			  "%s: the secret in %s cannot be used: %s; 'openssl rand -hex 32' makes "
			  "one",
			  t->app, secret_file ? secret_file : name, fault);
}

static void add_url(struct lp_target *t, const char *url)
{
	t->urls = lp_xrealloc(t->urls, t->n_urls + 1, sizeof(char *));
	t->urls[t->n_urls++] = lp_xstrdup(url);
}

static int embed(struct lp_target *t, const struct lp_conf *conf, struct lp_err *err)
{
	uint8_t random[32];

	if (conf->app && strcmp(conf->app, t->app) != 0)
		return lp_err_say(
			err, ENOENT,
			"%s: unknown app: livepush.yml is about '%s' and has no target '%s'",
			t->app, conf->app, t->app);
	if (conf->command.n == 0)
		return lp_err_say(err, ENOENT,
				  "%s: unknown app: it is no ws:// address, no target in "
				  "livepush.yml, and there is no command to run it here; "
				  "'livepush init' writes a livepush.yml",
				  t->app);
	t->embedded = true;
	lp_random(random, sizeof(random));
	t->secret = lp_xcalloc(LP_HEX_BYTES(sizeof(random)), 1);
	lp_hex(t->secret, random, sizeof(random));
	return 0;
}

int lp_target_resolve(struct lp_target *out, const struct lp_conf *conf, const char *app,
		      const char *secret_file, bool may_embed, struct lp_err *err)
{
	const struct lp_conf_target *target = lp_conf_target(conf, app);
	int r;

	*out = (struct lp_target){.app = lp_xstrdup(app)};
	if (lp_target_is_url(app)) {
		add_url(out, app);
		r = find_secret(out, NULL, secret_file, err);
	} else if (target) {
		for (size_t i = 0; i < target->n_urls; i++)
			add_url(out, target->urls[i]);
		out->compress = target->compress;
		r = find_secret(out, target, secret_file, err);
	} else if (may_embed) {
		r = embed(out, conf, err);
	} else {
		r = lp_err_say(err, ENOENT,
			       "%s: unknown app: nothing mirrors it on this machine, and it is "
			       "neither a ws:// address nor a target in ./livepush.yml",
			       app);
	}
	if (r == 0)
		r = settle_trust(out, target, err);
	if (r < 0)
		lp_target_finish(out);
	return r;
}

void lp_target_finish(struct lp_target *t)
{
	free(t->app);
	for (size_t i = 0; i < t->n_urls; i++)
		free(t->urls[i]);
	free(t->urls);
	free(t->secret);
	free(t->ca_file);
	free(t->pins);
	*t = (struct lp_target){0};
}

char *lp_target_http_url(const char *url)
{
	const char *host = strstr(url, "://");

	if (!host)
		return lp_xstrdup(url);
	host += 3;
	return lp_xasprintf("%s://%.*s/", url[2] == 's' ? "https" : "http",
			    (int)strcspn(host, "/?#"), host);
}
