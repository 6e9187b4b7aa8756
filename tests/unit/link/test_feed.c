/* test_feed.c: a changeset as messages, also while its files change. Every feed is applied to a
 * tree as an instance would, so that what comes out is self-consistent by that judge. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "link/link_internal.h"
#include "tests/unit/controller/tree_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char files[64]; /* the workspace */
static struct rig rig; /* the instance */
static struct lp_changeset *cs;
static struct lp_buf stale; /* paths, one a line */
static int open_error;
static uint8_t noise[600000];

/* What the messages of the last feed were. */
static struct {
	unsigned changes, datas, skips, ops, deletes;
	size_t largest, data_bytes;
	bool has_root;
	bool is_first_first, is_last_last;
} seen;

static int source_open(void *ctx, const char *path)
{
	LP_AUTO_CLOSE int dir = open(files, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)ctx;
	return open_error ? open_error : lp_open_beneath(dir, path, O_RDONLY | O_NONBLOCK, 0);
}

static long source_read_link(void *ctx, const char *path, char *out, size_t out_bytes)
{
	char full[256];
	ssize_t n;

	(void)ctx;
	(void)snprintf(full, sizeof(full), "%s/%s", files, path);
	n = readlink(full, out, out_bytes);
	return n < 0 ? -errno : n;
}

static void source_stale(void *ctx, const char *path)
{
	(void)ctx;
	assert_int_equal(lp_buf_addf(&stale, "%s\n", path), 0);
}

static const struct lp_source source = {
	.open = source_open, .read_link = source_read_link, .stale = source_stale};

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(files, sizeof(files), "/tmp/livepush-feed-XXXXXX");
	assert_non_null(mkdtemp(files));
	rig_open(&rig);
	cs = lp_changeset_create();
	cs->revision = 7;
	memset(&cs->root, 0x77, sizeof(cs->root));
	lp_random(noise, sizeof(noise));
	open_error = 0;
	stale.len = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lp_changeset_unref(cs);
	lp_buf_finish(&stale);
	rig_close(&rig);
	assert_int_equal(lp_remove_tree(AT_FDCWD, files), 0);
	return 0;
}

/* Writes a file of the workspace and announces what it was at that time. */
static void announce(const char *path, const void *content, size_t len, bool with_blob)
{
	struct lp_entry e = {.kind = LP_KIND_FILE, .mode = 0644, .size = len};
	struct lp_blob *blob = NULL;
	char full[256];
	int fd;

	(void)snprintf(full, sizeof(full), "%s/%s", files, path);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(lp_write_all(fd, content, len), 0);
	assert_int_equal(close(fd), 0);
	e.digest = lp_digest_of(content, len);
	if (with_blob) {
		blob = lp_blob_create(len);
		memcpy(blob->data, content, len);
	}
	lp_changeset_add(cs, LP_OP_PUT, path, &e, blob);
}

