/* common/conf/conf_schema.c: the keys of livepush.yml, what each takes, and which go together. */
#include "common/conf/conf_schema.h"

#include "common/conf/conf_front.h"
#include "common/conf/conf_value.h"
#include "common/conf/conf_word.h"

#include <stdio.h>
#include <string.h>

#define HOURS_24_MS          (24U * 3600U * 1000U)
#define RULE_TIMEOUT_MS      60000
#define AT(type, member)     .offset = offsetof(struct type, member)
#define ALSO(type, member)   .also = offsetof(struct type, member)
#define FROM_TO(least, most) .min = (least), .max = (most)
#define KEYS(table)          .fields = (table), .n_fields = LP_COUNT_OF(table)

/* Words are stored as int into enums. */
_Static_assert(sizeof(enum lp_conf_action) == sizeof(int), "an enum is an int");

static const struct conf_word action_words[] = {
	{"restart", LP_ACTION_RESTART},
	{"none", LP_ACTION_NONE},
	{"signal", LP_ACTION_SIGNAL},
	{"run", LP_ACTION_RUN},
	{"browser-reload", LP_ACTION_BROWSER_RELOAD},
	{NULL, 0},
};

static const struct conf_word health_words[] = {
	{"tcp", LP_HEALTH_TCP},
	{"http", LP_HEALTH_HTTP},
	{"process", LP_HEALTH_PROCESS},
	{"command", LP_HEALTH_COMMAND},
	{NULL, 0},
};

static const struct conf_word strategy_words[] = {
	{"swap", LP_STRATEGY_SWAP},
	{"stop-start", LP_STRATEGY_STOP_START},
	{NULL, 0},
};

static const struct conf_word on_failure_words[] = {
	{"keep", LP_ON_FAILURE_KEEP},
	{"rollback", LP_ON_FAILURE_ROLLBACK},
	{NULL, 0},
};

static const struct conf_word compat_words[] = {
	{"none", LP_COMPAT_NONE},
	{"fastpush", LP_COMPAT_FASTPUSH},
	{NULL, 0},
};

static const struct conf_word compress_words[] = {
	{"auto", LP_COMPRESS_AUTO},
	{"always", LP_COMPRESS_ALWAYS},
	{"never", LP_COMPRESS_NEVER},
	{NULL, 0},
};

/* Reads a list or a mapping, whichever `start` says, by calling read_one for each element, with its
 * first event current. */
static int read_each(struct conf_reader *r, yaml_event_type_t start, const char *expected,
		     int (*read_one)(struct conf_reader *r, struct lp_conf *conf), void *conf)
{
	const yaml_event_type_t end = start == YAML_MAPPING_START_EVENT ? YAML_MAPPING_END_EVENT
									: YAML_SEQUENCE_END_EVENT;
	int e;

	if (r->event.type != start)
		return conf_fail_type(r, expected);
	while ((e = conf_next(r)) == 0 && r->event.type != end) {
		e = read_one(r, conf);
		if (e < 0)
			return e;
	}
	return e;
}

/* Copies the current event, a key that people choose, into *key; check looks at it first. Returns
 * 0, -EINVAL or -ENOMEM. */
static int take_key(struct conf_reader *r, int (*check)(struct conf_reader *, const char *),
		    char **key)
{
	const char *text = conf_scalar(r, "names as its keys");
	int e = text ? check(r, text) : -r->err->code;

	if (e < 0 || !text)
		return e;
	*key = strdup(text);
	return *key ? 0 : conf_fail_memory(r);
}

static int fail_twice(struct conf_reader *r, const char *key)
{
	char shown[CONF_SHOWN_BYTES];

	return conf_fail(r, conf_here(r), "'%s' stands in '%s' a second time",
			 conf_shown(shown, key), r->what);
}

static int read_variable(struct conf_reader *r, struct lp_conf *conf)
{
	struct lp_conf_env *env = conf_append(r, &conf->env, &conf->n_env, sizeof(*env));
	char what[CONF_SHOWN_BYTES + 8], shown[CONF_SHOWN_BYTES];
	const char *outer = r->what, *text;
	int e = env ? take_key(r, conf_check_env_name, &env->name) : -r->err->code;

	if (e < 0 || !env)
		return e;
	if (strcmp(env->name, "PORT") == 0 || strncmp(env->name, "LIVEPUSH_", 9) == 0)
		return conf_fail(r, conf_here(r), "'env' cannot set %s, which is livepush's own%s",
				 conf_shown(shown, env->name),
				 env->name[0] == 'P' ? "; see 'restart.port' for a fixed port"
						     : "");
	for (size_t i = 0; i + 1 < conf->n_env; i++) {
		if (strcmp(conf->env[i].name, env->name) == 0)
			return fail_twice(r, env->name);
	}
	e = conf_next(r);
	if (e < 0)
		return e;
	(void)snprintf(what, sizeof(what), "env.%s", conf_shown(shown, env->name));
	r->what = what;
	text = conf_scalar(r, "a string (\"\" for an empty one)");
	r->what = outer;
	if (!text)
		return -r->err->code;
	env->value = strdup(text);
	return env->value ? 0 : conf_fail_memory(r);
}

