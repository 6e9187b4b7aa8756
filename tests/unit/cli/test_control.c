/* test_control.c: answers of a session that are larger than a socket holds. */
#include "cli/control.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LARGE_BYTES ((size_t)8 * 1024 * 1024)

/* A session and what became of its clients. */
static struct {
	struct lp_loop *loop;
	struct lp_control_server *server;
	char app[64];
	int n_gone;
	bool ended;
} rig;

static json_t *large_answer(void)
{
	char *text = lp_xcalloc(1, LARGE_BYTES + 1);
	json_t *answer;

	memset(text, 'x', LARGE_BYTES);
	answer = json_pack("{s:b, s:s}", "ok", 1, "text", text);
	free(text);
	return answer;
}

static void on_request(void *ctx, struct lp_control_client *client, const json_t *request)
{
	const char *cmd = json_string_value(json_object_get(request, "cmd"));

	(void)ctx;
	assert_non_null(cmd);
	if (strcmp(cmd, "large") == 0)
		lp_control_answer(client, large_answer());
	else if (strcmp(cmd, "keep") == 0)
		lp_control_say(client, large_answer());
	else
		lp_control_answer(client, json_pack("{s:b}", "ok", 1));
}

static void on_gone(void *ctx, struct lp_control_client *client)
{
	(void)ctx;
	(void)client;
	rig.n_gone++;
}

static void on_ended(struct lp_post *post)
{
	(void)post;
	rig.ended = true;
	lp_loop_stop(rig.loop);
}

static struct lp_post ended = {.run = on_ended};

static void run_with(void *(*client)(void *arg))
{
	const struct lp_control_ops ops = {.on_request = on_request, .on_gone = on_gone};
	struct lp_err err = {0};
	pthread_t thread;
	void *result;

	(void)snprintf(rig.app, sizeof(rig.app), "test-%ld", (long)getpid());
	rig.ended = false;
	rig.n_gone = 0;
	assert_int_equal(lp_loop_create(&rig.loop, &err), 0);
	assert_int_equal(lp_control_serve(&rig.server, rig.loop, rig.app, &ops, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, client, NULL), 0);
	while (!rig.ended)
		assert_int_equal(lp_loop_run(rig.loop, &err), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	lp_control_close(rig.server);
	lp_loop_destroy(rig.loop);
	assert_null(result); /* or what is wrong */
}

static void *asks_for_much(void *arg)
{
	json_t *answer = NULL;
	const char *text, *wrong = NULL;
	int fd = -1;

	(void)arg;
	if (lp_control_ask(&answer, rig.app, json_pack("{s:s}", "cmd", "large"), 60000, NULL) < 0)
		wrong = "no answer";
	text = json_string_value(json_object_get(answer, "text"));
	if (!wrong && (!text || strlen(text) != LARGE_BYTES))
		wrong = "an answer that was cut off";
	json_decref(answer);
	answer = NULL;
	if (!wrong && lp_control_ask_open(&answer, &fd, rig.app, json_pack("{s:s}", "cmd", "keep"),
					  60000, NULL) < 0)
		wrong = "no answer to who stays";
	text = json_string_value(json_object_get(answer, "text"));
	if (!wrong && (!text || strlen(text) != LARGE_BYTES))
		wrong = "an answer to who stays that was cut off";
	json_decref(answer);
	if (fd >= 0)
		(void)close(fd);
	/* Whoever asks now comes after that was seen. */
	answer = NULL;
	if (lp_control_ask(&answer, rig.app, json_pack("{s:s}", "cmd", "small"), 60000, NULL) < 0)
		wrong = wrong ? wrong : "no small answer";
	json_decref(answer);
	lp_loop_post(rig.loop, &ended);
	return (void *)(uintptr_t)wrong;
}

static void answer__is_whole_however_large(void **state)
{
	(void)state;
	run_with(asks_for_much);
	assert_int_equal(rig.n_gone, 1); /* of the one that stayed */
}

/* Asks for a large answer and reads nothing of it, until the session closes the connection. */
static void *reads_nothing(void *arg)
{
	static const char request[] = "{\"cmd\":\"large\"}\n";
	struct lp_session_addr addr;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd p = {.fd = fd};
	const char *wrong = NULL;
	json_t *answer = NULL;

	(void)arg;
	lp_runtime_address(&addr, rig.app);
	if (connect(fd, (const struct sockaddr *)&addr.un, addr.len) < 0 ||
	    write(fd, request, strlen(request)) != (ssize_t)strlen(request))
		wrong = "cannot ask";
	/* Others are served meanwhile. */
	if (!wrong &&
	    lp_control_ask(&answer, rig.app, json_pack("{s:s}", "cmd", "small"), 60000, NULL) < 0)
		wrong = "others are kept waiting";
	json_decref(answer);
	if (!wrong && (poll(&p, 1, 60000) != 1 || !(p.revents & POLLHUP)))
		wrong = "the session waits for ever";
	(void)close(fd);
	lp_loop_post(rig.loop, &ended);
	return (void *)(uintptr_t)wrong;
}

static void answer__is_given_up_when_nobody_reads_it(void **state)
{
	(void)state;
	run_with(reads_nothing);
	assert_int_equal(rig.n_gone, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answer__is_whole_however_large),
		cmocka_unit_test(answer__is_given_up_when_nobody_reads_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
