/* fsmount/invalidate.c: see invalidate.h. */
#include "fsmount/invalidate.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"
#include "common/base/lp_thread.h"
#include "fsmount/fs.h"
#include "fsmount/report.h"

#include <fcntl.h>
#include <string.h>

enum {
	/* When more is waiting than that, everything is looked at instead. */
	MAX_JOBS = 100 * 1000,
};

static fuse_ino_t number_of(const struct lp_fsmount *m, const struct lp_inode *inode)
{
	return inode == &m->inodes.root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)inode;
}

/* Compares the inode with what the kernel knows. */
static void check_inode(struct lp_fsmount *m, struct lp_inode *inode)
{
	struct stat st;
	enum lp_inode_change change;

	if (fstat(inode->fd, &st) < 0)
		return;
	change = lp_inode_compare(&m->inodes, inode, &st);
	if (change != LP_INODE_SAME) /* a negative offset: only the attributes */
		(void)fuse_lowlevel_notify_inval_inode(m->se, number_of(m, inode),
						       change == LP_INODE_CONTENT ? 0 : -1, 0);
}

/* Has the kernel look the name up again when it is used next. Kernels before 6.2 can only drop it,
 * which takes a directory away from under the processes that work in it: so those keep theirs when
 * it is there (`gone` is false). */
static void expire_name(struct lp_fsmount *m, const struct lp_inode *dir, const char *name,
			bool gone)
{
	fuse_ino_t ino = number_of(m, dir);
	size_t len = strlen(name);

	if (m->can_expire)
		(void)fuse_lowlevel_notify_expire_entry(m->se, ino, name, len, FUSE_LL_EXPIRE_ONLY);
	else if (gone)
		(void)fuse_lowlevel_notify_inval_entry(m->se, ino, name, len);
}

/* The directory that `path` is in, with a reference, when the kernel knows it; otherwise NULL. */
static struct lp_inode *find_dir(struct lp_fsmount *m, const char *path)
{
	char dir[PATH_MAX];
	size_t len = lp_path_dir_len(path);
	struct stat st;

