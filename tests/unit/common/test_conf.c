/* test_conf.c: what livepush.yml may say, what it becomes, and what is said about mistakes. */
#include "common/conf/conf.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define PIN_TARGET                                                                                 \
	"targets: {a: {url: wss://h, pin: sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=}}"

static const char full[] =
	"app: hello                       # a name\n"
	"command: python3 app.py\n"
	"env: {KEY: value, EMPTY: \"\", DEBUG: true, _N2: 17}\n"
	"ignore: [\"*.log\", build/, \"!keep.log\"]\n"
	"rules:\n"
	"  - match: \"*.c\"\n"
	"    action: run\n"
	"    run: make\n"
	"    timeout: 90s\n"
	"  - match: [\"*.css\", \"static/\"]\n"
	"    action: none\n"
	"  - match: reload.conf\n"
	"    signal: HUP\n"
	"  - match: \"*.ts\"\n"
	"    run: [npx, tsc, \"\\u00e4 b\"]\n"
	"  - {match: a, action: restart}\n"
	"  - {match: b, action: browser-reload}\n"
	"inject: true\n"
	"health: {kind: http, path: /healthz, status: 200-299, timeout: 20s,\n"
	"         interval: 50ms}\n"
	"restart: {strategy: stop-start, grace: 1s, drain: 2m, streams: 3m, hold: 1h, port: 8080}\n"
	"targets:\n"
	"  staging:\n"
	"    url: wss://app.example.org/_livepush/ws\n"
	"    secret_env: STAGING_SECRET\n"
	"    ca: certs/ca.pem\n"
	"    compress: always\n"
	"  local.1:\n"
	"    urls: [ws://127.0.0.1:4000, \"ws://[::1]:4001/x\"]\n"
	"    secret_file: .secret\n";

static int parse(struct lp_conf *conf, const char *text, struct lp_err *err)
{
	return lp_conf_parse(conf, text, strlen(text), "livepush.yml", err);
}

/* Says which text failed and why. */
static void parse_ok(struct lp_conf *conf, const char *text)
{
	struct lp_err err = {0};

	if (parse(conf, text, &err) != 0)
		fail_msg("%s\n%s", text, err.msg);
	assert_int_equal(err.code, 0);
}

static void lp_conf_parse__reads_the_whole_format(void **state)
{
	const struct lp_conf_target *target;
	struct lp_conf c;

	(void)state;
	parse_ok(&c, full);
	assert_string_equal(c.app, "hello");
	assert_int_equal(c.command.n, 3);
	assert_string_equal(c.command.argv[0], "/bin/sh");
	assert_string_equal(c.command.argv[1], "-c");
	assert_string_equal(c.command.argv[2], "python3 app.py");
	assert_null(c.command.argv[3]);
	assert_int_equal(c.n_env, 4);
	assert_string_equal(c.env[0].name, "KEY");
	assert_string_equal(c.env[0].value, "value");
	assert_string_equal(c.env[1].value, "");
	assert_string_equal(c.env[2].value, "true");
	assert_string_equal(c.env[3].value, "17");
	assert_int_equal(c.n_ignore, 3);
	assert_string_equal(c.ignore[2], "!keep.log");
	assert_int_equal(c.health.kind, LP_HEALTH_HTTP);
	assert_string_equal(c.health.path, "/healthz");
	assert_int_equal(c.health.status_min, 200);
	assert_int_equal(c.health.status_max, 299);
	assert_int_equal(c.health.timeout_ms, 20000);
	assert_int_equal(c.health.interval_ms, 50);
	assert_int_equal(c.restart.strategy, LP_STRATEGY_STOP_START);
	assert_int_equal(c.restart.grace_ms, 1000);
	assert_int_equal(c.restart.drain_ms, 120000);
	assert_int_equal(c.restart.streams_ms, 180000);
	assert_int_equal(c.restart.hold_ms, 3600000);
	assert_int_equal(c.restart.port, 8080);
	assert_int_equal(c.n_targets, 2);
	target = lp_conf_target(&c, "staging");
	assert_non_null(target);
	assert_int_equal(target->n_urls, 1);
	assert_string_equal(target->urls[0], "wss://app.example.org/_livepush/ws");
	assert_string_equal(target->secret_env, "STAGING_SECRET");
	assert_null(target->secret_file);
	assert_string_equal(target->ca_file, "certs/ca.pem");
	assert_int_equal(target->compress, LP_COMPRESS_ALWAYS);
	target = lp_conf_target(&c, "local.1");
	assert_int_equal(target->n_urls, 2);
	assert_string_equal(target->urls[1], "ws://[::1]:4001/x");
	assert_string_equal(target->secret_file, ".secret");
	assert_int_equal(target->compress, LP_COMPRESS_AUTO);
	assert_null(lp_conf_target(&c, "stagin"));
	assert_true(c.inject);
	lp_conf_finish(&c);
	assert_false(c.inject);
	assert_null(c.app);
	assert_int_equal(c.n_targets, 0);
	assert_int_equal(c.restart.grace_ms, 10000);
}

