/* test_apply.c: the apply thread: jobs in, replies out, in order and once. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "controller/apply.h"
#include "tests/unit/controller/tree_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DEADLINE_US 30000000u

/* What came back: "A3" for APPLIED 3, "F3" for FAILED 3 (small letter: without resync), "L" for a
 * LISTING ("L." for the last of a LIST), "V1/2" for VERIFIED with one of two files drifted, "+" for
 * on_applied, "G1" for on_greeted, "M1" for on_mute, with the epoch. */
static struct lp_loop *loop;
static struct lp_apply *apply;
static struct rig rig;
static struct lp_buf log_text;
static char failure[512];
static size_t submitted, consumed;

static void on_reply(void *ctx, uint64_t epoch, const struct lp_buf *bytes)
{
	struct lp_msg msg;
	int r;

	(void)ctx;
	(void)epoch;
	assert_int_equal(lp_msg_decode(&msg, bytes->data, bytes->len, NULL), 0);
	switch (msg.kind) {
	case LP_MSG_APPLIED:
		r = lp_buf_addf(&log_text, "A%d ", (int)msg.u.applied.revision);
		break;
	case LP_MSG_FAILED:
		r = lp_buf_addf(&log_text, "%c%d ", msg.u.failed.resync ? 'F' : 'f',
				(int)msg.u.failed.revision);
		lp_bytes_text(&msg.u.failed.error, failure, sizeof(failure));
		assert_int_equal(msg.u.failed.stage, LP_WIRE_STAGE_APPLY);
		break;
	case LP_MSG_VERIFIED:
		r = lp_buf_addf(&log_text, "V%d/%d ", (int)msg.u.verified.drifted,
				(int)msg.u.verified.files);
		break;
	case LP_MSG_LISTING:
		r = lp_buf_addf(&log_text, "L%s ", msg.u.listing.last ? "." : "");
		break;
	default:
		r = -1;
	}
	assert_int_equal(r, 0);
	lp_msg_finish(&msg);
}

static void on_consumed(void *ctx, uint64_t epoch, size_t bytes, bool content)
{
	(void)ctx;
	(void)epoch;
	(void)content;
	assert_true(bytes > 0);
	consumed++;
	if (consumed == submitted)
		lp_loop_stop(loop);
}

static void on_applied(void *ctx, const struct lp_applied *applied)
{
	(void)ctx;
	assert_int_equal(applied->n_paths, applied->files);
	for (size_t i = 1; i < applied->n_paths; i++)
		assert_true(strcmp(applied->paths[i - 1], applied->paths[i]) < 0);
	assert_int_equal(lp_buf_add_str(&log_text, "+ "), 0);
}

static void on_greeted(void *ctx, uint64_t epoch)
{
	(void)ctx;
	assert_int_equal(lp_buf_addf(&log_text, "G%d ", (int)epoch), 0);
}

static void on_mute(void *ctx, uint64_t epoch)
{
	(void)ctx;
	assert_int_equal(lp_buf_addf(&log_text, "M%d ", (int)epoch), 0);
}

static const struct lp_apply_ops ops = {.on_reply = on_reply,
					.on_consumed = on_consumed,
					.on_applied = on_applied,
					.on_greeted = on_greeted,
					.on_mute = on_mute};

/* The linker puts this before the encoder: for a while some kind does not fit. */
int __real_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out);
int __wrap_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out);
static _Atomic int unfit;

int __wrap_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out)
{
	return (int)msg->kind == unfit ? -EMSGSIZE : __real_lp_msg_encode(msg, out);
}