static int read_env(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	(void)f;
	return read_each(r, YAML_MAPPING_START_EVENT, "a mapping of names to values", read_variable,
			 obj);
}

static void init_rule(void *obj)
{
	struct lp_conf_rule *rule = obj;

	rule->timeout_ms = RULE_TIMEOUT_MS;
}

/* `key` is for one action only: says so when the rule has another. */
static int check_only_for(struct conf_reader *r, const struct conf_seen *seen, const char *key,
			  bool allowed, const char *with)
{
	const struct conf_mark *at = conf_seen_at(seen, key);

	if (!at || allowed)
		return 0;
	return conf_fail(r, *at, "'%s.%s' goes with '%s' only", seen->map->name, key, with);
}

static int check_rule(struct conf_reader *r, const struct conf_seen *seen, void *obj)
{
	struct lp_conf_rule *rule = obj;
	const struct conf_mark *run = conf_seen_at(seen, "run");
	const struct conf_mark *sig = conf_seen_at(seen, "signal");
	int e;

	if (!conf_seen_at(seen, "match"))
		return conf_fail(r, seen->start,
				 "this rule has no 'match' that says for which paths it is");
	if (run && sig)
		return conf_fail(r, *sig, "a rule has either 'run' or 'signal', not both");
	if (!conf_seen_at(seen, "action")) {
		if (!run && !sig)
			return conf_fail(r, seen->start,
					 "this rule says nothing to do; give it 'action', 'run' or "
					 "'signal'");
		rule->action = run ? LP_ACTION_RUN : LP_ACTION_SIGNAL;
	}
	if (rule->action == LP_ACTION_RUN && !run)
		return conf_fail(r, seen->start, "'action: run' needs the command in 'run'");
	if (rule->action == LP_ACTION_SIGNAL && !sig)
		return conf_fail(r, seen->start, "'action: signal' needs its name in 'signal'");
	e = check_only_for(r, seen, "run", rule->action == LP_ACTION_RUN, "action: run");
	if (e == 0)
		e = check_only_for(r, seen, "signal", rule->action == LP_ACTION_SIGNAL,
				   "action: signal");
	if (e == 0)
		e = check_only_for(r, seen, "timeout", rule->action == LP_ACTION_RUN,
				   "action: run");
	return e;
}

static const struct conf_field rule_fields[] = {
	{"match", conf_read_strings, AT(lp_conf_rule, match), ALSO(lp_conf_rule, n_match), .min = 1,
	 .each = conf_check_glob},
	{"action", conf_read_word, AT(lp_conf_rule, action), .words = action_words},
	{"run", conf_read_command, AT(lp_conf_rule, run)},
	{"signal", conf_read_signal, AT(lp_conf_rule, signo)},
	{"timeout", conf_read_duration, AT(lp_conf_rule, timeout_ms), FROM_TO(1, HOURS_24_MS)},
};

static const struct conf_map rule_map = {
	"rules",
	KEYS(rule_fields),
	.init = init_rule,
	.check = check_rule,
};

static int read_rule(struct conf_reader *r, struct lp_conf *conf)
{
	struct lp_conf_rule *rule = conf_append(r, &conf->rules, &conf->n_rules, sizeof(*rule));

	return rule ? conf_read_map(r, &rule_map, rule) : -r->err->code;
}

static int read_rules(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	(void)f;
	return read_each(r, YAML_SEQUENCE_START_EVENT, "a list of rules", read_rule, obj);
}

static int check_path(struct conf_reader *r, const char *text)
{
	for (const char *p = text; *p; p++) {
		if (*p <= ' ' || *p == '\x7f' || *p == '#')
			return conf_fail(r, conf_here(r),
					 "'%s' has a character in it that no "
					 "URL path has; write it as %%XX",
					 r->what);
	}
	if (text[0] != '/')
		return conf_fail(r, conf_here(r), "'%s' has to start with '/'", r->what);
	return 0;
}

