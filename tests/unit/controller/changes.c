/* changes.c: see changes.h. */
#include "tests/unit/controller/changes.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define LARGE_BYTES ((size_t)300 * 1000)

static uint8_t large[LARGE_BYTES], patched[LARGE_BYTES];

void changes_init(void)
{
	for (size_t i = 0; i < LARGE_BYTES; i++)
		large[i] = (uint8_t)(i * i >> 7);
	memcpy(patched, large, LARGE_BYTES);
	memset(patched + 200000, 'x', 5000);
}

static void put_large(struct rig *r, const char *path)
{
	const struct lp_wire_op op = op_large(path, large, LARGE_BYTES);
	const struct lp_bytes all = {large, LARGE_BYTES};
	struct lp_applied done;

	lp_tree_begin(r->tree);
	assert_int_equal(lp_tree_op(r->tree, &op, &r->err), 0);
	assert_int_equal(lp_tree_data(r->tree, 0, &all, &r->err), 0);
	assert_int_equal(lp_tree_commit(r->tree, 1, &done, &r->err), 0);
	lp_applied_finish(&done);
	lp_tree_tidy(r->tree);
}

/* What is there before. */
void changes_set_up(struct rig *r)
{
	rig_open(r);
	put_large(r, "large");
	put_large(r, "patched");
	assert_int_equal(RIG_APPLY(r, op_dir("a", 0755), op_dir("a/b", 0755),
				   op_file("a/b/f", "f", 0644), op_file("a/g", "g", 0644),
				   op_dir("gone", 0755), op_dir("gone/x", 0755),
				   op_file("gone/x/y", "y", 0600), op_dir("mixed", 0755),
				   op_dir("mixed/in", 0755), op_file("mixed/in/mine", "m", 0644),
				   op_file("mixed/h", "h", 0644), op_file("kind1", "1", 0644),
				   op_dir("kind2", 0755), op_file("kind2/z", "z", 0644),
				   op_file("mode", "m", 0644), op_dir("dmode", 0755),
				   op_file("move1", "m1", 0644), op_file("move2", "m2", 0644),
				   op_link("link", "mode")),
			 0);
	app_write(r, "mixed/in/log", "of the app");
	app_write(r, "theirs", "of the app");
}

static int patch(struct rig *r, const char *path, const uint8_t *to, bool in_place)
{
	struct lp_wire_op op = op_large(path, to, LARGE_BYTES);
	struct lp_wire_op old = op_large(path, to == large ? patched : large, LARGE_BYTES);
	struct lp_wire_segment segments[] = {
		{.from = 0, .len = 200000},
		{.len = 5000, .has_content = true, .content = {to + 200000, 5000}},
		{.from = 205000, .len = LARGE_BYTES - 205000},
	};
	struct lp_msg_patch msg = {
		.in_place = in_place, .segments = segments, .n_segments = LP_COUNT_OF(segments)};
	int e = lp_tree_op(r->tree, &op, &r->err);

	memcpy(msg.base, old.digest, 16);
	return e < 0 ? e : lp_tree_patch(r->tree, &msg, &r->err);
}

static struct lp_wire_op op_move(const char *from, const char *to, unsigned kind)
{
	struct lp_wire_op op = {.op = LP_OP_MOVE, .kind = kind};

	op.path = lp_bytes_of(to);
	op.has_content = true;
	op.content = lp_bytes_of(from);
	return op;
}