static void lp_conf_parse__reads_rules(void **state)
{
	static const struct {
		const char *match;
		size_t n_match;
		enum lp_conf_action action;
		int signo;
		size_t n_run;
		uint32_t timeout_ms;
	} expected[] = {
		{"*.c", 1, LP_ACTION_RUN, 0, 3, 90000},
		{"*.css", 2, LP_ACTION_NONE, 0, 0, 60000},
		{"reload.conf", 1, LP_ACTION_SIGNAL, SIGHUP, 0, 60000},
		{"*.ts", 1, LP_ACTION_RUN, 0, 3, 60000},
		{"a", 1, LP_ACTION_RESTART, 0, 0, 60000},
		{"b", 1, LP_ACTION_BROWSER_RELOAD, 0, 0, 60000},
	};
	struct lp_conf c;

	(void)state;
	parse_ok(&c, full);
	assert_int_equal(c.n_rules, LP_COUNT_OF(expected));
	for (size_t i = 0; i < c.n_rules; i++) {
		assert_string_equal(c.rules[i].match[0], expected[i].match);
		assert_int_equal(c.rules[i].n_match, expected[i].n_match);
		assert_int_equal(c.rules[i].action, expected[i].action);
		assert_int_equal(c.rules[i].signo, expected[i].signo);
		assert_int_equal(c.rules[i].run.n, expected[i].n_run);
		assert_int_equal(c.rules[i].timeout_ms, expected[i].timeout_ms);
	}
	assert_string_equal(c.rules[0].run.argv[2], "make");
	assert_string_equal(c.rules[3].run.argv[0], "npx");
	assert_string_equal(c.rules[3].run.argv[2], "\xc3\xa4 b");
	assert_null(c.rules[3].run.argv[3]);
	lp_conf_finish(&c);
}

static void lp_conf_parse__gives_defaults_for_nothing(void **state)
{
	static const char *const texts[] = {
		"", "\n\n", "# only a comment\n", "---\n", "---\n...\n", "\xef\xbb\xbf", "{}", "~",
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
		struct lp_conf c;

		parse_ok(&c, texts[i]);
		assert_null(c.app);
		assert_int_equal(c.command.n, 0);
		assert_int_equal(c.health.kind, LP_HEALTH_TCP);
		assert_string_equal(c.health.path, "/");
		assert_int_equal(c.health.status_min, 200);
		assert_int_equal(c.health.status_max, 399);
		assert_int_equal(c.health.timeout_ms, 30000);
		assert_int_equal(c.health.interval_ms, 100);
		assert_int_equal(c.health.settle_ms, 1000);
		assert_int_equal(c.health.probe_ms, 10000);
		assert_int_equal(c.health.threshold, 1);
		assert_int_equal(c.health.command.n, 0);
		assert_int_equal(c.restart.on_failure, LP_ON_FAILURE_KEEP);
		assert_int_equal(c.canary, 0);
		assert_int_equal(c.restart.strategy, LP_STRATEGY_SWAP);
		assert_int_equal(c.restart.drain_ms, 30000);
		assert_int_equal(c.restart.hold_ms, 30000);
		assert_int_equal(c.restart.port, 0);
		lp_conf_finish(&c);
	}
}

