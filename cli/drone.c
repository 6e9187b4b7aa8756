/* cli/drone.c: starting, hearing and ending a controller of our own. */
#include "cli/drone.h"

#include "cli/leftovers.h"
#include "common/base/lp_buf.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/loop/child.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define CONTROLLER     "livepush-controller"
#define STOP_MARGIN_US 10000000u /* beyond the app's own grace */

struct lp_drone {
	struct lp_loop *loop;
	struct lp_drone_ops ops;
	struct lp_child child;
	struct lp_fd_src out_src; /* its stdout */
	struct lp_buf line;
	int life_fd; /* our end of the pipe that tells it of our end */
	struct lp_timer kill_timer;
	char *tree;
};

/* Where the controller's binary is: an absolute path, or its bare name for the PATH. Owned. */
static char *find_controller(void)
{
	const char *given = getenv("LIVEPUSH_CONTROLLER");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (given && given[0])
		return lp_xstrdup(given);
	if (n > 0) {
		static const char *const places[] = {"", "../controller/"};

		self[n] = '\0';
		*(strrchr(self, '/') + 1) = '\0';
		for (size_t i = 0; i < LP_COUNT_OF(places); i++) {
			char *path = lp_xasprintf("%s%s%s", self, places[i], CONTROLLER);

			if (access(path, X_OK) == 0)
				return path;
			free(path);
		}
	}
	return lp_xstrdup(CONTROLLER);
}

static void on_line(struct lp_drone *d, const char *line, size_t len)
{
	json_t *o = json_loadb(line, len, 0, NULL);
	const char *event = json_string_value(json_object_get(o, "event"));
	const char *address = json_string_value(json_object_get(o, "address"));

	if (event && address && strcmp(event, "listening") == 0) {
		char *url = lp_xasprintf("ws://%s/_livepush/ws", address);

		d->ops.on_listening(d->ops.ctx, url);
		free(url);
	}
	json_decref(o);
}

static void on_out(struct lp_fd_src *src, uint32_t ready)
{
	struct lp_drone *d = LP_CONTAINER_OF(src, struct lp_drone, out_src);
	char buf[4096];
	ssize_t n = read(src->fd, buf, sizeof(buf));
	const uint8_t *end;

	(void)ready;
	if (n <= 0 || lp_buf_add(&d->line, buf, (size_t)n) < 0) {
		lp_loop_fd_remove(src);
		return;
	}
	while ((end = memchr(d->line.data, '\n', d->line.len))) {
		size_t len = (size_t)(end - d->line.data);

		on_line(d, (const char *)d->line.data, len);
		lp_buf_drop(&d->line, len + 1);
	}
}

static void on_exit_status(struct lp_child *child, int status)
{
	struct lp_drone *d = LP_CONTAINER_OF(child, struct lp_drone, child);
	char text[96], reason[160];

	lp_timer_clear(&d->kill_timer);
	lp_loop_fd_remove(&d->out_src);
	/* After a bad end nobody stopped the app and removed the copy. */
	if (status != 0)
		lp_kill_below(d->tree);
	(void)lp_remove_tree(AT_FDCWD, d->tree);
	lp_child_status_text(status, text, sizeof(text));
	(void)snprintf(reason, sizeof(reason), "livepush-controller %s", text);
	d->ops.on_ended(d->ops.ctx, reason);
}