static int check_health(struct conf_reader *r, const struct conf_seen *seen, void *obj)
{
	const struct lp_conf_health *health = obj;
	bool http = health->kind == LP_HEALTH_HTTP;
	int e = check_only_for(r, seen, "path", http, "kind: http");

	if (e == 0)
		e = check_only_for(r, seen, "status", http, "kind: http");
	if (e == 0)
		e = check_only_for(r, seen, "settle", health->kind == LP_HEALTH_PROCESS,
				   "kind: process");
	if (e == 0)
		e = check_only_for(r, seen, "command", health->kind == LP_HEALTH_COMMAND,
				   "kind: command");
	if (e == 0)
		e = check_only_for(r, seen, "threshold", health->kind != LP_HEALTH_PROCESS,
				   "kind: tcp, http or command");
	if (e == 0)
		e = check_only_for(r, seen, "probe_timeout", health->kind != LP_HEALTH_PROCESS,
				   "kind: tcp, http or command");
	if (e == 0 && health->kind == LP_HEALTH_COMMAND && health->command.n == 0)
		e = conf_fail(r, seen->start, "'kind: command' needs the command in 'command'");
	return e;
}

static const struct conf_field health_fields[] = {
	{"kind", conf_read_word, AT(lp_conf_health, kind), .words = health_words},
	{"path", conf_read_string, AT(lp_conf_health, path), .each = check_path},
	{"status", conf_read_range, AT(lp_conf_health, status_min),
	 ALSO(lp_conf_health, status_max), FROM_TO(100, 599)},
	{"timeout", conf_read_duration, AT(lp_conf_health, timeout_ms), FROM_TO(1, HOURS_24_MS)},
	{"interval", conf_read_duration, AT(lp_conf_health, interval_ms), FROM_TO(1, HOURS_24_MS)},
	{"settle", conf_read_duration, AT(lp_conf_health, settle_ms), FROM_TO(0, HOURS_24_MS)},
	{"probe_timeout", conf_read_duration, AT(lp_conf_health, probe_ms),
	 FROM_TO(1, HOURS_24_MS)},
	{"threshold", conf_read_u16, AT(lp_conf_health, threshold), FROM_TO(1, 1000)},
	{"command", conf_read_command, AT(lp_conf_health, command)},
};

static const struct conf_map health_map = {"health", KEYS(health_fields), .check = check_health};

static int read_health(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	return conf_read_map(r, &health_map, (char *)obj + f->offset);
}

static int check_restart(struct conf_reader *r, const struct conf_seen *seen, void *obj)
{
	const struct lp_conf_restart *restart = obj;

	/* Two generations beside each other cannot have the same port. */
	return check_only_for(r, seen, "port",
			      restart->strategy == LP_STRATEGY_STOP_START || restart->port == 0,
			      "strategy: stop-start");
}

static const struct conf_field restart_fields[] = {
	{"strategy", conf_read_word, AT(lp_conf_restart, strategy), .words = strategy_words},
	{"grace", conf_read_duration, AT(lp_conf_restart, grace_ms), FROM_TO(0, HOURS_24_MS)},
	{"drain", conf_read_duration, AT(lp_conf_restart, drain_ms), FROM_TO(0, HOURS_24_MS)},
	{"streams", conf_read_duration, AT(lp_conf_restart, streams_ms), FROM_TO(0, HOURS_24_MS)},
	{"hold", conf_read_duration, AT(lp_conf_restart, hold_ms), FROM_TO(0, HOURS_24_MS)},
	{"port", conf_read_u16, AT(lp_conf_restart, port), FROM_TO(0, UINT16_MAX)},
	{"on_failure", conf_read_word, AT(lp_conf_restart, on_failure), .words = on_failure_words},
};

static const struct conf_map restart_map = {
	"restart",
	KEYS(restart_fields),
	.check = check_restart,
};

static int read_restart(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	return conf_read_map(r, &restart_map, (char *)obj + f->offset);
}

static int refuse_secret(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	(void)f;
	(void)obj;
	return conf_fail(r, conf_here(r),
			 "secrets do not belong in this file; name the file that "
			 "has it in 'secret_file' or a variable in 'secret_env'");
}