static void lp_conf_parse__accepts(void **state)
{
	static const char *const texts[] = {
		"app: 7seas",
		"command: [./app]",
		"command: |\n  set -e\n  exec ./app\n",
		"health: {kind: http, status: 204}",
		"health: {kind: process, settle: 0s}",
		"health: {kind: command, command: ./check, threshold: 1000, probe_timeout: 1s}",
		"health: {kind: command, command: [curl, -f, localhost]}",
		"restart: {port: 0}",
		"restart: {on_failure: keep}",
		"canary: false",
		"restart: {on_failure: rollback}",
		"rules: []",
		"ignore: []",
		"env: {}",
		"rules: [{match: x, signal: SIGUSR1}]",
		"rules: [{match: [\"\\\\!x\"], action: none}]",
		"\xef\xbb\xbf# with a byte order mark\napp: x",
		"targets: {a: {urls: [ws://h, wss://h], ca: c}}",
		PIN_TARGET,
		"hosts: [a.example, b.example]",
		"compat: fastpush",
		"compat: none",
		"\"app\": 'x'",
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
		struct lp_conf c;

		parse_ok(&c, texts[i]);
		lp_conf_finish(&c);
	}
}

/* What is wrong, where, and a piece of what is said about it. */
static const struct {
	const char *text, *place, *piece;
} mistakes[] = {
	{"comand: x", "1:1:", "unknown key 'comand'; did you mean 'command'?"},
	{"tls:\n  cert: a.pem", "2:3:", "'tls' takes both 'cert' and 'key'"},
	{"front: {h2c: maybe}", "1:14:", "'front.h2c'"},
	{"app: a\ntragets: {}", "2:1:", "did you mean 'targets'?"},
	{"zebra: x", "1:1:", "known are app, command"},
	{"health:\n  knid: tcp", "2:3:", "in 'health'; did you mean 'kind'?"},
	{"health: {kind: htpt}", "1:16:", "did you mean 'http'?"},
	{"health: {kind: magic}", "1:16:", "takes tcp, http, process or command, not 'magic'"},
	{"app: [x]", "1:6:", "'app' takes a string, not a list"},
	{"app: {x: y}", "1:6:", "not a mapping"},
	{"app:", "1:", "'app' has no value"},
	{"app: null", "1:6:", "'app' has no value"},
	{"app: -x", "1:6:", "a name has at most 63"},
	{"app: a b", "1:6:", "cannot be 'a b'"},
	{"app: \"\"", "1:6:", "'app' is empty"},
	{"app: "
	 "a234567890123456789012345678901234567890123456789012345678901234",
	 "1:6:", "at most 63"},
	{"app: \"a\\0b\"", "1:6:", "NUL"},
	{"app: a\nenv: {A: b}\napp: b", "3:1:", "a second time; the first is in line 1"},
	{"[a]", "1:1:", "mapping"},
	{"just text", "1:1:", "mapping"},
	{"? [a]\n: b", "1:3:", "not a list"},
	{"app: &a x", "1:6:", "anchor"},
	{"app: *a", "1:6:", "alias"},
	{"app: !!str x", "1:6:", "tag"},
	{"ignore: [*.log]", "1:", "starts with '*' in quotes"},
	{"app: a\n---\napp: b", "2:1:", "second document"},
	{"app: a\n\tenv: {}", "2:", "tab"},
	{"app: @x", "1:6:", "in quotes"},
	{"app: \"a", "1:", "quoted scalar"},
	{"app: \xff", "1:6:", "UTF-8"},
	{"app: a\nenv: {\xc3\xa9: \xc3(}", "2:11:", "UTF-8"},
	{"app: \xed\xa0\x80", "1:6:", "UTF-8"},
	{"app: a\x01", "1:", "control"},
	{"command: []", "1:10:", "empty list"},
	{"command: \"\"", "1:10:", "empty"},
	{"command: [a, [b]]", "1:14:", "not a list"},
	{"command: {a: b}", "1:10:", "a string or a list of strings"},
	{"env: [A=b]", "1:6:", "takes a mapping"},
	{"env: {1A: b}", "1:7:", "name of a variable"},
	{"env: {A: [b]}", "1:10:", "'env.A'"},
	{"env: {A: }", "1:", "(\"\" for an empty one)"},
	{"env: {A: a, A: b}", "1:13:", "'A' stands in 'env' a second time"},
	{"env: {PORT: 1}", "1:7:", "see 'restart.port'"},
	{"env: {LIVEPUSH_SECRET: x}", "1:7:", "livepush's own"},
	{"ignore: [\"a\\nb\"]", "1:10:", "line break"},
	{"rules: {}", "1:8:", "list"},
	{"rules: [x]", "1:9:", "mapping"},
	{"rules:\n  - action: none", "2:5:", "no 'match'"},
	{"rules:\n  - match: x", "2:5:", "says nothing to do"},
	{"rules: [{match: [], action: none}]", "1:17:", "empty list"},
	{"rules: [{match: \"!x\", action: none}]", "1:17:", "starts with '!'"},
	{"rules: [{match: x, action: run}]", "1:9:", "needs the command in 'run'"},
	{"rules: [{match: x, action: signal}]", "1:9:", "needs its name in 'signal'"},
	{"rules: [{match: x, run: a, signal: HUP}]", "1:28:", "not both"},
	{"rules: [{match: x, action: run, signal: HUP}]", "1:9:", "'run'"},
	{"rules: [{match: x, action: none, run: a}]", "1:34:", "'action: run' only"},
	{"inject: maybe", "1:9:", "true"},
	{"hosts: [http://x.example]", "1:9:", "without http://"},
	{"rules: [{match: x, action: restart, signal: HUP}]", "1:37:", "'action: signal'"},
	{"rules: [{match: x, action: none, timeout: 1s}]", "1:34:", "'action: run' only"},
	{"rules: [{match: x, run: a, timeout: 0s}]", "1:37:", "from 1ms"},
	{"rules: [{match: x, signal: TERM}]", "1:28:", "action: restart"},
	{"rules: [{match: x, signal: SIGKILL}]", "1:28:", "KILL"},
	{"rules: [{match: x, signal: STOP}]", "1:28:", "STOP"},
	{"rules: [{match: x, signal: CONT}]", "1:28:", "CONT"},
	{"rules: [{match: x, signal: USR3}]", "1:28:", "did you mean 'USR1'?"},
	{"rules: [{match: x, signal: 1}]", "1:28:", "not '1'"},
	{"health: {path: /x}", "1:10:", "'kind: http' only"},
	{"health: {kind: process, status: 200}", "1:25:", "'kind: http' only"},
	{"health: {kind: http, settle: 1s}", "1:22:", "'kind: process' only"},
	{"health: {kind: command}", "1:9:", "needs the command"},
	{"health: {kind: tcp, command: x}", "1:21:", "'kind: command' only"},
	{"health: {command: x}", "1:10:", "'kind: command' only"},
	{"health: {kind: command, command: \"\"}", "1:34:", "empty"},
	{"health: {kind: process, threshold: 2}", "1:25:", "'kind: tcp, http or command' only"},
	{"health: {kind: process, probe_timeout: 2s}", "1:25:", "only"},
	{"health: {threshold: 0}", "1:21:", "from 1 to 1000"},
	{"health: {probe_timeout: 0s}", "1:25:", "from 1ms"},
	{"canary: yes", "1:9:", "'canary' takes true or false"},
	{"restart: {on_failure: rollbak}", "1:23:", "did you mean 'rollback'?"},
	{"health: {kind: http, path: x}", "1:28:", "start with '/'"},
	{"health: {kind: http, path: \"/a b\"}", "1:28:", "%XX"},
	{"health: {kind: http, status: 99}", "1:30:", "from 100 to 599"},
	{"health: {kind: http, status: 600}", "1:30:", "from 100 to 599"},
	{"health: {kind: http, status: 300-200}", "1:30:", "range"},
	{"health: {kind: http, status: 200-}", "1:30:", "range"},
	{"health: {kind: http, status: 2xx}", "1:30:", "range"},
	{"health: {interval: 0ms}", "1:20:", "from 1ms"},
	{"restart: {grace: 10}", "1:18:", "with a unit"},
	{"restart: {grace: 25h}", "1:18:", "at most 24h"},
	{"restart: {strategy: stop_start}", "1:21:", "did you mean 'stop-start'?"},
	{"restart: {port: 8080}", "1:11:", "'strategy: stop-start' only"},
	{"restart: {strategy: stop-start, port: 65536}", "1:39:", "from 0 to 65535"},
	{"restart: {strategy: stop-start, port: -1}", "1:39:", "from 0 to 65535"},
	{"restart: {strategy: stop-start, port: 0x50}", "1:39:", "from 0 to 65535"},
	{"targets: {a: {}}", "1:14:", "the target 'a' has no 'url'"},
	{"targets: {a b: {url: ws://x}}", "1:11:", "a name has"},
	{"targets: {a: {url: ws://x}, a: {url: ws://x}}", "1:29:", "second time"},
	{"targets: {a: {url: ws://x, urls: [ws://y]}}", "1:28:", "not both"},
	{"targets: {a: {url: http://x}}", "1:20:", "wss://host/path"},
	{"targets: {a: {url: wss://}}", "1:20:", "wss://host/path"},
	{"targets: {a: {url: ws://:80}}", "1:20:", "wss://host/path"},
	{"targets: {a: {url: \"ws://[abc\"}}", "1:20:", "wss://host/path"},
	{"targets: {a: {url: wss://u:p@h/}}", "1:20:", "user or password"},
	{"targets: {a: {url: \"ws://h/ x\"}}", "1:20:", "%XX"},
	{"targets: {a: {url: \"ws://h:99999\"}}", "1:20:", "1 to 65535"},
	{"targets: {a: {url: \"ws://h:0/x\"}}", "1:20:", "1 to 65535"},
	{"targets: {a: {url: \"ws://h:/x\"}}", "1:20:", "1 to 65535"},
	{"targets: {a: {url: \"ws://[::1]:x\"}}", "1:20:", "1 to 65535"},
	{"targets: {a: {url: \"ws://[::1\"}}", "1:20:", "wss://host/path"},
	{"targets: {a: {url: \"ws://h:1:2\"}}", "1:20:", "brackets"},
	{"targets: {a: {url: ws://x, secret: s}}", "1:36:", "'secret_file'"},
	{"targets: {a: {url: ws://x, secret_env: A, secret_file: b}}", "1:28:", "not both"},
	{"targets: {a: {url: ws://x, secret_env: $A}}", "1:40:", "variable"},
	{"targets: {a: {url: ws://x, ca: c}}", "1:28:", "wss:// URLs only"},
	{"targets: {a: {url: wss://x, pin: c}}", "1:", "sha256//"},
	{"targets: {a: {url: wss://x, pin: sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUx}}",
	 "1:", "base64"},
	{"targets: {a: {url: ws://x, pin: "
	 "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=}}",
	 "1:28:", "wss:// URLs only"},
	{"compat: slowpush", "1:9:", "fastpush"},
	{"hosts: {a: b}", "1:8:", "hosts"},
	{"targets: {a: {url: ws://x, compress: yes}}", "1:38:", "auto, always or never"},
};

