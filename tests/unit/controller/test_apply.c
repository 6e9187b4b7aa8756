/* test_apply.c: the apply thread: jobs in, replies out, in order and once. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/controller/apply_rig.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* What the tree is said to owe, and how often that was tried again: by the apply thread. */
static atomic_bool owes;
static atomic_uint tries;

static pthread_t tester;
static atomic_bool is_here; /* the last job was done by the test's own thread */

bool __real_lp_tree_owes(const struct lp_tree *t, struct lp_err *why);
bool __wrap_lp_tree_owes(const struct lp_tree *t, struct lp_err *why);
bool __wrap_lp_tree_owes(const struct lp_tree *t, struct lp_err *why)
{
	atomic_store(&is_here, pthread_equal(pthread_self(), tester) != 0);
	if (!atomic_load(&owes))
		return __real_lp_tree_owes(t, why);
	if (why)
		(void)lp_err_say(why, EIO, "f: cannot be put back");
	return true;
}

void __real_lp_tree_tidy(struct lp_tree *t);
void __wrap_lp_tree_tidy(struct lp_tree *t);
void __wrap_lp_tree_tidy(struct lp_tree *t)
{
	if (atomic_load(&owes) && atomic_fetch_add(&tries, 1) == 1)
		atomic_store(&owes, false);
	__real_lp_tree_tidy(t);
}

/* Whether the disk is said to be full, and in whose thread that was found, and room made. */
static atomic_bool is_full;
static atomic_uint failed_here, rooms, rooms_here;

int __real_lp_tree_commit(struct lp_tree *t, uint64_t revision, struct lp_applied *out,
			  struct lp_err *err);
int __wrap_lp_tree_commit(struct lp_tree *t, uint64_t revision, struct lp_applied *out,
			  struct lp_err *err);
int __wrap_lp_tree_commit(struct lp_tree *t, uint64_t revision, struct lp_applied *out,
			  struct lp_err *err)
{
	if (!atomic_load(&is_full))
		return __real_lp_tree_commit(t, revision, out, err);
	if (pthread_equal(pthread_self(), tester))
		atomic_fetch_add(&failed_here, 1);
	*out = (struct lp_applied){0};
	lp_tree_drop(t);
	return lp_err_set(err, ENOSPC, "a: cannot be put");
}

void __real_lp_tree_give_room(struct lp_tree *t);
void __wrap_lp_tree_give_room(struct lp_tree *t);
void __wrap_lp_tree_give_room(struct lp_tree *t)
{
	if (pthread_equal(pthread_self(), tester))
		atomic_fetch_add(&rooms_here, 1);
	__real_lp_tree_give_room(t);
	atomic_fetch_add(&rooms, 1);
}

