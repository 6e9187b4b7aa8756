/* fsmount/writers.c: see writers.h. */
#include "fsmount/writers.h"

#include "common/base/lp_util.h"
#include "fsmount/fs.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/fanotify.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

enum {
	/* Of the handles that FUSE makes (FILEID_INO64_GEN in the kernel): two halves of the number
	 * that we gave the inode, and its generation, which is always 0. */
	HANDLE_TYPE = 0x81,
	HANDLE_WORDS = 3,
};

struct handle {
	struct file_handle head;
	uint32_t words[HANDLE_WORDS];
};

_Static_assert(offsetof(struct handle, words) == sizeof(struct file_handle),
	       "as the kernel has it");

int lp_writers_watch(void)
{
	return fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE,
			     O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* Whether we may open files by their handles: this one is of nothing. */
static bool may_open_handles(int root_fd)
{
	struct handle h = {.head = {.handle_bytes = sizeof(h.words), .handle_type = HANDLE_TYPE}};
	LP_AUTO_CLOSE int fd = open_by_handle_at(root_fd, &h.head, O_PATH | O_CLOEXEC);

	return fd >= 0 || errno != EPERM;
}

bool lp_writers_probe(int root_fd)
{
	const unsigned int how = FAN_MARK_FILESYSTEM;
	LP_AUTO_CLOSE int fd = lp_writers_watch();

	return fd >= 0 && may_open_handles(root_fd) &&
	       fanotify_mark(fd, FAN_MARK_ADD | how, FAN_CLOSE_WRITE, root_fd, NULL) == 0 &&
	       fanotify_mark(fd, FAN_MARK_REMOVE | how, FAN_CLOSE_WRITE, root_fd, NULL) == 0;
}

enum lp_writers lp_writers_find(int fd)
{
	const struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = (pid_t)syscall(SYS_gettid)};

	if (fcntl(fd, F_SETOWN_EX, &owner) == 0 && fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
		(void)fcntl(fd, F_SETLEASE, F_UNLCK);
		return LP_WRITERS_NONE;
	}
	return errno == EAGAIN ? LP_WRITERS_SOME : LP_WRITERS_UNKNOWN;
}

/* Whether the descriptor is of our mount. */
static bool is_ours(const struct lp_fsmount *m, int fd)
{
	struct statx stx;

	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &stx) == 0 &&
	       makedev(stx.stx_dev_major, stx.stx_dev_minor) == m->inodes.refused_dev;
}

int lp_writers_open(const struct lp_fsmount *m, const struct lp_inode *inode,
		    enum lp_writers *found)
{
	LP_AUTO_CLOSE int mount_fd = open(m->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t id = (uint64_t)(uintptr_t)inode;
	struct handle h = {
		.head = {.handle_bytes = sizeof(h.words), .handle_type = HANDLE_TYPE},
		.words = {(uint32_t)(id >> 32), (uint32_t)id, 0},
	};
	int fd;

	*found = LP_WRITERS_NONE;
	if (mount_fd < 0 || !is_ours(m, mount_fd))
		return -1;
	fd = open_by_handle_at(mount_fd, &h.head, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno != ESTALE)
		*found = LP_WRITERS_UNKNOWN;
	return fd;
}

struct lp_inode *lp_writers_inode(int fd)
{
	struct handle h = {.head = {.handle_bytes = sizeof(h.words)}};
	int mount_id;

	if (name_to_handle_at(fd, "", &h.head, &mount_id, AT_EMPTY_PATH) < 0 ||
	    h.head.handle_type != HANDLE_TYPE || h.words[2] != 0 ||
	    (h.words[0] == 0 && h.words[1] == FUSE_ROOT_ID))
		return NULL;
	return (struct lp_inode *)(uintptr_t)((uint64_t)h.words[0] << 32 | h.words[1]);
}
