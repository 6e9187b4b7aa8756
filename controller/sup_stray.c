/* controller/sup_stray.c: children that nobody knows by name. As a child subreaper we inherit the
 * app's orphans: those that ended are reaped, those that left their group (setsid) and outlived
 * their generation are ended like it, TERM, grace, KILL.
 *
 * A timer drives this, not SIGCHLD: once a second while anything runs, and every 10 ms while
 * somebody waits for the last process to go. Whose a stray is says LIVEPUSH_GENERATION in its
 * environment; one that hides it is ended when everything stops. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "controller/sup.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define SWEEP_US        1000000u
#define SWEEP_STRAYS_US 100000u
#define SWEEP_WAITED_US 10000u
#define REAP_MAX        4096 /* bounded work in one callback */
#define KILL_ROUNDS     100
#define ENVIRON_MAX     1048576u
#define US_PER_MS       1000u

static bool is_leader(const struct lp_sup *sup, pid_t pid)
{
	for (const struct lp_proc *proc = sup->procs; proc; proc = proc->next) {
		if (proc->child.pid == pid)
			return true;
	}
	return false;
}

/* Leaders are left to their pidfds; when one is the first to be seen, the rest waits for the next
 * time. */
static void reap(const struct lp_sup *sup)
{
	for (int i = 0; i < REAP_MAX; i++) {
		siginfo_t info;

		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0 ||
		    is_leader(sup, info.si_pid))
			return;
		(void)waitpid(info.si_pid, NULL, WNOHANG);
	}
}

static bool in_known_group(const struct lp_sup *sup, pid_t pid)
{
	pid_t pgid = getpgid(pid);

	for (const struct lp_proc *proc = sup->procs; proc; proc = proc->next) {
		if (proc->pgid == pgid)
			return true;
	}
	return false;
}

/* The generation that a process was started for, or 0 when that cannot be told. */
static uint64_t generation_of(pid_t pid)
{
	static const char name[] = "LIVEPUSH_GENERATION=";
	struct lp_buf env = {.max = ENVIRON_MAX};
	char path[32];
	uint64_t generation = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	if (lp_read_file(AT_FDCWD, path, &env) == 0 && lp_buf_text(&env)) {
		const char *at = (const char *)env.data;
		const char *end = at + env.len;

		for (; at < end && generation == 0; at += strlen(at) + 1) {
			if (strncmp(at, name, sizeof(name) - 1) == 0)
				generation = strtoull(at + sizeof(name) - 1, NULL, 10);
		}
	}
	lp_buf_finish(&env);
	return generation;
}

static bool generation_lives(const struct lp_sup *sup, uint64_t number)
{
	for (struct lp_proc *proc = sup->procs; proc; proc = proc->next) {
		const struct lp_gen *gen = lp_gen_of(proc);

		if (gen && gen->number == number && gen->phase != LP_GEN_ENDING)
			return true;
	}
	return number > sup->generation; /* of a rule's command for the generation to come */
}

static bool is_stray(const struct lp_sup *sup, pid_t pid)
{
	uint64_t number;

	if (is_leader(sup, pid) || in_known_group(sup, pid))
		return false;
	if (sup->state == LP_SUP_STOPPING)
		return true;
	number = generation_of(pid);
	return number != 0 && !generation_lives(sup, number);
}

struct pids {
	pid_t *list;
	size_t n;
	size_t cap;
};

static void add_children(struct pids *pids, const char *task)
{
	struct lp_buf text = {.max = ENVIRON_MAX};
	char path[64];
	const char *at;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%.20s/children", task);
	at = lp_read_file(AT_FDCWD, path, &text) == 0 ? lp_buf_text(&text) : NULL;
	while (at && *at) {
		char *end;
		long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		lp_grow(&pids->list, &pids->cap, pids->n + 1, sizeof(*pids->list));
		pids->list[pids->n++] = (pid_t)pid;
		at = *end == ' ' ? end + 1 : end;
	}
	lp_buf_finish(&text);
}

/* All children of this process; none where the kernel does not list them (proc_pid_children(5)). */
static void list_children(struct pids *pids)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.')
			add_children(pids, entry->d_name);
	}
	if (dir)
		(void)closedir(dir);
}

/* Sends what is due to a stray and returns its entry for the new list. */
static struct lp_stray end_stray(const struct lp_sup *sup, pid_t pid)
{
	uint64_t now_us = lp_now_us();
	uint64_t grace_us = (uint64_t)sup->opts.conf->restart.grace_ms * US_PER_MS;

	for (size_t i = 0; i < sup->n_strays; i++) {
		if (sup->strays[i].pid != pid)
			continue;
		if (now_us >= sup->strays[i].kill_at_us)
			(void)kill(pid, SIGKILL);
		return sup->strays[i];
	}
	lp_sup_say(sup, sup->generation,
		   "process %d left its group and outlived its generation: ending it", (int)pid);
	(void)kill(pid, SIGTERM);
	(void)kill(pid, SIGCONT);
	return (struct lp_stray){.pid = pid, .kill_at_us = now_us + grace_us};
}

void lp_sup_sweep_later(struct lp_sup *sup)
{
	uint64_t wait_us = SWEEP_US;

	if (sup->n_strays > 0) {
		wait_us = SWEEP_STRAYS_US;
		if (sup->waiting || sup->state == LP_SUP_STOPPING)
			wait_us = SWEEP_WAITED_US;
	} else if (!sup->procs) {
		lp_timer_clear(&sup->sweep);
		return;
	}
	/* What is set already stays: starts that follow one another must not put it off for ever.
	 */
	if (!sup->sweep.loop || sup->sweep.due_us > lp_now_us() + wait_us)
		lp_timer_set(sup->opts.loop, &sup->sweep, lp_now_us() + wait_us);
}

size_t lp_sup_sweep(struct lp_sup *sup)
{
	struct pids pids = {0};
	struct lp_stray *strays;
	size_t n = 0;

	reap(sup);
	list_children(&pids);
	strays = lp_xcalloc(pids.n, sizeof(*strays));
	for (size_t i = 0; i < pids.n; i++) {
		if (is_stray(sup, pids.list[i]))
			strays[n++] = end_stray(sup, pids.list[i]);
	}
	free(pids.list);
	free(sup->strays);
	sup->strays = strays;
	sup->n_strays = n;
	lp_sup_sweep_later(sup);
	return n;
}

void lp_sup_kill_strays(struct lp_sup *sup)
{
	/* Each round may bring up the children of those that it killed. */
	for (int round = 0; round < KILL_ROUNDS; round++) {
		struct pids pids = {0};
		bool any = false;

		list_children(&pids);
		for (size_t i = 0; i < pids.n; i++) {
			if (generation_of(pids.list[i]) == 0)
				continue;
			any = true;
			(void)kill(pids.list[i], SIGKILL);
			(void)waitpid(pids.list[i], NULL, 0);
		}
		free(pids.list);
		if (!any)
			break;
	}
	reap(sup);
}
