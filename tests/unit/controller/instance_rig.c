/* instance_rig.c: see instance_rig.h. */
#include "tests/unit/controller/instance_rig.h"

#include "common/base/lp_fs.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START_MS 30000

static int told_fd; /* where on_listening writes the address */

static void on_listening(const char *address)
{
	if (lp_write_all(told_fd, address, strlen(address)) < 0)
		abort();
}

void instance_init(struct instance *in, const char *secret)
{
	*in = (struct instance){
		.tree = "/tmp/livepush-instance-XXXXXX", .address = "127.0.0.1:0", .life_fd = -1};
	assert_non_null(mkdtemp(in->tree));
	in->opts = (struct lp_instance_opts){
		.tree = in->tree, .secret = secret, .on_listening = on_listening};
}

static void *run(void *arg)
{
	struct instance *in = arg;

	in->result = lp_instance_run(&in->opts, &in->err);
	(void)close(in->opts.parent_fd);
	return NULL;
}

void instance_start(struct instance *in)
{
	int told[2], life[2];
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct pollfd p = {.events = POLLIN};
	ssize_t n;

	/* As in a process of its own: what is written to a closed connection is an error only. */
	assert_int_equal(sigaction(SIGPIPE, &ignore, NULL), 0);
	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	assert_int_equal(pipe2(life, O_CLOEXEC), 0);
	told_fd = told[1];
	memcpy(in->listen, in->address, sizeof(in->listen));
	in->opts.listen = in->listen;
	in->opts.parent_fd = life[0];
	in->life_fd = life[1];
	assert_int_equal(pthread_create(&in->thread, NULL, run, in), 0);
	in->runs = true;
	p.fd = told[0];
	if (poll(&p, 1, START_MS) != 1)
		fail_msg("the instance does not start: %s", in->err.msg);
	n = read(told[0], in->address, sizeof(in->address) - 1);
	assert_true(n > 0);
	in->address[n] = '\0';
	(void)snprintf(in->url, sizeof(in->url), "ws://%s/", in->address);
	(void)close(told[0]);
	(void)close(told[1]);
}

void instance_stop(struct instance *in)
{
	if (!in->runs)
		return;
	(void)close(in->life_fd);
	assert_int_equal(pthread_join(in->thread, NULL), 0);
	in->runs = false;
	if (in->result < 0)
		fail_msg("%s", in->err.msg);
}

void instance_finish(struct instance *in)
{
	instance_stop(in);
	assert_int_equal(lp_remove_tree(AT_FDCWD, in->tree), 0);
}
