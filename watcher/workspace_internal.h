/* watcher/workspace_internal.h: what workspace.c (events, taking) and scan.c (walking) share. */
#ifndef LP_WATCHER_WORKSPACE_INTERNAL_H
#define LP_WATCHER_WORKSPACE_INTERNAL_H

#include "sync/ignore.h"
#include "watcher/content.h"
#include "watcher/workspace.h"

#define LP_CONF_NAME "livepush.yml"

/* Contents kept in one changeset; what is beyond is read again when it is sent. */
#define LP_KEEP_MAX_BYTES ((uint64_t)16 * 1024 * 1024)

/* Where to look. */
struct lp_dirty {
	char *path; /* owned */
	uint64_t at_us;
	bool subtree;
	bool closed; /* nobody writes any more, whatever a lease says */
	bool just_closed;
	bool created;
};

struct lp_workspace {
	struct lp_loop *loop;
	int root_fd;
	char *path;
	struct lp_index *index;
	struct lp_ignore *ignore;
	struct lp_workspace_ops ops;
	void *ctx;
	struct lp_dirty *dirty;
	size_t n_dirty;
	size_t cap_dirty;
	char **busy; /* owned paths of files that are being written */
	size_t n_busy;
	size_t cap_busy;
	struct lp_timer busy_timer;
	char **owed; /* owned paths that have to be sent, changed or not */
	size_t n_owed;
	size_t cap_owed;
	char **noticed; /* owned paths */
	size_t n_noticed;
	size_t cap_noticed;
	uint64_t revision;
	uint32_t scan_mark;
};

/* Says once per path that it is left out. */
void lp_workspace_notice(struct lp_workspace *ws, const char *path, const char *why);

/* Remembers a path that is being written, to look at it again after a rest. Its closing is reported
 * by inotify as well; but a writer may hold it by a name outside, or only mapped. */
void lp_workspace_defer(struct lp_workspace *ws, const char *path);

/* Forgets that it was being written. */
void lp_workspace_settled(struct lp_workspace *ws, const char *path);

/* Whether lp_workspace_resend was called for a path that has not settled since. paid forgets it. */
bool lp_workspace_owes(const struct lp_workspace *ws, const char *path);
void lp_workspace_paid(struct lp_workspace *ws, const char *path);

/* Brings one entry of directory `dir` (open as dir_fd) up to date and appends what changed to cs
 * (NULL: nobody wants to know). Returns 1 when it is a directory that was not known before or that
 * must be walked because of `hint`, 0 otherwise, or -errno. */
int lp_workspace_update(struct lp_workspace *ws, struct lp_node *dir, int dir_fd, const char *path,
			const struct lp_dirty *hint, struct lp_changeset *cs);

/* Reads the directory `path` ("" for the root) and all below it into the index. The node must be
 * there. Returns 0 or -errno with a message (watches exhausted); unreadable directories are
 * noticed and left out. */
int lp_workspace_walk(struct lp_workspace *ws, const char *path, struct lp_changeset *cs,
		      struct lp_err *err) LP_MUST_USE;

/* Reads the rule files of a directory again. */
void lp_workspace_load_rules(struct lp_workspace *ws, int dir_fd, const char *path);

/* Removes a node from the index and reports it. */
void lp_workspace_drop(struct lp_workspace *ws, struct lp_node *node, const char *path,
		       struct lp_changeset *cs);

#endif