	if (len == 0) {
		lp_inode_ref(&m->inodes, &m->inodes.root);
		return &m->inodes.root;
	}
	if (len >= sizeof(dir))
		return NULL;
	memcpy(dir, path, len);
	dir[len] = '\0';
	if (fstatat(m->opts.root_fd, dir, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return NULL;
	return lp_inode_find(&m->inodes, st.st_dev, st.st_ino);
}

static void check_path(struct lp_fsmount *m, const char *path)
{
	const char *name = lp_path_base(path);
	struct lp_inode *dir = find_dir(m, path);
	struct lp_inode *inode;
	struct stat st;
	bool there;

	if (dir == NULL)
		return;
	check_inode(m, dir);
	there = fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (!there || !lp_inode_is_known_as(&m->inodes, dir, name, &st))
		expire_name(m, dir, name, !there);
	inode = there ? lp_inode_find(&m->inodes, st.st_dev, st.st_ino) : NULL;
	if (inode != NULL) {
		check_inode(m, inode);
		lp_inode_put(&m->inodes, inode, 1);
	}
	lp_inode_put(&m->inodes, dir, 1);
}

/* Has the name behind which the inode was last seen looked up again. */
static void expire_name_of(struct lp_fsmount *m, const struct lp_inode *inode)
{
	char path[PATH_MAX];
	struct lp_inode *dir;

	if (lp_report_last_path(m, inode, path) < 0)
		return;
	dir = find_dir(m, path);
	if (dir == NULL)
		return;
	expire_name(m, dir, lp_path_base(path),
		    faccessat(dir->fd, lp_path_base(path), F_OK, AT_SYMLINK_NOFOLLOW) < 0);
	lp_inode_put(&m->inodes, dir, 1);
}

/* Names that the kernel knows to be missing are not found like this: it believes that only for
 * LP_FSMOUNT_MISSED_S. (FUSE_NOTIFY_INC_EPOCH would drop them, but also every directory that a
 * process works in.) */
static void check_all(struct lp_fsmount *m)
{
	struct lp_inode *batch[64];
	size_t at = 0;
	size_t n;

	check_inode(m, &m->inodes.root);
	while ((n = lp_inodes_list(&m->inodes, &at, batch, LP_COUNT_OF(batch))) > 0) {
		for (size_t i = 0; i < n; i++) {
			check_inode(m, batch[i]);
			expire_name_of(m, batch[i]);
			lp_inode_put(&m->inodes, batch[i], 1);
		}
	}
}

static void release(struct lp_invalidate *v, struct lp_invalidate_job *job)
{
	if (job->inode != NULL)
		lp_inode_put(&v->m->inodes, job->inode, 1);
	free(job);
}

static void do_job(struct lp_invalidate *v, struct lp_invalidate_job *job)
{
	if (job->inode != NULL)
		(void)fuse_lowlevel_notify_inval_inode(v->m->se, number_of(v->m, job->inode), 0, 0);
	else if (job->path[0] == '\0')
		check_all(v->m);
	else
		check_path(v->m, job->path);
	release(v, job);
}

/* Waits for a job. NULL at the end. */
static struct lp_invalidate_job *take(struct lp_invalidate *v)
{
	struct lp_invalidate_job *job = NULL;

	(void)pthread_mutex_lock(&v->lock);
	while (!v->stopping && v->first == NULL) {
		v->waiting = true;
		(void)pthread_cond_wait(&v->changed, &v->lock);
		v->waiting = false;
	}
	if (!v->stopping) {
		job = v->first;
		v->first = job->next;
		v->n--;
	}
	(void)pthread_mutex_unlock(&v->lock);
	return job;
}

static void *run(void *arg)
{
	struct lp_invalidate *v = arg;
	struct lp_invalidate_job *job;

	while ((job = take(v)) != NULL)
		do_job(v, job);
	return NULL;
}

int lp_invalidate_start(struct lp_invalidate *v, struct lp_fsmount *m, struct lp_err *err)
{
	int r;

	*v = (struct lp_invalidate){.m = m};
	(void)pthread_mutex_init(&v->lock, NULL);
	(void)pthread_cond_init(&v->changed, NULL);
	r = lp_thread_start(&v->thread, run, v);
	v->started = r == 0;
	if (v->started)
		return 0;
	(void)pthread_cond_destroy(&v->changed);
	(void)pthread_mutex_destroy(&v->lock);
	return lp_err_set(err, -r, "start a thread for the file system");
}

static void free_all_locked(struct lp_invalidate *v)
{
	while (v->first != NULL) {
		struct lp_invalidate_job *job = v->first;

		v->first = job->next;
		release(v, job);
	}
	v->n = 0;
}

static void push(struct lp_invalidate *v, struct lp_inode *inode, const char *path)
{
	struct lp_invalidate_job *job;
	size_t len;

	(void)pthread_mutex_lock(&v->lock);
	if (v->stopping) { /* the mount is served for a moment longer */
		(void)pthread_mutex_unlock(&v->lock);
		return;
	}
	if (v->n >= MAX_JOBS) {
		free_all_locked(v);
		inode = NULL;
		path = "";
	}
	len = inode == NULL ? strlen(path) + 1 : 0;
	if (v->first != NULL && inode == NULL && v->last->inode == NULL &&
	    strcmp(v->last->path, path) == 0) {
		(void)pthread_mutex_unlock(&v->lock);
		return;
	}
	job = lp_xcalloc(1, sizeof(*job) + len);
	job->inode = inode;
	if (inode != NULL)
		lp_inode_ref(&v->m->inodes, inode);
	else
		memcpy(job->path, path, len);
	if (v->first == NULL)
		v->first = job;
	else
		v->last->next = job;
	v->last = job;
	v->n++;
	if (v->waiting)
		(void)pthread_cond_signal(&v->changed);
	(void)pthread_mutex_unlock(&v->lock);
}

void lp_invalidate_path(struct lp_invalidate *v, const char *path)
{
	if (v->started)
		push(v, NULL, path);
}

void lp_invalidate_inode(struct lp_invalidate *v, struct lp_inode *inode)
{
	if (v->started)
		push(v, inode, "");
}

void lp_invalidate_stop(struct lp_invalidate *v)
{
	if (!v->started)
		return;
	(void)pthread_mutex_lock(&v->lock);
	v->stopping = true;
	(void)pthread_cond_signal(&v->changed);
	(void)pthread_mutex_unlock(&v->lock);
	(void)pthread_join(v->thread, NULL);
	(void)pthread_mutex_lock(&v->lock);
	free_all_locked(v);
	(void)pthread_mutex_unlock(&v->lock);
}
