/* fsmount/writers.h: finds out who has a file of the mount open, for files that the kernel opens
 * without us (closes.h). Only with CAP_SYS_ADMIN. */
#ifndef LP_FSMOUNT_WRITERS_H
#define LP_FSMOUNT_WRITERS_H

#include <stdbool.h>

struct lp_fsmount;
struct lp_inode;

enum lp_writers {
	LP_WRITERS_NONE,
	LP_WRITERS_SOME,
	LP_WRITERS_UNKNOWN, /* no leases here */
};

/* Whether the kernel lets us do it; leaves nothing behind. */
bool lp_writers_probe(int root_fd);

/* A descriptor of fanotify(7) whose events come with one of the file, open for reading. Returns it,
 * owned, or -1 with errno. */
int lp_writers_watch(void);

/* Whether somebody has the file behind fd, which is open for reading in the mount, open for
 * writing: sends no request to the mount. The signal that a lease may raise goes to this thread,
 * which must block it. */
enum lp_writers lp_writers_find(int fd);

/* Opens the inode in the mount, for reading. Returns an owned descriptor; otherwise -1 and in
 * *found what that means: what the kernel does not know any more nobody has open. */
int lp_writers_open(const struct lp_fsmount *m, const struct lp_inode *inode,
		    enum lp_writers *found);

/* The inode behind a descriptor in the mount, as long as that is open; NULL when it is no file of
 * ours. */
struct lp_inode *lp_writers_inode(int fd);

#endif
