/* controller/sup_run.c: commands of rules: run in the tree with the app's environment, told what
 * changed through a file, ended when they take too long. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "controller/sup.h"

#include <stdio.h>
#include <string.h>

#define US_PER_MS 1000u

static struct lp_run *run_of(struct lp_proc *proc)
{
	return LP_CONTAINER_OF(proc, struct lp_run, proc);
}

static void remove_file(struct lp_run *run)
{
	if (run->file)
		(void)unlink(run->file);
	free(run->file);
	run->file = NULL;
}

static void on_output(struct lp_proc *proc, enum lp_sup_stream stream, const char *data, size_t len)
{
	const struct lp_run *run = run_of(proc);

	run->sup->opts.ops.on_output(run->sup->opts.ctx, run->number, stream, data, len);
}

/* The paths are owed again: the next change runs the command anew, with them. */
static void give_back(struct lp_run *run)
{
	lp_work_add(&run->sup->work, run->sup->rules, (const char *const *)run->changed.list,
		    run->changed.n);
}

static void report(struct lp_run *run, const char *what)
{
	struct lp_sup_failure failure = {
		.revision = run->revision,
		.stage = LP_STAGE_RULE,
		.excerpt = lp_excerpt_text(&run->proc.excerpt),
	};
	char error[512];

	(void)snprintf(error, sizeof(error), "%.400s %.100s", run->label, what);
	failure.error = error;
	give_back(run);
	lp_sup_fault(run->sup, &failure);
}

static void on_exit_of_command(struct lp_proc *proc, int status)
{
	struct lp_run *run = run_of(proc);
	struct lp_sup *sup = run->sup;
	char what[160];

	sup->run = NULL;
	remove_file(run);
	lp_timer_clear(&run->timeout);
	if (run->timed_out)
		(void)snprintf(what, sizeof(what), "did not end within %u ms", run->timeout_ms);
	else
		lp_child_status_text(status, what, sizeof(what));
	if (run->timed_out || status != 0)
		report(run, what);
	lp_sup_wake(sup);
}

static void on_killed(struct lp_proc *proc)
{
	const struct lp_run *run = run_of(proc);

	lp_sup_say(run->sup, run->number, "%s did not end within %u ms of SIGTERM and was killed",
		   run->label, proc->grace_ms);
}

static void on_gone(struct lp_proc *proc)
{
	lp_sup_bury(run_of(proc)->sup, proc);
}

static void release(struct lp_proc *proc)
{
	struct lp_run *run = run_of(proc);

	lp_timer_clear(&run->timeout);
	remove_file(run);
	lp_path_set_finish(&run->changed);
	free(run->label);
	lp_proc_finish(proc);
	free(run);
}

static const struct lp_proc_ops run_ops = {
	.on_output = on_output,
	.on_exit = on_exit_of_command,
	.on_killed = on_killed,
	.on_gone = on_gone,
	.release = release,
};

static void on_timeout(struct lp_timer *timer)
{
	struct lp_run *run = LP_CONTAINER_OF(timer, struct lp_run, timeout);

	run->timed_out = true;
	lp_proc_end(&run->proc);
}

/* Writes the paths, each followed by a NUL, into a file that only we can read. */
static int write_file(struct lp_run *run, const char *dir, struct lp_err *err)
{
	char *path = lp_xasprintf("%s/livepush-changed-XXXXXX", dir && *dir ? dir : "/tmp");
	LP_AUTO_CLOSE int fd = mkostemp(path, O_CLOEXEC);
	struct lp_buf text = {0};
	int r = 0;

	if (fd < 0) {
		r = lp_err_set(err, errno, "make the list of changed files '%s'", path);
		free(path);
		return r;
	}
	run->file = path;
	for (size_t i = 0; i < run->changed.n && r == 0; i++)
		r = lp_buf_add(&text, run->changed.list[i], strlen(run->changed.list[i]) + 1);
	if (r == 0 && text.len > 0)
		r = lp_write_all(fd, text.data, text.len);
	lp_buf_finish(&text);
	return r < 0 ? lp_err_set(err, -r, "write the list of changed files '%s'", path) : 0;
}

static int run_spawn(struct lp_run *run, const struct lp_conf_rule *rule, struct lp_err *err)
{
	struct lp_spawn spec = {
		.argv = (const char *const *)rule->run.argv,
		.cwd_fd = run->sup->opts.tree_fd,
		.keep_fd = -1,
		.nofile = run->sup->opts.nofile,
		.die_with_parent = true,
	};
	struct lp_env env;
	int r;

	lp_gen_env(run->sup, run->number, &env);
	r = write_file(run, lp_env_get(&env, "TMPDIR"), err);
	if (r == 0) {
		lp_env_set(&env, "LIVEPUSH_CHANGED", run->file);
		spec.envp = lp_env_block(&env);
		r = lp_proc_start(&run->proc, &spec, err);
	}
	lp_env_finish(&env);
	return r;
}

static struct lp_run *run_create(struct lp_sup *sup, size_t i)
{
	const struct lp_conf_rule *rule = lp_ruleset_at(sup->rules, i);
	struct lp_run *run = lp_xcalloc(1, sizeof(*run));

	run->sup = sup;
	run->number = sup->generation + 1;
	run->revision = sup->revision;
	run->timeout_ms = rule->timeout_ms;
	run->changed = lp_work_take_run(&sup->work, i);
	/* The last argument is what a person wrote when the command is a line for the shell. */
	run->label = lp_xasprintf("rule %zu ('%.200s')", i + 1,
				  rule->run.n > 0 ? rule->run.argv[rule->run.n - 1] : "");
	run->timeout.on_fire = on_timeout;
	run->proc.ops = &run_ops;
	run->proc.loop = sup->opts.loop;
	run->proc.grace_ms = sup->opts.conf->restart.grace_ms;
	return run;
}

void lp_run_start(struct lp_sup *sup, size_t i)
{
	const struct lp_conf_rule *rule = lp_ruleset_at(sup->rules, i);
	struct lp_run *run = run_create(sup, i);
	struct lp_err err = {0};
	char what[600];

	lp_sup_fire(sup, LP_EV_PREPARE, NULL);
	if (run_spawn(run, rule, &err) < 0) {
		(void)snprintf(what, sizeof(what), "cannot run: %s", err.msg);
		report(run, what);
		release(&run->proc);
		return;
	}
	sup->run = run;
	lp_sup_link(sup, &run->proc);
	lp_timer_set(sup->opts.loop, &run->timeout,
		     lp_now_us() + (uint64_t)run->timeout_ms * US_PER_MS);
}
