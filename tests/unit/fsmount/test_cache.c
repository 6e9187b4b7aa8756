/* tests/unit/fsmount/test_cache.c: what the kernel caches of the mount is what is there below, when
 * the owner tells of changes and when it does not. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_util.h"
#include "fsmount/invalidate.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_below(struct fx *fx, const char *name, const char *text)
{
	int fd = openat(fx->root_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_int_equal(lp_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(close(fd), 0);
}

/* Whether name in the mount has this content; "" stands for not there. */
static bool has_content(struct fx *fx, const char *name, const char *text)
{
	char found[64];
	int fd = open(fx_path(fx, name), O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return text[0] == '\0';
	n = read(fd, found, sizeof(found) - 1);
	(void)close(fd);
	found[n > 0 ? n : 0] = '\0';
	return text[0] != '\0' && strcmp(found, text) == 0;
}

/* What shall come true. */
struct wish {
	struct fx *fx;
	const char *name;
	const char *text;
	bool listed;
};

static bool is_content(void *arg)
{
	const struct wish *w = arg;

	return has_content(w->fx, w->name, w->text);
}

static bool is_in_list(struct fx *fx, const char *name)
{
	DIR *dir = opendir(fx->dir);
	bool found = false;
	struct dirent *de;

	assert_non_null(dir);
	while ((de = readdir(dir)) != NULL)
		found |= strcmp(de->d_name, name) == 0;
	(void)closedir(dir);
	return found;
}

static bool is_listed(void *arg)
{
	const struct wish *w = arg;

	return is_in_list(w->fx, w->name) == w->listed;
}

static void expect_content(struct fx *fx, const char *name, const char *text)
{
	struct wish w = {.fx = fx, .name = name, .text = text};

	fx_wait_until(is_content, &w);
}

static void expect_listed(struct fx *fx, const char *name, bool listed)
{
	struct wish w = {.fx = fx, .name = name, .listed = listed};

	fx_wait_until(is_listed, &w);
}

/* A change below, as inotify would tell of it. */
struct change {
	const char *title;
	const char *script;  /* below, in the mount's directory as it was before */
	const char *told[3]; /* the paths that are told */
	const char *name;    /* whose content is this then */
	const char *text;
};

static void run_below(struct fx *fx, const char *script)
{
	char dir[64];

	(void)snprintf(dir, sizeof(dir), "/proc/%d/fd/%d", (int)getpid(), fx->root_fd);
	fx_sh(dir, script);
}

static void invalidate__shows_what_changed_below(void **state)
{
	static const struct change changes[] = {
		{"write", "printf longer >f", {"f"}, "f", "longer"},
		{"write of the same size", "printf ABCDEF >f", {"f"}, "f", "ABCDEF"},
		{"new name", "printf new >g", {"g"}, "g", "new"},
		{"removal", "rm g", {"g"}, "g", ""},
		{"the same name again", "printf again >g", {"g"}, "g", "again"},
		{"rename over", "printf over >t; mv t f", {"t", "f"}, "f", "over"},
		{"directory", "mkdir d; printf deep >d/x", {"d"}, "d/x", "deep"},
		{"directory renamed", "mv d e", {"d", "e"}, "e/x", "deep"},
		{"the old directory", "true", {"d"}, "d/x", ""},
		{"file instead of directory", "rm -r e; printf file >e", {"e"}, "e", "file"},
		{"link", "ln -s g l", {"l"}, "l", "again"},
		{"link elsewhere", "ln -sf f l", {"l"}, "l", "over"},
	};
	struct fx *fx = *state;

	write_below(fx, "f", "first");
	lp_fsmount_set_told(fx->m, true);
	for (size_t i = 0; i < LP_COUNT_OF(changes); i++) {
		const struct change *c = &changes[i];

		print_message("  %s\n", c->title);
		for (size_t j = 0; j < LP_COUNT_OF(changes); j++) /* the kernel caches all */
			(void)has_content(fx, changes[j].name, "");
		(void)is_in_list(fx, "f");
		run_below(fx, c->script);
		for (size_t j = 0; j < LP_COUNT_OF(c->told) && c->told[j] != NULL; j++)
			lp_fsmount_invalidate(fx->m, c->told[j]);
		expect_content(fx, c->name, c->text);
		if (strchr(c->name, '/') == NULL)
			expect_listed(fx, c->name, c->text[0] != '\0');
	}
}

static void invalidate__of_everything_shows_all(void **state)
{
	struct fx *fx = *state;

	write_below(fx, "f", "first");
	write_below(fx, "g", "second");
	lp_fsmount_set_told(fx->m, true);
	assert_true(has_content(fx, "f", "first") && has_content(fx, "g", "second"));
	assert_true(is_in_list(fx, "f"));
	write_below(fx, "f", "changed");
	assert_int_equal(unlinkat(fx->root_fd, "g", 0), 0);
	lp_fsmount_invalidate(fx->m, "");
	expect_content(fx, "f", "changed");
	expect_content(fx, "g", "");
	expect_listed(fx, "g", false);
}

static void cache__lasts_while_told(void **state)
{
	struct fx *fx = *state;
	struct stat st;

	write_below(fx, "f", "first");
	lp_fsmount_set_told(fx->m, true);
	assert_int_equal(stat(fx_path(fx, "f"), &st), 0);
	write_below(fx, "f", "changed it"); /* not told: the kernel does not ask */
	assert_int_equal(stat(fx_path(fx, "f"), &st), 0);
	assert_int_equal(st.st_size, 5);
	lp_fsmount_invalidate(fx->m, "f");
	expect_content(fx, "f", "changed it");
}

static void cache__is_short_when_nobody_tells(void **state)
{
	struct fx *fx = *state;

	write_below(fx, "f", "first");
	assert_true(has_content(fx, "f", "first"));
	assert_true(has_content(fx, "g", ""));
	write_below(fx, "f", "second");
	write_below(fx, "g", "new");
	expect_content(fx, "f", "second");
	expect_content(fx, "g", "new");
	expect_listed(fx, "g", true);
}

/* What is written through the mount is what is read there at once, whatever is told. */
static void cache__follows_writes_through_the_mount(void **state)
{
	struct fx *fx = *state;
	char text[32];

	lp_fsmount_set_told(fx->m, true);
	for (int i = 0; i < 50; i++) {
		(void)snprintf(text, sizeof(text), "%d", i);
		fx_write(fx, "f", text);
		lp_fsmount_invalidate(fx->m, "f"); /* as its own inotify event would */
		assert_true(has_content(fx, "f", text));
		assert_int_equal(rename(fx_path(fx, "f"), fx_path(fx, "g")), 0);
		assert_true(is_in_list(fx, "g") && !is_in_list(fx, "f"));
		assert_true(has_content(fx, "g", text) && has_content(fx, "f", ""));
		assert_int_equal(unlink(fx_path(fx, "g")), 0);
		assert_false(is_in_list(fx, "g"));
	}
	lp_fsmount_drain(fx->m);
	fx_skip(fx, fx_count(fx));
}

static void works_in(struct fx *fx, const char *dir, int ready_fd, int go_on_fd)
{
	char text[PATH_MAX];

	if (chdir(fx_path(fx, dir)) < 0 || write(ready_fd, "", 1) != 1 ||
	    read(go_on_fd, text, 1) != 1)
		_exit(1);
	_exit(getcwd(text, sizeof(text)) != NULL && access("x", F_OK) == 0 ? 0 : 2);
}

static void invalidate__leaves_directories_to_those_who_work_in_them(void **state)
{
	struct fx *fx = *state;
	int ready[2];
	int go_on[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(go_on, O_CLOEXEC), 0);
	run_below(fx, "mkdir d; touch d/x");
	lp_fsmount_set_told(fx->m, true);
	pid = fork();
	if (pid == 0)
		works_in(fx, "d", ready[1], go_on[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	run_below(fx, "touch d/y; chmod 700 d");
	lp_fsmount_invalidate(fx->m, "d");
	lp_fsmount_invalidate(fx->m, "d/y");
	lp_fsmount_invalidate(fx->m, "");
	write_below(fx, "last", "done");
	lp_fsmount_invalidate(fx->m, "last");
	expect_content(fx, "last", "done");
	assert_int_equal(write(go_on[1], "", 1), 1);
	fx_reap(pid);
	for (int i = 0; i < 2; i++) {
		(void)close(ready[i]);
		(void)close(go_on[i]);
	}
}

/* The mount is served for a moment longer than there is a thread for this. */
static void invalidate__keeps_nothing_after_its_end(void **state)
{
	struct lp_invalidate v;

	(void)state;
	assert_int_equal(lp_invalidate_start(&v, NULL, NULL), 0);
	lp_invalidate_stop(&v);
	lp_invalidate_path(&v, "x");
	assert_int_equal(v.n, 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, fx_setup, fx_teardown)
	const struct CMUnitTest tests[] = {
		T(invalidate__shows_what_changed_below),
		T(invalidate__of_everything_shows_all),
		cmocka_unit_test(invalidate__keeps_nothing_after_its_end),
		T(invalidate__leaves_directories_to_those_who_work_in_them),
		T(cache__lasts_while_told),
		T(cache__is_short_when_nobody_tells),
		T(cache__follows_writes_through_the_mount),
	};
#undef T

	fx_skip_without_fuse();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
