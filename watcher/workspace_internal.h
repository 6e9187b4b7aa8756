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
};

/* A file whose writer has it open: looked at again after a rest, at the latest after a second. */
struct lp_busy {
	char *path; /* owned */
	uint64_t since_us;
	struct lp_stat_sig sig;
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
	struct lp_busy *busy;
	size_t n_busy;
	size_t cap_busy;
	struct lp_timer busy_timer;
	char **noticed; /* owned paths */
	size_t n_noticed;
	size_t cap_noticed;
	uint64_t revision;
	uint32_t scan_mark;
};

/* Says once per path that it is left out. */
void lp_workspace_notice(struct lp_workspace *ws, const char *path, const char *why);

/* Remembers a path that is being written. */
void lp_workspace_defer(struct lp_workspace *ws, const char *path, const struct lp_stat_sig *sig);

/* Forgets that it was being written. */
void lp_workspace_settled(struct lp_workspace *ws, const char *path);

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
