/* apply_rig.c: see apply_rig.h. */
#include "tests/unit/controller/apply_rig.h"

#include "common/base/lp_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct lp_loop *loop;
struct lp_apply *apply;
struct rig rig;
static struct lp_buf log_text;
char failure[512];
size_t submitted;
static size_t consumed;

static void done_one(void)
{
	if (++consumed == submitted)
		lp_loop_stop(loop);
}

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
		done_one();
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
	done_one();
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

static void on_rolled(void *ctx, const struct lp_rollback *rollback)
{
	int r = rollback->error.code == 0
			? lp_buf_addf(&log_text, "R%d ", (int)rollback->applied.revision)
			: lp_buf_add_str(&log_text, "r ");

	(void)ctx;
	assert_int_equal(r, 0);
	(void)snprintf(failure, sizeof(failure), "%s", rollback->error.msg);
	done_one();
}

static const struct lp_apply_ops ops = {.on_reply = on_reply,
					.on_rolled = on_rolled,
					.on_consumed = on_consumed,
					.on_applied = on_applied,
					.on_greeted = on_greeted,
					.on_mute = on_mute};

/* The linker puts this before the encoder: for a while some kind does not fit. */
int __real_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out);
int __wrap_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out);
_Atomic int unfit;

int __wrap_lp_msg_encode(const struct lp_msg *msg, struct lp_buf *out)
{
	return (int)msg->kind == unfit ? -EMSGSIZE : __real_lp_msg_encode(msg, out);
}

int apply_set_up(void **state)
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

int apply_tear_down(void **state)
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

void job_submit(const struct lp_msg *msg, uint64_t epoch)
{
	struct lp_buf bytes = {0};
	struct lp_job *job = NULL;

	assert_int_equal(lp_msg_encode(msg, &bytes), 0);
	assert_int_equal(lp_job_create(&job, bytes.data, bytes.len, NULL, NULL), 0);
	lp_buf_finish(&bytes);
	submitted++;
	lp_apply_submit(apply, job, epoch);
}

void job_change(uint64_t epoch, uint64_t revision, uint64_t flags, const struct lp_wire_op *op)
{
	struct lp_msg msg = {.kind = LP_MSG_CHANGE};

	msg.u.change.revision = revision;
	msg.u.change.flags = flags;
	msg.u.change.ops = (struct lp_wire_op *)(uintptr_t)op;
	msg.u.change.n_ops = op ? 1 : 0;
	job_submit(&msg, epoch);
}

void job_put(uint64_t epoch, uint64_t revision, const char *path, const char *content)
{
	struct lp_wire_op op = op_file(path, content, 0644);

	job_change(epoch, revision, LP_CHANGE_FIRST | LP_CHANGE_LAST, &op);
}

void job_put_wrong(uint64_t epoch, uint64_t revision)
{
	struct lp_wire_op op = op_file("wrong", "x", 0644);

	op.digest[0] ^= 1;
	job_change(epoch, revision, LP_CHANGE_FIRST | LP_CHANGE_LAST, &op);
}

void job_list(uint64_t epoch, const char *path)
{
	struct lp_bytes paths[] = {lp_bytes_of(path)};
	struct lp_msg msg = {.kind = LP_MSG_LIST};

	msg.u.list.paths = paths;
	msg.u.list.n_paths = 1;
	job_submit(&msg, epoch);
}

static void on_deadline(struct lp_timer *timer)
{
	(void)timer;
	fail_msg("%zu of %zu jobs are done", consumed, submitted);
}

void expect_log(const char *text)
{
	struct lp_timer deadline = {.on_fire = on_deadline};

	lp_timer_set(loop, &deadline, lp_now_us() + DEADLINE_US);
	assert_int_equal(lp_loop_run(loop, NULL), 0);
	lp_timer_clear(&deadline);
	assert_string_equal(lp_buf_text(&log_text), text);
}
