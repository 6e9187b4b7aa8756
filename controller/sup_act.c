/* controller/sup_act.c: carries out the supervisor's steps: door, generations, reports. */
#include "common/base/lp_clock.h"
#include "controller/sup.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define US_PER_MS        1000u
#define BACKOFF_FIRST_MS 100u
#define BACKOFF_MAX_MS   5000u
#define STEADY_US        10000000u /* healthy for that long: the next crash starts afresh */
/* Under stop-start requests wait for the old generation to go: what runs on it gets a moment to end
 * before the TERM, not the full drain time. */
#define LEAVE_DRAIN_MS 1000u
/* More generations than this on their way out: the oldest has to hurry. */
#define MAX_LEAVING 8

static void drop_next(struct lp_sup *sup)
{
	struct lp_gen *gen = sup->next;

	sup->waiting = false;
	sup->next = NULL;
	if (gen)
		lp_gen_end(gen);
}

/* A client that keeps a connection for ever, or an app that ignores TERM, must not make processes
 * pile up while somebody saves again and again. */
static void limit_leaving(struct lp_sup *sup)
{
	const struct lp_sup_door *door = &sup->opts.door;
	size_t leaving = 0;

	for (struct lp_proc *proc = sup->procs; proc; proc = proc->next) {
		struct lp_gen *gen = lp_gen_of(proc);

		if (!gen || gen->phase < LP_GEN_DRAINING || ++leaving <= MAX_LEAVING)
			continue;
		if (gen->phase == LP_GEN_DRAINING) {
			door->cut(door->ctx, gen->number);
			lp_gen_end(gen);
		} else {
			lp_proc_kill(proc);
		}
	}
}

static void leave_serving(struct lp_sup *sup)
{
	struct lp_gen *gen = sup->serving;
	uint32_t drain_ms = sup->opts.conf->restart.drain_ms;

	sup->serving = NULL;
	if (gen)
		lp_gen_retire(gen, &(struct lp_leave){.drain_ms = drain_ms < LEAVE_DRAIN_MS
									  ? drain_ms
									  : LEAVE_DRAIN_MS});
}

static void forward(struct lp_sup *sup)
{
	const struct lp_sup_door *door = &sup->opts.door;
	struct lp_gen *old = sup->serving;
	struct lp_gen *gen = sup->next;

	sup->serving = gen;
	sup->next = NULL;
	assert(gen);
	gen->phase = LP_GEN_SERVING;
	gen->revision = sup->revision;
	if (old)
		lp_gen_retire(old,
			      &(struct lp_leave){.drain_ms = sup->opts.conf->restart.drain_ms,
						 .streams_ms = sup->opts.conf->restart.streams_ms,
						 .cut = true});
	door->forward(door->ctx, gen->number, gen->port);
	limit_leaving(sup);
}

static void delay(struct lp_sup *sup)
{
	uint64_t wait_ms = sup->backoff_ms ? sup->backoff_ms : BACKOFF_FIRST_MS;

	sup->backoff_ms = wait_ms * 2 < BACKOFF_MAX_MS ? wait_ms * 2 : BACKOFF_MAX_MS;
	lp_sup_say(sup, sup->generation, "the next try is in %" PRIu64 " ms", wait_ms);
	lp_timer_set(sup->opts.loop, &sup->backoff, lp_now_us() + wait_ms * US_PER_MS);
}

void lp_sup_try_alone(struct lp_sup *sup)
{
	if (!sup->waiting || sup->procs || lp_sup_sweep(sup) > 0)
		return;
	sup->waiting = false;
	lp_gen_start(sup);
}

