/* test_blank.c: what a first scan leaves unread, who reads it, and what happens meanwhile. */
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "tests/unit/watcher/content_rig.h"
#include "watcher/store.h"
#include "watcher/workspace_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

/* Whether `fresh` had not rested yet at the scan for certain. */
static bool is_fresh;

/* a, b, d/c: small; large: not; fresh: written when the others have rested already. */
static int make_tree(void **state)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	LP_AUTO_FREE char *large = lp_xcalloc(1, LP_INLINE_MAX_BYTES + 2);
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US;
	struct lp_err err = {0};
	struct stat st;

	(void)state;
	rig_open(&rig, false);
	memset(large, 'l', LP_INLINE_MAX_BYTES + 1);
	rig_write(&rig, "large", large);
	rig_write(&rig, "a", "content of a");
	rig_write(&rig, "b", "");
	rig_mkdir(&rig, "d");
	rig_write(&rig, "d/c", "content of c");
	do {
		assert_true(lp_now_us() < deadline_us);
		(void)nanosleep(&pause, NULL);
		assert_int_equal(fstatat(lp_workspace_fd(rig.ws), "d/c", &st, 0), 0);
	} while (!lp_look_has_rested(&st));
	rig_write(&rig, "fresh", "content of fresh");
	assert_int_equal(lp_workspace_scan(rig.ws, &err), 0);
	assert_int_equal(fstatat(lp_workspace_fd(rig.ws), "fresh", &st, 0), 0);
	is_fresh = !lp_look_has_rested(&st);
	return 0;
}

static int remove_tree(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static struct lp_entry entry_of(const char *path)
{
	const struct lp_node *n = lp_index_get(rig.ws->index, path);

	assert_non_null(n);
	return lp_node_entry(n);
}

static void assert_digest(const char *path, const char *content)
{
	const struct lp_entry e = entry_of(path);
	struct lp_digest d = lp_digest_of(content, strlen(content));

	assert_memory_equal(e.digest.b, d.b, sizeof(d.b));
}

/* It is the digest that the index has of the path. */
static void assert_known(const char *path, const struct lp_digest *d)
{
	const struct lp_entry e = entry_of(path);

	assert_memory_equal(e.digest.b, d->b, sizeof(d->b));
}

/* A changeset of the whole sketch. */
static struct lp_changeset *follow(void)
{
	struct lp_changeset *cs = lp_changeset_create();

	assert_int_equal(lp_diff_add_subtree(cs, lp_index_get(lp_workspace_sketch(rig.ws), "")), 0);
	lp_workspace_follow(rig.ws, cs);
	return cs;
}

static const struct lp_op *op_of(const struct lp_changeset *cs, const char *path)
{
	for (size_t i = 0; i < cs->n_ops; i++)
		if (strcmp(cs->ops[i].path, path) == 0)
			return &cs->ops[i];
	fail_msg("no operation on %s", path);
	return NULL;
}

static int read_blank(const char *path, struct lp_entry *e, char *to)
{
	*e = entry_of(path);
	return lp_workspace_read_blank(rig.ws, path, e, to);
}

static void scan__leaves_small_files_that_have_rested(void **state)
{
	(void)state;
	assert_non_null(lp_workspace_sketch(rig.ws));
	assert_true(lp_node_is_blank(lp_index_get(rig.ws->index, "a")));
	assert_true(lp_node_is_blank(lp_index_get(rig.ws->index, "b")));
	assert_true(lp_node_is_blank(lp_index_get(rig.ws->index, "d/c")));
	assert_false(lp_node_is_blank(lp_index_get(rig.ws->index, "large")));
	if (is_fresh)
		assert_digest("fresh", "content of fresh");
	assert_int_equal(lp_workspace_files(rig.ws), 5);
	/* Whoever asks for the index gets it whole. */
	assert_ptr_equal(lp_workspace_index(rig.ws), rig.ws->index);
	assert_null(lp_workspace_sketch(rig.ws));
	assert_digest("a", "content of a");
	assert_digest("b", "");
	assert_digest("d/c", "content of c");
}

static void read_blank__completes_what_was_made_of_the_sketch(void **state)
{
	static const char *const paths[] = {"a", "b", "d/c"};
	static const char *const contents[] = {"content of a", "", "content of c"};
	struct lp_changeset *cs = follow();
	struct lp_digest root;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(paths); i++) {
		char to[64];
		struct lp_entry e;

		assert_non_null(lp_workspace_sketch(rig.ws));
		assert_int_equal(read_blank(paths[i], &e, to), 0);
		assert_memory_equal(to, contents[i], strlen(contents[i]));
		assert_digest(paths[i], contents[i]);
		assert_known(paths[i], &e.digest);
		/* Somebody else sends it, too. */
		if (i == 0) {
			e.digest = (struct lp_digest){0};
			assert_int_equal(lp_workspace_read_blank(rig.ws, "a", &e, to), 1);
			assert_known("a", &e.digest);
		}
	}
	assert_null(lp_workspace_sketch(rig.ws));
	root = lp_index_root(rig.ws->index);
	assert_memory_equal(cs->root.b, root.b, sizeof(root.b));
	for (size_t i = 0; i < LP_COUNT_OF(paths); i++)
		assert_known(paths[i], &op_of(cs, paths[i])->e.digest);
	lp_changeset_unref(cs);
}

