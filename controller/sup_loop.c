/* controller/sup_loop.c: notices when the app, or a rule's command, changes watched files by itself
 * and so restarts itself for ever.
 *
 * The sign of it: a path that asked for a start changes again while that start is under way or soon
 * after, and so on, LP_LOOP_STARTS times within LOOP_US. That alone is no proof: somebody may save,
 * look at what came of it and save again, as fast. Who does that waits until the start serves. So
 * when a path came that often after starts that are up, the next start is on trial: it is healthy,
 * but does not serve yet, for as long as the path took to come and somewhat more. What changes the
 * path then has seen nothing of that start but from within; when nothing does, it takes four times
 * as many changes until the next trial, and so it does when the path comes now sooner, now later,
 * as people save.
 *
 * From then on changes of that path alone are passed over: while a start is under way, so that it
 * comes to its end, and for a path that comes after it, too, for as long as it keeps its pace. What
 * was passed over may have been somebody's save after all: when the path has not come for that long
 * the app is started once more, and what comes later still is a save like any other. A start during
 * which (or LOOP_US after which) the path stays as it is ends the suspicion.
 *
 * An app that is down is never kept down by that: all that changes is a reason to start it, but for
 * what it may have written at its very end, and for that it is started when the path is quiet. */
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "controller/sup.h"

#include <stdio.h>
#include <string.h>

#define US_PER_MS 1000u
#define LOOP_US   10000000u
#define LATE_US   1000000u /* what an app that failed wrote at its end */
#define CAUSES    64       /* paths that are remembered of a start */
#define SURE      2        /* of the changes of a loop, the last ones come during starts */
#define SPARE_US  200000u  /* that a trial takes longer than the path took */
#define PACE_US   2500000u /* so seldom is no loop: not LP_LOOP_STARTS times within LOOP_US */
#define DUE_MAX   4096u    /* changes until the next trial, at most */

static bool is_under_way(const struct lp_sup *sup)
{
	return sup->next || sup->run || sup->waiting ||
	       (sup->blocked && lp_now_us() - sup->failed_us < LATE_US);
}

/* Whether nothing serves, and nothing is on its way to. */
static bool is_down(const struct lp_sup *sup)
{
	return !sup->serving && !sup->next && !sup->run && !sup->waiting;
}

static bool has_path(const struct lp_path_set *set, const char *path)
{
	for (size_t i = 0; i < set->n; i++) {
		if (strcmp(set->list[i], path) == 0)
			return true;
	}
	return false;
}

/* Whether the last start, or the one before, was for that path. */
static bool is_cause(const struct lp_sup *sup, const char *path)
{
	return has_path(&sup->cause, path) || has_path(&sup->cause_before, path);
}

/* Whether a change of that path starts the app. */
static bool restarts(const struct lp_sup *sup, const char *path)
{
	int rule = lp_ruleset_find(sup->rules, path);
	enum lp_conf_action action =
		rule < 0 ? LP_ACTION_RESTART : lp_ruleset_at(sup->rules, (size_t)rule)->action;

	return action == LP_ACTION_RESTART || action == LP_ACTION_RUN;
}

static bool any_restarts(const struct lp_sup *sup, const char *const *paths, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (restarts(sup, paths[i]))
			return true;
	}
	return false;
}

/* Drops those that nothing is proved of, and what they were counted by. */
static void forget_count(struct lp_sup_loop *loop)
{
	size_t kept = 0;

	for (size_t i = 0; i < loop->n_suspects; i++) {
		if (loop->suspects[i].known)
			loop->suspects[kept++] = loop->suspects[i];
		else
			free(loop->suspects[i].path);
	}
	loop->n_suspects = kept;
	loop->n = 0;
	loop->in_row = loop->during = 0;
}

void lp_loop_forget(struct lp_sup *sup)
{
	struct lp_sup_loop *loop = &sup->loop;

	for (size_t i = 0; i < loop->n_suspects; i++)
		loop->suspects[i].known = false;
	forget_count(loop);
	loop->known = loop->untold = loop->comes_late = loop->passed_over = loop->tried = false;
	loop->pace_us = 0;
	lp_timer_clear(&loop->quiet);
	lp_timer_clear(&loop->still);
}

void lp_loop_finish(struct lp_sup *sup)
{
	lp_loop_forget(sup);
	lp_timer_clear(&sup->loop.trial);
}

