/* test_thread.c: threads that no signal reaches. */
#include "common/base/lp_thread.h"

#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* What a thread sees: its mask, and whether it is detached. */
struct seen {
	sigset_t mask;
	int detached;
	sem_t done;
};

static void *look(void *arg)
{
	struct seen *seen = arg;
	pthread_attr_t attr;

	(void)pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
	(void)pthread_getattr_np(pthread_self(), &attr);
	(void)pthread_attr_getdetachstate(&attr, &seen->detached);
	(void)pthread_attr_destroy(&attr);
	(void)sem_post(&seen->done);
	return seen;
}

static void assert_blocked(const struct seen *seen)
{
	static const int some[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGPIPE, SIGUSR1, SIGALRM};

	for (size_t i = 0; i < LP_COUNT_OF(some); i++)
		assert_int_equal(sigismember(&seen->mask, some[i]), 1);
}

static void thread_start__blocks_signals_there_alone(void **state)
{
	struct seen seen = {.detached = -1};
	sigset_t before, after;
	pthread_t thread;
	void *result = NULL;

	(void)state;
	assert_int_equal(sem_init(&seen.done, 0, 0), 0);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
	assert_int_equal(lp_thread_start(&thread, look, &seen), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	assert_ptr_equal(result, &seen);
	assert_blocked(&seen);
	assert_int_equal(seen.detached, PTHREAD_CREATE_JOINABLE);
	for (int signo = 1; signo < 32; signo++)
		assert_int_equal(sigismember(&before, signo), sigismember(&after, signo));
	(void)sem_destroy(&seen.done);
}

static void thread_start__detaches_without_a_place_for_its_id(void **state)
{
	static struct seen seen; /* the thread may outlive this function by a moment */

	(void)state;
	assert_int_equal(sem_init(&seen.done, 0, 0), 0);
	assert_int_equal(lp_thread_start(NULL, look, &seen), 0);
	while (sem_wait(&seen.done) < 0)
		assert_int_equal(errno, EINTR);
	assert_blocked(&seen);
	assert_int_equal(seen.detached, PTHREAD_CREATE_DETACHED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thread_start__blocks_signals_there_alone),
		cmocka_unit_test(thread_start__detaches_without_a_place_for_its_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
