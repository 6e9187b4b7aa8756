/* test_personal.c: the ignore rules of a person, git's core.excludesFile. */
#include "common/base/lp_fs.h"
#include "tests/unit/watcher/watch_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

static struct rig rig;
static char home[64];

/* A path in the person's directory, in one of a few buffers. */
static const char *at(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", home, name);
	return path;
}

static void put(const char *name, const char *text)
{
	int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(close(fd), 0);
}

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(home, sizeof(home), "/tmp/livepush-home-XXXXXX");
	assert_non_null(mkdtemp(home));
	assert_int_equal(mkdir(at("git"), 0700), 0);
	rig_config_home = home;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rig_close(&rig);
	rig_config_home = rig_git_config = NULL;
	return lp_remove_tree(AT_FDCWD, home);
}

static void personal__rules_count_and_their_edits_too(void **state)
{
	(void)state;
	put("git/ignore", "*.mine\n");
	rig_open(&rig, true);
	rig_write(&rig, "a.mine", "a");
	rig_write(&rig, "b.yours", "b");
	assert_string_equal(rig_settle(&rig), "PUT b.yours\n");
	/* In place, and by renaming another one over it: nothing else happens. */
	put("git/ignore", "*.yours\n");
	assert_string_equal(rig_settle(&rig), "PUT a.mine\nDELETE b.yours\n");
	put("git/new", "*.mine\n*.yours\n");
	assert_int_equal(rename(at("git/new"), at("git/ignore")), 0);
	assert_string_equal(rig_settle(&rig), "DELETE a.mine\n");
	/* The workspace's own rules come after them. */
	rig_write(&rig, ".gitignore", "!a.mine\n");
	assert_string_equal(rig_settle(&rig), "PUT .gitignore\nPUT a.mine\n");
	/* One that went or came is seen with what happens next. */
	assert_int_equal(unlink(at("git/ignore")), 0);
	rig_write(&rig, "c", "c");
	assert_string_equal(rig_settle(&rig), "PUT b.yours\nPUT c\n");
	put("git/ignore", "c\n");
	rig_write(&rig, "d", "d");
	assert_string_equal(rig_settle(&rig), "DELETE c\nPUT d\n");
}

static void personal__file_is_the_one_that_git_is_told(void **state)
{
	char config[256];

	(void)state;
	(void)snprintf(config, sizeof(config), "[core]\n\texcludesFile = %s\n", at("my rules"));
	put("config", config);
	put("my rules", "*.mine\n");
	put("git/ignore", "*.yours\n");
	rig_git_config = at("config");
	rig_open(&rig, true);
	rig_write(&rig, "a.mine", "a");
	rig_write(&rig, "b.yours", "b");
	assert_string_equal(rig_settle(&rig), "PUT b.yours\n");
}

static void personal__file_may_be_none(void **state)
{
	(void)state;
	put("config", "[core]\n\texcludesFile =\n");
	put("git/ignore", "*.yours\n");
	rig_git_config = at("config");
	rig_open(&rig, true);
	rig_write(&rig, "b.yours", "b");
	assert_string_equal(rig_settle(&rig), "PUT b.yours\n");
	rig_close(&rig);
	/* What is no file has no rules. */
	assert_int_equal(unlink(at("git/ignore")), 0);
	assert_int_equal(mkdir(at("git/ignore"), 0700), 0);
	rig_git_config = NULL;
	rig_open(&rig, true);
	rig_write(&rig, "b.yours", "b");
	assert_string_equal(rig_settle(&rig), "PUT b.yours\n");
}

/* It is told once, and is no reason to read the whole tree with every save. */
static void personal__file_that_cannot_be_read_is_left(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	LP_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned n_dirs;

	(void)state;
	assert_true(fd >= 0);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", at("git/ignore"));
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	rig_open(&rig, true);
	rig_write(&rig, "a", "a");
	assert_string_equal(rig_settle(&rig), "PUT a\n");
	n_dirs = rig.n_dirs;
	rig_write(&rig, "a", "again");
	assert_string_equal(rig_settle(&rig), "PUT a\n");
	assert_int_equal(rig.n_dirs, n_dirs);
	/* One that can be counts. */
	assert_int_equal(unlink(at("git/ignore")), 0);
	put("git/ignore", "b\n");
	rig_write(&rig, "b", "b");
	assert_string_equal(rig_settle(&rig), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(personal__rules_count_and_their_edits_too, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(personal__file_is_the_one_that_git_is_told, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(personal__file_may_be_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(personal__file_that_cannot_be_read_is_left, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