static struct lp_suspect *find_suspect(struct lp_sup_loop *loop, const char *path)
{
	for (size_t i = 0; i < loop->n_suspects; i++) {
		if (strcmp(loop->suspects[i].path, path) == 0)
			return &loop->suspects[i];
	}
	return NULL;
}

/* Whether one path comes again and again, rather than many one after the other. */
static bool is_stubborn(const struct lp_sup_loop *loop)
{
	for (size_t i = 0; i < loop->n_suspects; i++) {
		if (!loop->suspects[i].known && loop->suspects[i].hits > LP_LOOP_STARTS / 2)
			return true;
	}
	return false;
}

/* The longest and the shortest time between the changes that are counted. */
static uint64_t slowest_us(const struct lp_sup_loop *loop)
{
	uint64_t most_us = 0;

	for (size_t i = 1; i < loop->n; i++)
		most_us = loop->times_us[i] - loop->times_us[i - 1] > most_us
				  ? loop->times_us[i] - loop->times_us[i - 1]
				  : most_us;
	return most_us;
}

static uint64_t fastest_us(const struct lp_sup_loop *loop)
{
	uint64_t least_us = UINT64_MAX;

	for (size_t i = 1; i < loop->n; i++)
		least_us = loop->times_us[i] - loop->times_us[i - 1] < least_us
				   ? loop->times_us[i] - loop->times_us[i - 1]
				   : least_us;
	return least_us;
}

/* Remembers how long the path takes to come, at most, with room for a machine that is busy. */
static void learn_pace(struct lp_sup_loop *loop)
{
	uint64_t pace_us = 2 * slowest_us(loop);

	pace_us = pace_us < PACE_US ? PACE_US : pace_us;
	pace_us = pace_us > LOOP_US ? LOOP_US : pace_us;
	if (pace_us > loop->pace_us)
		loop->pace_us = pace_us;
}

/* Knows those that changed with more than one of the starts; the rest happened to be saved
 * meanwhile. The one that changed most often goes first. */
static void name_culprits(struct lp_sup_loop *loop)
{
	size_t first = 0;
	unsigned most = 0;

	for (size_t i = 0; i < loop->n_suspects; i++) {
		struct lp_suspect *one = &loop->suspects[i];

		if (one->known || one->hits < 2)
			continue;
		one->known = true;
		if (one->hits > most) {
			most = one->hits;
			first = i;
		}
	}
	if (first > 0) {
		struct lp_suspect one = loop->suspects[0];

		loop->suspects[0] = loop->suspects[first];
		loop->suspects[first] = one;
	}
	loop->comes_late = loop->comes_late || loop->during < LP_LOOP_STARTS;
	learn_pace(loop);
	loop->known = loop->untold = true;
	loop->tried = false;
	forget_count(loop);
}

void lp_loop_tell(struct lp_sup *sup)
{
	const char *path = sup->loop.untold ? sup->loop.suspects[0].path : NULL;
	char by[64] = "no rule names it, so that means a restart";
	char error[640];
	const struct lp_sup_failure failure = {
		.revision = sup->revision,
		.generation = sup->next ? sup->next->number : 0,
		.stage = LP_STAGE_LOOP,
		.error = error,
		.excerpt = "",
		.path = path,
		.n_paths = sup->loop.n_suspects,
	};
	int rule;

	if (!path)
		return;
	sup->loop.untold = false;
	rule = lp_ruleset_find(sup->rules, path);
	if (rule >= 0)
		(void)snprintf(by, sizeof(by), "rule %d is for it", rule + 1);
	(void)snprintf(error, sizeof(error),
		       "%.120s changed %s each of %d starts within %u s (%s): the app or a "
		       "command seems to write it. While that goes on, it starts nothing; %u s "
		       "after its last change the app is started once more. To be rid of it, put "
		       "'/%.120s' into 'ignore' of livepush.yml",
		       path, sup->loop.comes_late ? "during or soon after" : "during",
		       LP_LOOP_STARTS, LOOP_US / 1000000u, by,
		       (unsigned)((sup->loop.pace_us + 999999) / 1000000), path);
	sup->opts.ops.on_failed(sup->opts.ctx, &failure);
}

/* Counts a change; returns whether they are too many within the time. */
static bool count(struct lp_sup_loop *loop, uint64_t now_us, bool is_during)
{
	if (loop->n == LP_LOOP_STARTS) {
		memmove(loop->times_us, loop->times_us + 1,
			(LP_LOOP_STARTS - 1) * sizeof(loop->times_us[0]));
		loop->n--;
	}
	loop->times_us[loop->n++] = now_us;
	loop->in_row++;
	loop->during = is_during ? loop->during + 1 : 0;
	return loop->n == LP_LOOP_STARTS && now_us - loop->times_us[0] <= LOOP_US;
}