static void read_blank__takes_only_what_was_seen(void **state)
{
	struct lp_changeset *cs = follow();
	struct lp_entry e;
	char to[64];

	(void)state;
	rig_write(&rig, "a", "CONTENT OF A");
	assert_int_equal(read_blank("a", &e, to), -ESTALE);
	assert_true(lp_node_is_blank(lp_index_get(rig.ws->index, "a")));
	rig_write(&rig, "b", "longer");
	assert_int_equal(read_blank("b", &e, to), -ESTALE);
	rig_remove(&rig, "d/c");
	rig_symlink(&rig, "d/c", "../large");
	assert_true(read_blank("d/c", &e, to) < 0);
	rig_remove(&rig, "d/c");
	assert_int_equal(read_blank("d/c", &e, to), -ENOENT);
	(void)lp_workspace_index(rig.ws);
	assert_digest("a", "CONTENT OF A");
	assert_digest("b", "longer");
	assert_null(lp_index_get(rig.ws->index, "d/c"));
	/* What is of another size, or gone, is not what the operation says. */
	assert_known("a", &op_of(cs, "a")->e.digest);
	assert_true(lp_entry_is_blank(&op_of(cs, "b")->e));
	assert_true(lp_entry_is_blank(&op_of(cs, "d/c")->e));
	e = op_of(cs, "b")->e;
	assert_int_equal(lp_workspace_read_blank(rig.ws, "b", &e, to), -ESTALE);
	lp_changeset_unref(cs);
}

static void read_blank__leaves_what_is_being_written(void **state)
{
	struct lp_entry e;
	char to[64];

	(void)state;
	rig.written = "a";
	assert_int_equal(read_blank("a", &e, to), -EBUSY);
	(void)lp_workspace_index(rig.ws);
	assert_null(lp_index_get(rig.ws->index, "a"));
	rig.written = NULL;
}

static void take__waits_until_all_is_read(void **state)
{
	struct lp_changeset *cs = follow(), *change = NULL;
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US;

	(void)state;
	rig_write(&rig, "d/c", "saved meanwhile");
	lp_workspace_note(rig.ws, &(struct lp_event){.kind = LP_EVENT_CLOSED, .path = "d/c"},
			  false);
	assert_null(lp_workspace_take(rig.ws));
	assert_non_null(lp_workspace_sketch(rig.ws));
	/* Nobody sends it, so it is read by itself. */
	while (lp_workspace_sketch(rig.ws)) {
		assert_true(lp_now_us() < deadline_us);
		rig_run(&rig, 10);
	}
	/* It was read as it is by then. */
	assert_digest("d/c", "saved meanwhile");
	rig_write(&rig, "a", "and this");
	while (!(change = lp_workspace_take(rig.ws))) {
		assert_true(lp_now_us() < deadline_us);
		lp_workspace_note(rig.ws, &(struct lp_event){.kind = LP_EVENT_CLOSED, .path = "a"},
				  false);
		rig_run(&rig, 10);
	}
	assert_string_equal(change->ops[0].path, "a");
	assert_digest("a", "and this");
	assert_false(lp_digest_equal(&cs->root, &change->root));
	assert_false(lp_digest_is_none(&cs->root));
	lp_changeset_unref(change);
	lp_changeset_unref(cs);
}

