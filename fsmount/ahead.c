/* fsmount/ahead.c: see ahead.h.
 *
 * Some files in a row that were slow to read make it begin. A thread goes through the tree behind
 * the last of them and has the kernel read what it finds, a window of files in front of the reader,
 * which grows while he reads them. Programs read the files of a directory as listed (grep) or by
 * their inode numbers (cp): which it is is found out. It ends when he does not come, when he reads
 * other files, or when there is nothing to read because it is in memory already. */
#include "fsmount/ahead.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_thread.h"
#include "fsmount/fs.h"
#include "fsmount/report.h"
#include "fsmount/walk.h"

#include <fcntl.h>
#include <sys/uio.h>

enum {
	/* What is in memory takes a tenth of it. */
	SLOW_US = 40,
	/* So many in a row, with no longer pauses, make it begin, and so many more begin anew
	 * elsewhere: at first it has to get in front of the reader. */
	SLOW_FIRST = 3,
	SLOW_ELSEWHERE = 16,
	SLOW_PAUSE_US = 20 * 1000,
	/* When fewer than that were of use before it began anew, the order was not the reader's. */
	FEW = 64,
	FIRST_WINDOW = 8,
	MAX_WINDOW = 256,
	/* Of each file; the kernel reads what follows ahead by itself. */
	MAX_BYTES = 128 * 1024,
	/* The reader may be away for so long. */
	AWAY_US = 300 * 1000,
	/* After so many that were in memory, more than it has itself put there in front of a
	 * reader, it ends. */
	WARM_IN_A_ROW = MAX_WINDOW + MAX_WINDOW / 4,
	/* It does not begin again for so long after that, nor where it could not begin: in a
	 * directory of very many files each try takes long. */
	QUIET_US = 200 * 1000,
};

_Static_assert(MAX_WINDOW < LP_AHEAD_MARKS, "there is a mark for each");

static struct lp_ahead_mark *mark_of(struct lp_ahead *a, ino_t ino)
{
	return &a->marks[((uint64_t)ino * UINT64_C(0x9E3779B97F4A7C15) >> 32) &
			 (LP_AHEAD_MARKS - 1)];
}

/* With the lock held: whether the file was read ahead; then what lies in front of it is behind the
 * reader. */
static bool use_locked(struct lp_ahead *a, ino_t ino)
{
	struct lp_ahead_mark *mark = mark_of(a, ino);

	if (mark->ino != ino)
		return false;
	mark->ino = 0;
	a->slow = 0;
	a->used_us = lp_now_us();
	a->used++;
	if (mark->at > a->passed)
		a->passed = mark->at;
	if (a->window < MAX_WINDOW)
		a->window++;
	/* Woken for a few files at once. */
	if (a->done - a->passed <= a->window / 2)
		(void)pthread_cond_signal(&a->wake);
	return true;
}

/* With the lock held. */
static void count_slow_locked(struct lp_ahead *a, dev_t dev, ino_t ino)
{
	uint64_t now_us = lp_now_us();

	a->slow = now_us - a->slow_us <= SLOW_PAUSE_US ? a->slow + 1 : 1;
	a->slow_us = now_us;
	if (a->slow < (atomic_load(&a->active) ? SLOW_ELSEWHERE : SLOW_FIRST) ||
	    now_us < a->quiet_us)
		return;
	a->slow = 0;
	if (atomic_load(&a->active) && a->used < FEW)
		a->by_ino = !a->by_ino; /* he goes through the tree in another order */
	a->wanted = true;
	a->dev = dev;
	a->ino = ino;
	atomic_store(&a->active, true);
	(void)pthread_cond_signal(&a->wake);
}

void lp_ahead_read(struct lp_ahead *a, dev_t dev, ino_t ino, uint64_t took_us)
{
	bool slow = took_us >= SLOW_US;

	if (!a->started || (!slow && !atomic_load(&a->active)))
		return;
	(void)pthread_mutex_lock(&a->lock);
	if (!use_locked(a, ino) && slow)
		count_slow_locked(a, dev, ino);
	(void)pthread_mutex_unlock(&a->lock);
}

/* Waits until it shall begin, and takes where. Returns false at the end. */
static bool wait_for_start(struct lp_ahead *a, dev_t *dev, ino_t *ino)
{
	bool go_on;

	(void)pthread_mutex_lock(&a->lock);
	while (!a->stopping && !a->wanted)
		(void)pthread_cond_wait(&a->wake, &a->lock);
	go_on = !a->stopping;
	a->wanted = false;
	*dev = a->dev;
	*ino = a->ino;
	a->passed = a->done;
	a->window = FIRST_WINDOW;
	a->used = 0;
	a->used_us = lp_now_us();
	(void)pthread_mutex_unlock(&a->lock);
	return go_on;
}

