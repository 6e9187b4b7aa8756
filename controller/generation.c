/* controller/generation.c: one start of the app: its port, its environment, its health, its end. */
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "controller/sup.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#define PORT_TRIES    32
#define US_PER_MS     1000u
#define LAST_WORDS_MS 1000u
/* On the loopback interface an answer comes at once, unless a packet filter swallows the question.
 */
#define FIXED_PORT_WAIT_MS 20

static bool port_is_recent(const struct lp_sup *sup, uint16_t port)
{
	for (size_t i = 0; i < LP_COUNT_OF(sup->ports); i++) {
		if (sup->ports[i] == port)
			return true;
	}
	return false;
}

/* A port of 127.0.0.1 that the kernel says is free, or -errno. */
static int free_port(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	LP_AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	return ntohs(addr.sin_port);
}

/* Between this and the app's own bind somebody may take the port; the app then exits and the start
 * fails. Ports that were given out lately are left alone: an old generation may still hold one. */
static int pick_port(struct lp_sup *sup, struct lp_err *err)
{
	int port = 0;

	for (int i = 0; i < PORT_TRIES; i++) {
		port = free_port();
		if (port < 0)
			return lp_err_set(err, -port, "find a free port on 127.0.0.1");
		if (!port_is_recent(sup, (uint16_t)port))
			break;
	}
	sup->ports[sup->n_ports++ % LP_COUNT_OF(sup->ports)] = (uint16_t)port;
	return port;
}

static bool port_is_taken(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons(port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	LP_AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int code = 0;

	if (fd < 0)
		return false;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return true;
	return errno == EINPROGRESS && poll(&pfd, 1, FIXED_PORT_WAIT_MS) > 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) == 0 && code == 0;
}

/* A fixed port on which somebody else listens would look like a healthy app. */
static int check_fixed_port(uint16_t port, struct lp_err *err)
{
	if (!port_is_taken(port))
		return port;
	return lp_err_say(err, EADDRINUSE,
			  "another process listens on 127.0.0.1:%u (restart.port): stop it or "
			  "choose another port",
			  port);
}

void lp_gen_env(const struct lp_sup *sup, uint64_t number, struct lp_env *env)
{
	const struct lp_conf *conf = sup->opts.conf;
	char text[24];

	lp_env_init(env, sup->opts.envp);
	lp_env_unset(env, "PORT");
	for (size_t i = 0; i < conf->n_env; i++)
		lp_env_set(env, conf->env[i].name, conf->env[i].value);
	(void)snprintf(text, sizeof(text), "%" PRIu64, number);
	lp_env_set(env, "LIVEPUSH_GENERATION", text);
}

static struct lp_gen *gen_of(struct lp_proc *proc)
{
	return LP_CONTAINER_OF(proc, struct lp_gen, proc);
}

static void on_output(struct lp_proc *proc, enum lp_sup_stream stream, const char *data, size_t len)
{
	const struct lp_gen *gen = gen_of(proc);

	gen->sup->opts.ops.on_output(gen->sup->opts.ctx, gen->number, stream, data, len);
}

static void report_early_exit(struct lp_gen *gen, int status)
{
	struct lp_sup_failure failure = {
		.revision = gen->sup->revision,
		.generation = gen->number,
		.stage = LP_STAGE_START,
		.excerpt = lp_excerpt_text(&gen->proc.excerpt),
	};
	char how[128];
	char error[192];

	lp_child_status_text(status, how, sizeof(how));
	(void)snprintf(error, sizeof(error), "the app %s before it %s", how,
		       gen->healthy_us ? "served" : "was healthy");
	failure.error = error;
	/* On trial it can be started: as after a crash, it is tried again. */
	if (gen->healthy_us && !gen->sup->serving)
		gen->sup->recovering = true;
	lp_sup_fault(gen->sup, &failure);
}