static void lp_conf_parse__says_what_is_wrong_and_where(void **state)
{
	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(mistakes); i++) {
		struct lp_err err = {0};
		struct lp_conf c;
		char start[64];

		assert_int_equal(parse(&c, mistakes[i].text, &err), -EINVAL);
		assert_int_equal(err.code, EINVAL);
		(void)snprintf(start, sizeof(start), "livepush.yml:%s", mistakes[i].place);
		if (strncmp(err.msg, start, strlen(start)) != 0 ||
		    !strstr(err.msg, mistakes[i].piece))
			fail_msg("%s\n  gives: %s\n  not: %s … %s", mistakes[i].text, err.msg,
				 start, mistakes[i].piece);
		assert_null(c.app);
		assert_int_equal(c.n_targets + c.n_rules + c.n_env + c.n_ignore, 0);
		/* Without anywhere to put the text it is the same. */
		assert_int_equal(parse(&c, mistakes[i].text, NULL), -EINVAL);
	}
}

static void lp_conf_parse__caps_lists(void **state)
{
	const size_t n = 4097, each = 12;
	char *text = test_calloc(n * each + 64, 1);
	struct lp_err err = {0};
	struct lp_conf c;
	size_t len = 0;

	(void)state;
	len = (size_t)snprintf(text, 64, "env:\n");
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, each + 1, " A%04zu: v\n", i);
	assert_int_equal(parse(&c, text, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "more than 4096"));
	text[len - strlen(" A0000: v\n")] = '\0';
	parse_ok(&c, text);
	assert_int_equal(c.n_env, 4096);
	lp_conf_finish(&c);
	test_free(text);
}

