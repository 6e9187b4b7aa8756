/* cli/target.c: finding an app's instances and its secret. */
#include "cli/target.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_secret.h"

#include <stdio.h>
#include <string.h>

/* Of the command line, which there is one of in a process. */
static const char *trusted_ca, *trusted_pins;

void lp_target_trust(const char *ca_file, const char *pins)
{
	trusted_ca = ca_file;
	trusted_pins = pins;
}

/* Puts what the command line says in the place of what the target has. */
static int settle_trust(struct lp_target *t, const struct lp_conf_target *conf, struct lp_err *err)
{
	size_t len;

	if (trusted_ca || (conf && conf->ca_file))
		t->ca_file = lp_xstrdup(trusted_ca ? trusted_ca : conf->ca_file);
	if (trusted_pins)
		t->pins = lp_xstrdup(trusted_pins);
	for (size_t i = 0; conf && !trusted_pins && i < conf->n_pins; i++) {
		char *before = t->pins;

		t->pins = lp_xasprintf("%s%s%s", before ? before : "", before ? ";" : "",
				       conf->pins[i]);
		free(before);
	}
	for (const char *p = t->pins; p && *p; p += len + (p[len] == ';')) {
		len = strcspn(p, ";");
		if (!lp_conf_is_pin(p, len))
			return lp_err_say(err, EINVAL,
					  "--pin takes \"sha256//\" and the digest of a public key "
					  "in base64; several with ';' between them");
	}
	return 0;
}

static bool is_url(const char *app)
{
	return strncmp(app, "ws://", 5) == 0 || strncmp(app, "wss://", 6) == 0;
}

/* People write what they see in the browser. */
static int refuse_url(const char *app, struct lp_err *err)
{
	bool tls = strncmp(app, "https://", 8) == 0;

	if (!tls && strncmp(app, "http://", 7) != 0)
		return lp_err_say(err, EINVAL, "%s: not a ws:// or wss:// address", app);
	return lp_err_say(err, EINVAL, "%s: write %s://%s", app, tls ? "wss" : "ws",
			  strstr(app, "://") + 3);
}

/* What the variable says; an empty one says nothing. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

static int find_secret(struct lp_target *t, const struct lp_conf_target *conf,
		       const char *secret_file, struct lp_err *err)
{
	const char *name = "LIVEPUSH_SECRET", *given = variable(name), *fault, *warning;
	int r;

	/* Flags over variables over the file. */
	if (!given && conf && conf->secret_env) {
		name = conf->secret_env;
		given = variable(name);
	} else if (!given && conf && !secret_file) {
		secret_file = conf->secret_file;
	}
	if (secret_file) {
		r = lp_secret_read(&t->secret, secret_file, &warning, err);
		if (r < 0)
			return r;
		if (warning)
			lp_log(LP_WARN, "secret", "%s: %s", secret_file, warning);
	} else if (given) {
		t->secret = lp_xstrdup(given);
	} else {
		return lp_err_say(err, ENOKEY,
				  "%s: no secret: set %s or give --secret-file; it must be the one "
				  "that the instance was started with",
				  t->app, name);
	}
	fault = lp_secret_fault(t->secret);
	return fault ? lp_err_say(err, EINVAL, "%s: the secret in %s cannot be used: %s", t->app,
				  secret_file ? secret_file : name, fault)
		     : 0;
}

static void add_url(struct lp_target *t, const char *url)
{
	t->urls = lp_xrealloc(t->urls, t->n_urls + 1, sizeof(char *));
	t->urls[t->n_urls++] = lp_xstrdup(url);
}

static int embed(struct lp_target *t, const struct lp_conf *conf, struct lp_err *err)
{
	static const char digits[] = "0123456789abcdef";
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
	t->secret = lp_xcalloc(2 * sizeof(random) + 1, 1);
	for (size_t i = 0; i < sizeof(random); i++) {
		t->secret[2 * i] = digits[random[i] >> 4];
		t->secret[2 * i + 1] = digits[random[i] & 15];
	}
	return 0;
}

int lp_target_resolve(struct lp_target *out, const struct lp_conf *conf, const char *app,
		      const char *secret_file, bool may_embed, struct lp_err *err)
{
	const struct lp_conf_target *target = lp_conf_target(conf, app);
	int r;

	*out = (struct lp_target){.app = lp_xstrdup(app)};
	if (!is_url(app) && strstr(app, "://")) {
		r = refuse_url(app, err);
	} else if (is_url(app)) {
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
	if (r == 0 && !out->embedded)
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