static void await_reach(uint64_t reach)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;
	struct lp_tree_state s;

	for (lp_apply_state(apply, &s); s.reach != reach; lp_apply_state(apply, &s)) {
		assert_true(lp_now_us() < deadline_us);
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

/* What is kept may be much to remove, which the loop must not wait for, wherever the disk was found
 * to be full. */
static void submit__makes_room_in_the_thread(void **state)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US, revision = 0;
	unsigned before;

	(void)state;
	tester = pthread_self();
	job_put(1, ++revision, "kept", "one");
	await_reach(1);
	atomic_store(&is_full, true);
	do {
		assert_true(lp_now_us() < deadline_us);
		job_list(1, "");
		(void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
		before = atomic_load(&rooms);
		job_put(1, ++revision, "a", "one");
	} while (atomic_load(&failed_here) == 0);
	while (atomic_load(&rooms) == before && lp_now_us() < deadline_us)
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_true(atomic_load(&rooms) > before);
	assert_int_equal(atomic_load(&rooms_here), 0);
	/* Whoever asks what can be taken back hears of it. */
	await_reach(0);
	atomic_store(&is_full, false);
}

/* Without anybody asking for it. */
static void owed__is_tried_again_from_time_to_time(void **state)
{
	uint64_t deadline = lp_now_us() + 60000000;

	(void)state;
	atomic_store(&owes, true);
	job_put(1, 1, "a", "one");
	while (atomic_load(&owes) && lp_now_us() < deadline)
		(void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	assert_false(atomic_load(&owes));
	assert_true(atomic_load(&tries) >= 2);
	job_put(1, 2, "a", "two");
	expect_log("A1 + A2 + ");
}

/* A small changeset, as soon as the thread has nothing to do; never one that may take long. */
static void submit__does_what_is_small_at_once(void **state)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US, revision = 0;
	LP_AUTO_FREE char *large = lp_xcalloc(1, 70001);

	(void)state;
	tester = pthread_self();
	for (atomic_store(&is_here, false); !atomic_load(&is_here);) {
		assert_true(lp_now_us() < deadline_us);
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		job_put(1, ++revision, "a", "one");
	}
	assert_string_equal(app_reads(&rig, "a"), "one");
	memset(large, 'x', 70000);
	job_put(1, ++revision, "b", large);
	while (!app_sees(&rig, "b")) {
		assert_true(lp_now_us() < deadline_us);
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	lp_apply_stop(apply);
	assert_false(atomic_load(&is_here));
}

static void await_file(const char *path)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	while (!app_sees(&rig, path) || app_sees_dir(&rig, path)) {
		assert_true(lp_now_us() < deadline_us);
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	/* The thread has nothing to do any more, most of the time. */
	(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* A directory that has to go, or what comes before it. */
static void submit__leaves_to_the_thread_what_may_be_much(void **state)
{
	struct lp_wire_op dir = op_dir("d", 0755), more = op_file("more", "x", 0644);
	const unsigned whole = LP_CHANGE_FIRST | LP_CHANGE_LAST;
	uint64_t revision = 0;

	(void)state;
	tester = pthread_self();
	for (int round = 0; round < 20; round++) {
		job_change(1, ++revision, whole, &dir);
		job_put(1, ++revision, "d/f", "x");
		await_file("d/f");
		atomic_store(&is_here, false);
		job_put(1, ++revision, "d", "a file");
		assert_false(atomic_load(&is_here));
		await_file("d");
		job_change(1, ++revision, LP_CHANGE_FIRST, &more);
		await_file("d");
		atomic_store(&is_here, false);
		job_put(1, ++revision, "a", "one");
		assert_false(atomic_load(&is_here));
		await_file("a");
	}
	atomic_store(&owes, true);
	job_put(1, ++revision, "a", "two");
	await_file("a");
	atomic_store(&is_here, false);
	job_put(1, ++revision, "a", "three");
	assert_false(atomic_load(&is_here));
	atomic_store(&owes, false);
}

static void submit__answers_in_order(void **state)
{
	struct lp_tree_state now;

	(void)state;
	job_put(1, 1, "a", "one");
	job_list(1, "");
	job_put(1, 2, "a", "two");
	job_put(1, 3, "b", "");
	expect_log("A1 + L. A2 + A3 + ");
	lp_apply_state(apply, &now);
	assert_int_equal(now.revision, 3);
	assert_int_equal(now.files, 2);
	assert_int_equal(now.bytes, 3);
	assert_true(now.foreign);
	assert_string_equal(app_reads(&rig, "a"), "two");
}

static void submit__is_deaf_after_a_failure_until_the_next_list(void **state)
{
	(void)state;
	job_put(1, 1, "a", "one");
	job_put_wrong(1, 2);
	job_put(1, 3, "b", "ignored");
	job_put_wrong(1, 4);
	job_list(1, "");
	job_put(1, 5, "c", "heard");
	expect_log("A1 + F2 L. A5 + ");
	assert_false(app_sees(&rig, "b"));
	assert_string_equal(app_reads(&rig, "c"), "heard");
	assert_non_null(strstr(failure, "wrong: "));
}

static void submit__reports_a_failed_changeset_once(void **state)
{
	uint8_t bytes[4096] = {0};
	struct lp_wire_op wrong = op_file("wrong", "x", 0644), fine = op_file("fine", "x", 0644),
			  large = op_large("large", bytes, sizeof(bytes));
	struct lp_msg data = {.kind = LP_MSG_DATA}, skip = {.kind = LP_MSG_SKIP};
	uint64_t deadline;

	(void)state;
	wrong.digest[0] ^= 1;
	data.u.data.content = (struct lp_bytes){bytes, sizeof(bytes)};
	job_change(1, 1, LP_CHANGE_FIRST, &wrong);
	job_change(1, 1, 0, &fine);
	job_submit(&data, 1);
	job_submit(&skip, 1);
	job_change(1, 1, 0, &wrong);
	job_change(1, 1, LP_CHANGE_LAST, &fine);
	job_list(1, "");
	/* One that never ends is replaced by the next. */
	job_change(1, 2, LP_CHANGE_FIRST, &large);
	job_put(1, 3, "fine", "y");
	/* No beginning. */
	job_change(1, 4, LP_CHANGE_LAST, &fine);
	job_list(1, "");
	/* DATA and SKIP that nobody waits for. */
	job_change(1, 5, LP_CHANGE_FIRST, &fine);
	job_submit(&data, 1);
	job_change(1, 5, LP_CHANGE_LAST, NULL);
	job_list(1, "");
	job_put(1, 6, "fine", "z");
	deadline = lp_now_us() + DEADLINE_US;
	expect_log("F1 L. A3 + F4 L. F5 L. A6 + ");
	assert_string_equal(app_reads(&rig, "fine"), "z");
	assert_false(app_sees(&rig, "large"));
	/* It tidies when there is nothing else to do. */
	while (rig_staged(&rig) > 0)
		assert_true(lp_now_us() < deadline);
}

static void submit__says_when_the_tree_is_another(void **state)
{
	struct lp_wire_op op = op_file("a", "one", 0644);
	struct lp_msg msg = {.kind = LP_MSG_CHANGE};

	(void)state;
	msg.u.change.revision = 1;
	msg.u.change.flags = LP_CHANGE_FIRST | LP_CHANGE_LAST;
	msg.u.change.ops = &op;
	msg.u.change.n_ops = 1;
	memset(msg.u.change.root, 0x11, sizeof(msg.u.change.root));
	job_submit(&msg, 1);
	job_put(1, 2, "b", "ignored");
	job_list(1, "no/such");
	expect_log("F1 + L. ");
	assert_string_equal(app_reads(&rig, "a"), "one");
}

static void submit__drops_what_another_connection_began(void **state)
{
	uint8_t bytes[1000] = {0};
	struct lp_wire_op large = op_large("large", bytes, sizeof(bytes)),
			  next = op_file("next", "x", 0644);
	struct lp_msg data = {.kind = LP_MSG_DATA};

	(void)state;
	data.u.data.content = (struct lp_bytes){bytes, sizeof(bytes)};
	job_change(1, 1, LP_CHANGE_FIRST, &large);
	job_submit(&data, 2);
	job_change(2, 2, LP_CHANGE_LAST, &next);
	job_put_wrong(3, 3); /* deafness is one connection's, too */
	job_put(4, 4, "b", "x");
	expect_log("F2 F3 A4 + ");
	assert_false(app_sees(&rig, "large"));
	assert_false(app_sees(&rig, "next"));
}

/* Whoever waits for an answer that cannot be given hears that there is none. */
static void submit__says_that_an_answer_is_missing(void **state)
{
	(void)state;
	unfit = LP_MSG_LISTING;
	job_list(3, "");
	job_put(3, 1, "a", "one");
	expect_log("M3 A1 + ");
	unfit = 0;
}

/* All that came before is done by then, or dropped. */
static void greet__waits_for_its_turn(void **state)
{
	uint8_t bytes[4096] = {0};
	struct lp_wire_op large = op_large("large", bytes, sizeof(bytes));
	struct lp_tree_state now;

	(void)state;
	lp_apply_greet(apply, 1);
	for (uint64_t i = 1; i <= 3; i++)
		job_put(1, i, "a", "one");
	job_change(1, 4, LP_CHANGE_FIRST, &large);
	lp_apply_greet(apply, 2);
	job_change(2, 4, LP_CHANGE_LAST, NULL); /* of what is not under way any more */
	expect_log("G1 A1 + A2 + A3 + G2 F4 ");
	lp_apply_state(apply, &now);
	assert_int_equal(now.revision, 3);
	assert_int_equal(now.contents, 1);
}

/* Nobody waits for what a connection asked that was replaced. */
static void greet__ends_questions_of_the_connection_before(void **state)
{
	struct lp_msg verify = {.kind = LP_MSG_VERIFY};

	(void)state;
	lp_apply_greet(apply, 2);
	job_put(2, 1, "a", "one");
	job_list(1, "");
	job_submit(&verify, 1);
	job_list(2, "");
	expect_log("G2 A1 + L. ");
}

static void submit__verifies(void **state)
{
	struct lp_msg verify = {.kind = LP_MSG_VERIFY};
	struct lp_tree_state now;

	(void)state;
	job_put(1, 1, "a", "one");
	job_put(1, 2, "b", "two");
	job_submit(&verify, 1);
	submitted++; /* its answer comes later */
	expect_log("A1 + A2 + V0/2 ");
	lp_apply_state(apply, &now);
	assert_int_equal(now.files, 2);
}

/* What is asked twice is answered twice, and a changeset that comes meanwhile does not wait. */
static void submit__applies_before_it_has_verified(void **state)
{
	struct lp_msg verify = {.kind = LP_MSG_VERIFY};
	struct lp_wire_op op = op_file("b", "two", 0644);

	(void)state;
	job_put(1, 1, "a", "one");
	job_change(1, 2, LP_CHANGE_FIRST, &op);
	job_submit(&verify, 1);
	job_submit(&verify, 1);
	submitted += 2;
	job_change(1, 2, LP_CHANGE_LAST, NULL);
	expect_log("A1 + A2 + V0/2 V0/2 ");
}

/* The next connection hears of the beginning of a large file that the lost one had sent. */
static void lost__keeps_the_beginning_of_a_large_file(void **state)
{
	const size_t total = 2000000, piece = 250000, have = 1500000;
	LP_AUTO_FREE uint8_t *bytes = lp_xcalloc(1, total);
	struct lp_wire_op large = op_large("large", bytes, total);
	struct lp_msg data = {.kind = LP_MSG_DATA};
	struct lp_tree_state now = {0};
	uint64_t deadline = lp_now_us() + DEADLINE_US;

	(void)state;
	job_change(1, 1, LP_CHANGE_FIRST, &large);
	for (size_t at = 0; at < have; at += piece) {
		data.u.data.at = at;
		data.u.data.content = (struct lp_bytes){bytes + at, piece};
		job_submit(&data, 1);
	}
	lp_apply_lost(apply, 2); /* another one */
	lp_apply_lost(apply, 1);
	while (now.partial_have == 0 && lp_now_us() < deadline)
		lp_apply_state(apply, &now);
	assert_int_equal(now.partial_have, have);
	assert_memory_equal(now.partial.b, large.digest, 16);
	job_change(2, 1, LP_CHANGE_FIRST, &large);
	for (size_t at = have; at < total; at += piece) {
		data.u.data.at = at;
		data.u.data.content = (struct lp_bytes){bytes + at, piece};
		job_submit(&data, 2);
	}
	job_change(2, 1, LP_CHANGE_LAST, NULL);
	expect_log("A1 + ");
	lp_apply_state(apply, &now);
	assert_int_equal(now.partial_have, 0);
	assert_int_equal(now.bytes, total);
}

static void job__refuses_what_is_no_message(void **state)
{
	struct lp_packer *packer = lp_packer_create();
	struct lp_msg msg = {.kind = LP_MSG_LOG};
	struct lp_buf bytes = {0}, twice = {0};
	struct lp_job *job = NULL;
	uint8_t content[2000] = {0};

	(void)state;
	assert_int_equal(lp_job_create(&job, "no", 2, packer, NULL), -EBADMSG);
	assert_int_equal(lp_job_create(&job, "", 0, packer, NULL), -EBADMSG);
	msg.u.log.content = (struct lp_bytes){content, sizeof(content)};
	assert_int_equal(lp_msg_encode(&msg, &bytes), 0);
	assert_int_equal(lp_packer_pack(packer, &bytes), 0);
	/* Nobody unpacks for a stranger. */
	assert_int_equal(lp_job_create(&job, bytes.data, bytes.len, NULL, NULL), -EBADMSG);
	assert_int_equal(lp_job_create(&job, bytes.data, bytes.len, packer, NULL), 0);
	assert_int_equal(job->msg.kind, LP_MSG_LOG);
	lp_job_destroy(job);
	lp_job_destroy(NULL);
	lp_buf_finish(&bytes);
	lp_buf_finish(&twice);
	lp_packer_destroy(packer);
}

/* What was posted and not delivered goes with it. */
static void destroy__forgets_what_is_under_way(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 200; i++)
		job_put(1, i, "f", "content");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(owed__is_tried_again_from_time_to_time,
						apply_set_up, apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__does_what_is_small_at_once, apply_set_up,
						apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__makes_room_in_the_thread, apply_set_up,
						apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__leaves_to_the_thread_what_may_be_much,
						apply_set_up, apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__answers_in_order, apply_set_up,
						apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__is_deaf_after_a_failure_until_the_next_list,
						apply_set_up, apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__reports_a_failed_changeset_once,
						apply_set_up, apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__says_when_the_tree_is_another, apply_set_up,
						apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__drops_what_another_connection_began,
						apply_set_up, apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__says_that_an_answer_is_missing,
						apply_set_up, apply_tear_down),
		cmocka_unit_test_setup_teardown(greet__waits_for_its_turn, apply_set_up,
						apply_tear_down),
		cmocka_unit_test_setup_teardown(greet__ends_questions_of_the_connection_before,
						apply_set_up, apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__verifies, apply_set_up, apply_tear_down),
		cmocka_unit_test_setup_teardown(submit__applies_before_it_has_verified,
						apply_set_up, apply_tear_down),
		cmocka_unit_test_setup_teardown(lost__keeps_the_beginning_of_a_large_file,
						apply_set_up, apply_tear_down),
		cmocka_unit_test_setup_teardown(destroy__forgets_what_is_under_way, apply_set_up,
						apply_tear_down),
		cmocka_unit_test(job__refuses_what_is_no_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
