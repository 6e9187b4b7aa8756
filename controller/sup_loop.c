/* controller/sup_loop.c: notices when the app, or a rule's command, changes watched files by itself
 * and so restarts itself for ever.
 *
 * The sign of it: a path that asked for a start changes again while that start is under way, and so
 * on, LOOP_STARTS times within LOOP_US. Somebody who saves that fast gets nothing from those starts
 * either, because each ends the one before. From then on changes of that path alone are passed over
 * while a start is under way, so that the start comes to its end. What was passed over may have
 * been somebody's save after all: when the path has been quiet for LOOP_US the app is started once
 * more. A start during which the path stays as it is ends the suspicion. */
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "controller/sup.h"

#include <stdio.h>
#include <string.h>

#define LOOP_US 10000000u
#define LATE_US 1000000u /* what a start that failed wrote at its end */
#define CAUSES  64       /* paths that are remembered of a start */

static bool is_under_way(const struct lp_sup *sup)
{
	return sup->next || sup->run || sup->waiting ||
	       (sup->blocked && lp_now_us() - sup->failed_us < LATE_US);
}

static bool has_path(const char *const *paths, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(paths[i], path) == 0)
			return true;
	}
	return false;
}

static bool is_cause(const struct lp_sup *sup, const char *path)
{
	return has_path((const char *const *)sup->cause.list, sup->cause.n, path);
}

void lp_loop_forget(struct lp_sup *sup)
{
	struct lp_sup_loop *loop = &sup->loop;

	for (size_t i = 0; i < loop->n_suspects; i++)
		free(loop->suspects[i].path);
	loop->n_suspects = loop->n = 0;
	loop->known = loop->untold = loop->passed_over = loop->tried = false;
	if (loop->quiet.loop)
		lp_timer_clear(&loop->quiet);
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
		if (loop->suspects[i].hits > LP_LOOP_STARTS / 2)
			return true;
	}
	return false;
}

/* Leaves those that changed with more than one of the starts; the rest happened to be saved
 * meanwhile. The one that changed most often goes first. */
static void name_culprits(struct lp_sup_loop *loop)
{
	size_t kept = 0, most = 0;

	for (size_t i = 0; i < loop->n_suspects; i++) {
		struct lp_suspect one = loop->suspects[i];

		if (one.hits < 2) {
			free(one.path);
			continue;
		}
		if (kept > 0 && one.hits > most) {
			loop->suspects[kept] = loop->suspects[0];
			loop->suspects[0] = one;
		} else {
			loop->suspects[kept] = one;
		}
		most = one.hits > most ? one.hits : most;
		kept++;
	}
	loop->n_suspects = kept;
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
		       "%.120s changed during each of %d starts within %u s (%s): the app or a "
		       "command writes it, and so restarts itself. From now on it is passed over "
		       "during a start; to be rid of it, put '/%.120s' into 'ignore' of "
		       "livepush.yml",
		       path, LP_LOOP_STARTS, LOOP_US / 1000000u, by, path);
	sup->opts.ops.on_failed(sup->opts.ctx, &failure);
}

/* Counts a change; returns whether they are too many within the time. */
static bool count(struct lp_sup_loop *loop, uint64_t now_us)
{
	if (loop->n == LP_LOOP_STARTS) {
		memmove(loop->times_us, loop->times_us + 1,
			(LP_LOOP_STARTS - 1) * sizeof(loop->times_us[0]));
		loop->n--;
	}
	loop->times_us[loop->n++] = now_us;
	return loop->n == LP_LOOP_STARTS && now_us - loop->times_us[0] <= LOOP_US;
}

/* Notes those of the paths that asked for the start under way. Returns whether there are any. */
static bool suspect(struct lp_sup *sup, const char *const *paths, size_t n)
{
	struct lp_sup_loop *loop = &sup->loop;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		struct lp_suspect *one = find_suspect(loop, paths[i]);

		if (!is_cause(sup, paths[i]))
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

static bool all_suspect(struct lp_sup_loop *loop, const char *const *paths, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!find_suspect(loop, paths[i]))
			return false;
	}
	return true;
}

/* The app once more, for what was passed over. */
static void on_quiet(struct lp_timer *timer)
{
	struct lp_sup *sup = LP_CONTAINER_OF(timer, struct lp_sup, loop.quiet);
	const char *paths[LP_LOOP_SUSPECTS];

	for (size_t i = 0; i < sup->loop.n_suspects; i++)
		paths[i] = sup->loop.suspects[i].path;
	sup->loop.tried = true;
	lp_sup_again(sup, paths, sup->loop.n_suspects);
}

static void pass_over(struct lp_sup *sup)
{
	struct lp_sup_loop *loop = &sup->loop;

	loop->passed_over = true;
	if (loop->tried)
		return;
	loop->quiet.on_fire = on_quiet;
	lp_timer_set(sup->opts.loop, &loop->quiet, lp_now_us() + LOOP_US);
}

bool lp_loop_passes_over(struct lp_sup *sup, const char *const *paths, size_t n)
{
	struct lp_sup_loop *loop = &sup->loop;

	if (n == 0 || !is_under_way(sup))
		return false;
	if (!loop->known) {
		if (!suspect(sup, paths, n)) {
			lp_loop_forget(sup);
			return false;
		}
		if (!count(loop, lp_now_us()) || !is_stubborn(loop))
			return false;
		name_culprits(loop);
		loop->known = loop->untold = true;
		lp_sup_wake(sup);
	}
	if (!all_suspect(loop, paths, n))
		return false;
	pass_over(sup);
	return true;
}

void lp_loop_up(struct lp_sup *sup)
{
	if (!sup->loop.passed_over)
		lp_loop_forget(sup);
	sup->loop.passed_over = false;
}

void lp_loop_cause(struct lp_sup *sup, const char *const *paths, size_t n)
{
	if (n > 0) {
		free(sup->last_path);
		sup->last_path = lp_xstrdup(paths[0]);
		sup->n_last_paths = n;
	}
	for (size_t i = 0; i < n && sup->cause.n < CAUSES; i++) {
		if (!is_cause(sup, paths[i]))
			lp_path_set_add(&sup->cause, paths[i]);
	}
}
