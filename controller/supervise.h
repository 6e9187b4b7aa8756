/* controller/supervise.h: runs the app: generations, health, rules, hot restarts. Lives in the
 * loop's thread. Knows nothing of sessions or the wire; moves traffic through a `door`. */
#ifndef LP_CONTROLLER_SUPERVISE_H
#define LP_CONTROLLER_SUPERVISE_H

#include "common/conf/conf.h"
#include "common/loop/loop.h"

struct lp_sup; /* opaque */

enum lp_sup_stream {
	LP_STREAM_STDOUT = 1,
	LP_STREAM_STDERR = 2,
	LP_STREAM_CONTROLLER = 3, /* what the supervisor itself has to say about the app */
};

enum lp_sup_stage {
	LP_STAGE_CONFIG = 1, /* livepush.yml is wrong */
	LP_STAGE_RULE = 2,   /* a rule's command failed or timed out */
	LP_STAGE_START = 3,  /* the command cannot be started or exited before it was healthy */
	LP_STAGE_HEALTH = 4, /* not healthy in time */
	LP_STAGE_CRASH = 5,  /* a serving generation ended by itself */
	LP_STAGE_LOOP = 7,   /* the app changes files that restart it */
};

/* Why something did not work. error: one line for a person ("exited with status 1"). excerpt: the
 * last lines of the output (at most 50 lines and 8 KiB), "" when there was none. path: the first of
 * the n_paths files that changed last before it, NULL: none did. Borrowed. */
struct lp_sup_failure {
	uint64_t revision;
	uint64_t generation; /* 0 when none was started */
	enum lp_sup_stage stage;
	const char *error;
	const char *excerpt;
	const char *path;
	size_t n_paths;
};

/* What the supervisor tells its owner. All come from the loop, never from inside one of the calls
 * below, and may make any of those calls apart from lp_sup_destroy.
 * on_output: a piece of output as it was read, cut anywhere; any bytes. A rule's command writes
 * under the number of the generation that is to come.
 * on_restarted: a new generation serves, the first one and one after a crash included. took_us:
 * from the newest call that asked for it (or from the crash) to now. on_settled: everything that
 * was asked for up to `revision` has ended well (restarted, signalled, or nothing to do). What
 * failed stays owed and is tried again, commands of rules included, with the next call; only then
 * it settles. */
struct lp_sup_ops {
	void (*on_output)(void *ctx, uint64_t generation, enum lp_sup_stream stream,
			  const char *data, size_t len);
	void (*on_restarted)(void *ctx, uint64_t revision, uint64_t generation, uint64_t took_us);
	void (*on_settled)(void *ctx, uint64_t revision);
	void (*on_failed)(void *ctx, const struct lp_sup_failure *failure);
	void (*on_stopped)(void *ctx); /* after lp_sup_stop: no process is left */
};

/* How traffic is moved; a small port so that the supervisor can be tested without a proxy. Called
 * from the loop like the callbacks above; all have to be there.
 * forward: new requests go to 127.0.0.1:port, known as `generation`; the previous generation is
 * retired. hold: no generation serves; requests wait. refuse: nothing will serve; answer 503 with
 * text. cut: close what still runs on a retired generation; cut_requests: only plain requests;
 * end_streams: end upgraded connections and event streams on it as their protocol has it. The owner
 * calls lp_sup_drained (in the loop's thread) when a retired generation, by hold as well, has no
 * request left: that ends it before the drain time is over. */
struct lp_sup_door {
	void *ctx;
	void (*forward)(void *ctx, uint64_t generation, uint16_t port);
	void (*hold)(void *ctx);
	void (*refuse)(void *ctx, const char *text);
	void (*cut)(void *ctx, uint64_t generation);
	void (*cut_requests)(void *ctx, uint64_t generation);
	void (*end_streams)(void *ctx, uint64_t generation);
};

/* tree_fd: the app's directory; borrowed. envp: the environment for the app without our own
 * secrets, borrowed for the supervisor's life; the config's env, LIVEPUSH_GENERATION and PORT are
 * added (commands of rules get LIVEPUSH_CHANGED, the name of a file with the changed paths, each
 * ended by a NUL, and no PORT). nofile: soft RLIMIT_NOFILE for children, 0 leaves it. conf:
 * borrowed until lp_sup_reconfigure or destroy. */
