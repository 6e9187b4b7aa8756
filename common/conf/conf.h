/* common/conf/conf.h: livepush.yml, checked, as a struct. Both the client and the controller read
 * it. Unknown keys and wrong types are errors that name file, line and column. Reads no file itself
 * apart from lp_conf_load. */
#ifndef LP_COMMON_CONF_CONF_H
#define LP_COMMON_CONF_CONF_H

#include "common/base/lp_err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LP_CONF_FILE_MAX_BYTES ((size_t)256 * 1024)

/* A command: an argv list, NULL-terminated; n is its length, 0 for "none". A YAML string becomes
 * {"/bin/sh", "-c", string}, a YAML list is taken as it is. */
struct lp_conf_command {
	char **argv;
	size_t n;
};

enum lp_conf_action {
	LP_ACTION_RESTART, /* the default for paths that no rule matches */
	LP_ACTION_NONE,
	LP_ACTION_SIGNAL,
	LP_ACTION_RUN,            /* run the command, then restart */
	LP_ACTION_BROWSER_RELOAD, /* nothing but telling browsers; NONE does not even that */
	LP_ACTION_COUNT_,
};

/* One rule; the first that matches a path decides. match: globs in .gitignore syntax without
 * negation ("*.css" at any depth, "/static/" anchored). signo is for SIGNAL; run and timeout_ms are
 * for RUN (default 60000). */
struct lp_conf_rule {
	char **match;
	size_t n_match;
	enum lp_conf_action action;
	int signo;
	struct lp_conf_command run;
	uint32_t timeout_ms;
};

enum lp_conf_health_kind {
	LP_HEALTH_TCP,     /* default: the port accepts a connection */
	LP_HEALTH_HTTP,    /* GET path answers with a status in [status_min, status_max] */
	LP_HEALTH_PROCESS, /* still running after `settle_ms` */
	LP_HEALTH_COMMAND, /* `command` ends with status 0 */
	LP_HEALTH_COUNT_,
};

struct lp_conf_health {
	enum lp_conf_health_kind kind;
	char *path;           /* HTTP; default "/" (NULL until something is parsed) */
	int status_min;       /* default 200 */
	int status_max;       /* default 399 */
	uint32_t timeout_ms;  /* start deadline; default 30000 */
	uint32_t interval_ms; /* upper bound between probes; default 100 */
	uint32_t settle_ms;   /* PROCESS; default 1000 */
	uint32_t probe_ms;    /* longest wait for one probe; default 10000 */
	uint16_t threshold;   /* successes in a row that it takes; default 1 */
	struct lp_conf_command command;
};

/* What becomes of the tree when a new generation does not get healthy. */
enum lp_conf_on_failure {
	LP_ON_FAILURE_KEEP,
	LP_ON_FAILURE_ROLLBACK,
	LP_ON_FAILURE_COUNT_,
};

enum lp_conf_strategy {
	LP_STRATEGY_SWAP,
	LP_STRATEGY_STOP_START,
	LP_STRATEGY_COUNT_,
};

struct lp_conf_restart {
	enum lp_conf_strategy strategy;
	uint32_t grace_ms;   /* TERM to KILL; default 10000 */
	uint32_t drain_ms;   /* longest wait for requests of the old generation; default 30000 */
	uint32_t streams_ms; /* the same for WebSockets, event streams, HTTP/2; default 30000 */
	uint32_t hold_ms;    /* longest wait of a request at the door; default 30000 */
	uint16_t port;       /* stop-start: fixed port of the app; 0 (default): a free one */
	enum lp_conf_on_failure on_failure;
};

/* Limits of the front door; 0 stands for the default of struct lp_proxy_limits, which has the same
 * members with longer names. */
struct lp_conf_front {
	uint64_t max_body_bytes; /* default: any */
	uint32_t max_conns;
	uint32_t header_ms;
	uint32_t body_ms;
	uint32_t write_ms;
	uint32_t response_ms;
	uint32_t idle_ms;
	int via; /* whether to add Via; default 0 */
	int h2c; /* whether HTTP/2 in clear text goes to the app, unseen; default 1 */
};

/* The front door's certificate chain and its key, PEM files; both NULL (default): plain HTTP. */
struct lp_conf_tls {
	char *cert;
	char *key;
};

