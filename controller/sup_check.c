/* controller/sup_check.c: runs of the health command: in the tree, with the environment of the
 * generation that they ask about. A run that is not waited for any more is killed at once. */
#include "common/base/lp_mem.h"
#include "controller/sup.h"

#include <stdio.h>
#include <string.h>

struct lp_check {
	struct lp_proc proc;
	struct lp_sup *sup;
	struct lp_gen *gen; /* NULL: nobody waits for it */
};

static struct lp_check *check_of(struct lp_proc *proc)
{
	return LP_CONTAINER_OF(proc, struct lp_check, proc);
}

/* What it writes is for the message about its failure only: it runs many times. */
static void on_output(struct lp_proc *proc, enum lp_sup_stream stream, const char *data, size_t len)
{
	(void)proc;
	(void)stream;
	(void)data;
	(void)len;
}

static void on_exit_of_check(struct lp_proc *proc, int status)
{
	struct lp_check *check = check_of(proc);
	struct lp_gen *gen = check->gen;
	const char *text = lp_excerpt_text(&proc->excerpt);
	const char *line = strrchr(text, '\n');
	char how[128], why[300];

	if (!gen)
		return;
	check->gen = NULL;
	gen->check = NULL;
	line = line ? line + 1 : text;
	lp_child_status_text(status, how, sizeof(how));
	(void)snprintf(why, sizeof(why), "%.100s%s%.180s", how, line[0] ? ": " : "", line);
	lp_health_answer(&gen->health, status == 0, why);
}

static void on_killed(struct lp_proc *proc)
{
	(void)proc;
}

static void on_gone(struct lp_proc *proc)
{
	lp_sup_bury(check_of(proc)->sup, proc);
}

static void release(struct lp_proc *proc)
{
	struct lp_check *check = check_of(proc);

	if (check->gen)
		check->gen->check = NULL;
	lp_proc_finish(proc);
	free(check);
}

static const struct lp_proc_ops check_ops = {
	.on_output = on_output,
	.on_exit = on_exit_of_check,
	.on_killed = on_killed,
	.on_gone = on_gone,
	.release = release,
};

int lp_check_run(struct lp_gen *gen, struct lp_err *err)
{
	struct lp_sup *sup = gen->sup;
	struct lp_spawn spec = {
		.argv = (const char *const *)sup->opts.conf->health.command.argv,
		.cwd_fd = sup->opts.tree_fd,
		.keep_fd = -1,
		.nofile = sup->opts.nofile,
		.die_with_parent = true,
	};
	struct lp_check *check;
	struct lp_env env;
	char port[8];
	int r;

	if (sup->opts.conf->health.command.n == 0)
		return lp_err_say(err, ENOENT, "livepush.yml has none any more");
	check = lp_xcalloc(1, sizeof(*check));
	check->sup = sup;
	check->proc.ops = &check_ops;
	check->proc.loop = sup->opts.loop;
	lp_gen_env(sup, gen->number, &env);
	(void)snprintf(port, sizeof(port), "%u", gen->port);
	lp_env_set(&env, "PORT", port);
	spec.envp = lp_env_block(&env);
	r = lp_proc_start(&check->proc, &spec, err);
	lp_env_finish(&env);
	if (r < 0) {
		release(&check->proc);
		return r;
	}
	check->gen = gen;
	gen->check = check;
	lp_sup_link(sup, &check->proc);
	return 0;
}

void lp_check_end(struct lp_gen *gen)
{
	struct lp_check *check = gen->check;

	if (!check)
		return;
	check->gen = NULL;
	gen->check = NULL;
	lp_proc_kill(&check->proc);
}
