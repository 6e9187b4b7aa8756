/* controller/apply_run.c: what each message does to the tree, and what is answered. */
#include "controller/apply_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <string.h>

/* So long a changeset waits for a VERIFY that is under way. */
#define VERIFY_TURN_US 5000u

/* What a session may leave unread; an answer beyond that would end it anyway. */
#define REPLIES_MAX_BYTES ((size_t)64 * 1024 * 1024)

#define SMALL_BYTES ((size_t)64 * 1024)
#define SMALL_OPS   8

static void reply(struct outcome *o, const struct lp_msg *msg)
{
	struct lp_buf bytes = {0};

	if (o->is_mute)
		return;
	if (lp_msg_encode(msg, &bytes) == 0 && bytes.len <= REPLIES_MAX_BYTES - o->reply_bytes) {
		lp_grow(&o->replies, &o->cap_replies, o->n_replies + 1, sizeof(*o->replies));
		o->replies[o->n_replies++] = bytes;
		o->reply_bytes += bytes.len;
		return;
	}
	lp_buf_finish(&bytes);
	lp_log(LP_ERROR, "apply", "a %s message does not fit", lp_msg_name(msg->kind));
	o->is_mute = true;
}

static void reply_failed(struct lp_apply *a, struct outcome *o, uint64_t revision)
{
	struct lp_msg msg = {.kind = LP_MSG_FAILED};

	msg.u.failed.revision = revision;
	msg.u.failed.stage = LP_WIRE_STAGE_APPLY;
	msg.u.failed.resync = true;
	msg.u.failed.error = lp_bytes_of(a->failure.msg);
	reply(o, &msg);
	a->deaf = true;
}

/* LISTING messages for one path. */
struct lister {
	struct outcome *outcome;
	const struct lp_bytes *path;
	bool last_path;
};

static void emit_listing(void *ctx, const struct lp_wire_entry *entries, size_t n, bool more)
{
	const struct lister *l = ctx;
	struct lp_msg msg = {.kind = LP_MSG_LISTING};

	msg.u.listing.path = *l->path;
	msg.u.listing.more = more;
	msg.u.listing.last = l->last_path && !more;
	msg.u.listing.entries = (struct lp_wire_entry *)(uintptr_t)entries;
	msg.u.listing.n_entries = n;
	reply(l->outcome, &msg);
}

static void do_list(struct lp_apply *a, struct outcome *o, const struct lp_msg_list *list)
{
	size_t foreign_bytes = LP_LIST_FOREIGN_BYTES;
	bool is_told = false;

	a->deaf = a->behind = false;
	for (size_t i = 0; i < list->n_paths && !o->is_mute && !lp_apply_is_over(a, o->epoch);
	     i++) {
		struct lister l = {o, &list->paths[i], i + 1 == list->n_paths};
		LP_AUTO_FREE char *path =
			lp_xstrndup((const char *)list->paths[i].p, list->paths[i].len);
		struct lp_err err = {0};
		int r;

		r = lp_tree_list(a->tree, path, &foreign_bytes, emit_listing, &l, &err);
		if (r > 0 && !is_told)
			lp_log(LP_WARN, "apply",
			       "'%s', or what was listed before it, holds very many files that no "
			       "workspace sent; not all of them are compared: ignore the directory "
			       "if the app makes them",
			       path);
		is_told = is_told || r > 0;
		if (r >= 0)
			continue;
		/* What cannot be read is compared as empty; putting something there will fail with
		 * the cause. */
		emit_listing(&l, NULL, 0, false);
	}
}

static void fail(struct lp_apply *a, int r)
{
	if (r < 0)
		a->failed = true;
}

static void do_commit(struct lp_apply *a, struct outcome *o, const struct lp_msg_change *change)
{
	static const uint8_t unknown[16];
	struct lp_msg msg = {.kind = LP_MSG_APPLIED};

	if (!a->failed)
		fail(a, lp_tree_commit(a->tree, change->revision, &o->applied, &a->failure));
	else
		lp_tree_drop(a->tree);
	a->open = false;
	if (a->failed) {
		/* What is kept may be much to remove, and this may be the loop's thread. */
		if (a->failure.code == ENOSPC || a->failure.code == EDQUOT)
			a->wants_room = true;
		reply_failed(a, o, change->revision);
		return;
	}
	o->has_applied = true;
	if (memcmp(change->root, unknown, 16) != 0 &&
	    memcmp(change->root, o->applied.root.b, 16) != 0) {
		(void)snprintf(a->failure.msg, sizeof(a->failure.msg),
			       "the tree differs from the workspace; comparing again");
		reply_failed(a, o, change->revision);
		return;
	}
	msg.u.applied.revision = change->revision;
	msg.u.applied.files = o->applied.files;
	msg.u.applied.bytes = o->applied.bytes;
	msg.u.applied.took_us = lp_now_us() - a->begun_us;
	memcpy(msg.u.applied.root, o->applied.root.b, 16);
	reply(o, &msg);
}