static void on_exit_of_app(struct lp_proc *proc, int status)
{
	struct lp_gen *gen = gen_of(proc);

	switch (gen->phase) {
	case LP_GEN_STARTING:
		report_early_exit(gen, status);
		break;
	case LP_GEN_SERVING:
		lp_sup_on_crash(gen->sup, gen, status);
		break;
	case LP_GEN_DRAINING:
	case LP_GEN_ENDING:
		break;
	}
	lp_gen_end(gen);
}

static void on_killed(struct lp_proc *proc)
{
	const struct lp_gen *gen = gen_of(proc);

	lp_sup_say(gen->sup, gen->number,
		   "generation %" PRIu64 " did not end within %u ms of SIGTERM and was killed",
		   gen->number, proc->grace_ms);
}

static void on_gone(struct lp_proc *proc)
{
	struct lp_gen *gen = gen_of(proc);

	lp_gen_end(gen);
	lp_sup_bury(gen->sup, proc);
}

static void release(struct lp_proc *proc)
{
	struct lp_gen *gen = gen_of(proc);

	lp_health_stop(&gen->health);
	lp_timer_clear(&gen->drain_timer);
	lp_proc_finish(proc);
	free(gen);
}

static const struct lp_proc_ops gen_ops = {
	.on_output = on_output,
	.on_exit = on_exit_of_app,
	.on_killed = on_killed,
	.on_gone = on_gone,
	.release = release,
};

struct lp_gen *lp_gen_of(struct lp_proc *proc)
{
	return proc->ops == &gen_ops ? gen_of(proc) : NULL;
}

static void on_verdict(struct lp_health *health, bool healthy, const char *why)
{
	struct lp_gen *gen = LP_CONTAINER_OF(health, struct lp_gen, health);
	struct lp_sup_failure failure = {
		.revision = gen->sup->revision,
		.generation = gen->number,
		.stage = LP_STAGE_HEALTH,
		.error = why,
	};

	if (gen->phase != LP_GEN_STARTING)
		return;
	if (healthy) {
		lp_sup_on_healthy(gen->sup, gen);
		return;
	}
	failure.excerpt = lp_excerpt_text(&gen->proc.excerpt);
	lp_sup_fault(gen->sup, &failure);
}

static int run_check(struct lp_health *health, struct lp_err *err)
{
	return lp_check_run(LP_CONTAINER_OF(health, struct lp_gen, health), err);
}

static void end_check(struct lp_health *health)
{
	lp_check_end(LP_CONTAINER_OF(health, struct lp_gen, health));
}

/* When the last of what runs on it is to be gone, in ms after it was retired: streams that were
 * ended have a moment for their last words. */
static uint32_t leave_over_ms(const struct lp_leave *leave)
{
	uint32_t streams_ms = leave->cut ? leave->streams_ms + LAST_WORDS_MS : 0;

	return streams_ms > leave->drain_ms ? streams_ms : leave->drain_ms;
}

static void set_drain_timer(struct lp_gen *gen)
{
	uint32_t due_ms = leave_over_ms(&gen->leave);

	if (!gen->requests_cut && gen->leave.drain_ms < due_ms)
		due_ms = gen->leave.drain_ms;
	if (!gen->streams_ended && gen->leave.streams_ms < due_ms)
		due_ms = gen->leave.streams_ms;
	lp_timer_set(gen->sup->opts.loop, &gen->drain_timer,
		     gen->retired_us + (uint64_t)due_ms * US_PER_MS);
}

