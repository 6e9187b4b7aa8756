/* sync/ignore.h: which paths are left out, with the semantics of gitignore(5). Pure: it is given
 * the texts of rule files and never reads one. */
#ifndef LP_SYNC_IGNORE_H
#define LP_SYNC_IGNORE_H

#include "common/base/lp_util.h"

#include <stdbool.h>
#include <stddef.h>

struct lp_ignore; /* opaque: an ordered set of rules */

/* Precedence of rule sources within one directory, lowest first; rules of a deeper directory always
 * win over those of a shallower one, and of the same level the later line wins. */
enum lp_ignore_level {
	LP_IGNORE_BUILTIN,
	LP_IGNORE_PERSONAL, /* git's core.excludesFile; only for the root, and elsewhere */
	LP_IGNORE_EXCLUDE,  /* .git/info/exclude; only for the root */
	LP_IGNORE_GITIGNORE,
	LP_IGNORE_CFIGNORE,
	LP_IGNORE_LIVEPUSHIGNORE,
	LP_IGNORE_CONFIG, /* `ignore:` of livepush.yml; only for the root */
	LP_IGNORE_LEVEL_COUNT_,
};

/* The level whose rule file has that base name (".gitignore", ".cfignore", ".livepushignore"), or
 * -1: lets a watcher see that a changed path is a rule file. See lp_ignore_level_at for those that
 * are known by more than a base name. */
int lp_ignore_level_of(const char *base_name);

/* The level whose rule file is at clean path `path`, or -1. *dir_len (NULL allowed): how many bytes
 * of path are the directory that its rules are for; 0 is the root, whose ".git/info/exclude" counts
 * as well as ".gitignore". */
int lp_ignore_level_at(const char *path, size_t *dir_len);

/* The rule file of a level, seen from the directory that its rules are for: ".gitignore",
 * ".git/info/exclude". NULL for levels that have none, and, with a directory that is not the root,
 * for those that only the root has. For whoever reads the files. */
const char *lp_ignore_file_of(enum lp_ignore_level level, const char *dir);

struct lp_ignore *lp_ignore_create(void);
void lp_ignore_destroy(struct lp_ignore *ig);

/* Replaces the rules of one source: those of `level` that apply to directory `dir` ("" is the root,
 * otherwise a clean relative path) by text[0..len) in .gitignore syntax (comments, blank lines,
 * '!', leading and trailing '/', "**", escapes, trailing spaces, CRLF, a UTF-8 byte order mark).
 * len 0 removes them. source is the name for messages ("src/.gitignore"); copied. Lines over 4096
 * bytes and pattern characters that cannot match are skipped as git does. Returns 0 or -ENOMEM. */
int lp_ignore_set(struct lp_ignore *ig, const char *dir, enum lp_ignore_level level,
		  const char *source, const char *text, size_t len) LP_MUST_USE;

/* Adds the rules that hold for everyone at LP_IGNORE_BUILTIN: .git, .hg, .svn, .livepush, .DS_Store
 * and the transient files of editors. A user may negate them, apart from .git and .livepush
 * directly: those two are always ignored. */
int lp_ignore_add_builtin(struct lp_ignore *ig) LP_MUST_USE;

/* Where a decision came from; borrowed until the rules change. line counts from 1. */
struct lp_ignore_match {
	const char *source;
	const char *pattern;
	unsigned line;
	bool negated;
};

/* Whether `path` (clean, relative; is_dir tells its kind) is left out, looking at its parents
 * first: below an ignored directory everything is. match (NULL allowed) gets the deciding rule, or
 * is zeroed when none matched. Thread-safe as long as nobody changes ig. */
bool lp_ignore_check(const struct lp_ignore *ig, const char *path, bool is_dir,
		     struct lp_ignore_match *match);

/* The same for a path whose parents are known not to be ignored: one level only. For walks. */
bool lp_ignore_check_leaf(const struct lp_ignore *ig, const char *path, bool is_dir,
			  struct lp_ignore_match *match);

/* A glob list for rules: the same patterns without negation. Matches path or any of its parents. */
struct lp_globs; /* opaque */
struct lp_globs *lp_globs_create(const char *const *patterns, size_t n);
void lp_globs_destroy(struct lp_globs *globs);
bool lp_globs_match(const struct lp_globs *globs, const char *path);

#endif
