/* watch_rig.h: a workspace in a temporary directory with inotify over it, a model that learns of it
 * by changesets alone, and a walk of the directory that shares no code with either. */
#ifndef LP_TESTS_WATCH_RIG_H
#define LP_TESTS_WATCH_RIG_H

#include "common/base/lp_buf.h"
#include "watcher/inotify.h"
#include "watcher/workspace.h"

#include <sys/types.h>

#define RIG_DEADLINE_US 30000000u

struct rig {
	char dir[64];
	struct lp_loop *loop;
	struct lp_workspace *ws;
	struct lp_watch *watch;
	struct lp_buf notices; /* one a line */
	const char *written;   /* the path that is written unseen by leases; NULL: none */
	struct lp_buf ops;     /* what the last rig_settle took: "PUT a", one a line, sorted */
	unsigned n_root_gone;
	unsigned n_conf;
	unsigned n_dirs; /* on_dir calls */
	size_t n_changesets;
};

/* $XDG_CONFIG_HOME and $GIT_CONFIG_GLOBAL of rigs that are opened from now on; NULL: there is
 * nothing. */
extern const char *rig_config_home;
extern const char *rig_git_config;

/* A fresh directory; scanned is whether it is scanned (and watched) right away. */
void rig_open(struct rig *r, bool scanned);
void rig_scan(struct rig *r);
void rig_close(struct rig *r);

/* In the workspace; each fails the test when it cannot be done. */
void rig_write(struct rig *r, const char *path, const char *text);
void rig_mkdir(struct rig *r, const char *path);
void rig_symlink(struct rig *r, const char *path, const char *target);
void rig_rename(struct rig *r, const char *from, const char *to);
void rig_chmod(struct rig *r, const char *path, mode_t mode);
void rig_remove(struct rig *r, const char *path);
/* Opens for writing; owned. */
int rig_open_file(struct rig *r, const char *path, int flags);

/* Takes until there is nothing more to take and nobody is waited for; fails when that does not come
 * about in time. Gives every changeset to the model and checks its form. Returns r->ops as text. */
const char *rig_settle(struct rig *r);

/* The same without waiting for files that are being written. */
const char *rig_take(struct rig *r);

/* Runs the loop for timers and descriptors for at most ms. */
void rig_run(struct rig *r, int ms);

/* Fails unless the index, the model and the directory hold the same. */
void rig_check(struct rig *r);

/* The directory as a text: "path kind mode digest" sorted; all: also what rules leave out. Owned.
 */
char *rig_tree(struct rig *r);

#endif
