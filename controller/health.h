/* controller/health.h: finds out when a freshly started app can serve. Probes without blocking, in
 * the loop. Does not look at the process itself: whoever watches it stops the probing when it ends.
 */
#ifndef LP_CONTROLLER_HEALTH_H
#define LP_CONTROLLER_HEALTH_H

#include "common/conf/conf.h"
#include "common/loop/loop.h"

/* The pace: a probe every 5 ms for the first 2 s, because most apps are up by then and the wait is
 * what the user feels; then twice as long each time up to interval_ms. */
#define LP_HEALTH_FAST_MS    5
#define LP_HEALTH_FAST_FOR_S 2
/* Most bytes read for the status line of one HTTP probe. */
#define LP_HEALTH_HEAD_MAX 16384
/* What is still read of an answer that was good, so that the app is not cut off while it writes. */
#define LP_HEALTH_LINGER_US    1000000u
#define LP_HEALTH_LINGER_BYTES 262144

enum lp_health_phase {
	LP_HEALTH_OFF,
	LP_HEALTH_WAITING, /* between two probes, or for settle_ms */
	LP_HEALTH_CONNECTING,
	LP_HEALTH_ASKING,    /* sending the request, reading the status line */
	LP_HEALTH_RUNNING,   /* the command is */
	LP_HEALTH_LINGERING, /* the status was good; the rest of the answer is read */
};

/* Zero it and set on_verdict, which is called once for each start unless it is stopped before: why
 * is one line for a person, "" when healthy. It may call lp_health_stop but not release the struct.
 * For LP_HEALTH_COMMAND also set run_command (begins one run, 0 or -errno; lp_health_answer
 * follows, from the loop) and end_command (ends it; nothing follows). The rest is private. */
struct lp_health {
	void (*on_verdict)(struct lp_health *health, bool healthy, const char *why);
	int (*run_command)(struct lp_health *health, struct lp_err *err);
	void (*end_command)(struct lp_health *health);
	struct lp_loop *loop;
	struct lp_conf_health conf; /* without its path and command */
	char *request;
	uint16_t port;
	enum lp_health_phase phase;
	struct lp_fd_src src;
	struct lp_timer timer;
	uint64_t started_us;
	uint64_t deadline_us;
	uint64_t probe_end_us;
	uint64_t wait_us;
	unsigned good; /* successes in a row */
	bool answered; /* a connection came to an end: why says how, until a later one does */
	size_t sent;
	size_t head_len;
	char head[LP_HEALTH_HEAD_MAX];
	char why[256];
};

/* Begins to probe 127.0.0.1:port as conf says; conf is borrowed during the call only. */
void lp_health_start(struct lp_health *health, struct lp_loop *loop,
		     const struct lp_conf_health *conf, uint16_t port);

/* One run of the command has come to its end; why (when it was not good): "exited with status 1".
 */
void lp_health_answer(struct lp_health *health, bool good, const char *why);

/* Ends the probing and releases what it holds; harmless when it is off. */
void lp_health_stop(struct lp_health *health);

/* The status of an HTTP/1 answer whose first bytes are head[0..len): 0 when more bytes are needed,
 * -1 when it is no HTTP. Interim answers (1xx) are passed over. RFC 9112, section 4. Pure. */
int lp_health_http_status(const char *head, size_t len);

#endif
