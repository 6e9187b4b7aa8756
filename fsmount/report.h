/* fsmount/report.h: finds the path of an inode and reports what changed. */
#ifndef LP_FSMOUNT_REPORT_H
#define LP_FSMOUNT_REPORT_H

#include "fsmount/fs.h"
#include "sync/event.h"

/* Writes the path of the inode, relative to the workspace ("" for its root), as its directory
 * entries say now. Returns 0; -ENOENT when it has no name in the workspace any more; -ESTALE when
 * it has one that we do not know. */
int lp_report_path(const struct lp_fsmount *m, const struct lp_inode *inode,
		   char out[PATH_MAX]) LP_MUST_USE;

/* Reports that the entry `name` of directory `parent` changed (or, as a SUBTREE, appeared). */
void lp_report_entry(const struct lp_fsmount *m, const struct lp_inode *parent, const char *name,
		     enum lp_event_kind kind);

/* Reports that the inode changed. */
void lp_report_inode(const struct lp_fsmount *m, const struct lp_inode *inode);

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
void lp_report_flush(const struct lp_fsmount *m, struct lp_handle *h, int pid);

/* The last descriptor of the handle, in all processes, is closed. */
void lp_report_release(const struct lp_fsmount *m, struct lp_handle *h);

#endif