/* Notes those of the paths that asked for the last start. Returns whether there are any. */
static bool suspect(struct lp_sup *sup, const char *const *paths, size_t n)
{
	struct lp_sup_loop *loop = &sup->loop;
	bool any = false;

	/* As many as are remembered of a start. */
	for (size_t i = 0; i < n && i < CAUSES; i++) {
		struct lp_suspect *one = find_suspect(loop, paths[i]);

		if (!is_cause(sup, paths[i]) || (one && one->known) || !restarts(sup, paths[i]))
			continue;
		any = true;
		if (!one && loop->n_suspects < LP_LOOP_SUSPECTS) {
			one = &loop->suspects[loop->n_suspects++];
			*one = (struct lp_suspect){.path = lp_xstrdup(paths[i])};
		}
		if (one)
			one->hits++;
	}
	return any;
}

/* Whether all of those that start the app are known to be its own. */
static bool all_known(struct lp_sup *sup, const char *const *paths, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct lp_suspect *one = find_suspect(&sup->loop, paths[i]);

		if ((!one || !one->known) && restarts(sup, paths[i]))
			return false;
	}
	return true;
}

/* The app once more, for what was passed over. */
static void on_quiet(struct lp_timer *timer)
{
	struct lp_sup *sup = LP_CONTAINER_OF(timer, struct lp_sup, loop.quiet);
	const char *paths[LP_LOOP_SUSPECTS];
	size_t n = 0;

	if (sup->loop.tried && sup->serving)
		return;
	/* A start that is under way is not ended for that. */
	if (is_under_way(sup)) {
		lp_timer_set(sup->opts.loop, timer, lp_now_us() + sup->loop.pace_us);
		return;
	}
	for (size_t i = 0; i < sup->loop.n_suspects; i++) {
		if (sup->loop.suspects[i].known)
			paths[n++] = sup->loop.suspects[i].path;
	}
	sup->loop.tried = true;
	lp_sup_again(sup, paths, n);
}

/* The start has been up for long. */
static void on_still(struct lp_timer *timer)
{
	struct lp_sup *sup = LP_CONTAINER_OF(timer, struct lp_sup, loop.still);

	if (sup->loop.last_us <= sup->loop.up_us)
		lp_loop_forget(sup);
}

static void pass_over(struct lp_sup *sup, uint64_t now_us)
{
	struct lp_sup_loop *loop = &sup->loop;

	loop->passed_over = true;
	loop->last_us = now_us;
	lp_loop_hurry(sup); /* what was waited for has come */
	/* Once is enough, unless it may be what would bring the app back. */
	if (loop->tried && sup->serving)
		return;
	loop->quiet.on_fire = on_quiet;
	lp_timer_set(sup->opts.loop, &loop->quiet, now_us + loop->pace_us);
}

/* Whether what is known to be the app's comes from it now, rather than from somebody. */
static bool is_echo(const struct lp_sup *sup, bool is_during, uint64_t now_us)
{
	const struct lp_sup_loop *loop = &sup->loop;

	if (is_down(sup))
		return is_during || now_us - sup->crashed_us < LATE_US;
	return is_during || (loop->comes_late && (now_us - loop->last_us < loop->pace_us ||
						  now_us - loop->up_us < loop->pace_us));
}

static bool is_on_trial(const struct lp_sup *sup)
{
	return sup->loop.trial.loop && sup->next && sup->next->number == sup->loop.tries;
}

bool lp_loop_passes_over(struct lp_sup *sup, const char *const *paths, size_t n)
{
	struct lp_sup_loop *loop = &sup->loop;
	bool is_during = is_under_way(sup);
	uint64_t now_us = lp_now_us();

	if (loop->n > 0 && now_us - loop->times_us[loop->n - 1] > LOOP_US) {
		forget_count(loop);
		loop->due = 0;
	}
	if (!any_restarts(sup, paths, n))
		return false;
	if (!all_known(sup, paths, n)) {
		if (!suspect(sup, paths, n))
			forget_count(loop);
		else if (count(loop, now_us, is_during) && is_stubborn(loop) &&
			 (loop->during >= SURE || is_on_trial(sup))) {
			name_culprits(loop);
			lp_sup_wake(sup);
		}
	}
	if (!all_known(sup, paths, n))
		return false;
	if (!is_echo(sup, is_during, now_us)) {
		loop->tried = loop->tried && !loop->comes_late;
		return false;
	}
	pass_over(sup, now_us);
	return true;
}