static int set_up(void **state)
{
	(void)state;
	rig_open(&rig);
	lp_tree_close(rig.tree);
	rig.tree = NULL;
	submitted = consumed = 0;
	log_text.len = 0;
	assert_int_equal(lp_loop_create(&loop, NULL), 0);
	assert_int_equal(lp_apply_create(&apply, loop, rig.dir, &ops, NULL, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lp_apply_stop(apply);
	lp_loop_destroy(loop);
	lp_apply_destroy(apply);
	lp_apply_destroy(NULL);
	lp_buf_finish(&log_text);
	rig_close(&rig);
	return 0;
}

static void submit(const struct lp_msg *msg, uint64_t epoch)
{
	struct lp_buf bytes = {0};
	struct lp_job *job = NULL;

	assert_int_equal(lp_msg_encode(msg, &bytes), 0);
	assert_int_equal(lp_job_create(&job, bytes.data, bytes.len, NULL, NULL), 0);
	lp_buf_finish(&bytes);
	submitted++;
	lp_apply_submit(apply, job, epoch);
}

static void change(uint64_t epoch, uint64_t revision, uint64_t flags, const struct lp_wire_op *op)
{
	struct lp_msg msg = {.kind = LP_MSG_CHANGE};

	msg.u.change.revision = revision;
	msg.u.change.flags = flags;
	msg.u.change.ops = (struct lp_wire_op *)(uintptr_t)op;
	msg.u.change.n_ops = op ? 1 : 0;
	submit(&msg, epoch);
}

static void put(uint64_t epoch, uint64_t revision, const char *path, const char *content)
{
	struct lp_wire_op op = op_file(path, content, 0644);

	change(epoch, revision, LP_CHANGE_FIRST | LP_CHANGE_LAST, &op);
}

static void put_wrong(uint64_t epoch, uint64_t revision)
{
	struct lp_wire_op op = op_file("wrong", "x", 0644);

	op.digest[0] ^= 1;
	change(epoch, revision, LP_CHANGE_FIRST | LP_CHANGE_LAST, &op);
}

static void list(uint64_t epoch, const char *path)
{
	struct lp_bytes paths[] = {lp_bytes_of(path)};
	struct lp_msg msg = {.kind = LP_MSG_LIST};

	msg.u.list.paths = paths;
	msg.u.list.n_paths = 1;
	submit(&msg, epoch);
}

static void on_deadline(struct lp_timer *timer)
{
	(void)timer;
	fail_msg("%zu of %zu jobs are done", consumed, submitted);
}

/* A loop cannot be run again after a stop, so each wait gets all there is to it. */
static void expect(const char *text)
{
	struct lp_timer deadline = {.on_fire = on_deadline};

	lp_timer_set(loop, &deadline, lp_now_us() + DEADLINE_US);
	assert_int_equal(lp_loop_run(loop, NULL), 0);
	lp_timer_clear(&deadline);
	assert_string_equal(lp_buf_text(&log_text), text);
}

static void submit__answers_in_order(void **state)
{
	struct lp_tree_state now;

	(void)state;
	put(1, 1, "a", "one");
	list(1, "");
	put(1, 2, "a", "two");
	put(1, 3, "b", "");
	expect("A1 + L. A2 + A3 + ");
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
	put(1, 1, "a", "one");
	put_wrong(1, 2);
	put(1, 3, "b", "ignored");
	put_wrong(1, 4);
	list(1, "");
	put(1, 5, "c", "heard");
	expect("A1 + F2 L. A5 + ");
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
	change(1, 1, LP_CHANGE_FIRST, &wrong);
	change(1, 1, 0, &fine);
	submit(&data, 1);
	submit(&skip, 1);
	change(1, 1, 0, &wrong);
	change(1, 1, LP_CHANGE_LAST, &fine);
	list(1, "");
	/* One that never ends is replaced by the next. */
	change(1, 2, LP_CHANGE_FIRST, &large);
	put(1, 3, "fine", "y");
	/* No beginning. */
	change(1, 4, LP_CHANGE_LAST, &fine);
	list(1, "");
	/* DATA and SKIP that nobody waits for. */
	change(1, 5, LP_CHANGE_FIRST, &fine);
	submit(&data, 1);
	change(1, 5, LP_CHANGE_LAST, NULL);
	list(1, "");
	put(1, 6, "fine", "z");
	deadline = lp_now_us() + DEADLINE_US;
	expect("F1 L. A3 + F4 L. F5 L. A6 + ");
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
	submit(&msg, 1);
	put(1, 2, "b", "ignored");
	list(1, "no/such");
	expect("F1 + L. ");
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
	change(1, 1, LP_CHANGE_FIRST, &large);
	submit(&data, 2);
	change(2, 2, LP_CHANGE_LAST, &next);
	put_wrong(3, 3); /* deafness is one connection's, too */
	put(4, 4, "b", "x");
	expect("F2 F3 A4 + ");
	assert_false(app_sees(&rig, "large"));
	assert_false(app_sees(&rig, "next"));
}

/* Whoever waits for an answer that cannot be given hears that there is none. */
static void submit__says_that_an_answer_is_missing(void **state)
{
	(void)state;
	unfit = LP_MSG_LISTING;
	list(3, "");
	put(3, 1, "a", "one");
	expect("M3 A1 + ");
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
		put(1, i, "a", "one");
	change(1, 4, LP_CHANGE_FIRST, &large);
	lp_apply_greet(apply, 2);
	change(2, 4, LP_CHANGE_LAST, NULL); /* of what is not under way any more */
	expect("G1 A1 + A2 + A3 + G2 F4 ");
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
	put(2, 1, "a", "one");
	list(1, "");
	submit(&verify, 1);
	list(2, "");
	expect("G2 A1 + L. ");
}

static void submit__verifies(void **state)
{
	struct lp_msg verify = {.kind = LP_MSG_VERIFY};
	struct lp_tree_state now;

	(void)state;
	put(1, 1, "a", "one");
	put(1, 2, "b", "two");
	submit(&verify, 1);
	expect("A1 + A2 + V0/2 ");
	lp_apply_state(apply, &now);
	assert_int_equal(now.files, 2);
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
	change(1, 1, LP_CHANGE_FIRST, &large);
	for (size_t at = 0; at < have; at += piece) {
		data.u.data.at = at;
		data.u.data.content = (struct lp_bytes){bytes + at, piece};
		submit(&data, 1);
	}
	lp_apply_lost(apply, 2); /* another one */
	lp_apply_lost(apply, 1);
	while (now.partial_have == 0 && lp_now_us() < deadline)
		lp_apply_state(apply, &now);
	assert_int_equal(now.partial_have, have);
	assert_memory_equal(now.partial.b, large.digest, 16);
	change(2, 1, LP_CHANGE_FIRST, &large);
	for (size_t at = have; at < total; at += piece) {
		data.u.data.at = at;
		data.u.data.content = (struct lp_bytes){bytes + at, piece};
		submit(&data, 2);
	}
	change(2, 1, LP_CHANGE_LAST, NULL);
	expect("A1 + ");
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
		put(1, i, "f", "content");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(submit__answers_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(submit__is_deaf_after_a_failure_until_the_next_list,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(submit__reports_a_failed_changeset_once, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(submit__says_when_the_tree_is_another, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(submit__drops_what_another_connection_began, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(submit__says_that_an_answer_is_missing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(greet__waits_for_its_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(greet__ends_questions_of_the_connection_before,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(submit__verifies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lost__keeps_the_beginning_of_a_large_file, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(destroy__forgets_what_is_under_way, set_up,
						tear_down),
		cmocka_unit_test(job__refuses_what_is_no_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
