/* test_readers.c: jobs in threads come back, each once, whoever runs them. */
#include "common/base/lp_clock.h"
#include "common/loop/loop_internal.h"
#include "watcher/readers.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define JOBS          2000
#define DEADLINE_US   20000000u
#define SCRATCH_BYTES ((size_t)64 * 1024)

/* gate: says at `entered` that it runs, and waits there first. */
struct job {
	struct lp_read_job job;
	sem_t *entered;
	sem_t *gate;
	int runs;
	int returns;
	unsigned sum;
	bool signals_blocked;
};

static void pass(sem_t *gate)
{
	while (sem_wait(gate) < 0)
		;
}

static void run(struct lp_read_job *read_job, void *scratch)
{
	struct job *j = LP_CONTAINER_OF(read_job, struct job, job);
	unsigned char *bytes = scratch;
	sigset_t set;

	if (j->gate) {
		(void)sem_post(j->entered);
		pass(j->gate);
	}
	/* All of the scratch is this job's for the moment. */
	memset(bytes, j->runs + 1, SCRATCH_BYTES);
	for (size_t i = 0; i < SCRATCH_BYTES; i += 4096)
		j->sum += bytes[i];
	(void)pthread_sigmask(SIG_SETMASK, NULL, &set);
	j->signals_blocked = sigismember(&set, SIGINT) == 1;
	j->runs++;
}

static void take(struct lp_read_job *read_job)
{
	LP_CONTAINER_OF(read_job, struct job, job)->returns++;
}

static void check_all(const struct job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(jobs[i].runs, 1);
		assert_int_equal(jobs[i].returns, 1);
		assert_int_equal(jobs[i].sum, SCRATCH_BYTES / 4096);
	}
}

static void wait__returns_each_job_once(void **state)
{
	static struct job jobs[JOBS];

	(void)state;
	for (unsigned width = 0; width <= 4; width++) {
		struct lp_readers *r = lp_readers_create(width, SCRATCH_BYTES);
		struct lp_read_job *done;

		memset(jobs, 0, sizeof(jobs));
		for (size_t i = 0; i < JOBS; i++) {
			jobs[i].job.run = run;
			lp_readers_add(r, &jobs[i].job);
			if (i % 7 == 0 && (done = lp_readers_poll(r)))
				take(done);
		}
		while ((done = lp_readers_wait(r)))
			take(done);
		assert_int_equal(lp_readers_pending(r), 0);
		assert_null(lp_readers_poll(r));
		check_all(jobs, JOBS);
		lp_readers_destroy(r);
	}
}

/* However busy the threads are, whoever waits gets on with the rest. */
static void wait__does_the_work_itself(void **state)
{
	struct job jobs[5] = {0};
	struct lp_readers *r = lp_readers_create(1, SCRATCH_BYTES);
	struct lp_read_job *done;
	sem_t entered, gate;

	(void)state;
	assert_int_equal(sem_init(&entered, 0, 0), 0);
	assert_int_equal(sem_init(&gate, 0, 0), 0);
	jobs[0].entered = &entered;
	jobs[0].gate = &gate;
	for (size_t i = 0; i < LP_COUNT_OF(jobs); i++) {
		jobs[i].job.run = run;
		lp_readers_add(r, &jobs[i].job);
	}
	pass(&entered); /* the only thread is stuck in the first */
	for (size_t i = 1; i < LP_COUNT_OF(jobs); i++) {
		done = lp_readers_wait(r);
		assert_non_null(done);
		assert_ptr_not_equal(done, &jobs[0].job);
		take(done);
	}
	assert_null(lp_readers_poll(r));
	assert_int_equal(sem_post(&gate), 0);
	done = lp_readers_wait(r);
	assert_ptr_equal(done, &jobs[0].job);
	take(done);
	assert_null(lp_readers_wait(r));
	check_all(jobs, LP_COUNT_OF(jobs));
	lp_readers_destroy(r);
	assert_int_equal(sem_destroy(&gate), 0);
	assert_int_equal(sem_destroy(&entered), 0);
}

struct watched {
	struct lp_readers *r;
	size_t n;
	bool off_thread;
};

static void on_done(void *ctx)
{
	struct watched *w = ctx;
	struct lp_read_job *done;

	while ((done = lp_readers_poll(w->r))) {
		take(done);
		w->n++;
		w->off_thread &= LP_CONTAINER_OF(done, struct job, job)->signals_blocked;
	}
}

static void watch__reports_in_the_loop(void **state)
{
	static struct job jobs[JOBS];

	(void)state;
	for (unsigned width = 0; width <= 2; width++) {
		struct watched w = {.r = lp_readers_create(width, SCRATCH_BYTES),
				    .off_thread = true};
		uint64_t deadline_us = lp_now_us() + DEADLINE_US;
		struct lp_err err = {0};
		struct lp_loop *loop;

		memset(jobs, 0, sizeof(jobs));
		assert_int_equal(lp_loop_create(&loop, &err), 0);
		assert_int_equal(lp_readers_watch(w.r, loop, on_done, &w, &err), 0);
		for (size_t i = 0; i < JOBS; i++) {
			jobs[i].job.run = run;
			lp_readers_add(w.r, &jobs[i].job);
		}
		while (w.n < JOBS) {
			assert_true(lp_now_us() < deadline_us);
			assert_int_equal(lp_loop_dispatch(loop, 1000), 0);
		}
		check_all(jobs, JOBS);
		/* Signals are for the loop's thread. */
		assert_int_equal(w.off_thread, width > 0);
		lp_readers_destroy(w.r);
		lp_loop_destroy(loop);
	}
}

/* Jobs that nobody took back are their owner's when the pool is gone. */
static void destroy__leaves_jobs_to_their_owner(void **state)
{
	(void)state;
	for (int round = 0; round < 50; round++) {
		struct job jobs[40] = {0};
		struct lp_readers *r = lp_readers_create(3, SCRATCH_BYTES);
		size_t n = 0;

		for (size_t i = 0; i < LP_COUNT_OF(jobs); i++) {
			jobs[i].job.run = run;
			lp_readers_add(r, &jobs[i].job);
		}
		lp_readers_destroy(r);
		for (size_t i = 0; i < LP_COUNT_OF(jobs); i++) {
			assert_in_range(jobs[i].runs, 0, 1);
			n += (size_t)jobs[i].runs;
		}
		assert_in_range(n, 0, LP_COUNT_OF(jobs));
	}
	lp_readers_destroy(NULL);
}

static void width__is_small(void **state)
{
	(void)state;
	assert_in_range(lp_readers_width(), 1, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wait__returns_each_job_once),
		cmocka_unit_test(wait__does_the_work_itself),
		cmocka_unit_test(watch__reports_in_the_loop),
		cmocka_unit_test(destroy__leaves_jobs_to_their_owner),
		cmocka_unit_test(width__is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