/* The changeset with everything in it. */
int changes_apply(struct rig *r)
{
	const struct lp_wire_op ops[] = {
		op_move("a", "fresh/moved", LP_KIND_DIR),
		op_move("move1", "move2", LP_KIND_FILE),
		op_move("mode", "mode2", LP_KIND_FILE),
		op_file("fresh/moved/b/f", "other", 0644),
		op_dir("fresh", 0750),
		op_dir("fresh/deep", 0755),
		op_file("fresh/deep/file", "deep", 0644),
		op_link("fresh/deep/link", "file"),
		op_dir("kind1", 0755),
		op_file("kind1/in", "in", 0644),
		op_file("kind2", "2", 0644),
		op_keep("mode2", "m", 0755),
		op_dir("dmode", 0700),
		op_link("link", "large"),
		op_file("theirs", "mine now", 0644),
		op_delete("gone"),
		op_delete("mixed"),
	};
	struct lp_applied done = {0};
	int e = 0;

	lp_tree_begin(r->tree);
	for (size_t i = 0; i < LP_COUNT_OF(ops) && e == 0; i++) {
		/* Directories go before what is in them, moves before everything. */
		static const size_t order[] = {0, 1,  2,  4,  5,  6,  7,  3, 8,
					       9, 10, 11, 12, 13, 14, 15, 16};

		e = lp_tree_op(r->tree, &ops[order[i]], &r->err);
	}
	if (e == 0)
		e = patch(r, "large", patched, true);
	if (e == 0)
		e = patch(r, "patched", patched, false);
	if (e == 0)
		e = lp_tree_commit(r->tree, 9, &done, &r->err);
	else
		lp_tree_drop(r->tree);
	lp_applied_finish(&done);
	return e;
}

int changes_patch_again(struct rig *r)
{
	struct lp_applied done = {0};
	int e;

	lp_tree_begin(r->tree);
	e = patch(r, "large", large, true);
	if (e == 0)
		e = lp_tree_commit(r->tree, 10, &done, &r->err);
	else
		lp_tree_drop(r->tree);
	lp_applied_finish(&done);
	return e;
}

static int skip_state(const struct dirent *e)
{
	return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
	       strcmp(e->d_name, LP_STATE_DIR) != 0;
}

/* Everything below a directory, as text. NOLINTNEXTLINE(misc-no-recursion) */
static void describe(const struct rig *r, const char *dir, struct lp_buf *out)
{
	LP_AUTO_FREE char *full = lp_xasprintf("%s/%s", r->dir, dir);
	struct dirent **names = NULL;
	int n = scandir(full, &names, skip_state, alphasort);

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		LP_AUTO_FREE char *path =
			lp_xasprintf("%s%s%s", dir, dir[0] ? "/" : "", names[i]->d_name);
		bool is_dir = app_sees_dir(r, path);
		struct lp_digest d = {{0}};

		if (!is_dir)
			d = app_digest(r, path);

		assert_int_equal(lp_buf_addf(out, "%s %o %02x%02x%02x%02x\n", path,
					     app_mode(r, path), d.b[0], d.b[1], d.b[2], d.b[3]),
				 0);
		if (is_dir)
			describe(r, path, out);
		free(names[i]);
	}
	free(names);
}

char *changes_state(struct rig *r)
{
	struct lp_buf out = {0};
	struct lp_digest root = lp_tree_root(r->tree);
	char hex[LP_DIGEST_HEX_BYTES];

	describe(r, "", &out);
	lp_digest_hex(&root, hex);
	assert_int_equal(
		lp_buf_addf(&out, "root %s revision %d", hex, (int)lp_tree_revision(r->tree)), 0);
	assert_non_null(lp_buf_text(&out));
	return (char *)out.data;
}

void changes_expect(struct rig *r, const char *wanted, const char *what, size_t at)
{
	LP_AUTO_FREE char *now = changes_state(r);

	if (strcmp(now, wanted) != 0)
		fail_msg("%s, call %zu: the tree is\n%s\ninstead of\n%s", what, at, now, wanted);
}

void changes_states(char **old, char **new)
{
	struct rig r;

	changes_set_up(&r);
	*old = changes_state(&r);
	assert_int_equal(changes_apply(&r), 0);
	*new = changes_state(&r);
	assert_null(strstr(*new, "gone"));
	assert_non_null(strstr(*new, "fresh/moved/b/f"));
	assert_non_null(strstr(*new, "mixed/in/log"));
	assert_null(strstr(*new, "mixed/in/mine"));
	rig_reopen(&r);
	changes_expect(&r, *new, "opened again", 0);
	rig_close(&r);
}