static void fill__forgets_a_directory_that_is_gone(void **state)
{
	(void)state;
	rig_remove(&rig, "d/c");
	rig_remove(&rig, "d");
	while (!lp_workspace_fill(rig.ws))
		continue;
	assert_null(lp_index_get(rig.ws->index, "d/c"));
	assert_digest("a", "content of a");
}

/* It may be there all the same. */
static void fill__comes_back_to_what_it_cannot_open(void **state)
{
	struct rlimit before, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	while (!lp_workspace_fill(rig.ws))
		continue;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_null(lp_index_get(rig.ws->index, "a"));
	assert_null(lp_index_get(rig.ws->index, "d/c"));
	lp_changeset_unref(lp_workspace_take(rig.ws));
	assert_digest("a", "content of a");
	assert_digest("b", "");
	assert_digest("d/c", "content of c");
}

/* When some were read here, the one who sends the others finishes all. */
static void sketch__ends_with_the_last_one_whoever_reads_it(void **state)
{
	struct lp_changeset *cs = follow();
	struct lp_digest root;
	struct lp_entry e;
	char to[64];

	(void)state;
	/* As a fill leaves it that has not come to its end. */
	rig_write(&rig, "a", "CONTENT OF A");
	assert_int_equal(lp_workspace_update(rig.ws, lp_index_get(rig.ws->index, ""),
					     lp_workspace_fd(rig.ws), "a", NULL, NULL),
			 0);
	lp_workspace_drop(rig.ws, lp_index_get(rig.ws->index, "b"), "b", NULL);
	assert_non_null(lp_workspace_sketch(rig.ws));
	assert_int_equal(read_blank("d/c", &e, to), 0);
	assert_null(lp_workspace_sketch(rig.ws));
	root = lp_index_root(rig.ws->index);
	assert_memory_equal(cs->root.b, root.b, sizeof(root.b));
	lp_changeset_unref(cs);
}

static void store__holds_only_what_was_read(void **state)
{
	struct lp_store_writer w = {0};
	struct lp_index *back;

	(void)state;
	assert_int_equal(lp_store_begin(&w, "/w"), 0);
	assert_int_equal(lp_store_add(&w, rig.ws->index, SIZE_MAX), 0);
	assert_int_equal(lp_store_end(&w), 0);
	assert_int_equal(lp_store_read(&back, w.out.data, w.out.len, "/w", NULL), 0);
	assert_null(lp_index_get(back, "a"));
	assert_non_null(lp_index_get(back, "d"));
	lp_index_destroy(back);
	lp_store_finish(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(scan__leaves_small_files_that_have_rested,
						make_tree, remove_tree),
		cmocka_unit_test_setup_teardown(read_blank__completes_what_was_made_of_the_sketch,
						make_tree, remove_tree),
		cmocka_unit_test_setup_teardown(read_blank__takes_only_what_was_seen, make_tree,
						remove_tree),
		cmocka_unit_test_setup_teardown(read_blank__leaves_what_is_being_written, make_tree,
						remove_tree),
		cmocka_unit_test_setup_teardown(take__waits_until_all_is_read, make_tree,
						remove_tree),
		cmocka_unit_test_setup_teardown(fill__forgets_a_directory_that_is_gone, make_tree,
						remove_tree),
		cmocka_unit_test_setup_teardown(fill__comes_back_to_what_it_cannot_open, make_tree,
						remove_tree),
		cmocka_unit_test_setup_teardown(sketch__ends_with_the_last_one_whoever_reads_it,
						make_tree, remove_tree),
		cmocka_unit_test_setup_teardown(store__holds_only_what_was_read, make_tree,
						remove_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
