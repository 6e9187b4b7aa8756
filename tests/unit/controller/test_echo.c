/* test_echo.c: what the app writes, on a standard output of each kind and with readers of each. */
#include "controller/echo.h"

#include "common/base/lp_buf.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_log.h"
#include "common/loop/loop_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct rig {
	struct lp_loop *loop;
	struct lp_echo *echo;
	int ends[2]; /* read, write */
};

static int set_up(void **state)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct rig *rig = calloc(1, sizeof(*rig));
	struct lp_err err;

	assert_non_null(rig);
	assert_int_equal(sigaction(SIGPIPE, &ignore, NULL), 0);
	assert_int_equal(lp_loop_create(&rig->loop, &err), 0);
	assert_int_equal(pipe2(rig->ends, O_CLOEXEC), 0);
	assert_int_equal(lp_echo_create(&rig->echo, rig->loop, rig->ends[1], &err), 0);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	lp_echo_destroy(rig->echo);
	lp_loop_destroy(rig->loop);
	lp_auto_close(&rig->ends[0]);
	lp_auto_close(&rig->ends[1]);
	free(rig);
	return 0;
}

static void make_again(struct rig *rig, int fd)
{
	struct lp_err err;

	lp_echo_destroy(rig->echo);
	assert_int_equal(lp_echo_create(&rig->echo, rig->loop, fd, &err), 0);
}

/* Lets the loop write, and reads, until so many bytes came. */
static void read_bytes(struct rig *rig, struct lp_buf *out, size_t n)
{
	uint64_t deadline_us = lp_now_us() + 20000000u;
	char data[8192];

	assert_int_equal(fcntl(rig->ends[0], F_SETFL, O_NONBLOCK), 0);
	while (out->len < n) {
		ssize_t got = read(rig->ends[0], data, sizeof(data));

		assert_true(lp_now_us() < deadline_us);
		if (got > 0)
			assert_int_equal(lp_buf_add(out, data, (size_t)got), 0);
		assert_int_equal(lp_loop_dispatch(rig->loop, 1), 0);
	}
}

static void bytes__come_as_they_are(void **state)
{
	struct rig *rig = *state;
	struct lp_buf got = {0};
	char all[256];

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	lp_echo_add(rig->echo, all, sizeof(all));
	lp_echo_add(rig->echo, "a", 1);
	lp_echo_add(rig->echo, "b\n", 2);
	read_bytes(rig, &got, sizeof(all) + 3);
	assert_memory_equal(got.data, all, sizeof(all));
	assert_memory_equal(got.data + sizeof(all), "ab\n", 3);
	assert_true((fcntl(rig->ends[1], F_GETFL) & O_NONBLOCK) == 0);
	lp_echo_add(NULL, "x", 1);
	lp_buf_finish(&got);
}

/* Nobody reads at first. Returns how many lines were added. */
static unsigned fill(struct rig *rig)
{
	unsigned n = 0;
	char line[64];

	while (lp_echo_dropped(rig->echo) < 1000000) {
		int len = snprintf(line, sizeof(line), "line %u of what nobody reads\n", n++);

		lp_echo_add(rig->echo, line, (size_t)len);
		if (n % 64 == 0)
			assert_int_equal(lp_loop_dispatch(rig->loop, 0), 0);
	}
	return n;
}

static void a_reader__that_sleeps_gets_whole_lines_afterwards(void **state)
{
	struct rig *rig = *state;
	struct lp_buf got = {0};
	unsigned long seen = 0, last = 0;
	size_t at = 0;
	char *text, *next;

	(void)fill(rig);
	read_bytes(rig, &got, LP_ECHO_MAX_BYTES - 200);
	lp_echo_add(rig->echo, "line 99999999 of what nobody reads\n", 35);
	while (!memmem(got.data, got.len, "line 99999999 ", 14))
		read_bytes(rig, &got, got.len + 1);

	text = strndup((const char *)got.data, got.len);
	assert_non_null(text);
	for (char *line = text; line && *line; line = next) {
		static const char rest[] = " of what nobody reads";
		unsigned long number = 0;
		char *end = line;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (strncmp(line, "line ", 5) == 0)
			number = strtoul(line + 5, &end, 10);
		/* One line was cut off where there was no room; it has an end of its own. */
		if (strncmp(end, rest, strlen(rest)) != 0) {
			assert_int_equal(at++, 0);
			continue;
		}
		assert_true(seen == 0 || number > last);
		last = number;
		seen++;
	}
	assert_int_equal(last, 99999999);
	assert_true(seen > 1000);
	free(text);
	lp_buf_finish(&got);
}

