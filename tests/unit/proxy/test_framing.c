/* tests/unit/proxy/test_framing.c: raw requests and their exact outcome, each sent at once and byte
 * by byte: where a message ends, what is refused, and that nothing is smuggled past. */
#include "framing_cases.h"
#include "harness_io.h"
#include "harness_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Sends the request; the proxy may have closed before its end. */
static void send_case(int fd, const struct framing_case *c, bool in_bytes)
{
	if (!in_bytes) {
		(void)io_send_all(fd, c->text, c->len);
		return;
	}
	for (size_t i = 0; i < c->len && io_send_all(fd, c->text + i, 1); i++)
		(void)sched_yield();
}

/* Compares one response with one word of c->want: a status, with "=TEXT" the beginning of the body.
 */
static void expect_reply(int fd, const struct framing_case *c, const char *word, bool in_bytes)
{
	const char *body = strchr(word, '=');
	struct reply reply;
	long status = strtol(word, NULL, 10);

	reply_read(&reply, fd, strncmp(c->text, "HEAD", 4) == 0);
	if (reply.status != status)
		fail_msg("%s, in bytes %d: %d instead of %s", c->name, in_bytes, reply.status,
			 word);
	if (body && (!reply.body || strstr(reply.body, body + 1) != reply.body))
		fail_msg("%s, in bytes %d: body '%s'", c->name, in_bytes,
			 reply.body ? reply.body : "");
	if (c->lacks && reply.body && strstr(reply.body, c->lacks))
		fail_msg("%s: the upstream got '%s'", c->name, reply.body);
	if (c->has && (!reply.body || !strstr(reply.body, c->has)))
		fail_msg("%s: the upstream got '%s'", c->name, reply.body ? reply.body : "");
	if (status >= 400 && (!reply_header(&reply, "X-Livepush-Error") ||
			      strcmp(reply_header(&reply, "Connection"), "close") != 0))
		fail_msg("%s: the refusal is '%s'", c->name, reply.head);
	reply_finish(&reply);
}

/* What c->want says: statuses in their order, then whether the connection is open or closed. */
static void run_case(const struct framing_case *c, bool in_bytes)
{
	unsigned before = atomic_load(&up.requests), forwarded = 0;
	int fd = client_open(&rig);

	send_case(fd, c, in_bytes);
	for (const char *at = c->want; *at; at += strspn(at, " ")) {
		char word[64];
		size_t len = strcspn(at, " ");

		(void)snprintf(word, sizeof(word), "%.*s", (int)len, at);
		at += len;
		if (strcmp(word, "open") == 0) {
			if (ask(fd, "GET /name HTTP/1.1\r\nHost: x\r\n\r\n", NULL, 0) != 200)
				fail_msg("%s, in bytes %d: not open", c->name, in_bytes);
			forwarded++;
		} else if (strcmp(word, "closed") == 0) {
			if (!is_closed(fd))
				fail_msg("%s, in bytes %d: not closed", c->name, in_bytes);
		} else {
			expect_reply(fd, c, word, in_bytes);
			forwarded += word[0] == '2';
		}
	}
	if (!c->may_be_begun && atomic_load(&up.requests) - before != forwarded)
		fail_msg("%s, in bytes %d: the upstream got %u requests instead of %u", c->name,
			 in_bytes, atomic_load(&up.requests) - before, forwarded);
	(void)close(fd);
}

static void framing__has_one_outcome_however_the_bytes_come(void **state)
{
	(void)state;
	assert_true(n_framing_cases >= 60);
	/* The upstream counts a request that is broken off when it sees it, whenever that is: these
	 * come last. */
	for (size_t i = 0; i < 2 * n_framing_cases; i++) {
		const struct framing_case *c = &framing_cases[i % n_framing_cases];

		if (c->may_be_begun != (i >= n_framing_cases))
			continue;
		run_case(c, false);
		run_case(c, true);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(framing__has_one_outcome_however_the_bytes_come,
						pair_set_up, pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