void lp_sup_fire(struct lp_sup *sup, enum lp_sup_event event, const char *reason)
{
	const struct lp_sup_step *step = lp_sup_step(sup->state, event);
	const struct lp_sup_door *door = &sup->opts.door;

	sup->state = step->to;
	if (sup->state != LP_SUP_BACKOFF)
		lp_timer_clear(&sup->backoff);
	if (step->acts & LP_ACT_HOLD)
		door->hold(door->ctx);
	if (step->acts & LP_ACT_DROP)
		drop_next(sup);
	if (step->acts & LP_ACT_LEAVE)
		leave_serving(sup);
	if (step->acts & LP_ACT_FORWARD)
		forward(sup);
	if (step->acts & LP_ACT_REFUSE)
		door->refuse(door->ctx, reason);
	if (step->acts & LP_ACT_DELAY)
		delay(sup);
	if (step->acts & LP_ACT_START)
		lp_gen_start(sup);
	if (step->acts & LP_ACT_START_ALONE) {
		for (struct lp_proc *proc = sup->procs; proc; proc = proc->next) {
			struct lp_gen *gen = lp_gen_of(proc);

			if (gen && gen->phase == LP_GEN_DRAINING && gen->leave.cut)
				lp_gen_end(gen);
		}
		sup->waiting = true;
		lp_sup_try_alone(sup);
	}
}

void lp_sup_launch(struct lp_sup *sup)
{
	const struct lp_conf *conf = sup->opts.conf;

	if (conf->command.n == 0) {
		sup->work.restart = false;
		lp_sup_fire(sup, LP_EV_NOTHING, "Nothing runs here: there is no command.");
		return;
	}
	lp_sup_fire(sup, conf->restart.strategy == LP_STRATEGY_SWAP ? LP_EV_BESIDE : LP_EV_ALONE,
		    NULL);
	limit_leaving(sup);
}

static void report(const struct lp_sup *sup, const struct lp_sup_failure *failure)
{
	struct lp_sup_failure with_path = *failure;

	with_path.path = sup->last_path;
	with_path.n_paths = sup->n_last_paths;
	sup->opts.ops.on_failed(sup->opts.ctx, &with_path);
}

void lp_sup_fault(struct lp_sup *sup, const struct lp_sup_failure *failure)
{
	char reason[512];

	if (sup->state == LP_SUP_STOPPING)
		return;
	sup->failed_us = lp_now_us();
	(void)snprintf(reason, sizeof(reason), "The app could not be started: %s.", failure->error);
	sup->work.restart = true;
	sup->blocked = true;
	lp_sup_fire(sup, sup->recovering ? LP_EV_RELAPSE : LP_EV_FAULT, reason);
	report(sup, failure);
}

void lp_sup_on_healthy(struct lp_sup *sup, struct lp_gen *gen)
{
	gen->healthy_us = lp_now_us();
	if (!lp_loop_tries(sup, gen))
		lp_sup_serve(sup, gen);
}

void lp_sup_serve(struct lp_sup *sup, struct lp_gen *gen)
{
	gen->healthy_us = lp_now_us();
	lp_sup_fire(sup, LP_EV_HEALTHY, NULL);
	sup->recovering = false;
	lp_loop_up(sup);
	sup->opts.ops.on_restarted(sup->opts.ctx, gen->revision, gen->number,
				   gen->healthy_us - gen->asked_us);
	lp_sup_wake(sup);
}

void lp_sup_on_crash(struct lp_sup *sup, struct lp_gen *gen, int status)
{
	struct lp_sup_failure failure = {
		.revision = gen->revision,
		.generation = gen->number,
		.stage = LP_STAGE_CRASH,
		.excerpt = lp_excerpt_text(&gen->proc.excerpt),
	};
	char how[128];
	char error[192];

	lp_child_status_text(status, how, sizeof(how));
	(void)snprintf(error, sizeof(error), "the app %s while it was serving", how);
	failure.error = error;
	sup->crashes++;
	sup->crashed_us = lp_now_us();
	sup->recovering = true;
	if (sup->crashed_us - gen->healthy_us >= STEADY_US)
		sup->backoff_ms = 0;
	sup->serving = NULL;
	lp_sup_fire(sup, LP_EV_EXITED, NULL);
	lp_loop_hurry(sup); /* nothing serves meanwhile */
	report(sup, &failure);
}

void lp_sup_end_all(struct lp_sup *sup)
{
	lp_sup_fire(sup, LP_EV_STOP, "The app is being stopped.");
	for (struct lp_proc *proc = sup->procs; proc; proc = proc->next) {
		struct lp_gen *gen = lp_gen_of(proc);

		if (gen)
			lp_gen_end(gen);
		else
			lp_proc_end(proc);
	}
}
