/* controller/sup_proc.h: one process group that the supervisor runs: its leader, what it writes,
 * and how it is ended (TERM, a grace, KILL) until nobody of the group is left. Knows nothing of
 * generations or rules. */
#ifndef LP_CONTROLLER_SUP_PROC_H
#define LP_CONTROLLER_SUP_PROC_H

#include "common/loop/child.h"
#include "controller/excerpt.h"
#include "controller/supervise.h"

struct lp_proc;

/* What the owner hears; all from the loop. on_output: a piece of output, already in the excerpt.
 * on_exit: the leader ended (status as from waitpid) and what it wrote has been delivered; what is
 * left of its group is being ended. on_killed: the group outlived its grace and was killed.
 * on_gone: nobody of the group is left; comes once and last. None may release the proc. release is
 * for the owner's lists: it frees what the proc is embedded in. */
struct lp_proc_ops {
	void (*on_output)(struct lp_proc *proc, enum lp_sup_stream stream, const char *data,
			  size_t len);
	void (*on_exit)(struct lp_proc *proc, int status);
	void (*on_killed)(struct lp_proc *proc);
	void (*on_gone)(struct lp_proc *proc);
	void (*release)(struct lp_proc *proc);
};

enum lp_proc_stage {
	LP_PROC_NONE, /* not started, or could not be */
	LP_PROC_RUNNING,
	LP_PROC_TERMED,
	LP_PROC_KILLED,
	LP_PROC_GONE,
};

struct lp_proc_pipe {
	struct lp_fd_src src;
	struct lp_proc *proc;
	enum lp_sup_stream stream;
};

/* Zero it, set ops, loop and grace_ms. Embedded in its owner. next: for the owner's lists. The rest
 * is private apart from reading stage, exited and child.pid. */
struct lp_proc {
	const struct lp_proc_ops *ops;
	struct lp_loop *loop;
	struct lp_proc *next;
	uint32_t grace_ms; /* TERM to KILL */
	enum lp_proc_stage stage;
	bool exited;
	pid_t pgid;
	struct lp_child child;
	struct lp_proc_pipe pipes[2];
	struct lp_timer timer;
	uint64_t kill_at_us;
	uint64_t poll_us;
	struct lp_excerpt excerpt;
};

/* Starts spec; its out_fd and err_fd are replaced by pipes that end here. Returns 0 or -errno;
 * after a failure no callback comes. */
int lp_proc_start(struct lp_proc *proc, const struct lp_spawn *spec,
		  struct lp_err *err) LP_MUST_USE;

/* Sends TERM to the group, and KILL when the grace is over; on_gone follows. Harmless when that is
 * under way. */
void lp_proc_end(struct lp_proc *proc);

/* Sends KILL to the group at once; on_gone follows. */
void lp_proc_kill(struct lp_proc *proc);

/* Sends a signal to the leader alone, which is whom a "reload" signal is meant for. Returns 0 or
 * -errno. */
int lp_proc_signal_leader(const struct lp_proc *proc, int signo);

/* Releases what it holds; kills a group that still runs and waits up to a second for its leader to
 * be reaped. No callback comes any more. */
void lp_proc_finish(struct lp_proc *proc);

#endif
