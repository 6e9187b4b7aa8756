/* controller/sup.h: the inside of the supervisor, shared by its sup_*.c and generation.c. Nobody
 * else includes it.
 *
 * How it works: the public calls only write down what is wanted and wake the pump, which runs from
 * the loop. The pump decides (rules.h) and fires events (sup_step.h); what a step asks for is done
 * in sup_act.c. Generations and rule commands are process groups (sup_proc.h) in one list; one that
 * is gone moves to another list and is released by the pump, never by its own callback. */
#ifndef LP_CONTROLLER_SUP_H
#define LP_CONTROLLER_SUP_H

#include "controller/health.h"
#include "controller/rules.h"
#include "controller/sup_env.h"
#include "controller/sup_proc.h"
#include "controller/sup_step.h"
#include "controller/supervise.h"

#define LP_SUP_RECENT_PORTS 64

enum lp_gen_phase {
	LP_GEN_STARTING,
	LP_GEN_SERVING,
	LP_GEN_DRAINING, /* retired, requests may still run on it */
	LP_GEN_ENDING,
};

/* How long a retired generation is left to what runs on it: plain requests, and what goes on for
 * long (upgraded connections, event streams, HTTP/2). cut: what is left then is closed by the door;
 * otherwise the app itself is told to end, and streams are ended at once. */
struct lp_leave {
	uint32_t drain_ms;
	uint32_t streams_ms;
	bool cut;
};

/* One start of the app. drained: the door said so. */
struct lp_gen {
	struct lp_proc proc;
	struct lp_sup *sup;
	enum lp_gen_phase phase;
	uint64_t number;
	uint64_t revision;
	uint64_t asked_us;
	uint64_t spawned_us;
	uint64_t healthy_us;
	uint16_t port;
	bool drained;
	struct lp_leave leave;
	uint64_t retired_us;
	bool requests_cut;
	bool streams_ended;
	struct lp_health health;
	struct lp_check *check; /* the run of the health command that is waited for, or NULL */
	struct lp_timer drain_timer;
};

/* One run of a rule's command. changed: the paths that asked for it. file: holds them for the
 * command; removed and freed when it ends. */
struct lp_run {
	struct lp_proc proc;
	struct lp_sup *sup;
	uint64_t number; /* of the generation that is to come */
	uint64_t revision;
	uint32_t timeout_ms;
	bool timed_out;
	struct lp_path_set changed;
	char *file;
	char *label;
	struct lp_timer timeout;
};

/* A process that left its group (setsid) and outlived its generation. */
struct lp_stray {
	pid_t pid;
	uint64_t kill_at_us;
};

#define LP_LOOP_STARTS 5 /* so many within 10 s may be a loop */

#define LP_LOOP_SUSPECTS 16

/* Whether the app restarts itself, see sup_loop.c. suspects: paths that changed after starts which
 * they had asked for, and how often; known: the app, or a command, writes that one. times_us: of
 * the newest such changes. in_row: how many there were, none long after the one before; during: of
 * them the last ones that came while a start was under way; due: so many in a row, and a start is
 * on trial; 0: LP_LOOP_STARTS. pace_us: changes that follow one another, or a start, within that
 * time are the app's. tries: the generation that is. known: one of the suspects is; untold:
 * and nobody was told yet; comes_late: it changes when a start is up, too. passed_over: some change
 * was, during this start. tried: the app was started again for that. up_us: a start came to its
 * end; last_us: something was passed over. */
struct lp_sup_loop {
	struct lp_suspect {
		char *path; /* owned */
		unsigned hits;
		bool known;
	} suspects[LP_LOOP_SUSPECTS];
	size_t n_suspects;
	uint64_t times_us[LP_LOOP_STARTS];
	size_t n;
	unsigned in_row;
	unsigned during;
	unsigned due;
	uint64_t pace_us;
	uint64_t tries;
	uint64_t up_us;
	uint64_t last_us;
	bool known;
	bool untold;
	bool comes_late;
	bool passed_over;
	bool tried;
	struct lp_timer quiet; /* for what was passed over the app is started once more */
	struct lp_timer still; /* the suspicion ends when nothing came since the start */
	struct lp_timer trial;
};

struct lp_sup {
	struct lp_sup_opts opts;
	struct lp_ruleset *rules;
	struct lp_work work;
	enum lp_sup_state state;

	struct lp_proc *procs; /* newest first */
	struct lp_proc *dead;
	struct lp_gen *serving;
	struct lp_gen *next;
	struct lp_run *run;

	uint64_t generation; /* the last number given out */
	uint64_t revision;   /* the newest that was asked for */
	uint64_t settled;
	uint64_t asked_us;
	uint64_t crashed_us;
	uint64_t crashes;
	uint64_t backoff_ms; /* the next wait; 0 for the first one */

	struct lp_sup_loop loop;
	struct lp_path_set cause;        /* what the last start is for, the first ones */
	struct lp_path_set cause_before; /* and the one before, from when it had settled */
	char *last_path;                 /* owned; the first that changed last, or NULL */
	size_t n_last_paths;
	uint64_t failed_us; /* when a start failed last */