static void on_drain_time(struct lp_timer *timer)
{
	struct lp_gen *gen = LP_CONTAINER_OF(timer, struct lp_gen, drain_timer);
	const struct lp_sup_door *door = &gen->sup->opts.door;
	uint64_t gone_ms = (lp_now_us() - gen->retired_us) / US_PER_MS;

	if (!gen->streams_ended && gone_ms >= gen->leave.streams_ms) {
		gen->streams_ended = true;
		door->end_streams(door->ctx, gen->number);
	}
	if (gone_ms < leave_over_ms(&gen->leave)) {
		if (!gen->requests_cut && gone_ms >= gen->leave.drain_ms) {
			gen->requests_cut = true;
			door->cut_requests(door->ctx, gen->number);
		}
		set_drain_timer(gen);
		return;
	}
	if (gen->leave.cut)
		door->cut(door->ctx, gen->number);
	lp_gen_end(gen);
}

static struct lp_gen *gen_create(struct lp_sup *sup)
{
	struct lp_gen *gen = lp_xcalloc(1, sizeof(*gen));

	gen->sup = sup;
	gen->number = ++sup->generation;
	gen->revision = sup->revision;
	gen->asked_us = sup->asked ? sup->asked_us : sup->crashed_us;
	gen->proc.ops = &gen_ops;
	gen->proc.loop = sup->opts.loop;
	gen->proc.grace_ms = sup->opts.conf->restart.grace_ms;
	gen->health.on_verdict = on_verdict;
	gen->health.run_command = run_check;
	gen->health.end_command = end_check;
	gen->drain_timer.on_fire = on_drain_time;
	return gen;
}

static int gen_spawn(struct lp_gen *gen, struct lp_err *err)
{
	struct lp_sup *sup = gen->sup;
	const struct lp_conf *conf = sup->opts.conf;
	struct lp_spawn spec = {
		.argv = (const char *const *)conf->command.argv,
		.cwd_fd = sup->opts.tree_fd,
		.keep_fd = -1,
		.nofile = sup->opts.nofile,
		.die_with_parent = true,
	};
	struct lp_env env;
	char text[8];
	bool fixed = conf->restart.strategy == LP_STRATEGY_STOP_START && conf->restart.port != 0;
	int port = fixed ? check_fixed_port(conf->restart.port, err) : pick_port(sup, err);
	int r;

	if (port < 0)
		return port;
	gen->port = (uint16_t)port;
	lp_gen_env(sup, gen->number, &env);
	(void)snprintf(text, sizeof(text), "%u", gen->port);
	lp_env_set(&env, "PORT", text);
	spec.envp = lp_env_block(&env);
	gen->spawned_us = lp_now_us();
	r = lp_proc_start(&gen->proc, &spec, err);
	lp_env_finish(&env);
	return r;
}

void lp_gen_start(struct lp_sup *sup)
{
	struct lp_gen *gen = gen_create(sup);
	struct lp_err err = {0};

	sup->work.restart = false;
	if (!sup->recovering)
		sup->backoff_ms = 0; /* somebody asked: if it crashes, the waits begin anew */
	/* Nobody is there to be signalled: the new process sees the tree as it is now. */
	while (!sup->serving && lp_work_take_signal(&sup->work, sup->rules) != 0)
		continue;
	if (gen_spawn(gen, &err) < 0) {
		struct lp_sup_failure failure = {
			.revision = sup->revision,
			.generation = gen->number,
			.stage = LP_STAGE_START,
			.error = err.msg,
			.excerpt = "",
		};

		lp_sup_fault(sup, &failure);
		release(&gen->proc);
		return;
	}
	sup->next = gen;
	lp_sup_link(sup, &gen->proc);
	lp_health_start(&gen->health, sup->opts.loop, &sup->opts.conf->health, gen->port);
}

void lp_gen_retire(struct lp_gen *gen, const struct lp_leave *leave)
{
	gen->phase = LP_GEN_DRAINING;
	gen->leave = *leave;
	gen->retired_us = lp_now_us();
	set_drain_timer(gen);
}

void lp_gen_end(struct lp_gen *gen)
{
	gen->phase = LP_GEN_ENDING;
	lp_timer_clear(&gen->drain_timer);
	lp_health_stop(&gen->health);
	lp_proc_end(&gen->proc);
}
