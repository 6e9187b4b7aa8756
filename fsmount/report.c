/* fsmount/report.c: see report.h.
 *
 * When is a written file complete? When its last writer has closed it, which the kernel tells by
 * RELEASE, but only after close(2) has returned. FLUSH comes before close(2) returns, but for each
 * descriptor that is closed, while others, here or in another process, may go on writing. So a file
 * is reported at RELEASE, and already at FLUSH in the case that matters to editors: one handle has
 * the file open for writing, only the process that opened it has written through it, it did write,
 * and it has no other descriptor for the file. Whatever is unclear waits for RELEASE. (What this
 * process itself writes always does: it has the file below open, under the same path.) */
#include "fsmount/report.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"
#include "fsmount/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum {
	/* A process with more descriptors than this is not searched through: RELEASE is soon. */
	MAX_SEARCHED_FDS = 256,
};

static const char DELETED[] = " (deleted)";

/* The path of an O_PATH descriptor on the mount below. Returns its length or -errno. */
static ssize_t path_of_fd(const struct lp_fsmount *m, int fd, char out[PATH_MAX])
{
	char name[16];
	ssize_t len;

	(void)snprintf(name, sizeof(name), "%d", fd);
	len = readlinkat(m->proc_fd, name, out, PATH_MAX);
	if (len < 0)
		return -errno;
	if (len == PATH_MAX)
		return -ENAMETOOLONG;
	out[len] = '\0';
	return len;
}

