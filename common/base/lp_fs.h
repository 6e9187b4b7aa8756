/* lp_fs.h: file system calls that glibc lacks or that everyone would write again. */
#ifndef LP_COMMON_BASE_LP_FS_H
#define LP_COMMON_BASE_LP_FS_H

#include "common/base/lp_buf.h"
#include "common/base/lp_err.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/types.h>

/* Opens a path below dir_fd that never leaves it and crosses no symlink (openat2 with
 * RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS and RESOLVE_NO_SYMLINKS; the last component too).
 * O_CLOEXEC is added. mode matters with O_CREAT only. Returns an owned descriptor or -errno. */
int lp_open_beneath(int dir_fd, const char *path, int flags, mode_t mode) LP_MUST_USE;

/* Opens the symlink itself (O_PATH | O_NOFOLLOW) under the same confinement; its target is read
 * with readlinkat(fd, ""). Returns an owned descriptor or -errno. */
int lp_open_beneath_link(int dir_fd, const char *path) LP_MUST_USE;

/* Writes all of it, through short writes and EINTR. Returns 0 or -errno. */
int lp_write_all(int fd, const void *data, size_t len) LP_MUST_USE;

/* Reads fd from its position to the end into buf (appended; buf->max is the ceiling). Returns 0 or
 * -errno. */
int lp_read_all(int fd, struct lp_buf *buf) LP_MUST_USE;

/* Reads a regular file from its position: max bytes, or fewer when it ends before; *len says how
 * many. A short read is taken for the end, which spares the read that would only find it. Returns 0
 * or -errno. */
int lp_read_up_to(int fd, void *buf, size_t max, size_t *len) LP_MUST_USE;

/* Reads exactly len bytes at `at`; the descriptor's position stays. Returns 0, -ESTALE when there
 * are fewer, or another -errno. */
int lp_read_at(int fd, uint64_t at, void *buf, size_t len) LP_MUST_USE;

/* Reads the whole file `path` (relative to dir_fd, AT_FDCWD allowed). Returns 0 or -errno. */
int lp_read_file(int dir_fd, const char *path, struct lp_buf *buf) LP_MUST_USE;

/* Makes the directory and what is missing above it with the given mode. Returns 0 or -errno. */
int lp_mkdir_p(const char *path, mode_t mode) LP_MUST_USE;

/* Removes name below dir_fd and everything under it, crossing no symlink and no other file system.
 * Missing is success. Returns 0 or the first -errno (and goes on with the rest). */
int lp_remove_tree(int dir_fd, const char *name);

/* Fills out with len unpredictable bytes (getrandom). Aborts when the kernel has none. */
void lp_random(void *out, size_t len);

/* Raises RLIMIT_NOFILE to its hard limit. Returns what the soft limit was before (to be given to
 * children), or 0 when that cannot be read. */
uint64_t lp_raise_nofile(void);

#endif
