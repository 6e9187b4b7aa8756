/* cli/explain.h: what livepush does about a path of a workspace, by its rule files and livepush.yml
 * as they are now: which rule leaves it out, or what a save of it leads to. Knows nothing of
 * sessions and instances. */
#ifndef LP_CLI_EXPLAIN_H
#define LP_CLI_EXPLAIN_H

#include "common/conf/conf.h"

/* Finds the workspace of a path when nobody says which it is: the nearest directory above it that
 * has a livepush.yml or a .git, otherwise the current directory. Absolute; the caller's. */
char *lp_explain_workspace(const char *absolute_path);

/* The absolute path of what is named, which need not exist: links in its directory are resolved, it
 * is not itself. The caller's. NULL when the current directory is gone. */
char *lp_explain_absolute(const char *path);

/* file: where the rule stands, relative to the workspace, or "built-in rules"; line counts from 1,
 * 0 for the built-in ones. pattern: as written. above: what it matched is this directory above the
 * path; NULL: the path itself. All owned. negated: it takes the path in again. */
struct lp_explain_rule {
	char *file;
	unsigned line;
	char *pattern;
	char *above;
	bool negated;
};

/* ignored: by rule. left_out: why it is not mirrored all the same; NULL: it is. is_there: false:
 * there is nothing of that name now. action, number: what a save leads to: by that rule of
 * livepush.yml, from 1 on; 0: by default. excludes: the file of git's core.excludesFile, there or
 * not; NULL: none; owned. */
struct lp_explain {
	bool ignored;
	struct lp_explain_rule rule;
	const char *left_out;
	bool is_there;
	enum lp_conf_action action;
	size_t number;
	char *excludes;
};

/* Explains path (clean, relative) of the workspace that is open as root_fd and has that
 * livepush.yml (conf; yml is its text or ""). Finish *out after success. Returns 0 or -errno. */
int lp_explain_path(struct lp_explain *out, int root_fd, const char *path,
		    const struct lp_conf *conf, const char *yml, struct lp_err *err) LP_MUST_USE;
void lp_explain_finish(struct lp_explain *e);

/* The line of livepush.yml at which `pattern` stands in `ignore`, from 1 on; that of `ignore`
 * itself when it is written in another way; 0: there is none. Pure. */
unsigned lp_explain_line(const char *yml, const char *pattern);

#endif
