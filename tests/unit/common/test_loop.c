/* test_loop.c: the event loop, each test twice: on epoll alone and inside libwebsockets. */
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "common/loop/loop.h"
#include "common/loop/ws_internal.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LATE_US     1000000u  /* a loaded machine under a sanitizer may be that late */
#define DEADLINE_US 30000000u /* no test may take longer */

static struct lp_loop *loop;
static bool timed_out;

static void on_deadline(struct lp_timer *timer)
{
	(void)timer;
	timed_out = true;
	lp_loop_stop(loop);
}

/* Runs until a callback stops the loop; fails when none does. */
static void run(void)
{
	struct lp_timer deadline = {.on_fire = on_deadline};
	struct lp_err err = {0};

	timed_out = false;
	lp_timer_set(loop, &deadline, lp_now_us() + DEADLINE_US);
	if (lp_loop_run(loop, &err) != 0)
		fail_msg("%s", err.msg);
	lp_timer_clear(&deadline);
	assert_false(timed_out);
}

static int make_loop(void **state)
{
	(void)state;
	return lp_loop_create(&loop, NULL);
}

static int make_loop_with_websockets(void **state)
{
	struct lp_ws_host *host;

	return make_loop(state) < 0 ? -1 : lp_ws_host_get(loop, &host, NULL);
}

static int drop_loop(void **state)
{
	(void)state;
	lp_loop_destroy(loop);
	lp_loop_destroy(NULL);
	return 0;
}

struct alarm {
	struct lp_timer timer;
	uint64_t due_us;
	int number;
};

static int fired[16], n_fired;
static uint64_t late_us;

static void on_alarm(struct lp_timer *timer)
{
	struct alarm *a = LP_CONTAINER_OF(timer, struct alarm, timer);
	uint64_t now_us = lp_now_us();

	assert_true(now_us >= a->due_us);
	if (now_us - a->due_us > late_us)
		late_us = now_us - a->due_us;
	fired[n_fired++] = a->number;
	if (a->number == 9)
		lp_loop_stop(loop);
}

static void timer__fires_in_order_and_not_early(void **state)
{
	/* number, ms from now; 9 is the last */
	static const int plan[][2] = {{4, 30}, {1, 5}, {9, 45}, {2, 20}, {3, 20}, {0, -50}};
	struct alarm alarms[LP_COUNT_OF(plan)];
	uint64_t now_us = lp_now_us();

	(void)state;
	n_fired = 0;
	late_us = 0;
	for (size_t i = 0; i < LP_COUNT_OF(plan); i++) {
		alarms[i] = (struct alarm){.timer.on_fire = on_alarm, .number = plan[i][0]};
		alarms[i].due_us = (uint64_t)((int64_t)now_us + plan[i][1] * INT64_C(1000));
		lp_timer_set(loop, &alarms[i].timer, alarms[i].due_us);
	}
	run();
	assert_int_equal(n_fired, LP_COUNT_OF(plan));
	for (int i = 0; i < 5; i++)
		assert_int_equal(fired[i], i);
	assert_true(late_us < LATE_US);
	for (size_t i = 0; i < LP_COUNT_OF(plan); i++)
		assert_null(alarms[i].timer.loop);
}

static void timer__can_be_replaced_and_cleared(void **state)
{
	struct alarm last = {.timer.on_fire = on_alarm, .number = 9};
	struct alarm moved = {.timer.on_fire = on_alarm, .number = 1};
	struct alarm cleared = {.timer.on_fire = on_alarm, .number = 2};
	uint64_t now_us = lp_now_us();

	(void)state;
	n_fired = 0;
	lp_timer_clear(&cleared.timer);
	last.due_us = now_us + 20000;
	lp_timer_set(loop, &last.timer, last.due_us);
	lp_timer_set(loop, &cleared.timer, now_us + 1000);
	lp_timer_set(loop, &moved.timer, now_us + 3600000000u);
	moved.due_us = now_us + 10000;
	lp_timer_set(loop, &moved.timer, moved.due_us);
	lp_timer_clear(&cleared.timer);
	lp_timer_clear(&cleared.timer);
	run();
	assert_int_equal(n_fired, 2);
	assert_int_equal(fired[0], 1);
	assert_int_equal(fired[1], 9);
}

static struct alarm victim;

static void on_clear_victim(struct lp_timer *timer)
{
	lp_timer_clear(&victim.timer);
	on_alarm(timer);
}

static void timer__can_be_cleared_by_one_of_the_same_round(void **state)
{
	struct alarm killer = {.timer.on_fire = on_clear_victim, .number = 1};
	struct alarm last = {.timer.on_fire = on_alarm, .number = 9};

	(void)state;
	n_fired = 0;
	victim = (struct alarm){.timer.on_fire = on_alarm, .number = 2};
	lp_timer_set(loop, &killer.timer, 1);
	lp_timer_set(loop, &victim.timer, 2);
	lp_timer_set(loop, &last.timer, 3);
	run();
	assert_int_equal(n_fired, 2);
	assert_int_equal(fired[1], 9);
}

struct reader {
	struct lp_fd_src src;
	int pipe[2];
	int calls;
	struct reader *other;
};

