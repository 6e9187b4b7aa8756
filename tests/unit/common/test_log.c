/* test_log.c: how many lines strangers can cause, and lines that nobody reads at first. */
#include "common/base/lp_buf.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_log.h"
#include "common/base/lp_log_out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>

#define LINES       5000 /* more than a pipe and the queue hold */
#define DEADLINE_US UINT64_C(60000000)

static void log_may__counts_what_it_leaves_out(void **state)
{
	struct lp_log_limit limit = {0};
	const uint64_t begin_us = 5;
	unsigned left_out = 99;

	(void)state;
	for (unsigned i = 0; i < LP_LOG_LIMIT_LINES; i++) {
		assert_true(lp_log_may(&limit, begin_us + i, &left_out));
		assert_int_equal(left_out, 0);
	}
	for (unsigned i = 0; i < 1000; i++)
		assert_false(lp_log_may(&limit, begin_us + LP_LOG_LIMIT_US - 1, &left_out));
	assert_true(lp_log_may(&limit, begin_us + LP_LOG_LIMIT_US, &left_out));
	assert_int_equal(left_out, 1000);
	assert_true(lp_log_may(&limit, begin_us + LP_LOG_LIMIT_US, &left_out));
	assert_int_equal(left_out, 0);
}

static void say_many(void)
{
	for (int i = 0; i < LINES; i++)
		lp_log(LP_ERROR, "test", "line %d of what nobody reads", i);
}

/* What came of the lines so far. */
struct heard {
	struct lp_buf text;
	size_t at;
	unsigned came;
	unsigned lost;
};

/* Whether the line is one of ours, in its turn, or tells how many were lost. */
static bool take_line(struct heard *h, const char *line)
{
	static const char ours[] = "error test: line ", told[] = "warn log: ";
	char *end;

	if (strncmp(line, told, sizeof(told) - 1) == 0) {
		h->lost += (unsigned)strtoul(line + sizeof(told) - 1, &end, 10);
		return strcmp(end, " lines were not read in time") == 0;
	}
	if (strncmp(line, ours, sizeof(ours) - 1) != 0)
		return false;
	if (strtoul(line + sizeof(ours) - 1, &end, 10) != h->came + h->lost)
		return false;
	h->came++;
	return strcmp(end, " of what nobody reads") == 0;
}

static bool take_lines(struct heard *h)
{
	char *line, *end;

	while ((line = (char *)h->text.data + h->at) != NULL &&
	       (end = memchr(line, '\n', h->text.len - h->at)) != NULL) {
		*end = '\0';
		h->at += (size_t)(end + 1 - line);
		if (!take_line(h, line))
			return false;
	}
	return true;
}

/* Reads until all lines have come or been told as lost. Returns what is wrong with them. */
static const char *hear(int fd)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;
	const char *fault = NULL;
	struct heard h = {0};
	int type = 0;
	socklen_t len = sizeof(type);

	(void)getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);

	lp_buf_init(&h.text, SIZE_MAX / 2);
	while (!fault && h.came + h.lost < LINES) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char data[4096];
		ssize_t n = poll(&p, 1, 100) > 0 ? read(fd, data, sizeof(data)) : 0;

		if (n < 0 || lp_now_us() > deadline_us)
			fault = "not all of it comes";
		else if (type == SOCK_SEQPACKET && n > 0 && data[n - 1] != '\n')
			fault = "a line goes out in two pieces";
		else if (lp_buf_add(&h.text, data, (size_t)n) < 0 || !take_lines(&h))
			fault = "a line is broken or out of its turn";
	}
	if (!fault && (h.came < 500 || h.lost < 100))
		fault = "the queue is not what it should be";
	lp_buf_finish(&h.text);
	return fault;
}

/* What the log writes to `to` while nobody reads comes whole from `from` when somebody does. go: to
 * be done before that. Takes both. */
static void expect_no_wait(int to, int from, void (*say)(void), void (*go)(int to))
{
	int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), flags = fcntl(to, F_GETFL), after;
	const char *fault;

	assert_true(kept >= 0);
	assert_int_equal(dup2(to, STDERR_FILENO), STDERR_FILENO);
	say();
	after = fcntl(STDERR_FILENO, F_GETFL);
	if (go)
		go(to);
	fault = hear(from);
	assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
	if (fault)
		fail_msg("%s", fault);
	assert_int_equal(after, flags);
	(void)close(kept);
	(void)close(to);
	(void)close(from);
}

static void log__makes_nobody_wait_for_a_pipe(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	expect_no_wait(ends[1], ends[0], say_many, NULL);
}

static void log__makes_nobody_wait_for_a_socket(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	expect_no_wait(ends[1], ends[0], say_many, NULL);
}

/* Others write there, too: a line must not have theirs in it. */
static void log__writes_whole_lines(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	expect_no_wait(ends[1], ends[0], say_many, NULL);
}

static void let_go_on(int terminal)
{
	(void)tcflow(terminal, TCOON);
}

/* Somebody has stopped it, as Control-S does. */
static void log__makes_nobody_wait_for_a_terminal(void **state)
{
	int keyboard = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), terminal;
	struct termios mode;

	(void)state;
	assert_true(keyboard >= 0);
	assert_int_equal(grantpt(keyboard), 0);
	assert_int_equal(unlockpt(keyboard), 0);
	terminal = open(ptsname(keyboard), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(terminal >= 0);
	assert_int_equal(tcgetattr(terminal, &mode), 0);
	mode.c_oflag &= ~(tcflag_t)OPOST;
	assert_int_equal(tcsetattr(terminal, TCSANOW, &mode), 0);
	assert_int_equal(tcflow(terminal, TCOOFF), 0);
	expect_no_wait(terminal, keyboard, say_many, let_go_on);
}

/* A pipe that cannot be opened anew, as one of another user: only a thread may wait for it. */
static void say_many_without_descriptors(void)
{
	struct rlimit before, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	say_many();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void log__makes_nobody_wait_for_what_others_have(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	expect_no_wait(ends[1], ends[0], say_many_without_descriptors, NULL);
}

static void log__writes_a_line_at_once(void **state)
{
	static const char want[] = "error test: a?line?\n";
	int ends[2], kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	char got[64];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	lp_log(LP_ERROR, "test", "a\nline\x1b");
	assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(read(ends[0], got, sizeof(got)), sizeof(want) - 1);
	assert_memory_equal(got, want, sizeof(want) - 1);
	(void)close(kept);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log_may__counts_what_it_leaves_out),
		cmocka_unit_test(log__writes_a_line_at_once),
		cmocka_unit_test(log__makes_nobody_wait_for_a_pipe),
		cmocka_unit_test(log__makes_nobody_wait_for_a_socket),
		cmocka_unit_test(log__writes_whole_lines),
		cmocka_unit_test(log__makes_nobody_wait_for_a_terminal),
		cmocka_unit_test(log__makes_nobody_wait_for_what_others_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