/* Tells a name that ends in " (deleted)" from a name that is gone. */
static int check_deleted(const struct lp_fsmount *m, const struct lp_inode *inode, const char *rel)
{
	struct stat st;

	if (fstatat(m->opts.root_fd, rel, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == inode->ino && st.st_dev == inode->dev)
		return 0;
	if (fstat(inode->fd, &st) == 0 && st.st_nlink > 0 && !S_ISDIR(st.st_mode))
		return -ESTALE;
	return -ENOENT;
}

/* Writes the path as /proc has it, relative to the workspace; that of a name that is gone ends in
 * DELETED. Returns its length, or -ENOENT when it leads out of the workspace. */
static ssize_t path_in_proc(const struct lp_fsmount *m, const struct lp_inode *inode,
			    char out[PATH_MAX])
{
	char root[PATH_MAX];
	ssize_t root_len;
	ssize_t len;

	/* Asked each time: the workspace itself may be renamed, and both have to fit. */
	root_len = path_of_fd(m, m->opts.root_fd, root);
	len = path_of_fd(m, inode->fd, out);
	if (root_len < 0 || len < 0)
		return -ENOENT;
	if (root_len == 1)
		root_len = 0; /* the workspace is "/" */
	if (len <= root_len + 1 || memcmp(out, root, (size_t)root_len) != 0 || out[root_len] != '/')
		return -ENOENT; /* moved out of the workspace underneath us */
	len -= root_len + 1;
	memmove(out, out + root_len + 1, (size_t)len + 1);
	return len;
}

static bool ends_deleted(const char *path, ssize_t len)
{
	size_t tail = sizeof(DELETED) - 1;

	return (size_t)len > tail && strcmp(path + (size_t)len - tail, DELETED) == 0;
}

int lp_report_path(const struct lp_fsmount *m, const struct lp_inode *inode, char out[PATH_MAX])
{
	ssize_t len;

	if (inode == &m->inodes.root) {
		out[0] = '\0';
		return 0;
	}
	len = path_in_proc(m, inode, out);
	if (len < 0)
		return (int)len;
	return ends_deleted(out, len) ? check_deleted(m, inode, out) : 0;
}

int lp_report_last_path(const struct lp_fsmount *m, const struct lp_inode *inode,
			char out[PATH_MAX])
{
	int r = lp_report_path(m, inode, out);
	ssize_t len;

	if (r == 0)
		return 0;
	len = path_in_proc(m, inode, out);
	if (len < 0 || !ends_deleted(out, len))
		return r;
	out[(size_t)len - (sizeof(DELETED) - 1)] = '\0';
	return 0;
}

static void report(const struct lp_fsmount *m, enum lp_event_kind kind, const char *path,
		   const struct lp_written *written)
{
	struct lp_event ev = {.kind = kind, .path = path, .at_us = lp_now_us(), .written = written};

	if (!m->silent)
		m->opts.on_event(m->opts.ctx, &ev);
}

void lp_report_entry(const struct lp_fsmount *m, const struct lp_inode *parent, const char *name,
		     enum lp_event_kind kind)
{
	char dir[PATH_MAX];
	char path[PATH_MAX];

	if (lp_report_path(m, parent, dir) == 0 && lp_path_join(path, sizeof(path), dir, name) == 0)
		report(m, kind, path, NULL);
}

static void report_as(const struct lp_fsmount *m, const struct lp_inode *inode,
		      enum lp_event_kind kind, const struct lp_written *written)
{
	char path[PATH_MAX];
	int r = lp_report_path(m, inode, path);

	if (r == 0)
		report(m, kind, path, written);
	else if (r == -ESTALE) /* a hard link whose known name was removed: could be anywhere */
		report(m, LP_EVENT_LOST, "", NULL);
}

void lp_report_inode(const struct lp_fsmount *m, const struct lp_inode *inode,
		     const struct lp_written *written)
{
	report_as(m, inode, LP_EVENT_CHANGED, written);
}

void lp_report_closed(const struct lp_fsmount *m, const struct lp_inode *inode,
		      const struct lp_written *written, const char *also)
{
	char path[PATH_MAX];

	report_as(m, inode, LP_EVENT_CLOSED, written);
	if (also[0] != '\0' && (lp_report_path(m, inode, path) != 0 || strcmp(path, also) != 0))
		report(m, LP_EVENT_CLOSED, also, NULL);
}

void lp_report_hold(const struct lp_fsmount *m, struct lp_held *held, const struct lp_inode *inode)
{
	char path[PATH_MAX];
	int r = lp_report_path(m, inode, path);

	if (r == 0)
		held->paths[held->n++] = lp_xstrdup(path);
	else if (r == -ESTALE) /* as in report_as */
		report(m, LP_EVENT_LOST, "", NULL);
	if (held->n == LP_COUNT_OF(held->paths))
		lp_report_held(m, held);
}

void lp_report_held(const struct lp_fsmount *m, struct lp_held *held)
{
	for (size_t i = 0; i < held->n; i++) {
		report(m, LP_EVENT_CLOSED, held->paths[i], NULL);
		free(held->paths[i]);
	}
	held->n = 0;
}

void lp_report_opened_as(const struct lp_fsmount *m, const struct lp_inode *inode, int fd,
			 char out[PATH_MAX])
{
	size_t root_len = strlen(m->mountpoint);
	struct stat st;
	ssize_t len;

	out[0] = '\0';
	if (fstat(inode->fd, &st) < 0 || st.st_nlink < 2)
		return;
	len = path_of_fd(m, fd, out);
	if (len > (ssize_t)root_len + 1 && out[root_len] == '/' &&
	    memcmp(out, m->mountpoint, root_len) == 0 && !ends_deleted(out, len))
		memmove(out, out + root_len + 1, (size_t)len - root_len);
	else
		out[0] = '\0';
}

void lp_report_resting(const struct lp_fsmount *m, const struct lp_inode *inode)
{
	report_as(m, inode, LP_EVENT_WRITING, NULL);
}

/* Reports the inode with what was written to it since it was last reported like this. */
static void report_written(struct lp_fsmount *m, struct lp_inode *inode)
{
	struct lp_writing *w = lp_inode_writing(&m->inodes, inode);
	struct lp_written *written;

	(void)pthread_mutex_lock(&w->lock);
	written = lp_writing_take(w, inode->fd);
	(void)pthread_mutex_unlock(&w->lock);
	report_as(m, inode, LP_EVENT_CLOSED, written);
	free(written);
}

bool lp_report_is_pending(const struct lp_inode *inode)
{
	return atomic_load(&inode->writers) > 0 && atomic_load(&inode->dirty);
}

bool lp_fsmount_is_writing(struct lp_fsmount *m, const char *path)
{
	struct lp_inode *inode;
	struct stat st;
	bool pending;

	if (fstatat(m->opts.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	inode = lp_inode_find(&m->inodes, st.st_dev, st.st_ino);
	if (inode == NULL)
		return false;
	pending = lp_report_is_pending(inode);
	lp_inode_put(&m->inodes, inode, 1);
	return pending;
}

void lp_report_settled(const struct lp_fsmount *m, const struct lp_inode *inode)
{
	if (!lp_report_is_pending(inode))
		lp_report_inode(m, inode, NULL);
}

/* Whether two threads belong to one process. */
static bool same_process(int pid, int other)
{
	char path[64];

	if (pid == other)
		return true;
	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, other);
	return access(path, F_OK) == 0;
}

/* Makes the handle one of the writers of its inode, and makes it none; harmless when done twice.
 * uncount_writer returns whether it was the last. */
static void count_writer(struct lp_handle *h)
{
	if (!atomic_exchange(&h->counted, true))
		(void)atomic_fetch_add(&h->open.inode->writers, 1);
}

static bool uncount_writer(struct lp_handle *h)
{
	return atomic_exchange(&h->counted, false) &&
	       atomic_fetch_sub(&h->open.inode->writers, 1) == 1;
}

void lp_report_opened(struct lp_handle *h)
{
	if (h->writer)
		count_writer(h);
}

void lp_report_touched(struct lp_handle *h, int pid)
{
	if (atomic_load(&h->last_pid) != pid) {
		if (pid != 0 && same_process(h->opener, pid))
			atomic_store(&h->last_pid, pid);
		else
			atomic_store(&h->shared, true);
	}
	count_writer(h);
	atomic_store(&h->touched, true);
	atomic_store(&h->open.inode->dirty, true);
}

/* Whether the process of thread `pid` still has a descriptor for `path`; true when that cannot be
 * told. Links are read, never followed: that would end in this file system. */
static bool has_descriptor_for(int pid, const char *path)
{
	char link[PATH_MAX];
	char dir_path[32];
	size_t path_len = strlen(path);
	bool found = false;
	int left = MAX_SEARCHED_FDS;
	struct dirent *de;
	DIR *dir;

	(void)snprintf(dir_path, sizeof(dir_path), "/proc/%d/fd", pid);
	dir = opendir(dir_path);
	if (dir == NULL)
		return true;
	while (!found && (de = readdir(dir)) != NULL) {
		ssize_t len = readlinkat(dirfd(dir), de->d_name, link, sizeof(link));

		found = left-- == 0 ||
			(len == (ssize_t)path_len && memcmp(link, path, path_len) == 0);
	}
	(void)closedir(dir);
	return found;
}

static bool is_last_of_process(const struct lp_fsmount *m, const struct lp_inode *inode, int pid)
{
	char rel[PATH_MAX];
	char path[PATH_MAX];

	return lp_report_path(m, inode, rel) == 0 &&
	       lp_path_join(path, sizeof(path), m->mountpoint, rel) == 0 &&
	       !has_descriptor_for(pid, path);
}

void lp_report_flush(struct lp_fsmount *m, struct lp_handle *h, int pid)
{
	struct lp_inode *inode = h->open.inode;

	if (!h->writer || !atomic_load(&h->touched) || atomic_load(&h->shared) || pid == 0 ||
	    atomic_load(&inode->writers) != 1 || !atomic_load(&inode->dirty))
		return;
	if (!same_process(h->opener, pid) || !is_last_of_process(m, inode, pid))
		return;
	lp_io_park(m, h);
	/* Not counted from here on: the next one that saves the file need not wait for the RELEASE
	 * of this one. Should this handle be written again after all it counts again. */
	atomic_store(&h->touched, false);
	if (uncount_writer(h) && atomic_exchange(&inode->dirty, false))
		report_written(m, inode);
}

void lp_report_release(struct lp_fsmount *m, struct lp_handle *h)
{
	if (uncount_writer(h) && atomic_exchange(&h->open.inode->dirty, false))
		report_written(m, h->open.inode);
}

bool lp_report_synced(struct lp_fsmount *m, fuse_req_t req, struct lp_inode *inode)
{
	char path[PATH_MAX];

	if (lp_report_path(m, inode, path) != 0)
		return false;
	if (atomic_exchange(&inode->dirty, false))
		report_written(m, inode);
	lp_waits_add(&m->waits, req, path);
	return true;
}
