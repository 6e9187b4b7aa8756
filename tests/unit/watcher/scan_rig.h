/* scan_rig.h: a workspace of many files with a state directory of its own, and sessions that follow
 * each other in it. */
#ifndef LP_TESTS_SCAN_RIG_H
#define LP_TESTS_SCAN_RIG_H

#include "tests/unit/watcher/content_rig.h"
#include "watcher/workspace_internal.h"

#define MANY_DIRS  40
#define MANY_FILES 60 /* in each */

/* A session without events, apart from the rig's. */
struct session {
	struct lp_loop *loop;
	struct lp_workspace *ws;
	struct lp_buf notices; /* one a line */
};

extern char state_home[64]; /* $XDG_STATE_HOME */

/* For each test. */
int scan_rig_set_up(void **state);
int scan_rig_tear_down(void **state);

/* Opens the rig's directory and scans it. */
void session_start(struct session *s, bool remember);
void session_end(struct session *s);

/* Fails unless the session's index is what somebody finds who knows nothing. */
void session_check(const struct session *s);

/* Writes a file of len bytes, the same for the same seed. */
void scan_rig_write(const char *path, size_t len, uint32_t seed);

/* MANY_DIRS directories, each with MANY_FILES files, half of them in a directory below; two large
 * files, a link, and rules that leave some out. */
void scan_rig_make_many(void);

/* Removes what the rules leave out. */
void scan_rig_remove_ignored(void);

#endif
