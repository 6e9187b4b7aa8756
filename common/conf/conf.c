/* common/conf/conf.c: the defaults of a configuration, its end, and its way from a file. */
#include "common/conf/conf.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/conf/conf_schema.h"
#include "common/conf/conf_value.h"

#include <string.h>

void lp_conf_init(struct lp_conf *conf)
{
	*conf = (struct lp_conf){
		.health =
			{
				.status_min = 200,
				.status_max = 399,
				.timeout_ms = 30000,
				.interval_ms = 100,
				.settle_ms = 1000,
				.probe_ms = 10000,
				.threshold = 1,
			},
		.restart =
			{
				.grace_ms = 10000,
				.drain_ms = 30000,
				.streams_ms = 30000,
				.hold_ms = 30000,
			},
		.front = {.h2c = 1},
	};
}

static void finish_rule(struct lp_conf_rule *rule)
{
	conf_free_strings(&rule->match, &rule->n_match);
	conf_free_strings(&rule->run.argv, &rule->run.n);
}

static void finish_target(struct lp_conf_target *target)
{
	conf_free_strings(&target->urls, &target->n_urls);
	conf_free_strings(&target->pins, &target->n_pins);
	free(target->name);
	free(target->secret_file);
	free(target->secret_env);
	free(target->ca_file);
}

void lp_conf_finish(struct lp_conf *conf)
{
	for (size_t i = 0; i < conf->n_env; i++) {
		free(conf->env[i].name);
		free(conf->env[i].value);
	}
	for (size_t i = 0; i < conf->n_rules; i++)
		finish_rule(&conf->rules[i]);
	for (size_t i = 0; i < conf->n_targets; i++)
		finish_target(&conf->targets[i]);
	conf_free_strings(&conf->command.argv, &conf->command.n);
	conf_free_strings(&conf->ignore, &conf->n_ignore);
	conf_free_strings(&conf->hosts, &conf->n_hosts);
	free(conf->env);
	free(conf->rules);
	free(conf->targets);
	conf_free_strings(&conf->health.command.argv, &conf->health.command.n);
	free(conf->health.path);
	free(conf->tls.cert);
	free(conf->tls.key);
	free(conf->app);
	lp_conf_init(conf);
}

int lp_conf_parse(struct lp_conf *conf, const char *text, size_t len, const char *name,
		  struct lp_err *err)
{
	struct lp_err own = {0};
	struct conf_reader r = {.name = name, .text = text, .len = len, .err = &own};
	int e;

	lp_conf_init(conf);
	e = conf_read_document(&r, &conf_schema, conf);
	if (e == 0 && !conf->health.path) {
		conf->health.path = strdup("/");
		if (!conf->health.path)
			e = conf_fail_memory(&r);
	}
	if (e < 0) {
		lp_conf_finish(conf);
		if (err)
			*err = own;
	}
	return e;
}

int lp_conf_load(struct lp_conf *conf, int dir_fd, const char *path, struct lp_err *err)
{
	struct lp_buf buf;
	int e;

	lp_conf_init(conf);
	lp_buf_init(&buf, LP_CONF_FILE_MAX_BYTES);
	e = lp_read_file(dir_fd, path, &buf);
	if (e == -EFBIG)
		(void)lp_err_say(err, EFBIG, "%s is larger than %zu KiB, which no configuration is",
				 path, LP_CONF_FILE_MAX_BYTES / 1024);
	else if (e < 0)
		(void)lp_err_set(err, -e, "read '%s'", path);
	else
		e = lp_conf_parse(conf, (const char *)buf.data, buf.len, path, err);
	lp_buf_finish(&buf);
	return e;
}

const struct lp_conf_target *lp_conf_target(const struct lp_conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_targets; i++) {
		if (strcmp(conf->targets[i].name, name) == 0)
			return &conf->targets[i];
	}
	return NULL;
}

void lp_conf_set_command(struct lp_conf *conf, const char *const *argv)
{
	size_t n = 0;

	while (argv[n])
		n++;
	conf_free_strings(&conf->command.argv, &conf->command.n);
	conf->command.argv = lp_xcalloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++)
		conf->command.argv[i] = lp_xstrdup(argv[i]);
	conf->command.n = n;
}

void lp_conf_apply_environment(struct lp_conf *conf)
{
	const char *command = getenv("LIVEPUSH_COMMAND");
	const char *const argv[] = {"/bin/sh", "-c", command, NULL};

	if (command && command[0])
		lp_conf_set_command(conf, argv);
}

bool lp_conf_is_pin(const char *text, size_t len)
{
	static const char prefix[] = "sha256//";
	static const char base64[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const size_t prefix_len = sizeof(prefix) - 1;

	/* 32 bytes are 43 characters and a sign for what is missing of 33. */
	return len == prefix_len + 44 && memcmp(text, prefix, prefix_len) == 0 &&
	       strspn(text + prefix_len, base64) == 43 && text[len - 1] == '=';
}