static void a_reader__that_is_gone_ends_it(void **state)
{
	struct rig *rig = *state;
	uint64_t deadline_us = lp_now_us() + 20000000u;

	lp_auto_close(&rig->ends[0]);
	rig->ends[0] = -1;
	lp_echo_add(rig->echo, "nobody\n", 7);
	while (lp_echo_dropped(rig->echo) == 0) {
		assert_true(lp_now_us() < deadline_us);
		assert_int_equal(lp_loop_dispatch(rig->loop, 1), 0);
	}
	lp_echo_add(rig->echo, "at all\n", 7);
	assert_int_equal(lp_echo_dropped(rig->echo), 14);
}

static void a_file__is_written_at_its_end(void **state)
{
	struct rig *rig = *state;
	struct lp_buf got = {0};
	char path[] = "/tmp/lp-echo-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "before\n", 7), 7);
	make_again(rig, fd);
	lp_echo_add(rig->echo, "one\n", 4);
	assert_int_equal(write(fd, "between\n", 8), 8);
	lp_echo_add(rig->echo, "two\n", 4);
	assert_int_equal(lp_read_file(AT_FDCWD, path, &got), 0);
	assert_string_equal(lp_buf_text(&got), "before\none\nbetween\ntwo\n");
	(void)close(fd);
	(void)unlink(path);
	lp_buf_finish(&got);
}

static void a_socket__never_blocks(void **state)
{
	struct rig *rig = *state;
	struct lp_buf got = {0};

	lp_auto_close(&rig->ends[0]);
	lp_auto_close(&rig->ends[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, rig->ends), 0);
	make_again(rig, rig->ends[1]);
	(void)fill(rig);
	read_bytes(rig, &got, LP_ECHO_MAX_BYTES - 200);
	assert_memory_equal(got.data, "line 0 of", 9);
	lp_buf_finish(&got);
}

/* Whatever the app writes, and whoever does not read it: the log, which waits, does not have to. */
static void a_log__in_the_same_pipe_has_room(void **state)
{
	static char line[4096];
	struct rig *rig = *state;
	struct lp_buf got = {0};
	int log_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), n = 0;

	memset(line, 'x', sizeof(line));
	assert_true(log_fd >= 0);
	assert_int_equal(dup2(rig->ends[1], STDERR_FILENO), STDERR_FILENO);
	make_again(rig, rig->ends[1]);
	(void)fill(rig);
	for (; n < 4; n++) {
		struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

		if (poll(&p, 1, 0) != 1 || write(STDERR_FILENO, line, sizeof(line)) < 0)
			break;
	}
	assert_int_equal(dup2(log_fd, STDERR_FILENO), STDERR_FILENO);
	(void)close(log_fd);
	assert_int_equal(n, 4);
	/* When somebody reads, all of it comes. */
	read_bytes(rig, &got, LP_ECHO_MAX_BYTES + sizeof(line));
	lp_buf_finish(&got);
}

static void a_full_disk__loses_what_comes_meanwhile(void **state)
{
	struct rig *rig = *state;
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	make_again(rig, fd);
	lp_echo_add(rig->echo, "one\n", 4);
	lp_echo_add(rig->echo, "two\n", 4);
	assert_int_equal(lp_echo_dropped(rig->echo), 8);
	(void)close(fd);
}

static void the_last_words__are_written_at_the_end(void **state)
{
	struct rig *rig = *state;
	char data[16];

	lp_echo_add(rig->echo, "farewell\n", 9);
	lp_echo_destroy(rig->echo);
	rig->echo = NULL;
	assert_int_equal(read(rig->ends[0], data, sizeof(data)), 9);
	assert_memory_equal(data, "farewell\n", 9);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes__come_as_they_are),
		TEST(a_reader__that_sleeps_gets_whole_lines_afterwards),
		TEST(a_reader__that_is_gone_ends_it),
		TEST(a_file__is_written_at_its_end),
		TEST(a_socket__never_blocks),
		TEST(a_log__in_the_same_pipe_has_room),
		TEST(a_full_disk__loses_what_comes_meanwhile),
		TEST(the_last_words__are_written_at_the_end),
	};

	lp_log_set_level(LP_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
