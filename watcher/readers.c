/* watcher/readers.c: threads, a queue of jobs to do and a list of those that are done. */
#include "watcher/readers.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#define WIDTH_MAX 4

/* A sleeping thread is woken for so many jobs: it should not fall asleep again after each. */
#define WAKE_JOBS 4

/* first and last are NULL when it is empty. */
struct queue {
	struct lp_read_job *first;
	struct lp_read_job *last;
	size_t n;
};

/* Below `lock`: todo, done, stop, n_idle. The rest is the owner's. taken: what was done when the
 * owner looked last, and it has not been given yet. done_src.fd is -1 until somebody watches. */
struct lp_readers {
	pthread_mutex_t lock;
	pthread_cond_t has_work;
	pthread_cond_t has_done;
	struct queue todo;
	struct queue done;
	struct queue taken;
	bool stop;
	unsigned n_idle;
	pthread_t threads[WIDTH_MAX];
	unsigned n_threads;
	unsigned max_threads;
	size_t pending;
	size_t scratch_bytes;
	void *scratch; /* of the owner's thread */
	struct lp_fd_src done_src;
	void (*on_done)(void *ctx);
	void *ctx;
};

static void push(struct queue *q, struct lp_read_job *job)
{
	job->next = NULL;
	if (q->last)
		q->last->next = job;
	else
		q->first = job;
	q->last = job;
	q->n++;
}

static struct lp_read_job *pop(struct queue *q)
{
	struct lp_read_job *job = q->first;

	if (!job)
		return NULL;
	q->first = job->next;
	if (!q->first)
		q->last = NULL;
	q->n--;
	return job;
}

unsigned lp_readers_width(void)
{
	cpu_set_t set;
	/* It fails where there are more processors than fit into the set. */
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : WIDTH_MAX;

	return n > WIDTH_MAX ? WIDTH_MAX : n < 1 ? 1 : (unsigned)n;
}

struct lp_readers *lp_readers_create(unsigned n, size_t scratch_bytes)
{
	struct lp_readers *r = lp_xcalloc(1, sizeof(*r));

	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_cond_init(&r->has_work, NULL);
	(void)pthread_cond_init(&r->has_done, NULL);
	r->scratch_bytes = scratch_bytes;
	r->max_threads = n < WIDTH_MAX ? n : WIDTH_MAX;
	r->done_src.fd = -1;
	return r;
}

/* Tells that a job is done, below the lock: once the owner has the job it may end all this. */
static void finish(struct lp_readers *r, struct lp_read_job *job)
{
	const uint64_t one = 1;
	bool first = !r->done.first;

	push(&r->done, job);
	(void)pthread_cond_signal(&r->has_done);
	/* A counter that cannot take more is readable already. */
	if (first && r->done_src.fd >= 0)
		(void)!write(r->done_src.fd, &one, sizeof(one));
}

static void *make_scratch(const struct lp_readers *r)
{
	return r->scratch_bytes > 0 ? lp_xcalloc(1, r->scratch_bytes) : NULL;
}

static void *work(void *arg)
{
	struct lp_readers *r = arg;
	void *scratch = make_scratch(r);
	struct lp_read_job *job;

	(void)pthread_mutex_lock(&r->lock);
	for (;;) {
		while (!r->stop && !r->todo.first) {
			r->n_idle++;
			(void)pthread_cond_wait(&r->has_work, &r->lock);
			r->n_idle--;
		}
		job = r->stop ? NULL : pop(&r->todo);
		if (!job)
			break;
		(void)pthread_mutex_unlock(&r->lock);
		job->run(job, scratch);
		(void)pthread_mutex_lock(&r->lock);
		finish(r, job);
	}
	(void)pthread_mutex_unlock(&r->lock);
	free(scratch);
	return NULL;
}

static void start_thread(struct lp_readers *r)
{
	if (lp_thread_start(&r->threads[r->n_threads], work, r) == 0)
		r->n_threads++;
	else
		r->max_threads = r->n_threads;
}

static void run_here(struct lp_readers *r, struct lp_read_job *job)
{
	if (!r->scratch)
		r->scratch = make_scratch(r);
	job->run(job, r->scratch);
}

/* Gets a thread to work on what is queued, below the lock. Returns whether one has to be started.
 */