struct lp_sup_opts {
	struct lp_loop *loop;
	const struct lp_conf *conf;
	int tree_fd;
	const char *const *envp;
	uint64_t nofile;
	struct lp_sup_ops ops;
	void *ctx;
	struct lp_sup_door door;
};

/* Starts nothing yet. Makes the process a child subreaper: it inherits what the app leaves behind,
 * reaps it, and ends it with its generation. So the process may have no children of other kinds
 * while a supervisor lives: they would be reaped and, by lp_sup_stop, ended. Children are killed
 * when the calling thread ends. Returns 0 or -errno. */
int lp_sup_create(struct lp_sup **out, const struct lp_sup_opts *opts,
		  struct lp_err *err) LP_MUST_USE;

/* Starts the app when nothing serves or is on its way (the first time, after a failure, in a wait
 * after a crash). Otherwise, and without a command, does nothing but settle. */
void lp_sup_start(struct lp_sup *sup, uint64_t revision);

/* A changeset was applied: `paths` (n of them, clean and relative; borrowed) changed. Chooses by
 * the rules: run commands in rule order, then signal, then restart. Coalesces: what arrives while a
 * start is under way replaces that start. When no generation has ever served it starts the app
 * whatever the rules' NONE and SIGNAL say (RUN rules run first); so does any change while nothing
 * serves. A command that runs is left to its end; what changed meanwhile is due again and handled
 * before the restart. Returns false when they are passed over, because the app writes them itself
 * and would restart for ever: they ask for nothing, and settle. Signals and reloads of browsers
 * that others among them ask for are not: then it returns true. */
bool lp_sup_applied(struct lp_sup *sup, uint64_t revision, const char *const *paths, size_t n);

/* The tree went back to an earlier revision, by which `paths` changed. What was owed is forgotten.
 * asked: somebody wants that, so the app is started anew. Otherwise a start had failed and this is
 * the revision that the serving generation was started with: it goes on, unless there is none, a
 * rule's command has to run for the paths, or something newer is under way. */
void lp_sup_rolled(struct lp_sup *sup, uint64_t revision, const char *const *paths, size_t n,
		   bool asked);

/* Restart because somebody asked. */
void lp_sup_restart(struct lp_sup *sup, uint64_t revision);

/* Uses another config from now on; the old one may be freed when it returns. */
void lp_sup_reconfigure(struct lp_sup *sup, const struct lp_conf *conf);

/* The door says that a retired generation has drained. */
void lp_sup_drained(struct lp_sup *sup, uint64_t generation);

enum lp_sup_state {
	LP_SUP_IDLE,     /* no command, or not started yet */
	LP_SUP_STARTING, /* no generation serves, one is on its way */
	LP_SUP_SERVING,  /* one serves, nothing else happens */
	LP_SUP_SWAPPING, /* one serves, the next is on its way */
	LP_SUP_BACKOFF,  /* crashed; waits before the next try */
	LP_SUP_FAILED,   /* nothing serves; waits for a change */
	LP_SUP_STOPPING,
	LP_SUP_STATE_COUNT_,
};

struct lp_sup_status {
	enum lp_sup_state state;
	uint64_t generation; /* serving, or 0 */
	uint64_t revision;   /* that the serving generation was started with */
	uint64_t settled;    /* newest revision that settled */
	int64_t pid;         /* of the serving generation, or 0 */
	uint64_t crashes;
	uint64_t spawned_us; /* of the serving generation: from the cause to the start of its
				process */
};

void lp_sup_status(const struct lp_sup *sup, struct lp_sup_status *out);

/* The state's name for people and JSON: "serving". */
const char *lp_sup_state_name(enum lp_sup_state state);

/* Ends every process: TERM to the groups, KILL after the grace; then on_stopped. */
void lp_sup_stop(struct lp_sup *sup);

/* Releases it; kills (KILL) whatever still runs. NULL is allowed. */
void lp_sup_destroy(struct lp_sup *sup);

#endif
