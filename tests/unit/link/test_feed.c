/* test_feed.c: a changeset as messages, also while its files change. Every feed goes to a receiver
 * that does what an instance does, so that what comes out is consistent by that judge. */
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "link/link_internal.h"
#include "tests/unit/link/feed_rig.h"
#include "tests/unit/noise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static uint8_t noise[600000];

static int set_up(void **state)
{
	(void)state;
	feed_set_up();
	fill_noise(noise, sizeof(noise), 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	feed_tear_down();
	return 0;
}

static void feed(unsigned at, void (*meanwhile)(void))
{
	feed_to_receiver(NULL, at, meanwhile);
}

static void feed__sends_small_files_in_one_message(void **state)
{
	(void)state;
	announce("a", "one", 3, true);
	announce("b", "", 0, true);
	lp_changeset_add(feed_cs, LP_OP_DELETE, "c", NULL, NULL);
	feed(0, NULL);
	assert_int_equal(received.changes, 1);
	assert_true(received.has_root);
	assert_true(has_text("a", "one"));
	assert_int_equal(feed_stale.len, 0);
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
	lp_changeset_sort(feed_cs);
	feed(0, NULL);
	assert_int_equal(received.ops, 5004);
	assert_true(received.changes >= 5);
	assert_int_equal(received.content_bytes, LP_INLINE_MAX_BYTES + 1 + sizeof(noise));
	assert_int_equal(receiver_count(), 5004);
	assert_true(received.has_root);
	assert_int_equal(feed_stale.len, 0);
}

static void change_all(void)
{
	rewrite("large", noise, 1000);
	rewrite("small", "other", 5);
}

static void remove_all(void)
{
	char full[256];

	(void)snprintf(full, sizeof(full), "%s/large", feed_files);
	assert_int_equal(unlink(full), 0);
	(void)snprintf(full, sizeof(full), "%s/small", feed_files);
	assert_int_equal(unlink(full), 0);
}

static void grow_all(void)
{
	char full[256];
	int fd;

	(void)snprintf(full, sizeof(full), "%s/large", feed_files);
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
	(void)snprintf(full, sizeof(full), "%s/large", feed_files);
	assert_int_equal(mkfifo(full, 0600), 0);
	(void)snprintf(full, sizeof(full), "%s/small", feed_files);
	assert_int_equal(mkdir(full, 0700), 0);
}

static void make_large_unreadable(void)
{
	feed_unreadable = "large";
}

static void make_small_unreadable(void)
{
	feed_unreadable = "small";
}

static void run_out_of_files(void)
{
	feed_open_error = -EMFILE;
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
		{"no files any more", make_pipes, 0, 0, 0, false, "large\nsmall: EISDIR\n"},
		{"too many open files", run_out_of_files, 0, 0, 0, false,
		 "large: EMFILE\nnext: EMFILE\nsmall: EMFILE\n"},
		{"a large one that cannot be read", make_large_unreadable, 0, 1, 0, false,
		 "large: EBADF\n"},
		{"a small one that cannot be read", make_small_unreadable, 0, 0, 0, true,
		 "small: EBADF\n"},
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
		if (received.skips != cases[i].skips || received.deletes != cases[i].deletes ||
		    (receiver_has("large") != NULL) != cases[i].has_large ||
		    (receiver_has("small") != NULL) != !strstr(cases[i].stale, "small"))
			fail_msg("%s: %u skips, %u deletes", cases[i].name, received.skips,
				 received.deletes);
		assert_false(received.has_root);
		assert_true((receiver_has("next") != NULL) == !strstr(cases[i].stale, "next"));
		assert_string_equal(lp_buf_text(&feed_stale), cases[i].stale);
	}
}

static void feed__sends_links_as_they_were(void **state)
{
	struct lp_entry e = {.kind = LP_KIND_LINK, .size = 4, .digest = lp_digest_of("next", 4)};
	char full[256];

	(void)state;
	(void)snprintf(full, sizeof(full), "%s/l", feed_files);
	assert_int_equal(symlink("next", full), 0);
	lp_changeset_add(feed_cs, LP_OP_PUT, "l", &e, NULL);
	feed(0, NULL);
	assert_true(has_text("l", "next"));
	assert_true(received.has_root);
	assert_int_equal(unlink(full), 0);
	assert_int_equal(symlink("../../etc", full), 0);
	feed(0, NULL);
	assert_true(has_text("l", "next"));
	assert_false(received.has_root);
	assert_int_equal(unlink(full), 0);
	feed(0, NULL);
	assert_false((receiver_has("l") != NULL));
	assert_string_equal(lp_buf_text(&feed_stale), "l\nl\n");
}

static void feed__of_nothing_is_one_message(void **state)
{
	(void)state;
	feed(0, NULL);
	assert_int_equal(received.changes, 1);
	assert_int_equal(received.ops, 0);
	assert_true(received.has_root);
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