static bool call_thread(struct lp_readers *r)
{
	(void)pthread_cond_signal(&r->has_work);
	return (r->n_idle == 0 || r->todo.n > 1) && r->n_threads < r->max_threads;
}

void lp_readers_add(struct lp_readers *r, struct lp_read_job *job)
{
	bool watched = r->done_src.fd >= 0, start;

	(void)pthread_mutex_lock(&r->lock);
	push(&r->todo, job);
	r->pending++;
	/* An owner that waits does a few jobs sooner than a thread that has to be woken. */
	start = (watched || r->todo.n >= WAKE_JOBS) && call_thread(r);
	(void)pthread_mutex_unlock(&r->lock);
	if (start)
		start_thread(r);
	if (watched && r->n_threads == 0) {
		(void)pop(&r->todo);
		run_here(r, job);
		(void)pthread_mutex_lock(&r->lock);
		finish(r, job);
		(void)pthread_mutex_unlock(&r->lock);
	}
}

size_t lp_readers_pending(const struct lp_readers *r)
{
	return r->pending;
}

/* What is done, below the lock: all of it becomes the owner's at once. */
static struct lp_read_job *take_done(struct lp_readers *r)
{
	r->taken = r->done;
	r->done = (struct queue){0};
	return pop(&r->taken);
}

struct lp_read_job *lp_readers_poll(struct lp_readers *r)
{
	struct lp_read_job *job = pop(&r->taken);

	if (!job) {
		(void)pthread_mutex_lock(&r->lock);
		job = take_done(r);
		(void)pthread_mutex_unlock(&r->lock);
	}
	if (job)
		r->pending--;
	return job;
}

/* Runs one of the jobs that nobody has begun. Called with the lock, which it gives up. */
static void help(struct lp_readers *r, struct lp_read_job *job)
{
	bool start = r->todo.n > 0 && call_thread(r);

	(void)pthread_mutex_unlock(&r->lock);
	if (start)
		start_thread(r);
	run_here(r, job);
}

struct lp_read_job *lp_readers_wait(struct lp_readers *r)
{
	struct lp_read_job *job;

	if (r->pending == 0)
		return NULL;
	job = lp_readers_poll(r);
	if (job)
		return job;
	(void)pthread_mutex_lock(&r->lock);
	job = pop(&r->todo);
	if (job) {
		help(r, job);
	} else {
		while (!(job = take_done(r)))
			(void)pthread_cond_wait(&r->has_done, &r->lock);
		(void)pthread_mutex_unlock(&r->lock);
	}
	r->pending--;
	return job;
}

static void on_done_ready(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_readers *r = LP_CONTAINER_OF(src, struct lp_readers, done_src);
	uint64_t count;

	(void)ready;
	(void)!read(src->fd, &count, sizeof(count));
	r->on_done(r->ctx);
}

int lp_readers_watch(struct lp_readers *r, struct lp_loop *loop, void (*on_done)(void *ctx),
		     void *ctx, struct lp_err *err)
{
	LP_AUTO_CLOSE int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int result;

	if (fd < 0)
		return lp_err_set(err, errno, "cannot read files beside the event loop");
	r->on_done = on_done;
	r->ctx = ctx;
	r->done_src = (struct lp_fd_src){.fd = fd, .events = EPOLLIN, .on_ready = on_done_ready};
	result = lp_loop_fd_add(loop, &r->done_src, err);
	if (result < 0)
		r->done_src.fd = -1;
	else
		(void)lp_take_fd(&fd);
	return result;
}

void lp_readers_destroy(struct lp_readers *r)
{
	if (!r)
		return;
	(void)pthread_mutex_lock(&r->lock);
	r->stop = true;
	(void)pthread_cond_broadcast(&r->has_work);
	(void)pthread_mutex_unlock(&r->lock);
	for (unsigned i = 0; i < r->n_threads; i++)
		(void)pthread_join(r->threads[i], NULL);
	lp_loop_fd_remove(&r->done_src);
	lp_auto_close(&r->done_src.fd);
	(void)pthread_cond_destroy(&r->has_done);
	(void)pthread_cond_destroy(&r->has_work);
	(void)pthread_mutex_destroy(&r->lock);
	free(r->scratch);
	free(r);
}
