/* controller/supervise.c: the supervisor's calls and its pump, which decides what is next. Starts,
 * stops and reports are in sup_act.c. */
#include "controller/supervise.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "controller/sup.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static const char *const state_names[LP_SUP_STATE_COUNT_] = {
	[LP_SUP_IDLE] = "idle",         [LP_SUP_STARTING] = "starting",
	[LP_SUP_SERVING] = "serving",   [LP_SUP_SWAPPING] = "swapping",
	[LP_SUP_BACKOFF] = "backoff",   [LP_SUP_FAILED] = "failed",
	[LP_SUP_STOPPING] = "stopping",
};

const char *lp_sup_state_name(enum lp_sup_state state)
{
	return state_names[state];
}

void lp_sup_wake(struct lp_sup *sup)
{
	lp_timer_set(sup->opts.loop, &sup->pump, lp_now_us());
}

void lp_sup_say(const struct lp_sup *sup, uint64_t generation, const char *fmt, ...)
{
	char line[512];
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	len = strlen(line);
	line[len++] = '\n';
	sup->opts.ops.on_output(sup->opts.ctx, generation, LP_STREAM_CONTROLLER, line, len);
}

void lp_sup_link(struct lp_sup *sup, struct lp_proc *proc)
{
	proc->next = sup->procs;
	sup->procs = proc;
	lp_sup_sweep_later(sup);
}

void lp_sup_bury(struct lp_sup *sup, struct lp_proc *proc)
{
	struct lp_proc **at = &sup->procs;

	while (*at != proc)
		at = &(*at)->next;
	*at = proc->next;
	proc->next = sup->dead;
	sup->dead = proc;
	lp_sup_wake(sup);
}

static bool release_all(struct lp_proc **list)
{
	bool any = *list != NULL;

	while (*list) {
		struct lp_proc *proc = *list;

		*list = proc->next;
		proc->ops->release(proc);
	}
	return any;
}

/* Tells the owner that all it asked for is done, once nothing is owed or under way. */
static void settle(struct lp_sup *sup)
{
	if (!sup->asked || sup->run || sup->next || sup->waiting || lp_work_pending(&sup->work))
		return;
	sup->asked = false;
	sup->cause_settled = true;
	sup->settled = sup->revision;
	sup->opts.ops.on_settled(sup->opts.ctx, sup->settled);
}

static void send_signals(struct lp_sup *sup)
{
	int signo;

	while ((signo = lp_work_take_signal(&sup->work, sup->rules)) != 0) {
		int r = lp_proc_signal_leader(&sup->serving->proc, signo);

		if (r < 0)
			lp_sup_say(sup, sup->serving->number, "cannot send signal %d: %s", signo,
				   strerror(-r));
	}
}

/* The next thing that is owed: commands, then signals, then a restart. A command that runs is left
 * to its end, whatever changes meanwhile: a build that was killed by each save would never end
 * while somebody types. What it missed is due again and runs before the restart. */
static void proceed(struct lp_sup *sup)
{
	int rule;

	if (sup->state == LP_SUP_STOPPING || sup->run)
		return;
	if (!sup->blocked) {
		rule = lp_work_next_run(&sup->work, sup->rules);
		if (rule >= 0) {
			lp_run_start(sup, (size_t)rule);
			return;
		}
		if (sup->serving)
			send_signals(sup);
		if (sup->work.restart && !sup->waiting)
			lp_sup_launch(sup);
	}
	settle(sup);
}

/* A call came in: where nothing serves and nothing is on its way, whatever was changed is a reason
 * to try. */
static void on_trigger(struct lp_sup *sup)
{
	sup->triggered = false;
	sup->blocked = false;
	if (sup->state == LP_SUP_IDLE || sup->state == LP_SUP_BACKOFF ||
	    sup->state == LP_SUP_FAILED) {
		sup->recovering = false;
		sup->work.restart = true;
	}
}

static void end_drained(struct lp_sup *sup)
{
	for (struct lp_proc *proc = sup->procs; proc; proc = proc->next) {
		struct lp_gen *gen = lp_gen_of(proc);

		if (gen && gen->drained && gen->phase == LP_GEN_DRAINING)
			lp_gen_end(gen);
	}
}

static void finish_stop(struct lp_sup *sup)
{
	if (sup->stopped || sup->procs || lp_sup_sweep(sup) > 0)
		return;
	sup->stopped = true;
	sup->opts.ops.on_stopped(sup->opts.ctx);
}

static void on_pump(struct lp_timer *timer)
{
	struct lp_sup *sup = LP_CONTAINER_OF(timer, struct lp_sup, pump);
	bool any_gone = release_all(&sup->dead);

	if (sup->stop_asked && sup->state != LP_SUP_STOPPING)
		lp_sup_end_all(sup);
	if (sup->state == LP_SUP_STOPPING) {
		finish_stop(sup);
		return;
	}
	end_drained(sup);
	lp_loop_tell(sup);
	if (sup->triggered)
		on_trigger(sup);
	if (any_gone)
		(void)lp_sup_sweep(sup);
	lp_sup_try_alone(sup);
	proceed(sup);
}

static void on_backoff(struct lp_timer *timer)
{
	lp_sup_launch(LP_CONTAINER_OF(timer, struct lp_sup, backoff));
}

static void on_sweep(struct lp_timer *timer)
{
	struct lp_sup *sup = LP_CONTAINER_OF(timer, struct lp_sup, sweep);

	if (lp_sup_sweep(sup) == 0 && (sup->waiting || sup->state == LP_SUP_STOPPING))
		lp_sup_wake(sup);
}

