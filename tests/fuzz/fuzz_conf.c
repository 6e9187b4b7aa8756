/* fuzz_conf.c: any bytes as livepush.yml: refused with a text, or a configuration that holds. */
#include "common/conf/conf.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_command(const struct lp_conf_command *command)
{
	for (size_t i = 0; i < command->n; i++)
		require(command->argv[i] && command->argv[i][0]);
	require(command->n == 0 || !command->argv[command->n]);
}

static void check_rule(const struct lp_conf_rule *rule)
{
	require(rule->n_match > 0);
	for (size_t i = 0; i < rule->n_match; i++)
		require(rule->match[i][0] && rule->match[i][0] != '!' &&
			!strchr(rule->match[i], '\n'));
	require((rule->action == LP_ACTION_RUN) == (rule->run.n > 0));
	require((rule->action == LP_ACTION_SIGNAL) == (rule->signo > 0));
	check_command(&rule->run);
}

static void check_conf(const struct lp_conf *conf)
{
	require(!conf->app || strlen(conf->app) <= 63);
	check_command(&conf->command);
	for (size_t i = 0; i < conf->n_env; i++)
		require(conf->env[i].name[0] && conf->env[i].value &&
			!strchr(conf->env[i].name, '='));
	for (size_t i = 0; i < conf->n_ignore; i++)
		require(!strchr(conf->ignore[i], '\n'));
	for (size_t i = 0; i < conf->n_rules; i++)
		check_rule(&conf->rules[i]);
	for (size_t i = 0; i < conf->n_targets; i++) {
		const struct lp_conf_target *target = &conf->targets[i];

		require(target->n_urls > 0 && !(target->secret_env && target->secret_file));
		require(lp_conf_target(conf, target->name) == target);
	}
	require(conf->health.path[0] == '/');
	require(conf->health.status_min >= 100 && conf->health.status_max <= 599);
	require(conf->health.status_min <= conf->health.status_max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_err err = {0};
	struct lp_conf conf;

	if (lp_conf_parse(&conf, (const char *)data, size, "livepush.yml", &err) < 0) {
		require(err.code == EINVAL || err.code == ENOMEM);
		require(strncmp(err.msg, "livepush.yml:", 13) == 0 && !strpbrk(err.msg, "\r\n"));
		require(!conf.app && conf.n_rules == 0);
	} else {
		require(err.code == 0);
		check_conf(&conf);
	}
	lp_conf_finish(&conf);
	return 0;
}
