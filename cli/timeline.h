/* cli/timeline.h: when each step of a save happened: written, read, sent, applied, restarted,
 * healthy, served, reloaded. Pure: gets all times as arguments, in microseconds. */
#ifndef LP_CLI_TIMELINE_H
#define LP_CLI_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LP_TIMELINE_SAVES 256 /* that are remembered */

/* In order. With several instances a step is over with the last of them; reloaded is the first
 * browser. A step that a save did not need (no restart, no browser) has no time. */
enum lp_step_of_save {
	LP_SAVE_WRITTEN,   /* its first event */
	LP_SAVE_READ,      /* made a changeset, small files in it */
	LP_SAVE_SENT,      /* the last byte given to the connection */
	LP_SAVE_APPLIED,   /* visible to the app, and known here */
	LP_SAVE_RESTARTED, /* the new process was started */
	LP_SAVE_HEALTHY,   /* it serves */
	LP_SAVE_SERVED,    /* everything has settled everywhere */
	LP_SAVE_RELOADED,  /* a browser shows it */
	LP_SAVE_STEP_COUNT_,
};

const char *lp_save_step_name(enum lp_step_of_save step);

struct json_t;
struct lp_timeline; /* opaque */

struct lp_timeline *lp_timeline_create(void);
void lp_timeline_destroy(struct lp_timeline *t); /* NULL is allowed */

/* A save became a changeset. path: the first of its `files`. written_us 0: not known, read_us is
 * taken. */
void lp_timeline_add(struct lp_timeline *t, uint64_t revision, uint64_t written_us,
		     uint64_t read_us, const char *path, size_t files);

/* A step of that revision is over at at_us, at the earliest: a later call may say later. With upto:
 * of all that came before it and are not served, too (one restart serves several). */
void lp_timeline_step(struct lp_timeline *t, uint64_t revision, enum lp_step_of_save step,
		      uint64_t at_us, bool upto);

/* That revision failed at at_us, and with it all before it that are not served. What serves later
 * is something else: they get no further step. */
void lp_timeline_fail(struct lp_timeline *t, uint64_t revision, uint64_t at_us);

/* {"saves":[{"revision":…,"path":…,"files":…,"read_ms":…,…,"failed_ms":…}],"percentiles":{"read":{"p50":…,"p90":…,
 * "p99":…,"n":…},…}}, oldest first, times since it was written. A new reference. */
struct json_t *lp_timeline_json(const struct lp_timeline *t);

#endif