static void on_trial(struct lp_timer *timer)
{
	struct lp_sup *sup = LP_CONTAINER_OF(timer, struct lp_sup, loop.trial);

	if (!sup->next || sup->next->number != sup->loop.tries)
		return;
	if (!sup->loop.passed_over) {
		unsigned due = sup->loop.due ? sup->loop.due : LP_LOOP_STARTS;

		sup->loop.due = due < DUE_MAX ? due * 4 : due;
		forget_count(&sup->loop);
	}
	lp_sup_serve(sup, sup->next);
}

/* Whether the path came so often that a start is put on trial. What an app writes comes after about
 * the same time; what somebody saves, or a formatter makes of it soon after, does not. */
static bool is_due(const struct lp_sup_loop *loop)
{
	uint64_t least_us = fastest_us(loop);
	unsigned due = loop->due ? loop->due : LP_LOOP_STARTS;

	if (slowest_us(loop) > least_us + least_us / 2 + SPARE_US)
		due *= 4;
	return loop->in_row >= due;
}

/* Not where the starts before failed: whoever mends the app has it back at once. */
bool lp_loop_tries(struct lp_sup *sup, const struct lp_gen *gen)
{
	struct lp_sup_loop *loop = &sup->loop;
	const uint64_t *last = loop->times_us + (loop->n > 0 ? loop->n - 1 : 0);
	uint64_t now_us = lp_now_us(), took_us, until_us;

	if (sup->recovering || loop->n < LP_LOOP_STARTS || *last - loop->times_us[0] > LOOP_US ||
	    loop->up_us < last[-2] || !is_due(loop))
		return false;
	took_us = slowest_us(loop);
	if (took_us > LOOP_US / 4)
		took_us = LOOP_US / 4;
	until_us = last[0] + took_us * 3 / 2 + SPARE_US;
	if (until_us <= now_us)
		return false; /* it would have come by now */
	/* Where nothing serves meanwhile requests wait: not after a crash, and not for ever. */
	if (!sup->serving &&
	    (sup->opts.conf->restart.strategy == LP_STRATEGY_SWAP ||
	     until_us - now_us > (uint64_t)sup->opts.conf->restart.hold_ms * US_PER_MS / 2))
		return false;
	lp_sup_say(sup, gen->number,
		   "%.200s changed soon after each of the last %u starts: this one serves in %u "
		   "ms, to see whether the app itself changes it",
		   sup->last_path ? sup->last_path : "a file", loop->in_row,
		   (unsigned)((until_us - now_us) / 1000));
	loop->tries = gen->number;
	loop->trial.on_fire = on_trial;
	lp_timer_set(sup->opts.loop, &loop->trial, until_us);
	return true;
}

void lp_loop_hurry(struct lp_sup *sup)
{
	if (sup->loop.trial.loop)
		lp_timer_set(sup->opts.loop, &sup->loop.trial, lp_now_us());
}

void lp_loop_up(struct lp_sup *sup)
{
	struct lp_sup_loop *loop = &sup->loop;

	loop->up_us = lp_now_us();
	if (loop->known && !loop->comes_late && !loop->passed_over)
		lp_loop_forget(sup);
	if (loop->known && loop->comes_late) {
		loop->still.on_fire = on_still;
		lp_timer_set(sup->opts.loop, &loop->still, loop->up_us + LOOP_US);
	}
	/* It has as long to come again as after any other start. */
	if (loop->quiet.loop)
		lp_timer_set(sup->opts.loop, &loop->quiet, loop->up_us + loop->pace_us);
	loop->passed_over = false;
}

void lp_loop_cause(struct lp_sup *sup, const char *const *paths, size_t n)
{
	if (n > 0) {
		free(sup->last_path);
		sup->last_path = lp_xstrdup(paths[0]);
		sup->n_last_paths = n;
	}
	for (size_t i = 0; i < n && sup->cause.n < CAUSES; i++) {
		if (!restarts(sup, paths[i]))
			continue;
		if (sup->cause_settled) {
			sup->cause_settled = false;
			lp_path_set_finish(&sup->cause_before);
			sup->cause_before = sup->cause;
			sup->cause = (struct lp_path_set){0};
		}
		if (!has_path(&sup->cause, paths[i]))
			lp_path_set_add(&sup->cause, paths[i]);
	}
}
