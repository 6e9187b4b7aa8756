/* controller/rules.c: paths to actions, and the work that is owed. */
#include "controller/rules.h"

#include "common/base/lp_mem.h"
#include "sync/ignore.h"

#include <string.h>

struct lp_ruleset {
	const struct lp_conf_rule *rules;
	struct lp_globs **globs;
	size_t n;
};

struct lp_ruleset *lp_ruleset_create(const struct lp_conf *conf)
{
	struct lp_ruleset *rules = lp_xcalloc(1, sizeof(*rules));

	rules->rules = conf->rules;
	rules->n = conf->n_rules;
	rules->globs = lp_xcalloc(rules->n, sizeof(struct lp_globs *));
	for (size_t i = 0; i < rules->n; i++)
		rules->globs[i] = lp_globs_create((const char *const *)conf->rules[i].match,
						  conf->rules[i].n_match);
	return rules;
}

void lp_ruleset_destroy(struct lp_ruleset *rules)
{
	if (!rules)
		return;
	for (size_t i = 0; i < rules->n; i++)
		lp_globs_destroy(rules->globs[i]);
	free(rules->globs);
	free(rules);
}

const struct lp_conf_rule *lp_ruleset_at(const struct lp_ruleset *rules, size_t i)
{
	return &rules->rules[i];
}

int lp_ruleset_find(const struct lp_ruleset *rules, const char *path)
{
	for (size_t i = 0; i < rules->n; i++) {
		if (rules->globs[i] && lp_globs_match(rules->globs[i], path))
			return (int)i;
	}
	return -1;
}

void lp_path_set_add(struct lp_path_set *set, const char *path)
{
	/* Keeps a rule that fails again and again from growing without end. */
	if (set->n >= 64 && set->n >= 2 * set->n_unique)
		lp_path_set_tidy(set);
	lp_grow(&set->list, &set->cap, set->n + 1, sizeof(*set->list));
	set->list[set->n++] = lp_xstrdup(path);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void lp_path_set_tidy(struct lp_path_set *set)
{
	size_t kept = 0;

	if (set->n == set->n_unique)
		return;
	qsort(set->list, set->n, sizeof(*set->list), by_bytes);
	for (size_t i = 0; i < set->n; i++) {
		if (kept > 0 && strcmp(set->list[kept - 1], set->list[i]) == 0)
			free(set->list[i]);
		else
			set->list[kept++] = set->list[i];
	}
	set->n = set->n_unique = kept;
}

void lp_path_set_finish(struct lp_path_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		free(set->list[i]);
	free(set->list);
	*set = (struct lp_path_set){0};
}

void lp_work_init(struct lp_work *work, const struct lp_ruleset *rules)
{
	*work = (struct lp_work){.n = rules->n};
	work->due = lp_xcalloc(rules->n, sizeof(*work->due));
}

void lp_work_finish(struct lp_work *work)
{
	for (size_t i = 0; i < work->n; i++)
		lp_path_set_finish(&work->due[i].changed);
	free(work->due);
	*work = (struct lp_work){0};
}

static void add_path(struct lp_work *work, const struct lp_ruleset *rules, const char *path)
{
	int i = lp_ruleset_find(rules, path);
	enum lp_conf_action action = i < 0 ? LP_ACTION_RESTART : rules->rules[i].action;

	switch (action) {
	case LP_ACTION_RUN:
		lp_path_set_add(&work->due[i].changed, path);
		work->due[i].due = true;
		work->restart = true;
		break;
	case LP_ACTION_SIGNAL:
		work->due[i].due = true;
		break;
	case LP_ACTION_RESTART:
		work->restart = true;
		break;
	case LP_ACTION_NONE:
	case LP_ACTION_BROWSER_RELOAD:
	case LP_ACTION_COUNT_:
		break;
	}
}

void lp_work_add(struct lp_work *work, const struct lp_ruleset *rules, const char *const *paths,
		 size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_path(work, rules, paths[i]);
}

int lp_work_next_run(const struct lp_work *work, const struct lp_ruleset *rules)
{
	for (size_t i = 0; i < work->n; i++) {
		if (work->due[i].due && rules->rules[i].action == LP_ACTION_RUN)
			return (int)i;
	}
	return -1;
}

struct lp_path_set lp_work_take_run(struct lp_work *work, size_t i)
{
	struct lp_path_set taken = work->due[i].changed;

	work->due[i] = (struct lp_work_due){0};
	lp_path_set_tidy(&taken);
	return taken;
}

int lp_work_take_signal(struct lp_work *work, const struct lp_ruleset *rules)
{
	int signo = 0;

	for (size_t i = 0; i < work->n; i++) {
		if (!work->due[i].due || rules->rules[i].action != LP_ACTION_SIGNAL)
			continue;
		if (signo == 0)
			signo = rules->rules[i].signo;
		if (rules->rules[i].signo == signo)
			work->due[i].due = false;
	}
	return signo;
}

bool lp_work_pending(const struct lp_work *work)
{
	for (size_t i = 0; i < work->n; i++) {
		if (work->due[i].due)
			return true;
	}
	return work->restart;
}

void lp_work_rebase(struct lp_work *work, const struct lp_ruleset *before,
		    const struct lp_ruleset *after)
{
	struct lp_work old = *work;

	lp_work_init(work, after);
	work->restart = old.restart;
	for (size_t i = 0; i < old.n; i++) {
		if (old.due[i].due && before->rules[i].action == LP_ACTION_SIGNAL)
			work->restart = true;
		lp_work_add(work, after, (const char *const *)old.due[i].changed.list,
			    old.due[i].changed.n);
	}
	lp_work_finish(&old);
}
