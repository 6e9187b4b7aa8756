/* fsmount/closes.c: see closes.h. */
#include "fsmount/closes.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_thread.h"
#include "fsmount/finish.h"
#include "fsmount/fs.h"
#include "fsmount/report.h"
#include "fsmount/writers.h"
#include "fsmount/writing.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

enum {
	/* So long a file that was made or cut by its name may take to be opened by who did it. */
	OPEN_US = 10 * 1000,
	/* The kernel tells of a close before it lets go of the file, so the one that closed may
	 * still be found as a writer. The pauses between the looks; after the last of them it is
	 * somebody else. */
	FIRST_PAUSE_US = 200,
	PAUSE_FACTOR = 5,
	MAX_TRIES = 6,
	/* So many looks lp_closes_sync waits for. */
	SYNC_TRIES = 3,
	SYNC_US = 1000000,
	EVENT_BYTES = 8192,
	/* After so many closes with no longer gaps between them (a copy, a checkout), they are read
	 * together, after pauses: being woken for each one costs who writes more than that helps.
	 * Looks that are due wait for the next of them as well.
	 */
	STREAM_CLOSES = 8,
	STREAM_GAP_US = 6000,
	STREAM_PAUSE_US = 3000,
};

int lp_closes_open(struct lp_closes *c, struct lp_fsmount *m, struct lp_err *err)
{
	*c = (struct lp_closes){.m = m, .opened = true};
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_cond_init(&c->changed, NULL);
	c->fan_fd = lp_writers_watch();
	c->wake_fd = c->fan_fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return c->wake_fd < 0 ? lp_err_set(err, errno, "prepare to watch the mount (fanotify)") : 0;
}

/* Puts a look into the list, which is in order of time. Takes the reference. */
static void push_locked(struct lp_closes *c, struct lp_inode *inode, uint64_t due_us,
			unsigned tries)
{
	struct lp_closes_look *look = lp_xcalloc(1, sizeof(*look));
	struct lp_closes_look **at = &c->first;

	look->inode = inode;
	look->due_us = due_us;
	look->tries = tries;
	if (c->first != NULL && c->last->due_us <= due_us)
		at = &c->last->next;
	while (*at != NULL && (*at)->due_us <= due_us)
		at = &(*at)->next;
	look->next = *at;
	*at = look;
	if (look->next == NULL)
		c->last = look;
}

/* Looks again after a pause that grows. */
static void look_again(struct lp_closes *c, struct lp_inode *inode, unsigned tries)
{
	uint64_t pause_us = FIRST_PAUSE_US;

	for (unsigned i = 0; i < tries; i++)
		pause_us *= PAUSE_FACTOR;
	lp_inode_ref(&c->m->inodes, inode);
	(void)pthread_mutex_lock(&c->lock);
	push_locked(c, inode, lp_now_us() + pause_us, tries + 1);
	(void)pthread_mutex_unlock(&c->lock);
}

void lp_closes_expect(struct lp_closes *c, struct lp_inode *inode)
{
	const uint64_t one = 1;
	bool wake;

	if (!atomic_exchange(&inode->dirty, true))
		inode->writing->since_us = lp_now_us();
	atomic_store(&inode->writers, 1);
	if (inode->writing->awaited)
		return;
	inode->writing->awaited = true;
	lp_inode_ref(&c->m->inodes, inode);
	(void)pthread_mutex_lock(&c->lock);
	wake = c->first == NULL;
	push_locked(c, inode, lp_now_us() + OPEN_US, 0);
	(void)pthread_mutex_unlock(&c->lock);
	if (wake && write(c->wake_fd, &one, sizeof(one)) < 0)
		errno = 0; /* it is full, and so wakes the thread all the same */
}

/* A writer has closed a file in the mount; fd (taken) is the same file, and keeps the inode alive.
 */
static void on_close(struct lp_closes *c, int fd)
{
	struct lp_finish_look q = {.inode = lp_writers_inode(fd), .fd = fd};

	if (q.inode == NULL) {
		(void)close(fd);
		return;
	}
	lp_inode_ref(&c->m->inodes, q.inode);
	if (!atomic_load(&q.inode->dirty))
		(void)close(fd);
	else if (lp_finish_unless_open(c->m, &q, &c->held) == LP_WRITERS_SOME)
		look_again(c, q.inode, 0);
	lp_inode_put(&c->m->inodes, q.inode, 1);
}

/* Begins a first look. now: do not wait. Returns false when it comes too early, because the inode
 * was reported and changed again since the look was asked for: then it is put off. */
static bool begin_look(struct lp_closes *c, struct lp_inode *inode, bool now)
{
	struct lp_writing *w = inode->writing;
	bool early;

	(void)pthread_mutex_lock(&w->lock);
	early = !now && atomic_load(&inode->dirty) && w->since_us + OPEN_US > lp_now_us();
	w->awaited = early;
	if (early) {
		lp_inode_ref(&c->m->inodes, inode);
		(void)pthread_mutex_lock(&c->lock);
		push_locked(c, inode, w->since_us + OPEN_US, 0);
		(void)pthread_mutex_unlock(&c->lock);
	}
	(void)pthread_mutex_unlock(&w->lock);
	return !early;
}