enum lp_conf_compress {
	LP_COMPRESS_AUTO, /* not on loopback */
	LP_COMPRESS_ALWAYS,
	LP_COMPRESS_NEVER,
	LP_COMPRESS_COUNT_,
};

/* Whose clients an instance also serves. */
enum lp_conf_compat {
	LP_COMPAT_NONE,
	LP_COMPAT_FASTPUSH, /* cf-fastpush's plugin, under /_fastpush */
	LP_COMPAT_COUNT_,
};

/* A named place to push to. urls: ws:// or wss://, one per instance, at least one. The secret comes
 * from the file or the environment variable; never from livepush.yml itself. */
struct lp_conf_target {
	char *name;
	char **urls;
	size_t n_urls;
	char *secret_file;
	char *secret_env;
	char *ca_file;
	char **pins; /* "sha256//BASE64": public keys, one of which a wss:// server must have */
	size_t n_pins;
	enum lp_conf_compress compress;
};

struct lp_conf_env {
	char *name;
	char *value;
};

/* Everything in livepush.yml. Strings are owned by the struct; NULL where nothing was said. */
struct lp_conf {
	char *app;
	struct lp_conf_command command;
	struct lp_conf_env *env;
	size_t n_env;
	char **ignore;
	size_t n_ignore;
	struct lp_conf_rule *rules;
	size_t n_rules;
	struct lp_conf_health health;
	struct lp_conf_restart restart;
	struct lp_conf_front front;
	struct lp_conf_tls tls;
	int canary; /* whether one of several instances gets what is new first; default 0 */
	int inject; /* whether pages get the reload script; default 0 */
	struct lp_conf_target *targets;
	size_t n_targets;
	char **hosts; /* names that browsers reach the instance by */
	size_t n_hosts;
	enum lp_conf_compat compat;
};

/* Fills *conf with the defaults. */
void lp_conf_init(struct lp_conf *conf);

/* Releases what the struct owns and leaves the defaults. */
void lp_conf_finish(struct lp_conf *conf);

/* Parses text[0..len) into *conf (initialised by the callee; finished by the caller after success).
 * name is used in messages: "livepush.yml:7:3: unknown key 'comand'; did you mean 'command'?".
 * An empty document gives the defaults. Returns 0, -EINVAL or -ENOMEM; on failure *conf holds the
 * defaults. Aliases, anchors, tags, duplicate keys, several documents and nesting beyond what the
 * format has are errors. */
int lp_conf_parse(struct lp_conf *conf, const char *text, size_t len, const char *name,
		  struct lp_err *err) LP_MUST_USE;

/* Reads `path` relative to dir_fd (AT_FDCWD allowed) and parses it. -ENOENT when there is none,
 * -EFBIG over LP_CONF_FILE_MAX_BYTES, -EINVAL as above. */
int lp_conf_load(struct lp_conf *conf, int dir_fd, const char *path,
		 struct lp_err *err) LP_MUST_USE;

/* Puts a command in the place of the one that conf has: argv is copied, NULL-terminated. */
void lp_conf_set_command(struct lp_conf *conf, const char *const *argv);

/* What the environment says against the file: $LIVEPUSH_COMMAND, run by /bin/sh -c, is the command.
 */
void lp_conf_apply_environment(struct lp_conf *conf);

/* The target of that name, or NULL. Borrowed from conf. */
const struct lp_conf_target *lp_conf_target(const struct lp_conf *conf, const char *name);

/* Whether text[0..len) is the digest of a public key as in a pin: "sha256//" and base64. */
bool lp_conf_is_pin(const char *text, size_t len);

/* Why a text is no address of an instance, for people; NULL when it is one: ws:// or wss://, a host
 * and perhaps a port and a path. LP_CONF_NO_URL when it does not look like one at all. */
#define LP_CONF_NO_URL "it takes a URL such as wss://host/path or ws://host:port"
const char *lp_conf_url_fault(const char *text);

/* Whether a text is the name of a host ("app.example.com", also with a port, or "[::1]"). */
bool lp_conf_is_host(const char *text);

/* Parses "250ms", "10s", "2m" or "1h" (a whole number and a unit; at most 24 h) into milliseconds.
 * Returns 0 or -EINVAL. */
int lp_conf_duration(const char *text, uint32_t *out_ms) LP_MUST_USE;

#endif