int lp_sup_create(struct lp_sup **out, const struct lp_sup_opts *opts, struct lp_err *err)
{
	struct lp_sup *sup;

	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return lp_err_set(err, errno, "become the reaper of the app's orphans");
	sup = lp_xcalloc(1, sizeof(*sup));
	sup->opts = *opts;
	sup->rules = lp_ruleset_create(opts->conf);
	lp_work_init(&sup->work, sup->rules);
	sup->pump.on_fire = on_pump;
	sup->backoff.on_fire = on_backoff;
	sup->sweep.on_fire = on_sweep;
	*out = sup;
	return 0;
}

/* Writes down that somebody asked for something. */
static void note(struct lp_sup *sup, uint64_t revision)
{
	if (revision > sup->revision)
		sup->revision = revision;
	sup->asked_us = lp_now_us();
	sup->asked = true;
	sup->triggered = true;
	lp_sup_wake(sup);
}

void lp_sup_start(struct lp_sup *sup, uint64_t revision)
{
	if (!sup->stop_asked)
		note(sup, revision);
}

/* What changed together with what is passed over asks for what it asks for all the same, unless
 * that is a start. Returns whether there is any. */
static bool add_others(struct lp_sup *sup, const char *const *paths, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		int rule = lp_ruleset_find(sup->rules, paths[i]);
		enum lp_conf_action action =
			rule < 0 ? LP_ACTION_RESTART
				 : lp_ruleset_at(sup->rules, (size_t)rule)->action;

		if (action != LP_ACTION_SIGNAL && action != LP_ACTION_BROWSER_RELOAD)
			continue;
		lp_work_add(&sup->work, sup->rules, paths + i, 1);
		any = true;
	}
	return any;
}

bool lp_sup_applied(struct lp_sup *sup, uint64_t revision, const char *const *paths, size_t n)
{
	if (sup->stop_asked)
		return true;
	if (lp_loop_passes_over(sup, paths, n)) {
		bool others = add_others(sup, paths, n);

		if (revision > sup->revision)
			sup->revision = revision;
		/* It settles with what is under way, or at once. */
		sup->asked_us = sup->asked ? sup->asked_us : lp_now_us();
		sup->asked = true;
		lp_sup_wake(sup);
		return others;
	}
	lp_loop_cause(sup, paths, n);
	lp_work_add(&sup->work, sup->rules, paths, n);
	note(sup, revision);
	return true;
}

void lp_sup_again(struct lp_sup *sup, const char *const *paths, size_t n)
{
	if (sup->stop_asked)
		return;
	lp_loop_cause(sup, paths, n);
	lp_work_add(&sup->work, sup->rules, paths, n);
	sup->work.restart = true;
	note(sup, sup->revision);
}

void lp_sup_rolled(struct lp_sup *sup, uint64_t revision, const char *const *paths, size_t n,
		   bool asked)
{
	if (sup->stop_asked)
		return;
	lp_work_finish(&sup->work);
	lp_work_init(&sup->work, sup->rules);
	lp_work_add(&sup->work, sup->rules, paths, n);
	/* What is under way was begun with what is not there any more. */
	if (asked || sup->next || sup->run || sup->waiting)
		sup->work.restart = true;
	else if (sup->serving && lp_work_next_run(&sup->work, sup->rules) < 0)
		sup->work.restart = false;
	sup->revision = revision;
	lp_loop_forget(sup);
	lp_path_set_finish(&sup->cause);
	lp_path_set_finish(&sup->cause_before);
	lp_loop_cause(sup, paths, n);
	note(sup, revision);
}

void lp_sup_restart(struct lp_sup *sup, uint64_t revision)
{
	if (sup->stop_asked)
		return;
	sup->work.restart = true;
	free(sup->last_path);
	sup->last_path = NULL;
	sup->n_last_paths = 0;
	note(sup, revision);
}

void lp_sup_reconfigure(struct lp_sup *sup, const struct lp_conf *conf)
{
	struct lp_ruleset *rules = lp_ruleset_create(conf);

	lp_work_rebase(&sup->work, sup->rules, rules);
	lp_ruleset_destroy(sup->rules);
	sup->rules = rules;
	sup->opts.conf = conf;
}

void lp_sup_drained(struct lp_sup *sup, uint64_t generation)
{
	for (struct lp_proc *proc = sup->procs; proc; proc = proc->next) {
		struct lp_gen *gen = lp_gen_of(proc);

		if (gen && gen->number == generation) {
			gen->drained = true;
			lp_sup_wake(sup);
		}
	}
}

void lp_sup_status(const struct lp_sup *sup, struct lp_sup_status *out)
{
	*out = (struct lp_sup_status){
		.state = sup->state, .settled = sup->settled, .crashes = sup->crashes};
	if (!sup->serving)
		return;
	out->generation = sup->serving->number;
	out->revision = sup->serving->revision;
	out->pid = sup->serving->proc.child.pid;
	out->spawned_us = sup->serving->spawned_us - sup->serving->asked_us;
}

void lp_sup_stop(struct lp_sup *sup)
{
	sup->stop_asked = true;
	lp_sup_wake(sup);
}

void lp_sup_destroy(struct lp_sup *sup)
{
	if (!sup)
		return;
	lp_timer_clear(&sup->pump);
	lp_timer_clear(&sup->backoff);
	(void)release_all(&sup->procs);
	(void)release_all(&sup->dead);
	lp_sup_kill_strays(sup);
	lp_timer_clear(&sup->sweep);
	lp_loop_finish(sup);
	lp_path_set_finish(&sup->cause);
	lp_path_set_finish(&sup->cause_before);
	free(sup->last_path);
	lp_work_finish(&sup->work);
	lp_ruleset_destroy(sup->rules);
	free(sup->strays);
	free(sup);
}
