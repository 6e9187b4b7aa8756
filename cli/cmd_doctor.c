/* cli/cmd_doctor.c: livepush doctor: what a mount or watch needs, each line ok or what to do. */
#include "cli/command.h"
#include "cli/observer.h"
#include "cli/output.h"
#include "cli/watches.h"
#include "common/base/lp_mem.h"
#include "fsmount/fsmount.h"
#include "watcher/inotify.h"
#include "watcher/workspace.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

struct doctor {
	const struct lp_args *args;
	int problems;
};

static void LP_PRINTF(4, 5)
	report(struct doctor *d, bool ok, const char *check, const char *fmt, ...)
{
	char text[640];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->problems += !ok;
	if (d->args->json)
		(void)lp_out_json(json_pack("{s:s, s:b, s:o}", "check", check, "ok", ok, "text",
					    lp_out_text(text, strlen(text))));
	else
		(void)printf("%-8s %-10s %s\n", ok ? "ok" : "PROBLEM", check, text);
}

static void check_fuse(struct doctor *d)
{
	struct lp_err err = {0};

	if (lp_fsmount_probe(&err) == 0)
		report(d, true, "fuse", "mounts work");
	else
		report(d, false, "fuse", "%s; 'livepush watch' works without", err.msg);
}

/* Counts the directories that would be watched, with the ignore rules in force. */
static int count_dir(void *ctx, const char *path, int fd, struct lp_err *err)
{
	(void)path;
	(void)fd;
	(void)err;
	++*(uint64_t *)ctx;
	return 0;
}

/* The watches that this user's processes have now. One that is a mount or watch of this very
 * directory counts as well, so that a little less may be enough. */
static void report_watches(struct doctor *d, uint64_t needed)
{
	uint64_t limit = lp_watch_limit("max_user_watches"), used = lp_watches_in_use();
	uint64_t total = used + needed;

	if (total <= limit)
		report(d, true, "inotify", "%llu watch%s needed, %llu in use, %llu allowed",
		       (unsigned long long)needed, needed == 1 ? "" : "es",
		       (unsigned long long)used, (unsigned long long)limit);
	else
		report(d, false, "inotify",
		       "%llu watch%s needed, %llu in use, %llu allowed; raise the limit (sysctl "
		       "fs.inotify.max_user_watches=%llu) or ignore directories",
		       (unsigned long long)needed, needed == 1 ? "" : "es",
		       (unsigned long long)used, (unsigned long long)limit,
		       (unsigned long long)total * 2);
}

static void check_tree(struct doctor *d, const char *dir, const struct lp_conf *conf)
{
	const struct lp_workspace_ops ops = {.on_dir = count_dir};
	uint64_t dirs = 0;
	struct lp_loop *loop = NULL;
	struct lp_workspace *ws = NULL;
	struct lp_err err = {0};

	if (lp_loop_create(&loop, &err) < 0 ||
	    lp_workspace_open(&ws, loop, dir, &ops, &dirs, &err) < 0 ||
	    lp_workspace_set_ignore(ws, conf->ignore, conf->n_ignore) < 0 ||
	    lp_workspace_scan(ws, &err) < 0) {
		report(d, false, "workspace", "%s", err.msg);
	} else {
		struct lp_index *ix = lp_workspace_index(ws);

		report(d, true, "workspace", "%zu entr%s, %.1f MB to mirror", lp_index_count(ix),
		       lp_index_count(ix) == 1 ? "y" : "ies", (double)lp_index_bytes(ix) / 1e6);
		report_watches(d, dirs);
	}
	lp_workspace_close(ws);
	lp_loop_destroy(loop);
}

static void check_files(struct doctor *d)
{
	struct rlimit lim = {0};

	(void)getrlimit(RLIMIT_NOFILE, &lim);
	if (lim.rlim_max >= 4096)
		report(d, true, "files", "%llu descriptors allowed",
		       (unsigned long long)lim.rlim_max);
	else
		report(d, false, "files",
		       "only %llu descriptors allowed; raise it (ulimit -Hn 65536) for a mount",
		       (unsigned long long)lim.rlim_max);
}

static bool on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	(void)ctx;
	(void)link;
	return msg->kind == LP_MSG_STATUS;
}

static void on_up(void *ctx, struct lp_link *link, const char *instance)
{
	const struct lp_msg msg = {.kind = LP_MSG_ASK};

	if (lp_link_send(link, &msg) == 0)
		report(ctx, true, "instance", "%s answers as %s", lp_link_url(link), instance);
}

static void on_down(void *ctx, struct lp_link *link, const char *reason)
{
	report(ctx, false, "instance", "%s: %s", lp_link_url(link), reason);
}

static void check_app(struct doctor *d, const char *app, const struct lp_conf *conf)
{
	const struct lp_observer_ops ops = {
		.on_up = on_up, .on_message = on_message, .on_down = on_down, .ctx = d};
	struct lp_target target;
	struct lp_err err = {0};
	int missing;

	if (lp_target_resolve(&target, conf, app, lp_arg(d->args, "secret-file"), true, &err) < 0) {
		report(d, false, "app", "%s", err.msg);
		return;
	}
	if (target.embedded) {
		struct lp_buf command = {0};
		int r = 0;

		for (size_t i = 0; i < conf->command.n && r == 0; i++)
			r = lp_buf_addf(&command, "%s%s", i ? " " : "", conf->command.argv[i]);
		report(d, r == 0, "app", "'%s' runs on this machine: %.*s", app, (int)command.len,
		       (const char *)command.data);
		lp_buf_finish(&command);
	} else {
		missing = lp_observer_run(&target, 10000, &ops, NULL, &err);
		if (missing < 0)
			report(d, false, "app", "%s", err.msg);
		else
			report(d, missing == 0, "app", "%s: %zu of %zu instances answer", app,
			       target.n_urls - (size_t)missing, target.n_urls);
	}
	lp_target_finish(&target);
}

int lp_cmd_doctor(const struct lp_args *args)
{
	const char *dir = args->n_words > 0 ? args->words[0] : ".";
	LP_AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct doctor d = {.args = args};
	struct lp_conf conf;
	struct lp_err err = {0};
	int r;

	if (fd < 0)
		return lp_out_fail(args->json, "%s: %s", dir, strerror(errno));
	r = lp_conf_load(&conf, fd, "livepush.yml", &err);
	if (r < 0)
		lp_conf_init(&conf);
	if (r == -ENOENT)
		report(&d, true, "config", "no livepush.yml; 'livepush init' writes one");
	else if (r < 0)
		report(&d, false, "config", "%s", err.msg);
	else
		report(&d, true, "config", "livepush.yml is well formed");
	check_fuse(&d);
	check_files(&d);
	check_tree(&d, dir, &conf);
	if (args->n_words > 1)
		check_app(&d, args->words[1], &conf);
	for (size_t i = 0; args->n_words <= 1 && i < conf.n_targets; i++)
		check_app(&d, conf.targets[i].name, &conf);
	lp_conf_finish(&conf);
	return d.problems ? LP_EXIT_FAILED : LP_EXIT_OK;
}