/* Waits while enough has been read ahead. Returns whether there is more to do. */
static bool may_go_on(struct lp_ahead *a)
{
	bool go_on;
	int r = 0;

	(void)pthread_mutex_lock(&a->lock);
	while (r == 0 && !a->stopping && !a->wanted && a->done - a->passed >= a->window) {
		uint64_t until_us = a->used_us + AWAY_US;
		const struct timespec until = {.tv_sec = (time_t)(until_us / 1000000),
					       .tv_nsec = (long)(until_us % 1000000) * 1000};

		r = pthread_cond_clockwait(&a->wake, &a->lock, CLOCK_MONOTONIC, &until);
	}
	go_on = r == 0 && !a->stopping && !a->wanted;
	(void)pthread_mutex_unlock(&a->lock);
	return go_on;
}

/* Notes, before it is read, that the file is read ahead. */
static void mark(struct lp_ahead *a, ino_t ino)
{
	(void)pthread_mutex_lock(&a->lock);
	*mark_of(a, ino) = (struct lp_ahead_mark){.ino = ino, .at = ++a->done};
	(void)pthread_mutex_unlock(&a->lock);
}

/* Has the beginning of a file read, without waiting for it. Returns false when it is in memory, or
 * cannot be read. */
static bool fetch(struct lp_ahead *a, int dir_fd, const char *name)
{
	LP_AUTO_CLOSE int fd =
		openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char byte;
	const struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	if (preadv2(fd, &iov, 1, 0, RWF_NOWAIT) >= 0 || errno != EAGAIN)
		return false;
	mark(a, st.st_ino);
	return posix_fadvise(fd, 0, MAX_BYTES, POSIX_FADV_WILLNEED) == 0;
}

/* Reads ahead until there is no reason to any more. Returns whether that is because everything is
 * in memory. */
static bool go(struct lp_ahead *a, struct lp_walk *w)
{
	enum lp_walk_found found;
	const char *name;
	int dir_fd;
	unsigned warm = 0;

	while (warm < WARM_IN_A_ROW && may_go_on(a) &&
	       (found = lp_walk_step(w, &dir_fd, &name)) != LP_WALK_END) {
		if (found == LP_WALK_FILE)
			warm = fetch(a, dir_fd, name) ? 0 : warm + 1;
	}
	return warm == WARM_IN_A_ROW;
}

/* Goes to where the file (dev, ino) is. Returns 0 or -errno. */
static int begin_walk(struct lp_ahead *a, struct lp_walk *w, dev_t dev, ino_t ino)
{
	struct lp_fsmount *m = a->m;
	struct lp_inode *inode = lp_inode_find(&m->inodes, dev, ino);
	char path[PATH_MAX];
	int r;

	if (inode == NULL)
		return -ENOENT;
	r = lp_report_path(m, inode, path);
	lp_inode_put(&m->inodes, inode, 1);
	return r < 0 ? r : lp_walk_begin(w, m->opts.root_fd, path, a->by_ino);
}

static void *run(void *arg)
{
	struct lp_ahead *a = arg;
	dev_t dev;
	ino_t ino;

	while (wait_for_start(a, &dev, &ino)) {
		struct lp_walk walk;
		bool useless = true;

		if (begin_walk(a, &walk, dev, ino) == 0) {
			useless = go(a, &walk);
			lp_walk_end(&walk);
		}
		(void)pthread_mutex_lock(&a->lock);
		if (useless)
			a->quiet_us = lp_now_us() + QUIET_US;
		atomic_store(&a->active, a->wanted);
		(void)pthread_mutex_unlock(&a->lock);
	}
	return NULL;
}

int lp_ahead_start(struct lp_ahead *a, struct lp_fsmount *m, struct lp_err *err)
{
	int r;

	*a = (struct lp_ahead){.m = m};
	(void)pthread_mutex_init(&a->lock, NULL);
	(void)pthread_cond_init(&a->wake, NULL);
	a->started = true;
	r = lp_thread_start(&a->thread, run, a);
	if (r == 0)
		return 0;
	a->started = false;
	(void)pthread_cond_destroy(&a->wake);
	(void)pthread_mutex_destroy(&a->lock);
	return lp_err_set(err, -r, "start a thread for the file system");
}

void lp_ahead_stop(struct lp_ahead *a)
{
	if (!a->started)
		return;
	(void)pthread_mutex_lock(&a->lock);
	a->stopping = true;
	(void)pthread_cond_signal(&a->wake);
	(void)pthread_mutex_unlock(&a->lock);
	(void)pthread_join(a->thread, NULL);
}