static void reader_open(struct reader *r, void (*on_ready)(struct lp_fd_src *, uint32_t))
{
	*r = (struct reader){0};
	assert_int_equal(pipe2(r->pipe, O_CLOEXEC | O_NONBLOCK), 0);
	r->src = (struct lp_fd_src){.fd = r->pipe[0], .events = EPOLLIN, .on_ready = on_ready};
	assert_int_equal(lp_loop_fd_add(loop, &r->src, NULL), 0);
}

static void reader_close(struct reader *r)
{
	lp_loop_fd_remove(&r->src);
	lp_loop_fd_remove(&r->src);
	(void)close(r->pipe[0]);
	(void)close(r->pipe[1]);
}

static void feed(struct reader *r)
{
	assert_int_equal(write(r->pipe[1], "x", 1), 1);
}

static unsigned rearmed;

static void on_rearm(struct lp_timer *timer)
{
	if (++rearmed < 100000)
		lp_timer_set(loop, timer, 0);
	else
		lp_loop_stop(loop);
}

static void on_stop(struct lp_fd_src *src, uint32_t ready)
{
	struct reader *r = LP_CONTAINER_OF(src, struct reader, src);

	assert_true(ready & (EPOLLIN | EPOLLHUP));
	r->calls++;
	lp_loop_stop(loop);
}

/* A timer that is always due must not keep descriptors from their turn. */
static void timer__does_not_starve_descriptors(void **state)
{
	struct lp_timer busy = {.on_fire = on_rearm};
	struct reader r;

	(void)state;
	rearmed = 0;
	reader_open(&r, on_stop);
	feed(&r);
	lp_timer_set(loop, &busy, 0);
	run();
	lp_timer_clear(&busy);
	assert_int_equal(r.calls, 1);
	assert_true(rearmed < 1000);
	reader_close(&r);
}

static void on_remove_other(struct lp_fd_src *src, uint32_t ready)
{
	struct reader *r = LP_CONTAINER_OF(src, struct reader, src);

	(void)ready;
	r->calls++;
	reader_close(r->other);
	/* The numbers of the closed descriptors come back at once; what was pending is not theirs.
	 */
	reader_open(r->other, on_stop);
	lp_loop_stop(loop);
}

static void fd__is_not_called_after_its_removal_in_the_same_batch(void **state)
{
	struct reader a, b;

	(void)state;
	reader_open(&a, on_remove_other);
	reader_open(&b, on_remove_other);
	a.other = &b;
	b.other = &a;
	feed(&a);
	feed(&b);
	run();
	assert_int_equal(a.calls + b.calls, 1);
	reader_close(&a);
	reader_close(&b);
}

static void on_remove_itself(struct lp_fd_src *src, uint32_t ready)
{
	struct reader *r = LP_CONTAINER_OF(src, struct reader, src);

	(void)ready;
	reader_close(r);
	free(r);
	lp_loop_stop(loop);
}

static void fd__may_free_itself(void **state)
{
	struct reader *r = lp_xcalloc(1, sizeof(*r));

	(void)state;
	reader_open(r, on_remove_itself);
	feed(r);
	run();
}

static void on_third_call(struct lp_fd_src *src, uint32_t ready)
{
	struct reader *r = LP_CONTAINER_OF(src, struct reader, src);

	(void)ready;
	if (++r->calls == 3)
		lp_loop_stop(loop);
}

static void fd__is_level_triggered(void **state)
{
	struct reader r;

	(void)state;
	reader_open(&r, on_third_call);
	feed(&r); /* never read */
	run();
	assert_int_equal(r.calls, 3);
	reader_close(&r);
}

static void fd__reports_hangup_unasked(void **state)
{
	struct reader r;

	(void)state;
	reader_open(&r, on_stop);
	lp_loop_fd_events(&r.src, 0); /* nothing else can be what is ready */
	(void)close(r.pipe[1]);
	run();
	assert_int_equal(r.calls, 1);
	r.pipe[1] = -1;
	reader_close(&r);
}

static void fd_events__changes_what_is_waited_for(void **state)
{
	struct alarm last = {.timer.on_fire = on_alarm, .number = 9};
	struct reader quiet;

	(void)state;
	n_fired = 0;
	reader_open(&quiet, on_stop);
	lp_loop_fd_events(&quiet.src, 0);
	feed(&quiet);
	lp_timer_set(loop, &last.timer, lp_now_us() + 20000);
	run();
	assert_int_equal(quiet.calls, 0);
	assert_int_equal(n_fired, 1);
	reader_close(&quiet);
	lp_loop_fd_events(&quiet.src, EPOLLIN); /* harmless when not added */
}

static void fd_add__says_what_is_wrong(void **state)
{
	struct lp_fd_src src = {.fd = -1, .events = EPOLLIN, .on_ready = on_stop};
	struct lp_err err = {0};
	struct reader r;
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(lp_loop_fd_add(loop, &src, &err), -EBADF);
	assert_int_equal(err.code, EBADF);
	assert_null(src.loop);
	src.fd = file;
	assert_int_equal(lp_loop_fd_add(loop, &src, &err), -EPERM);
	lp_loop_fd_remove(&src);
	reader_open(&r, on_stop);
	src.fd = r.src.fd;
	assert_int_equal(lp_loop_fd_add(loop, &src, &err), -EEXIST);
	assert_null(src.loop);
	reader_close(&r);
	(void)close(file);
}

