/* controller/rules.h: decides what changed paths ask for. Pure: no process, no clock. */
#ifndef LP_CONTROLLER_RULES_H
#define LP_CONTROLLER_RULES_H

#include "common/conf/conf.h"

/* The rules of a config with their globs compiled. */
struct lp_ruleset; /* opaque */

/* conf's rules are borrowed until lp_ruleset_destroy. A rule whose globs find no memory matches
 * nothing, so its paths fall to the default, a restart. */
struct lp_ruleset *lp_ruleset_create(const struct lp_conf *conf);
void lp_ruleset_destroy(struct lp_ruleset *rules);

/* The i-th, as lp_ruleset_find counts. */
const struct lp_conf_rule *lp_ruleset_at(const struct lp_ruleset *rules, size_t i);

/* The index of the first rule that matches the path (clean, relative), or -1. */
int lp_ruleset_find(const struct lp_ruleset *rules, const char *path);

/* A set of paths; owned copies. A zeroed struct is an empty one. */
struct lp_path_set {
	char **list;
	size_t n;
	size_t cap;
	size_t n_unique; /* list[0..n_unique) is sorted and without duplicates */
};

/* Adds a copy. Duplicates go away at the latest with lp_path_set_tidy. */
void lp_path_set_add(struct lp_path_set *set, const char *path);
/* Sorts by bytes and drops duplicates. */
void lp_path_set_tidy(struct lp_path_set *set);
void lp_path_set_finish(struct lp_path_set *set);

/* Work that changes have asked for and that is not done well yet. What was tried and failed stays
 * in here, so that the next change tries it again: a restart that depends on a failed build does
 * not happen without that build. due[i] belongs to rule i. */
struct lp_work {
	struct lp_work_due {
		bool due;
		struct lp_path_set changed; /* for RUN */
	} * due;
	size_t n;
	bool restart;
};

void lp_work_init(struct lp_work *work, const struct lp_ruleset *rules);
void lp_work_finish(struct lp_work *work);

/* Adds what the paths ask for: RUN is due with its paths and brings a restart, SIGNAL is due, NONE
 * and BROWSER_RELOAD ask for nothing here, RESTART and paths that no rule matches ask for a
 * restart. */
void lp_work_add(struct lp_work *work, const struct lp_ruleset *rules, const char *const *paths,
		 size_t n);

/* The first RUN rule that is due, or -1. */
int lp_work_next_run(const struct lp_work *work, const struct lp_ruleset *rules);

/* Takes rule i's paths out (tidy; finished by the caller): it is not due any more. */
struct lp_path_set lp_work_take_run(struct lp_work *work, size_t i);

/* Takes the next signal in rule order: its number, or 0 when none is due. A number that several
 * rules ask for comes once. */
int lp_work_take_signal(struct lp_work *work, const struct lp_ruleset *rules);

/* Whether anything is due. */
bool lp_work_pending(const struct lp_work *work);

/* Goes over to other rules: the paths that wait for commands are decided anew, and a signal that is
 * still due becomes a restart, which brings at least as much. */
void lp_work_rebase(struct lp_work *work, const struct lp_ruleset *before,
		    const struct lp_ruleset *after);

#endif
