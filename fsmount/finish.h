/* fsmount/finish.h: ends the writing of a file that the kernel opened without us, when nobody has
 * it open for writing any more, and reports it. See closes.h. */
#ifndef LP_FSMOUNT_FINISH_H
#define LP_FSMOUNT_FINISH_H

#include "fsmount/report.h"
#include "fsmount/writers.h"

/* What a look at an inode is to find out. */
struct lp_finish_look {
	struct lp_inode *inode;
	int fd;                /* taken; the same file in the mount; -1: not open */
	enum lp_writers found; /* when it is not open */
	bool may_be_opening;   /* who made it may not have come to open it yet */
};

/* Ends the writing of the inode and reports it. rested: nobody has it open. */
void lp_finish_inode(struct lp_fsmount *m, struct lp_inode *inode, bool rested);

/* Ends the writing of the inode unless somebody has it open. The answer and the end are one step: a
 * writer that comes in between would be taken for one that is done. The report may wait in held for
 * its flush. Returns the answer. */
enum lp_writers lp_finish_unless_open(struct lp_fsmount *m, struct lp_finish_look *look,
				      struct lp_held *held);

#endif