static void rewrite(const char *path, const void *content, size_t len)
{
	char full[256];
	int fd;

	(void)snprintf(full, sizeof(full), "%s/%s", files, path);
	fd = open(full, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(lp_write_all(fd, content, len), 0);
	assert_int_equal(close(fd), 0);
}

static void count(const struct lp_msg *msg, size_t len)
{
	const struct lp_msg_change *c = &msg->u.change;
	static const uint8_t none[16];

	seen.largest = len > seen.largest ? len : seen.largest;
	if (msg->kind == LP_MSG_DATA) {
		seen.datas++;
		seen.data_bytes += msg->u.data.content.len;
		assert_true(msg->u.data.content.len <= LP_WIRE_PIECE_BYTES);
	} else if (msg->kind == LP_MSG_SKIP) {
		seen.skips++;
	} else {
		assert_int_equal(msg->kind, LP_MSG_CHANGE);
		assert_int_equal(c->revision, 7);
		assert_true(!(c->flags & LP_CHANGE_FIRST) == (seen.changes > 0));
		seen.changes++;
		seen.ops += (unsigned)c->n_ops;
		for (size_t i = 0; i < c->n_ops; i++)
			seen.deletes += c->ops[i].op == LP_OP_DELETE;
		seen.is_last_last = c->flags & LP_CHANGE_LAST;
		seen.has_root = memcmp(c->root, none, 16) != 0;
		assert_true(seen.is_last_last || !seen.has_root);
	}
}

static void apply(const struct lp_msg *msg)
{
	struct lp_applied done;
	int r = 0;

	if (msg->kind == LP_MSG_DATA)
		r = lp_tree_data(rig.tree, &msg->u.data.content, &rig.err);
	else if (msg->kind == LP_MSG_SKIP)
		r = lp_tree_skip(rig.tree, &rig.err);
	else if (msg->u.change.flags & LP_CHANGE_FIRST)
		lp_tree_begin(rig.tree);
	for (size_t i = 0; msg->kind == LP_MSG_CHANGE && i < msg->u.change.n_ops && r == 0; i++)
		r = lp_tree_op(rig.tree, &msg->u.change.ops[i], &rig.err);
	if (r == 0 && msg->kind == LP_MSG_CHANGE && msg->u.change.flags & LP_CHANGE_LAST) {
		r = lp_tree_commit(rig.tree, 7, &done, &rig.err);
		lp_applied_finish(&done);
	}
	if (r < 0)
		fail_msg("%s", rig.err.msg);
}

/* Feeds the changeset to the tree; after message number `at`, calls meanwhile. */
static void feed(unsigned at, void (*meanwhile)(void))
{
	struct lp_feed *f = lp_feed_create(cs, &source);
	struct lp_buf out = {0};
	unsigned n = 0;

	memset(&seen, 0, sizeof(seen));
	while (lp_feed_next(f, &out) == 1) {
		struct lp_msg msg;

		assert_int_equal(lp_msg_decode(&msg, out.data, out.len, &rig.err), 0);
		count(&msg, out.len);
		apply(&msg);
		lp_msg_finish(&msg);
		out.len = 0;
		if (++n == at)
			meanwhile();
	}
	assert_true(lp_feed_done(f));
	assert_true(seen.is_last_last);
	assert_int_equal(lp_feed_next(f, &out), 0);
	assert_int_equal(out.len, 0);
	assert_true(seen.largest <= LP_WIRE_MSG_MAX_BYTES);
	lp_buf_finish(&out);
	lp_feed_destroy(f);
}

static void feed__sends_small_files_in_one_message(void **state)
{
	struct lp_frame *frame;
	struct lp_feed *f = NULL;
	struct lp_buf out = {0};

	(void)state;
	announce("a", "one", 3, true);
	announce("b", "", 0, true);
	lp_changeset_add(cs, LP_OP_DELETE, "c", NULL, NULL);
	assert_true(lp_feed_is_single(cs));
	feed(0, NULL);
	assert_int_equal(seen.changes, 1);
	assert_true(seen.has_root);
	assert_string_equal(app_reads(&rig, "a"), "one");
	/* A frame is the same bytes. */
	frame = lp_frame_create(cs);
	f = lp_feed_create(cs, &source);
	assert_int_equal(lp_feed_next(f, &out), 1);
	assert_int_equal(out.len, lp_frame_bytes(frame, NULL)->len);
	assert_memory_equal(out.data, lp_frame_bytes(frame, NULL)->data, out.len);
	lp_feed_destroy(f);
	lp_frame_unref(frame);
	lp_frame_unref(NULL);
	lp_buf_finish(&out);
	assert_int_equal(stale.len, 0);
}

static void feed__splits_what_is_too_much_for_one(void **state)
{
	char path[24];

	(void)state;
	for (int i = 0; i < 5000; i++) {
		(void)snprintf(path, sizeof(path), "f%d", i);
		announce(path, path, strlen(path), i % 2);
	}
	announce("large1", noise, LP_INLINE_MAX_BYTES, false);
	announce("large2", noise, LP_INLINE_MAX_BYTES + 1, false);
	announce("large3", noise, sizeof(noise), false);
	announce("last", "last", 4, false);
	assert_false(lp_feed_is_single(cs));
	assert_null(lp_frame_create(cs));
	lp_changeset_sort(cs);
	feed(0, NULL);
	assert_int_equal(seen.ops, 5004);
	assert_true(seen.changes >= 5);
	assert_int_equal(seen.data_bytes, LP_INLINE_MAX_BYTES + 1 + sizeof(noise));
	assert_int_equal(lp_tree_count(rig.tree), 5004);
	assert_true(seen.has_root);
	assert_int_equal(stale.len, 0);
}

static void change_all(void)
{
	rewrite("large", noise, 1000);
	rewrite("small", "other", 5);
}

static void remove_all(void)
{
	char full[256];

	(void)snprintf(full, sizeof(full), "%s/large", files);
	assert_int_equal(unlink(full), 0);
	(void)snprintf(full, sizeof(full), "%s/small", files);
	assert_int_equal(unlink(full), 0);
}

static void grow_all(void)
{
	char full[256];
	int fd;

	(void)snprintf(full, sizeof(full), "%s/large", files);
	fd = open(full, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(lp_write_all(fd, "more", 4), 0);
	assert_int_equal(close(fd), 0);
	rewrite("small", noise, LP_INLINE_MAX_BYTES + 1);
}

static void scramble(void)
{
	noise[sizeof(noise) - 1] ^= 1;
	rewrite("large", noise, sizeof(noise));
	rewrite("small", "smal!", 5);
}

static void make_pipes(void)
{
	char full[256];

	remove_all();
	(void)snprintf(full, sizeof(full), "%s/large", files);
	assert_int_equal(mkfifo(full, 0600), 0);
	(void)snprintf(full, sizeof(full), "%s/small", files);
	assert_int_equal(mkdir(full, 0700), 0);
}

static void run_out_of_files(void)
{
	open_error = -EMFILE;
}

static void feed__leaves_out_what_changed(void **state)
{
	static const struct {
		const char *name;
		void (*meanwhile)(void);
		unsigned at; /* 0: before the first; 1: while the large one is on its way */
		unsigned skips;
		unsigned deletes;
		bool has_large;
		const char *stale;
	} cases[] = {
		{"other contents before", change_all, 0, 0, 0, false, "large\nsmall\n"},
		{"other contents", change_all, 1, 1, 0, false, "large\nsmall\n"},
		{"gone before", remove_all, 0, 0, 2, false, "large\nsmall\n"},
		/* What is open stays readable. */
		{"gone", remove_all, 1, 0, 1, true, "small\n"},
		{"grown before", grow_all, 0, 0, 0, false, "large\nsmall\n"},
		{"grown", grow_all, 1, 0, 0, true, "small\n"},
		{"the same sizes", scramble, 1, 1, 0, false, "large\nsmall\n"},
		{"no files any more", make_pipes, 0, 0, 0, false, "large\nsmall\n"},
		{"too many open files", run_out_of_files, 0, 0, 0, false, "large\nsmall\n"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		if (i > 0) {
			(void)tear_down(state);
			(void)set_up(state);
		}
		announce("large", noise, sizeof(noise), false);
		announce("next", "next", 4, false);
		announce("small", "small", 5, false);
		if (cases[i].at == 0)
			cases[i].meanwhile();
		feed(cases[i].at, cases[i].meanwhile);
		if (seen.skips != cases[i].skips || seen.deletes != cases[i].deletes ||
		    app_sees(&rig, "large") != cases[i].has_large || app_sees(&rig, "small"))
			fail_msg("%s: %u skips, %u deletes", cases[i].name, seen.skips,
				 seen.deletes);
		assert_false(seen.has_root);
		if (cases[i].meanwhile != run_out_of_files) {
			assert_string_equal(app_reads(&rig, "next"), "next");
			assert_string_equal(lp_buf_text(&stale), cases[i].stale);
		}
	}
}

static void feed__sends_links_as_they_were(void **state)
{
	struct lp_entry e = {.kind = LP_KIND_LINK, .size = 4, .digest = lp_digest_of("next", 4)};
	char full[256];

	(void)state;
	(void)snprintf(full, sizeof(full), "%s/l", files);
	assert_int_equal(symlink("next", full), 0);
	lp_changeset_add(cs, LP_OP_PUT, "l", &e, NULL);
	feed(0, NULL);
	assert_string_equal(app_reads(&rig, "l"), "-> next");
	assert_true(seen.has_root);
	assert_int_equal(unlink(full), 0);
	assert_int_equal(symlink("../../etc", full), 0);
	feed(0, NULL);
	assert_string_equal(app_reads(&rig, "l"), "-> next");
	assert_false(seen.has_root);
	assert_int_equal(unlink(full), 0);
	feed(0, NULL);
	assert_false(app_sees(&rig, "l"));
	assert_string_equal(lp_buf_text(&stale), "l\nl\n");
}

static void feed__of_nothing_is_one_message(void **state)
{
	(void)state;
	feed(0, NULL);
	assert_int_equal(seen.changes, 1);
	assert_int_equal(seen.ops, 0);
	assert_true(seen.has_root);
	lp_feed_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(feed__sends_small_files_in_one_message, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(feed__splits_what_is_too_much_for_one, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(feed__leaves_out_what_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(feed__sends_links_as_they_were, set_up, tear_down),
		cmocka_unit_test_setup_teardown(feed__of_nothing_is_one_message, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