static int make_tree(struct lp_drone *d, struct lp_err *err)
{
	const char *tmp = getenv("TMPDIR");

	d->tree = lp_xasprintf("%s/livepush-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
	return mkdtemp(d->tree)
		       ? 0
		       : lp_err_set(err, errno, "%s: cannot make the app's directory", d->tree);
}

/* Our environment with the secret in it and without what is meant for us alone. */
static const char **make_env(char *secret_setting)
{
	const char **env;
	size_t n = 0;

	for (size_t i = 0; environ[i]; i++)
		n++;
	env = lp_xcalloc(n + 2, sizeof(char *));
	n = 0;
	for (size_t i = 0; environ[i]; i++)
		if (strncmp(environ[i], "LIVEPUSH_", 9) != 0 ||
		    strncmp(environ[i], "LIVEPUSH_COMMAND=", 17) == 0)
			env[n++] = environ[i];
	env[n] = secret_setting;
	return env;
}

static int spawn(struct lp_drone *d, const char *secret, int out_fd, int life_fd,
		 struct lp_err *err)
{
	LP_AUTO_FREE char *binary = find_controller();
	LP_AUTO_FREE char *setting = lp_xasprintf("LIVEPUSH_SECRET=%s", secret);
	LP_AUTO_FREE const char **env = make_env(setting);
	char life[16];
	const char *const argv[] = {
		binary, "--tree", d->tree, "--listen", "127.0.0.1:0", "--parent-fd", life, "--wait",
		/* no more than who started us has, for its own app */
		"--allow-root", "--ephemeral",
		/* the app's output reaches us with its instance's name */ "--quiet",
		/* failures reach us as messages */ "--log-level", "error", NULL};
	const struct lp_spawn spec = {
		.argv = argv,
		.envp = env,
		.cwd_fd = -1,
		.out_fd = out_fd,
		.err_fd = STDERR_FILENO,
		.keep_fd = life_fd,
	};
	int r;

	(void)snprintf(life, sizeof(life), "%d", life_fd);
	r = lp_child_spawn(d->loop, &d->child, &spec, err);
	return r == -ENOENT ? lp_err_say(err, ENOENT,
					 "%s: not found; it belongs beside livepush, or set "
					 "LIVEPUSH_CONTROLLER to its path",
					 binary)
			    : r;
}

static int start(struct lp_drone *d, const char *secret, struct lp_err *err)
{
	int out[2], life[2], r;

	if (pipe2(out, O_CLOEXEC) < 0)
		return lp_err_set(err, errno, "cannot make a pipe");
	d->out_src = (struct lp_fd_src){.fd = out[0], .events = EPOLLIN, .on_ready = on_out};
	if (pipe2(life, O_CLOEXEC) < 0) {
		r = lp_err_set(err, errno, "cannot make a pipe");
		(void)close(out[1]);
		return r;
	}
	d->life_fd = life[1];
	r = make_tree(d, err);
	if (r == 0)
		r = spawn(d, secret, out[1], life[0], err);
	(void)close(out[1]);
	(void)close(life[0]);
	return r == 0 ? lp_loop_fd_add(d->loop, &d->out_src, err) : r;
}

int lp_drone_start(struct lp_drone **out, struct lp_loop *loop, const char *secret,
		   const struct lp_drone_ops *ops, struct lp_err *err)
{
	struct lp_drone *d = lp_xcalloc(1, sizeof(*d));
	int r;

	d->loop = loop;
	d->ops = *ops;
	d->life_fd = d->out_src.fd = -1;
	d->child.on_exit = on_exit_status;
	lp_buf_init(&d->line, 65536);
	r = start(d, secret, err);
	if (r < 0) {
		if (d->tree)
			(void)lp_remove_tree(AT_FDCWD, d->tree);
		lp_drone_destroy(d);
		return r;
	}
	*out = d;
	return 0;
}

static void on_kill_time(struct lp_timer *timer)
{
	struct lp_drone *d = LP_CONTAINER_OF(timer, struct lp_drone, kill_timer);

	(void)lp_child_signal(&d->child, SIGKILL);
}

void lp_drone_stop(struct lp_drone *d, uint32_t grace_ms)
{
	lp_auto_close(&d->life_fd);
	d->life_fd = -1;
	d->kill_timer.on_fire = on_kill_time;
	lp_timer_set(d->loop, &d->kill_timer,
		     lp_now_us() + (uint64_t)grace_ms * 1000 + STOP_MARGIN_US);
}

void lp_drone_destroy(struct lp_drone *d)
{
	if (!d)
		return;
	lp_timer_clear(&d->kill_timer);
	lp_loop_fd_remove(&d->out_src);
	lp_auto_close(&d->out_src.fd);
	lp_auto_close(&d->life_fd);
	if (d->child.pid)
		lp_child_forget(&d->child);
	lp_buf_finish(&d->line);
	free(d->tree);
	free(d);
}
