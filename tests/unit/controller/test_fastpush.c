/* test_fastpush.c: uploads of cf-fastpush become one changeset that can be sent, or nothing; and a
 * plain mapping in YAML is read as one. */
#include "common/base/lp_fs.h"
#include "common/conf/conf_flat.h"
#include "controller/fastpush_work.h"
#include "wire/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char dir[] = "/tmp/livepush-fastpush-XXXXXX";
static int dir_fd = -1;

static int setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir_fd >= 0);
	assert_int_equal(mkdirat(dir_fd, "sub", 0700), 0);
	assert_int_equal(symlinkat("sub", dir_fd, "link"), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)close(dir_fd);
	return lp_remove_tree(AT_FDCWD, dir);
}

static int read_text(const char *text, struct lp_fastpush_upload *out, struct lp_err *err)
{
	struct lp_buf body = {0};
	int r;

	assert_int_equal(lp_buf_add_str(&body, text), 0);
	r = lp_fastpush_read(dir_fd, &body, 7, out, err);
	lp_buf_finish(&body);
	return r;
}

static void fastpush_read__makes_one_changeset(void **state)
{
	struct lp_fastpush_upload u;
	struct lp_err err = {0};
	struct lp_msg msg;

	(void)state;
	assert_int_equal(read_text("{\"sub/new/a\": {\"Content\": \"aGk=\"},"
				   " \"./b\": {\"Content\": \"\", \"Checksum\": \"\"}}",
				   &u, &err),
			 0);
	assert_int_equal(u.files, 2);
	assert_int_equal(u.n, 1);
	assert_int_equal(lp_msg_decode(&msg, u.messages[0].data, u.messages[0].len, &err), 0);
	assert_int_equal(msg.kind, LP_MSG_CHANGE);
	assert_int_equal(msg.u.change.revision, 7);
	assert_int_equal(msg.u.change.flags, LP_CHANGE_FIRST | LP_CHANGE_LAST);
	assert_int_equal(msg.u.change.n_ops, 4);
	/* A directory that is there keeps its mode. */
	assert_memory_equal(msg.u.change.ops[0].path.p, "sub", 3);
	assert_int_equal(msg.u.change.ops[0].mode, 0700);
	assert_int_equal(msg.u.change.ops[1].mode, 0755);
	assert_int_equal(msg.u.change.ops[2].mode, 0644);
	assert_int_equal(msg.u.change.ops[2].content.len, 2);
	assert_memory_equal(msg.u.change.ops[3].path.p, "b", 1);
	lp_msg_finish(&msg);
	lp_fastpush_upload_finish(&u);
}

static void fastpush_read__refuses_with_the_path(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"{\"../x\": {\"Content\": \"\"}}", "../x"},
		{"{\"/x\": {\"Content\": \"\"}}", "/x"},
		{"{\"a/\": {\"Content\": \"\"}}", "a/"},
		{"{\".livepush\": {\"Content\": \"\"}}", "livepush's own"},
		{"{\"a/.livepush/b\": {\"Content\": \"\"}}", "livepush's own"},
		{"{\"link\": {\"Content\": \"\"}}", "symbolic link"},
		{"{\"link/x\": {\"Content\": \"\"}}", "symbolic link"},
		{"{\"sub\": {\"Content\": \"\"}}", "something else"},
		{"{\"a\": {\"Content\": \"\"}, \"a/b\": {\"Content\": \"\"}}", "a/b"},
		{"{\"a\": {}}", "Content"},
		{"{\"a\": 3}", "Content"},
		{"{\"a\": {\"Content\": \"a\"}}", "base64"},
		{"{\"a\": {\"Content\": \"a===\"}}", "base64"},
		{"{\"a\": {\"Content\": \"aGk\\n\"}}", "base64"},
		{"{\"a\": {\"Content\": \"aGk=\", \"Checksum\": \"00\"}}", "Checksum"},
		{"[]", "object"},
		{"{", "JSON"},
		{"", "JSON"},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_fastpush_upload u;
		struct lp_err err = {0};

		assert_int_equal(read_text(cases[i].text, &u, &err), -EBADMSG);
		if (!strstr(err.msg, cases[i].says))
			fail_msg("%s: %s", cases[i].text, err.msg);
		assert_null(u.messages);
	}
}

static void fastpush_list__stays_in_the_tree(void **state)
{
	static const char *const outside[] = {"..", "/etc", "a/../..", "./../x"};
	atomic_bool stop = false;
	struct lp_buf text = {0};
	struct lp_err err = {0};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(outside); i++)
		assert_int_equal(lp_fastpush_list(dir_fd, outside[i], &stop, &text, &err), -EINVAL);
	assert_int_equal(lp_fastpush_list(dir_fd, "./ sub/ link missing", &stop, &text, &err), 0);
	assert_string_equal(lp_buf_text(&text), "{}\n");
	lp_buf_finish(&text);
	atomic_store(&stop, true);
	assert_int_equal(lp_fastpush_list(dir_fd, "./", &stop, &text, &err), -ECANCELED);
	lp_buf_finish(&text);
}

static int collect(void *ctx, const char *key, const char *value, struct lp_err *err)
{
	if (strcmp(key, "end") == 0)
		return lp_err_say(err, ECANCELED, "end");
	return lp_buf_addf(ctx, "%s=%s;", key, value ? value : "none");
}

static void conf_flat__reads_plain_mappings(void **state)
{
	static const struct {
		const char *text, *pairs;
		int result;
	} cases[] = {
		{"", "", 0},
		{"# nothing\n", "", 0},
		{"a: b\nC: 'd e'\n", "a=b;C=d e;", 0},
		{"a: [b, c]\nd: []\n", "a=b c;d=;", 0},
		{"a: {b: c}\nd: [[e]]\n", "a=none;d=none;", 0},
		{"a: 1\nend: 2\nb: 3\n", "a=1;", -ECANCELED},
		{"- a\n", "", -EINVAL},
		{"a: b: c\n", "", -EINVAL},
		{"? [a]\n: b\n", "", -EINVAL},
		{"\x01", "", -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_buf pairs = {0};
		struct lp_err err = {0};

		assert_int_equal(lp_conf_flat_parse(cases[i].text, strlen(cases[i].text), "f.yml",
						    collect, &pairs, &err),
				 cases[i].result);
		assert_string_equal(lp_buf_text(&pairs), cases[i].pairs);
		assert_int_equal(-err.code, cases[i].result);
		lp_buf_finish(&pairs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fastpush_read__makes_one_changeset),
		cmocka_unit_test(fastpush_read__refuses_with_the_path),
		cmocka_unit_test(fastpush_list__stays_in_the_tree),
		cmocka_unit_test(conf_flat__reads_plain_mappings),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