static void lp_conf_parse__gives_up_on_deep_nesting(void **state)
{
	static const char *const openings[] = {"[", "{a: ", "- ", "? "};
	char text[100001];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(openings); i++) {
		size_t n = strlen(openings[i]);
		struct lp_conf c;

		for (size_t len = 0; len + n < sizeof(text); len += n)
			memcpy(text + len, openings[i], n);
		assert_int_equal(
			lp_conf_parse(&c, text, sizeof(text) - sizeof(text) % n - n, "x", NULL),
			-EINVAL);
	}
}

static void lp_conf_load__tells_missing_large_and_broken_apart(void **state)
{
	char dir[] = "/tmp/lp-conf-XXXXXX", path[64];
	struct lp_err err = {0};
	struct lp_conf c;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/livepush.yml", dir);
	assert_int_equal(lp_conf_load(&c, AT_FDCWD, path, &err), -ENOENT);
	assert_non_null(strstr(err.msg, path));
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "app: x\nfoo: y\n", 14), 14);
	assert_int_equal(lp_conf_load(&c, AT_FDCWD, path, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "livepush.yml:2:1: unknown key 'foo'"));
	assert_int_equal(ftruncate(fd, 7), 0);
	assert_int_equal(lp_conf_load(&c, AT_FDCWD, path, &err), 0);
	assert_string_equal(c.app, "x");
	lp_conf_finish(&c);
	assert_int_equal(ftruncate(fd, (off_t)LP_CONF_FILE_MAX_BYTES + 1), 0);
	assert_int_equal(lp_conf_load(&c, AT_FDCWD, path, &err), -EFBIG);
	assert_non_null(strstr(err.msg, "256 KiB"));
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_true(lp_conf_load(&c, AT_FDCWD, "/tmp", NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lp_conf_parse__reads_the_whole_format),
		cmocka_unit_test(lp_conf_parse__reads_rules),
		cmocka_unit_test(lp_conf_parse__gives_defaults_for_nothing),
		cmocka_unit_test(lp_conf_parse__accepts),
		cmocka_unit_test(lp_conf_parse__says_what_is_wrong_and_where),
		cmocka_unit_test(lp_conf_parse__caps_lists),
		cmocka_unit_test(lp_conf_parse__gives_up_on_deep_nesting),
		cmocka_unit_test(lp_conf_load__tells_missing_large_and_broken_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
