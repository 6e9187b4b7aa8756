/* fsmount/report.h: finds the path of an inode and reports what changed. */
#ifndef LP_FSMOUNT_REPORT_H
#define LP_FSMOUNT_REPORT_H

#include "fsmount/fs.h"
#include "fsmount/held.h"
#include "sync/event.h"

/* Writes the path of the inode, relative to the workspace ("" for its root), as its directory
 * entries say now. Returns 0; -ENOENT when it has no name in the workspace any more; -ESTALE when
 * it has one that we do not know. */
int lp_report_path(const struct lp_fsmount *m, const struct lp_inode *inode,
		   char out[PATH_MAX]) LP_MUST_USE;

/* The same, or the path that it had when its known name was removed. Returns 0 or -ENOENT. */
int lp_report_last_path(const struct lp_fsmount *m, const struct lp_inode *inode,
			char out[PATH_MAX]) LP_MUST_USE;

/* Reports that the entry `name` of directory `parent` changed (or, as a SUBTREE, appeared). */
void lp_report_entry(const struct lp_fsmount *m, const struct lp_inode *parent, const char *name,
		     enum lp_event_kind kind);

/* Reports that the inode changed. written: what was written, or NULL. */
void lp_report_inode(const struct lp_fsmount *m, const struct lp_inode *inode,
		     const struct lp_written *written);

/* The same when its last writer has closed it. also: another name of it, for an event of its own;
 * "": none. */
void lp_report_closed(const struct lp_fsmount *m, const struct lp_inode *inode,
		      const struct lp_written *written, const char *also);

/* Writes the path, relative to the workspace, by which fd, the same file in the mount, was opened,
 * when it has several names; "" otherwise. */
void lp_report_opened_as(const struct lp_fsmount *m, const struct lp_inode *inode, int fd,
			 char out[PATH_MAX]);

/* As lp_report_closed, of a file of which nothing is known to have been written, but later: with
 * lp_report_held, or when there are many. */
void lp_report_hold(const struct lp_fsmount *m, struct lp_held *held, const struct lp_inode *inode);

/* Reports what waits. */
void lp_report_held(const struct lp_fsmount *m, struct lp_held *held);

/* The same when it is not known whether somebody still writes it. */
void lp_report_resting(const struct lp_fsmount *m, const struct lp_inode *inode);

/* Reports that the inode changed, unless somebody is writing it: then its last writer's close
 * does, so that nobody looks at a half-written file. */
void lp_report_settled(const struct lp_fsmount *m, const struct lp_inode *inode);

/* Whether a report of the inode waits for the close of a writer. */
bool lp_report_is_pending(const struct lp_inode *inode);

/* The handle is there, and its file is about to be opened. */
void lp_report_opened(struct lp_handle *h);

/* A process wrote or truncated through the handle. */
void lp_report_touched(struct lp_handle *h, int pid);

/* A process closes a descriptor of the handle: reports when this is its last one for the file and
 * nobody else writes it. See report.c. */
void lp_report_flush(struct lp_fsmount *m, struct lp_handle *h, int pid);

/* The last descriptor of the handle, in all processes, is closed. */
void lp_report_release(struct lp_fsmount *m, struct lp_handle *h);

/* A caller wants to know that what was written to the inode is applied everywhere: reports it if it
 * has not been, whoever writes it, and answers the request when the owner's barrier says so.
 * Returns false, and does nothing, when there is nothing to wait for: it has no name. */
bool lp_report_synced(struct lp_fsmount *m, fuse_req_t req, struct lp_inode *inode);

#endif