#define POSTERS 4
#define POSTS   2000

struct letter {
	struct lp_post post;
	unsigned thread, number;
};

static struct letter letters[POSTERS][POSTS];
static unsigned next_number[POSTERS], n_letters, out_of_order;

static void on_letter(struct lp_post *post)
{
	struct letter *l = LP_CONTAINER_OF(post, struct letter, post);

	out_of_order += l->number != next_number[l->thread];
	next_number[l->thread] = l->number + 1;
	if (++n_letters == POSTERS * POSTS)
		lp_loop_stop(loop);
}

static void *post_letters(void *arg)
{
	struct letter *mine = arg;

	for (unsigned i = 0; i < POSTS; i++)
		lp_loop_post(loop, &mine[i].post);
	return NULL;
}

static void post__keeps_the_order_of_each_thread(void **state)
{
	pthread_t threads[POSTERS];

	(void)state;
	n_letters = out_of_order = 0;
	memset(next_number, 0, sizeof(next_number));
	for (unsigned t = 0; t < POSTERS; t++)
		for (unsigned i = 0; i < POSTS; i++)
			letters[t][i] =
				(struct letter){.post.run = on_letter, .thread = t, .number = i};
	for (unsigned t = 0; t < POSTERS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, post_letters, letters[t]), 0);
	run();
	for (unsigned t = 0; t < POSTERS; t++)
		assert_int_equal(pthread_join(threads[t], NULL), 0);
	assert_int_equal(n_letters, POSTERS * POSTS);
	assert_int_equal(out_of_order, 0);
}

static struct letter chain[3];
static bool inside;

static void on_chain(struct lp_post *post)
{
	struct letter *l = LP_CONTAINER_OF(post, struct letter, post);

	assert_false(inside);
	inside = true;
	fired[n_fired++] = (int)l->number;
	if (l->number == 0) {
		lp_loop_post(loop, &chain[2].post);
		lp_loop_post(loop, &chain[0].post); /* it has run, so it may be posted again */
		l->number = 7;
	} else if (l->number == 7) {
		lp_loop_stop(loop);
	}
	inside = false;
}

static void post__from_a_callback_runs_after_it(void **state)
{
	(void)state;
	n_fired = 0;
	for (unsigned i = 0; i < LP_COUNT_OF(chain); i++)
		chain[i] = (struct letter){.post.run = on_chain, .number = i};
	lp_loop_post(loop, &chain[0].post);
	lp_loop_post(loop, &chain[1].post);
	run();
	assert_int_equal(n_fired, 4);
	assert_memory_equal(fired, ((int[]){0, 1, 2, 7}), 4 * sizeof(int));
}

static void *stop_it(void *arg)
{
	lp_loop_stop(arg);
	return NULL;
}

static void stop__works_from_another_thread(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, stop_it, loop), 0);
	run();
	assert_int_equal(pthread_join(thread, NULL), 0);
	run(); /* stopped for good */
}

static void on_signal(void *ctx, int signo)
{
	sigset_t *seen = ctx;

	assert_int_equal(sigaddset(seen, signo), 0);
	if (sigismember(seen, SIGUSR1) == 1 && sigismember(seen, SIGUSR2) == 1)
		lp_loop_stop(loop);
}

static void signals__come_through_the_loop(void **state)
{
	sigset_t wanted, seen, before;

	(void)state;
	assert_int_equal(sigemptyset(&wanted), 0);
	assert_int_equal(sigemptyset(&seen), 0);
	assert_int_equal(sigaddset(&wanted, SIGUSR1), 0);
	assert_int_equal(sigaddset(&wanted, SIGUSR2), 0);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
	assert_int_equal(lp_loop_on_signals(loop, &wanted, on_signal, &seen, NULL), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(raise(SIGUSR2), 0);
	run();
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

#define BOTH(f)                                                                                    \
	cmocka_unit_test_setup_teardown(f, make_loop, drop_loop),                                  \
		cmocka_unit_test_setup_teardown(f, make_loop_with_websockets, drop_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(timer__fires_in_order_and_not_early),
		BOTH(timer__can_be_replaced_and_cleared),
		BOTH(timer__can_be_cleared_by_one_of_the_same_round),
		BOTH(timer__does_not_starve_descriptors),
		BOTH(fd__is_not_called_after_its_removal_in_the_same_batch),
		BOTH(fd__may_free_itself),
		BOTH(fd__is_level_triggered),
		BOTH(fd__reports_hangup_unasked),
		BOTH(fd_events__changes_what_is_waited_for),
		BOTH(fd_add__says_what_is_wrong),
		BOTH(post__keeps_the_order_of_each_thread),
		BOTH(post__from_a_callback_runs_after_it),
		BOTH(stop__works_from_another_thread),
		BOTH(signals__come_through_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