static void do_change(struct lp_apply *a, struct outcome *o, const struct lp_msg_change *change)
{
	if (change->flags & LP_CHANGE_FIRST) {
		lp_tree_begin(a->tree);
		a->open = true;
		a->failed = false;
		a->begun_us = lp_now_us();
		if (a->behind)
			fail(a, lp_err_say(&a->failure, ESTALE,
					   "the tree went back to an earlier revision; comparing "
					   "again"));
	} else if (!a->open) {
		lp_err_say(&a->failure, EBADMSG, "a changeset without a beginning");
		fail(a, -EBADMSG);
	}
	for (size_t i = 0; i < change->n_ops && !a->failed; i++)
		fail(a, lp_tree_op(a->tree, &change->ops[i], &a->failure));
	if (change->flags & LP_CHANGE_LAST)
		do_commit(a, o, change);
}

/* Who asks again while it is under way wants everything read after that. */
static void do_verify(struct lp_apply *a, uint64_t epoch)
{
	if (lp_apply_is_over(a, epoch))
		return;
	a->n_verifies++;
	lp_tree_verify_begin(a->tree);
}

bool lp_apply_run_verify(struct lp_apply *a, struct outcome *o)
{
	struct lp_msg msg = {.kind = LP_MSG_VERIFIED};
	struct lp_bytes paths[LP_VERIFIED_PATHS_MAX];
	struct lp_verified v;

	if (!lp_tree_verify_turn(a->tree, VERIFY_TURN_US, &v))
		return false;
	for (size_t i = 0; i < v.n_paths; i++)
		paths[i] = lp_bytes_of(v.paths[i]);
	msg.u.verified = (struct lp_msg_verified){.files = v.files,
						  .bytes = v.bytes,
						  .drifted = v.drifted,
						  .paths = paths,
						  .n_paths = v.n_paths};
	memcpy(msg.u.verified.root, v.root.b, 16);
	for (; a->n_verifies > 0; a->n_verifies--)
		reply(o, &msg);
	lp_verified_finish(&v);
	return true;
}

/* The content of the operation that came last. */
static int do_content(struct lp_apply *a, const struct lp_msg *msg)
{
	switch (msg->kind) {
	case LP_MSG_DATA:
		return lp_tree_data(a->tree, msg->u.data.at, &msg->u.data.content, &a->failure);
	case LP_MSG_PATCH:
		return lp_tree_patch(a->tree, &msg->u.patch, &a->failure);
	case LP_MSG_SKIP:
		return lp_tree_skip(a->tree, &a->failure);
	default:
		return 0;
	}
}

void lp_apply_run_rollback(struct lp_apply *a, struct lp_rollback *what)
{
	what->from = lp_tree_revision(a->tree);
	if (what->expected && (a->open || what->from != what->expected)) {
		lp_err_say(&what->error, ESTALE, "a newer revision came");
		return;
	}
	if (a->open) {
		a->failed = true;
		lp_err_say(&a->failure, ESTALE, "the tree went back to an earlier revision");
	}
	/* Whatever it comes to, the tree is not what the owner takes it for. */
	if (lp_tree_rollback(a->tree, what->before, &what->applied, &what->error) == 0 ||
	    lp_tree_revision(a->tree) != what->from)
		a->behind = true;
}

void lp_apply_run_lost(struct lp_apply *a)
{
	lp_tree_lost(a->tree);
	lp_tree_verify_end(a->tree);
	a->n_verifies = 0;
	a->open = a->failed = a->deaf = false;
}

bool lp_apply_is_small(const struct lp_job *job)
{
	const struct lp_msg_change *change = &job->msg.u.change;
	bool is_small = job->msg.kind == LP_MSG_CHANGE && job->bytes.len <= SMALL_BYTES &&
			(change->flags & LP_CHANGE_FIRST) && (change->flags & LP_CHANGE_LAST) &&
			change->n_ops <= SMALL_OPS;

	/* What is below a directory that goes may be much; what is kept may have to be read. */
	for (size_t i = 0; is_small && i < change->n_ops; i++)
		is_small = change->ops[i].op == LP_OP_PUT;
	return is_small;
}

bool lp_apply_replaces_dir(const struct lp_apply *a, const struct lp_job *job)
{
	const struct lp_msg_change *change = &job->msg.u.change;
	bool found = false;

	for (size_t i = 0; !found && i < change->n_ops; i++)
		found = lp_tree_replaces_dir(a->tree, &change->ops[i]);
	return found;
}

void lp_apply_run(struct lp_apply *a, struct outcome *o, const struct lp_msg *msg)
{
	if (msg->kind == LP_MSG_LIST)
		do_list(a, o, &msg->u.list);
	else if (msg->kind == LP_MSG_VERIFY)
		do_verify(a, o->epoch);
	else if (a->deaf)
		return;
	else if (msg->kind == LP_MSG_CHANGE)
		do_change(a, o, &msg->u.change);
	else if (a->open && !a->failed)
		fail(a, do_content(a, msg));
}
