/* watcher/rules.h: where the ignore rules of a workspace are on disk, git's own included. */
#ifndef LP_WATCHER_RULES_H
#define LP_WATCHER_RULES_H

#include "common/base/lp_buf.h"
#include "sync/ignore.h"

/* Where the entry `.git` of a directory leads: itself, or where a file `.git` points to (worktrees,
 * submodules). Returns an owned descriptor or -errno. */
int lp_rules_open_repository(int dir_fd) LP_MUST_USE;

/* The directory `info` of that repository, or of the one that it shares it with (gitrepository-
 * layout(5), "commondir"). Returns an owned descriptor or -errno. */
int lp_rules_open_info(int dir_fd) LP_MUST_USE;

/* Reads the rule file of a level for directory `dir` ("" for the root), which is open as dir_fd,
 * into text, which must be empty. What is not there or is no plain file has no rules; as in git, a
 * link is not followed. Returns 0 or -errno. */
int lp_rules_read(int dir_fd, const char *dir, enum lp_ignore_level level,
		  struct lp_buf *text) LP_MUST_USE;

/* Of one rule file. */
#define LP_RULES_MAX_BYTES ((size_t)1024 * 1024)

#endif
