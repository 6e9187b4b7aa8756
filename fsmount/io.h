/* fsmount/io.h: descriptors below for the content of a file, and the bracket around each change of
 * it, for files that were opened with us or without us (closes.h). */
#ifndef LP_FSMOUNT_IO_H
#define LP_FSMOUNT_IO_H

#include "fsmount/fs.h"
#include "fsmount/writing.h"

/* One use of a file's content. */
struct lp_io {
	struct lp_fsmount *m;
	struct lp_inode *inode;
	struct lp_handle *h; /* NULL: the kernel opened it without us, or it is named by its path */
	struct lp_writing *w;
	int fd;  /* borrowed until the end */
	int own; /* the same when it was opened for this use; -1 */
};

/* What a change did. pid: the thread that did it, 0 when the kernel does not say. */
struct lp_io_change {
	uint64_t at;
	uint64_t len;
	bool to_end; /* instead of len: from `at` on to the old or the new end */
	int pid;
};

/* Something to read from; fi may be NULL. Returns 0 or -errno. */
int lp_io_open(struct lp_io *io, struct lp_fsmount *m, fuse_ino_t ino,
	       const struct fuse_file_info *fi) LP_MUST_USE;
void lp_io_close(struct lp_io *io);

/* Before and after a change of the content, which end reports, or notes as to be reported when the
 * file is closed; change NULL: it failed. begin takes a lock that end releases. Returns 0 or
 * -errno, and then there is nothing to end. */
int lp_io_begin(struct lp_io *io, struct lp_fsmount *m, fuse_ino_t ino,
		const struct fuse_file_info *fi) LP_MUST_USE;
void lp_io_end(struct lp_io *io, const struct lp_io_change *change);

/* Takes the writer's descriptor away from a handle until it changes the file again, so that the
 * file below is not open for writing, and can be read, while a caller waits for that. When that is
 * not possible it stays as it is. */
void lp_io_park(struct lp_fsmount *m, struct lp_handle *h);

/* Before and after a change of attributes, so that it is not taken for one by somebody else. */
void lp_io_begin_attr(struct lp_io *io, struct lp_fsmount *m, struct lp_inode *inode);
void lp_io_end_attr(struct lp_io *io);

#endif
