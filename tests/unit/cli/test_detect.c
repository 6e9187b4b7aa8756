/* test_detect.c: which project a directory holds, and texts as YAML. */
#include "cli/detect.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int open_place(char dir[64])
{
	(void)snprintf(dir, 64, "/tmp/lp-detect-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void put(int dir_fd, const char *name, const char *text)
{
	LP_AUTO_CLOSE int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, text, strlen(text)), 0);
}

static void lp_detect__goes_by_the_files(void **state)
{
	static const struct {
		const char *file;
		const char *text;
		const char *in_command;
	} rows[] = {
		{"app.py", "", "python3 app.py"},
		{"Procfile", "worker: w\nweb: ./serve \"x\" --port $PORT\n", "./serve"},
		{"package.json", "{\"scripts\": {\"start\": \"node s.js\"}}", "npm"},
		{"index.html", "<p>", "http.server"},
		{"app.js", "", "node app.js"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
		struct lp_detected d;
		char dir[64];
		int fd = open_place(dir);

		put(fd, rows[i].file, rows[i].text);
		assert_int_equal(lp_detect(&d, fd), 0);
		assert_non_null(strstr(d.command, rows[i].in_command));
		lp_detected_finish(&d);
		(void)close(fd);
		assert_int_equal(lp_remove_tree(AT_FDCWD, dir), 0);
	}
}

static void lp_detect__reads_makefiles_of_c(void **state)
{
	static const struct {
		const char *source;
		const char *makefile;
		const char *command; /* NULL: unknown */
	} rows[] = {
		{"server.c", "CFLAGS = -O2\n\nserver: server.c\n\tcc -o $@ $<\n", "./server"},
		{"a.c", "# all\nX := y\nall: my-app other\n", "./my-app"},
		{"a.c", ".PHONY: x\nall:   app\r\n", "./app"},
		{"a.c", "all: $(PROGRAM)\n", NULL},
		{"a.c", "all:\n", NULL},
		{"a.c", "all", NULL},
		{"a.c", "", NULL},
		{"a.py", "server: x\n", NULL},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
		struct lp_detected d;
		char dir[64];
		int fd = open_place(dir);

		put(fd, rows[i].source, "");
		put(fd, "Makefile", rows[i].makefile);
		assert_int_equal(lp_detect(&d, fd), rows[i].command ? 0 : -ENOENT);
		if (rows[i].command)
			assert_string_equal(d.command, rows[i].command);
		lp_detected_finish(&d);
		(void)close(fd);
		assert_int_equal(lp_remove_tree(AT_FDCWD, dir), 0);
	}
}

static void lp_detect__says_when_it_knows_nothing(void **state)
{
	struct lp_detected d;
	char dir[64];
	int fd = open_place(dir);

	(void)state;
	assert_int_equal(lp_detect(&d, fd), -ENOENT);
	assert_non_null(d.command);
	lp_detected_finish(&d);
	(void)close(fd);
	assert_int_equal(lp_remove_tree(AT_FDCWD, dir), 0);
}

/* Whatever is quoted comes back the same through the reader of livepush.yml. */
static void lp_yaml_quote__is_read_back(void **state)
{
	static const char *const texts[] = {
		"plain",        "with \"quotes\" and \\ and 'more'",
		"# no comment", "a: b",
		"tab\there",    "- list",
		"{x}",          "ünïcode",
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
		LP_AUTO_FREE char *quoted = lp_yaml_quote(texts[i]);
		LP_AUTO_FREE char *yml = lp_xasprintf("command: %s\n", quoted);
		struct lp_conf conf;
		struct lp_err err = {0};

		assert_int_equal(lp_conf_parse(&conf, yml, strlen(yml), "t", &err), 0);
		assert_int_equal(conf.command.n, 3);
		assert_string_equal(conf.command.argv[2], texts[i]);
		lp_conf_finish(&conf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lp_detect__goes_by_the_files),
		cmocka_unit_test(lp_detect__reads_makefiles_of_c),
		cmocka_unit_test(lp_detect__says_when_it_knows_nothing),
		cmocka_unit_test(lp_yaml_quote__is_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