static int check_target(struct conf_reader *r, const struct conf_seen *seen, void *obj)
{
	const struct lp_conf_target *target = obj;
	const struct conf_mark *urls = conf_seen_at(seen, "urls");
	const struct conf_mark *env = conf_seen_at(seen, "secret_env");
	const struct conf_mark *ca = conf_seen_at(seen, "ca");
	const struct conf_mark *pin = conf_seen_at(seen, "pin");
	size_t n_tls = 0;

	if (target->n_urls == 0)
		return conf_fail(r, seen->start, "the target '%s' has no 'url'", target->name);
	if (urls && conf_seen_at(seen, "url"))
		return conf_fail(r, *urls, "a target has either 'url' or 'urls', not both");
	if (env && conf_seen_at(seen, "secret_file"))
		return conf_fail(r, *env,
				 "a target has either 'secret_file' or 'secret_env', not "
				 "both");
	for (size_t i = 0; i < target->n_urls; i++)
		n_tls += strncmp(target->urls[i], "wss:", 4) == 0;
	if (ca && n_tls == 0)
		return conf_fail(r, *ca, "'targets.ca' goes with wss:// URLs only");
	if (pin && n_tls == 0)
		return conf_fail(r, *pin, "'targets.pin' goes with wss:// URLs only");
	return 0;
}

static int check_pin(struct conf_reader *r, const char *text)
{
	if (lp_conf_is_pin(text, strlen(text)))
		return 0;
	return conf_fail(r, conf_here(r),
			 "'%s' has to be \"sha256//\" and the 44 characters of a public key's "
			 "digest in base64",
			 r->what);
}

static const struct conf_field target_fields[] = {
	{"url", conf_read_strings, AT(lp_conf_target, urls), ALSO(lp_conf_target, n_urls), .min = 1,
	 .each = conf_check_url},
	{"urls", conf_read_strings, AT(lp_conf_target, urls), ALSO(lp_conf_target, n_urls),
	 .min = 1, .each = conf_check_url},
	{"secret_file", conf_read_string, AT(lp_conf_target, secret_file)},
	{"secret_env", conf_read_string, AT(lp_conf_target, secret_env),
	 .each = conf_check_env_name},
	{"secret", .read = refuse_secret, .is_hidden = true},
	{"ca", conf_read_string, AT(lp_conf_target, ca_file)},
	{"pin", conf_read_strings, AT(lp_conf_target, pins), ALSO(lp_conf_target, n_pins), .min = 1,
	 .each = check_pin},
	{"compress", conf_read_word, AT(lp_conf_target, compress), .words = compress_words},
};

static const struct conf_map target_map = {"targets", KEYS(target_fields), .check = check_target};

static int read_target(struct conf_reader *r, struct lp_conf *conf)
{
	struct lp_conf_target *target =
		conf_append(r, &conf->targets, &conf->n_targets, sizeof(*target));
	int e = target ? take_key(r, conf_check_name, &target->name) : -r->err->code;

	if (e < 0 || !target)
		return e;
	for (size_t i = 0; i + 1 < conf->n_targets; i++) {
		if (strcmp(conf->targets[i].name, target->name) == 0)
			return fail_twice(r, target->name);
	}
	e = conf_next(r);
	return e < 0 ? e : conf_read_map(r, &target_map, target);
}

static int read_targets(struct conf_reader *r, const struct conf_field *f, void *obj)
{
	(void)f;
	return read_each(r, YAML_MAPPING_START_EVENT, "a mapping of names to targets", read_target,
			 obj);
}

static const struct conf_field top_fields[] = {
	{"app", conf_read_string, AT(lp_conf, app), .each = conf_check_name},
	{"command", conf_read_command, AT(lp_conf, command)},
	{"env", .read = read_env},
	{"ignore", conf_read_strings, AT(lp_conf, ignore), ALSO(lp_conf, n_ignore),
	 .each = conf_check_line},
	{"rules", .read = read_rules},
	{"health", read_health, AT(lp_conf, health)},
	{"restart", read_restart, AT(lp_conf, restart)},
	{"front", conf_read_front, AT(lp_conf, front)},
	{"tls", conf_read_tls, AT(lp_conf, tls)},
	{"canary", conf_read_word, AT(lp_conf, canary), .words = conf_yes_words},
	{"inject", conf_read_word, AT(lp_conf, inject), .words = conf_yes_words},
	{"targets", .read = read_targets},
	{"hosts", conf_read_strings, AT(lp_conf, hosts), ALSO(lp_conf, n_hosts),
	 .each = conf_check_host},
	{"compat", conf_read_word, AT(lp_conf, compat), .words = compat_words},
};

const struct conf_map conf_schema = {"", KEYS(top_fields)};