	bool cause_settled; /* the next cause is of another start */
	bool asked;         /* a settled message is owed */
	bool triggered;     /* the pump has a call to look at */
	bool blocked;       /* the last try failed: wait for a call */
	bool recovering;
	bool waiting; /* START_ALONE waits for others to be gone */
	bool stop_asked;
	bool stopped;

	struct lp_timer pump;
	struct lp_timer backoff;
	struct lp_timer sweep;
	struct lp_stray *strays;
	size_t n_strays;
	uint16_t ports[LP_SUP_RECENT_PORTS];
	size_t n_ports;
};

/* supervise.c: makes the pump run from the loop, soon. */
void lp_sup_wake(struct lp_sup *sup);

/* supervise.c: sends a line of the supervisor's own to the output of a generation. */
void lp_sup_say(const struct lp_sup *sup, uint64_t generation, const char *fmt, ...)
	LP_PRINTF(3, 4);

/* supervise.c: the lists. */
void lp_sup_link(struct lp_sup *sup, struct lp_proc *proc);
void lp_sup_bury(struct lp_sup *sup, struct lp_proc *proc);

/* supervise.c: what these paths ask for is due again, and a restart. */
void lp_sup_again(struct lp_sup *sup, const char *const *paths, size_t n);

/* sup_loop.c. passes_over: whether a change is the app's own and asks for nothing. cause: it asks
 * for something. tries: whether a generation that is healthy has to wait; lp_sup_serve follows,
 * soon after hurry. up: a start came to its end. tell: reports a loop that was found. forget: all
 * of it. finish: for lp_sup_destroy. */
bool lp_loop_passes_over(struct lp_sup *sup, const char *const *paths, size_t n);
void lp_loop_cause(struct lp_sup *sup, const char *const *paths, size_t n);
bool lp_loop_tries(struct lp_sup *sup, const struct lp_gen *gen);
void lp_loop_hurry(struct lp_sup *sup);
void lp_loop_up(struct lp_sup *sup);
void lp_loop_tell(struct lp_sup *sup);
void lp_loop_forget(struct lp_sup *sup);
void lp_loop_finish(struct lp_sup *sup);

/* sup_act.c: does what the table says about the event. reason: for the door when it refuses. */
void lp_sup_fire(struct lp_sup *sup, enum lp_sup_event event, const char *reason);

/* sup_act.c: starts a generation by the strategy, or says that there is no command. */
void lp_sup_launch(struct lp_sup *sup);

/* sup_act.c: starts the generation that waits to be alone, if it is. */
void lp_sup_try_alone(struct lp_sup *sup);

/* sup_act.c: something under way failed: steps back and reports it. The work stays owed. */
void lp_sup_fault(struct lp_sup *sup, const struct lp_sup_failure *failure);

/* sup_act.c: what generations report. serve: the next one takes over. */
void lp_sup_on_healthy(struct lp_sup *sup, struct lp_gen *gen);
void lp_sup_serve(struct lp_sup *sup, struct lp_gen *gen);
void lp_sup_on_crash(struct lp_sup *sup, struct lp_gen *gen, int status);

/* sup_act.c: ends everything; the pump sees when nothing is left. */
void lp_sup_end_all(struct lp_sup *sup);

/* generation.c: starts the next generation as sup->next, or reports the fault. */
void lp_gen_start(struct lp_sup *sup);

/* generation.c: lets what runs on it end, as long as `leave` says, then ends it. */
void lp_gen_retire(struct lp_gen *gen, const struct lp_leave *leave);

/* generation.c: ends it now (TERM, grace, KILL). */
void lp_gen_end(struct lp_gen *gen);

/* generation.c: the generation that a proc belongs to, or NULL when it is a rule's command. */
struct lp_gen *lp_gen_of(struct lp_proc *proc);

/* generation.c: the environment of an app or a rule's command, without PORT. Finished by the
 * caller. */
void lp_gen_env(const struct lp_sup *sup, uint64_t number, struct lp_env *env);

/* sup_run.c: starts the command of rule i with the paths that are due, or reports the fault. */
void lp_run_start(struct lp_sup *sup, size_t i);

/* sup_check.c: begins a run of the health command for a generation; lp_health_answer follows.
 * Returns 0 or -errno. end: nobody waits for it any more. */
int lp_check_run(struct lp_gen *gen, struct lp_err *err) LP_MUST_USE;
void lp_check_end(struct lp_gen *gen);

/* sup_stray.c: reaps children that are not ours by name and ends strays; sets its own timer.
 * Returns how many strays are left. */
size_t lp_sup_sweep(struct lp_sup *sup);

/* sup_stray.c: sets the timer of the sweep when there is something to look after. */
void lp_sup_sweep_later(struct lp_sup *sup);

/* sup_stray.c: kills and reaps the strays of all generations; for lp_sup_destroy, when no proc is
 * left. */
void lp_sup_kill_strays(struct lp_sup *sup);

#endif