/* A look at an inode that was changed a while ago. Who finds a writer again and again after a close
 * lets it be looked at when it has rested: the other may keep it open for long. What was made and
 * not closed is about to be opened, unless who made it has died meanwhile. */
static void on_due(struct lp_closes *c, struct lp_closes_look *look)
{
	bool now = look->due_us > lp_now_us(); /* lp_closes_sync */
	struct lp_finish_look q = {.inode = look->inode, .may_be_opening = look->tries < MAX_TRIES};
	bool again;

	if (look->tries == 0 && !begin_look(c, look->inode, now))
		return;
	if (!atomic_load(&look->inode->dirty))
		return;
	q.fd = lp_writers_open(c->m, look->inode, &q.found);
	if (lp_finish_unless_open(c->m, &q, &c->held) != LP_WRITERS_SOME)
		return;
	(void)pthread_mutex_lock(&look->inode->writing->lock);
	again = look->inode->writing->created;
	(void)pthread_mutex_unlock(&look->inode->writing->lock);
	if ((look->tries > 0 || again) && look->tries < MAX_TRIES)
		look_again(c, look->inode, look->tries);
	else if (look->tries > 0)
		lp_report_resting(c->m, look->inode);
}

/* Takes the first look if it is due at now_us, or if somebody waits in lp_closes_sync; otherwise
 * *wait_us is how long that takes (-1: there is none). */
static struct lp_closes_look *take_due(struct lp_closes *c, uint64_t now_us, int64_t *wait_us)
{
	struct lp_closes_look *look;

	*wait_us = -1;
	(void)pthread_mutex_lock(&c->lock);
	look = c->first;
	if (look != NULL && look->due_us > now_us && (look->tries > 0 || c->answered == c->asked)) {
		*wait_us = (int64_t)(look->due_us - now_us);
		look = NULL;
	}
	if (look != NULL)
		c->first = look->next;
	(void)pthread_mutex_unlock(&c->lock);
	return look;
}

/* Lets those go on who have called lp_closes_sync, when there was nothing to read since (`until` of
 * them had called before) and nothing is looked at again soon. */
