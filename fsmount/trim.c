/* fsmount/trim.c: see trim.h.
 *
 * Each inode that the kernel knows costs us a descriptor, and the kernel forgets inodes only when
 * it is short of memory. So when the table gets near the limit, names of files that nobody has open
 * are taken out of the kernel's cache; it answers with FORGET. Directories stay: a process that
 * works in one would lose its path. */
#include "fsmount/trim.h"

#include "fsmount/report.h"

#include "common/base/lp_path.h"
#include "common/base/lp_thread.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

enum {
	BATCH = 128,
	/* The kernel's answers take a moment; then the rest is looked at again. */
	PAUSE_US = 1000,
	/* What a look-up waits when there is hardly any room. In all of that time its directory is
	 * locked, and the trimming may have to wait for the same lock: so better often than long.
	 */
	BRAKE_US = 1000,
};

/* Makes the kernel drop the name behind which the inode was last seen. */
static void drop_name(struct lp_fsmount *m, const struct lp_inode *inode)
{
	char path[PATH_MAX];
	const char *name;
	struct lp_inode *dir = &m->inodes.root;
	size_t dir_len;
	struct stat st;

	if (lp_report_path(m, inode, path) != 0)
		return;
	name = lp_path_base(path);
	dir_len = lp_path_dir_len(path);
	if (dir_len > 0) {
		path[dir_len] = '\0';
		if (fstatat(m->opts.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return;
		dir = lp_inode_find(&m->inodes, st.st_dev, st.st_ino);
		if (dir == NULL)
			return;
	}
	(void)fuse_lowlevel_notify_inval_entry(
		m->se, dir_len > 0 ? (fuse_ino_t)(uintptr_t)dir : FUSE_ROOT_ID, name, strlen(name));
	lp_inode_put(&m->inodes, dir, 1);
}

static bool is_stopping(struct lp_trim *t)
{
	bool stopping;

	(void)pthread_mutex_lock(&t->lock);
	stopping = t->stopping;
	(void)pthread_mutex_unlock(&t->lock);
	return stopping;
}

/* One round over at most as many inodes as there are above the low mark. */
static void trim(struct lp_trim *t)
{
	struct lp_inode *batch[BATCH];
	size_t n = lp_inodes_count(&t->m->inodes);
	size_t left = n > t->low ? n - t->low : 0;

	while (left > 0 && !is_stopping(t)) {
		n = lp_inodes_sweep(&t->m->inodes, batch, left < BATCH ? left : BATCH);
		if (n == 0)
			return;
		for (size_t i = 0; i < n; i++) {
			drop_name(t->m, batch[i]);
			lp_inode_put(&t->m->inodes, batch[i], 1);
		}
		left -= n;
	}
}

static struct timespec in_a_moment(void)
{
	struct timespec at;

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_nsec += PAUSE_US * 1000L;
	if (at.tv_nsec >= 1000000000L) {
		at.tv_nsec -= 1000000000L;
		at.tv_sec++;
	}
	return at;
}

/* Sleeps until there is something to do: at once when poked, after a pause while the table is still
 * above the low mark. Returns false at the end. */
static bool wait_for_work(struct lp_trim *t)
{
	struct timespec at = in_a_moment();
	bool go_on;

	(void)pthread_mutex_lock(&t->lock);
	if (lp_inodes_count(&t->m->inodes) > t->high)
		(void)pthread_cond_timedwait(&t->wake, &t->lock, &at);
	/* First the flag, then the count: who makes the table grow does it the other way round. */
	atomic_store(&t->wanted, false);
	while (!t->stopping && lp_inodes_count(&t->m->inodes) <= t->high) {
		(void)pthread_cond_wait(&t->wake, &t->lock);
		atomic_store(&t->wanted, false);
	}
	go_on = !t->stopping;
	(void)pthread_mutex_unlock(&t->lock);
	return go_on;
}

static void *run(void *arg)
{
	struct lp_trim *t = arg;

	while (wait_for_work(t))
		trim(t);
	return NULL;
}

int lp_trim_start(struct lp_trim *t, struct lp_fsmount *m, size_t nofile, struct lp_err *err)
{
	pthread_condattr_t attr;
	int r;

	*t = (struct lp_trim){
		.m = m, .low = nofile / 8 * 5, .high = nofile / 4 * 3, .brake = nofile / 8 * 7};
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&t->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	r = lp_thread_start(&t->thread, run, t);
	t->started = r == 0;
	if (!t->started) {
		(void)pthread_cond_destroy(&t->wake);
		(void)pthread_mutex_destroy(&t->lock);
		return lp_err_set(err, -r, "start a thread for the file system");
	}
	return 0;
}

void lp_trim_grow(struct lp_trim *t)
{
	const struct timespec brake = {.tv_nsec = BRAKE_US * 1000L};
	size_t n = lp_inodes_count(&t->m->inodes);

	if (n > t->high && !atomic_exchange(&t->wanted, true)) {
		(void)pthread_mutex_lock(&t->lock);
		(void)pthread_cond_signal(&t->wake);
		(void)pthread_mutex_unlock(&t->lock);
	}
	if (n > t->brake)
		(void)nanosleep(&brake, NULL);
}

void lp_trim_stop(struct lp_trim *t)
{
	if (!t->started)
		return;
	(void)pthread_mutex_lock(&t->lock);
	t->stopping = true;
	(void)pthread_cond_signal(&t->wake);
	(void)pthread_mutex_unlock(&t->lock);
	(void)pthread_join(t->thread, NULL);
	t->started = false; /* the lock stays: the mount is served for a moment longer */
}