static void answer(struct lp_closes *c, uint64_t until)
{
	const struct lp_closes_look *look;

	(void)pthread_mutex_lock(&c->lock);
	look = c->first;
	while (look != NULL && look->tries > SYNC_TRIES)
		look = look->next;
	if (look == NULL && c->answered != until) {
		c->answered = until;
		(void)pthread_cond_broadcast(&c->changed);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

/* How many have called lp_closes_sync. */
static uint64_t count_asked(struct lp_closes *c)
{
	uint64_t asked;

	(void)pthread_mutex_lock(&c->lock);
	asked = c->asked;
	(void)pthread_mutex_unlock(&c->lock);
	return asked;
}

void lp_closes_sync(struct lp_closes *c)
{
	const uint64_t one = 1, until_us = lp_now_us() + SYNC_US;
	const struct timespec until = {.tv_sec = (time_t)(until_us / 1000000),
				       .tv_nsec = (long)(until_us % 1000000) * 1000};
	uint64_t mine;
	int r = 0;

	if (!c->started)
		return;
	(void)pthread_mutex_lock(&c->lock);
	mine = ++c->asked;
	(void)pthread_mutex_unlock(&c->lock);
	if (write(c->wake_fd, &one, sizeof(one)) < 0)
		errno = 0;
	(void)pthread_mutex_lock(&c->lock);
	while (c->answered < mine && !c->stopping && r == 0)
		r = pthread_cond_clockwait(&c->changed, &c->lock, CLOCK_MONOTONIC, &until);
	(void)pthread_mutex_unlock(&c->lock);
}

static void release_look(struct lp_closes *c, struct lp_closes_look *look)
{
	lp_inode_put(&c->m->inodes, look->inode, 1);
	free(look);
}

/* Something was lost: no descriptor could be had for it. It may be any of those that have changed.
 */
static void on_lost(struct lp_closes *c)
{
	struct lp_inode *batch[64];
	size_t at = 0;
	size_t n;

	while ((n = lp_inodes_list(&c->m->inodes, &at, batch, LP_COUNT_OF(batch))) > 0) {
		for (size_t i = 0; i < n; i++) {
			if (atomic_load(&batch[i]->dirty))
				look_again(c, batch[i], 0);
			lp_inode_put(&c->m->inodes, batch[i], 1);
		}
	}
}

/* Reads the closes that have been told of. Returns how many there were. */
static size_t read_closes(struct lp_closes *c)
{
	_Alignas(struct fanotify_event_metadata) char buf[EVENT_BYTES];
	size_t n = 0;
	ssize_t len;

	while ((len = read(c->fan_fd, buf, sizeof(buf))) > 0) {
		struct fanotify_event_metadata *ev = (void *)buf;

		for (; FAN_EVENT_OK(ev, len); ev = FAN_EVENT_NEXT(ev, len)) {
			n++;
			if (ev->fd >= 0)
				on_close(c, ev->fd);
			else
				on_lost(c);
		}
		lp_report_held(c->m, &c->held);
	}
	if (len < 0 && errno != EAGAIN && errno != EINTR) {
		n++;
		on_lost(c);
	}
	return n;
}

static bool is_stopping(struct lp_closes *c)
{
	bool stopping;

	(void)pthread_mutex_lock(&c->lock);
	stopping = c->stopping;
	(void)pthread_mutex_unlock(&c->lock);
	return stopping;
}

/* Closes that follow one another. */
struct stream {
	uint64_t last_us;
	size_t n;
};

/* Counts n more. Returns whether they are so many that there is time to wait for the next ones. */
static bool is_stream(struct stream *s, size_t n)
{
	uint64_t now_us = lp_now_us();

	if (n == 0)
		return false;
	s->n = now_us - s->last_us <= STREAM_GAP_US ? s->n + n : n;
	s->last_us = now_us;
	return s->n >= STREAM_CLOSES;
}

/* Waits for something to do: not longer than wait_us (-1: for ever), in a stream for what is not a
 * close, and only for a moment. */
static void wait_for_work(struct lp_closes *c, bool in_stream, int64_t wait_us)
{
	struct pollfd fds[2] = {{.fd = c->wake_fd, .events = POLLIN},
				{.fd = c->fan_fd, .events = POLLIN}};
	int64_t us = in_stream ? STREAM_PAUSE_US : wait_us;
	const struct timespec wait = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	uint64_t count;

	(void)ppoll(fds, in_stream ? 1 : 2, us < 0 ? NULL : &wait, NULL);
	if (fds[0].revents != 0 && read(c->wake_fd, &count, sizeof(count)) < 0)
		errno = 0;
}

static void *run(void *arg)
{
	struct lp_closes *c = arg;
	struct stream stream = {0};

	while (!is_stopping(c)) {
		uint64_t asked = count_asked(c);
		bool in_stream = is_stream(&stream, read_closes(c));
		struct lp_closes_look *look;
		int64_t wait_us;

		while ((look = take_due(c, lp_now_us(), &wait_us)) != NULL) {
			on_due(c, look);
			release_look(c, look);
		}
		lp_report_held(c->m, &c->held);
		answer(c, asked);
		wait_for_work(c, in_stream, wait_us);
	}
	return NULL;
}

int lp_closes_start(struct lp_closes *c, struct lp_err *err)
{
	int r;

	if (fanotify_mark(c->fan_fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CLOSE_WRITE, AT_FDCWD,
			  c->m->mountpoint) < 0)
		return lp_err_set(err, errno, "watch the mount (fanotify)");
	r = lp_thread_start(&c->thread, run, c);
	c->started = r == 0;
	return r == 0 ? 0 : lp_err_set(err, -r, "start a thread for the file system");
}

void lp_closes_stop(struct lp_closes *c)
{
	const uint64_t one = 1;

	if (!c->started)
		return;
	(void)pthread_mutex_lock(&c->lock);
	c->stopping = true;
	(void)pthread_cond_broadcast(&c->changed);
	(void)pthread_mutex_unlock(&c->lock);
	if (write(c->wake_fd, &one, sizeof(one)) < 0)
		errno = 0;
	(void)pthread_join(c->thread, NULL);
	c->started = false;
}

size_t lp_closes_drain(struct lp_closes *c)
{
	return c->opened ? read_closes(c) : 0;
}

void lp_closes_settle(struct lp_closes *c)
{
	struct lp_inode *batch[64];
	size_t at = 0;
	size_t n;

	if (!c->opened)
		return;
	while ((n = lp_inodes_list(&c->m->inodes, &at, batch, LP_COUNT_OF(batch))) > 0) {
		for (size_t i = 0; i < n; i++) {
			if (atomic_load(&batch[i]->dirty))
				lp_finish_inode(c->m, batch[i], !c->started);
			lp_inode_put(&c->m->inodes, batch[i], 1);
		}
	}
}

void lp_closes_finish(struct lp_closes *c)
{
	if (!c->opened)
		return;
	while (c->first != NULL) {
		struct lp_closes_look *look = c->first;

		c->first = look->next;
		release_look(c, look);
	}
	lp_auto_close(&c->fan_fd);
	lp_auto_close(&c->wake_fd);
	(void)pthread_cond_destroy(&c->changed);
	(void)pthread_mutex_destroy(&c->lock);
	c->opened = false;
}
