/* cli/mirror_internal.h: a session's state, shared by mirror.c (life), mirror_sources.c (workspace,
 * inotify, FUSE), mirror_links.c (instances, push), mirror_control.c (flush and the like),
 * mirror_hold.c, mirror_verify.c, mirror_fleet.c (what instances are told of each other),
 * mirror_guard.c (mass deletion), mirror_sync.c (mount --sync) and carried.c (which revision had a
 * path last). */
#ifndef LP_CLI_MIRROR_INTERNAL_H
#define LP_CLI_MIRROR_INTERNAL_H

#include "cli/carried.h"
#include "cli/control.h"
#include "cli/drone.h"
#include "cli/mirror.h"
#include "cli/mirror_guard.h"
#include "cli/mirror_sync.h"
#include "cli/report.h"
#include "cli/target.h"
#include "cli/timeline.h"
#include "fsmount/fsmount.h"
#include "link/fleet.h"
#include "watcher/inotify.h"
#include "watcher/workspace.h"

#include <pthread.h>

/* A `livepush flush` that waits. */
struct lp_flush_wait {
	struct lp_flush_wait *next;
	struct lp_mirror *mirror;
	struct lp_control_client *client;
	struct lp_timer deadline;
	uint64_t revision; /* to be reached */
	bool untaken;      /* what was noted has no revision yet */
};

/* Changes are held back for whom (who, owned). client: the hold ends with that connection. over: it
 * ends after for_ms, unless that is 0. */
struct lp_mirror_hold {
	struct lp_mirror_hold *next;
	struct lp_mirror *mirror;
	struct lp_control_client *client;
	struct lp_timer over;
	uint32_t for_ms;
	int id; /* of the workspace's hold */
	char *who;
};

/* A comparison of every file of every instance. client: whoever waits for it; NULL: this very
 * command does, or nobody. */
struct lp_verify {
	bool active;
	struct lp_control_client *client;
	struct lp_timer deadline;
};

/* How far it is on one instance. */
enum lp_check {
	LP_CHECK_NONE,
	LP_CHECK_ASKED,   /* it reads its tree */
	LP_CHECK_MENDING, /* trees are compared and made equal */
	LP_CHECK_EQUAL,
	LP_CHECK_MENDED,
	LP_CHECK_BEHIND, /* on purpose; it is left so */
	LP_CHECK_FAILED,
	LP_CHECK_COUNT_,
};

/* A change that FUSE reported from one of its threads. written: owned, or NULL. */
struct lp_fuse_event {
	struct lp_fuse_event *next;
	enum lp_event_kind kind;
	uint64_t at_us;
	struct lp_written *written;
	char path[];
};

/* What the session knows of an instance. done: push: it has settled or needs nothing. files: how
 * many it had when it connected. fresh: it has not held what the workspace holds since then. root:
 * of its tree as it said last, in answer to this session. known: when it connected its tree was
 * still that. going_back: what it was the first to get failed there; went_back: and it has been
 * there. id: its name, "" before
 * it is known. found: what checking it brought about so far; owned. */
struct lp_mirror_instance {
	bool done;
	bool fresh;
	bool known;
	bool going_back;
	bool went_back;
	uint64_t files;
	struct lp_digest root;
	char id[64];
	enum lp_check check;
	json_t *found;
};

struct lp_mirror {
	const struct lp_args *args;
	const char *dir;
	const char *app;
	enum lp_mirror_mode mode;
	int exit_status;
	bool json;
	bool ready;
	bool stopping;
	bool drone_ended;
	bool pump_posted;
	bool draining; /* inotify's events are being noted */
	bool held_said;
	bool differed;    /* push: a change was printed */
	bool sync;        /* mount: fsync and close wait for the instances */
	bool sync_errors; /* and fail when that takes too long */
	uint32_t sync_timeout_ms;
	uint32_t verify_timeout_ms;
	uint64_t rate;    /* bytes per second, 0: no limit */
	bool fuse_posted; /* protected by fuse_lock */
	struct lp_conf conf;
	struct lp_target target;
	struct lp_loop *loop;
	struct lp_workspace *ws;
	struct lp_watch *watch;
	struct lp_fsmount *mount;
	char *mount_at; /* its real path; owned */
	struct lp_drone *drone;
	struct lp_fleet *fleet;
	struct lp_report *report;
	struct lp_control_server *control;
	struct lp_flush_wait *waits;
	struct lp_verify verify;
	struct lp_mirror_hold *holds;
	char *held_by; /* what was last said about it; owned */
	struct lp_timer held_timer;
	struct lp_guard guard;
	struct lp_syncs syncs;
	struct lp_carried *carried;
	char holder[256];
	uint8_t workspace_id[LP_WIRE_ID_BYTES];
	struct lp_post pump_post;
	uint64_t sync_began_us;
	/* From FUSE's threads to the loop. */
	pthread_mutex_t fuse_lock;
	struct lp_fuse_event *fuse_first; /* protected by fuse_lock */
	struct lp_fuse_event *fuse_last;  /* protected by fuse_lock */
	struct lp_post fuse_post;
	struct lp_post fuse_ended_post;
	struct lp_mirror_instance *instances; /* one a link; owned */
	struct lp_timeline *timeline;
	uint64_t served; /* that the instances were told of */
	struct lp_timer tell_timer;
};

/* Whether it goes on until it is ended: a mount or a watch. */
static inline bool lp_mirror_stays(const struct lp_mirror *m)
{
	return m->mode == LP_MIRROR_MOUNT || m->mode == LP_MIRROR_WATCH;
}

/* mirror.c */
void lp_mirror_end(struct lp_mirror *m, int exit_status);

/* mirror_sources.c */
int lp_mirror_open_sources(struct lp_mirror *m, struct lp_err *err) LP_MUST_USE;
void lp_mirror_close_sources(struct lp_mirror *m);
/* Takes what is noted and gives it to the instances, as far as they want it. */
void lp_mirror_pump(struct lp_mirror *m);
/* Notes everything that was saved before the call. */
void lp_mirror_drain(struct lp_mirror *m);
/* Says something that people should know, as a "notice" with --json. */
void lp_mirror_notice(struct lp_mirror *m, const char *text);

/* mirror_links.c */
int lp_mirror_connect(struct lp_mirror *m, struct lp_err *err) LP_MUST_USE;
/* Gives all connections up and makes new ones, which compare trees; not within a callback of one.
 */
int lp_mirror_reconnect(struct lp_mirror *m, struct lp_err *err) LP_MUST_USE;

/* mirror_fleet.c */
/* Something about an instance has changed: they are told, at once when a newer revision is served
 * by all. */
void lp_mirror_tell(struct lp_mirror *m, bool at_once);
/* A message of an instance ends a step of a save. After the report has it. */
void lp_mirror_time_message(struct lp_mirror *m, const struct lp_msg *msg);
void lp_mirror_on_timeline(struct lp_mirror *m, struct lp_control_client *client,
			   const json_t *request);

/* mirror_control.c */
int lp_mirror_serve_control(struct lp_mirror *m, struct lp_err *err) LP_MUST_USE;
void lp_mirror_close_control(struct lp_mirror *m);
/* Looks whether a flush can be answered; after everything that moves a revision. */
void lp_mirror_check_waits(struct lp_mirror *m);

/* mirror_hold.c */
#define LP_HOLD_MAX_MS 86400000
void lp_mirror_on_hold(struct lp_mirror *m, struct lp_control_client *client,
		       const json_t *request);
void lp_mirror_on_release(struct lp_mirror *m, struct lp_control_client *client);
/* The client is gone: ends its hold. Returns whether it had one. */
bool lp_mirror_hold_gone(struct lp_mirror *m, const struct lp_control_client *client);
void lp_mirror_end_holds(struct lp_mirror *m);
/* [{"by":…,"left_ms":…}], a new reference. */
json_t *lp_mirror_holds(const struct lp_mirror *m);
/* Tells of a hold that began or ended. */
void lp_mirror_watch_hold(struct lp_mirror *m);

/* mirror_verify.c */
void lp_mirror_on_verify(struct lp_mirror *m, struct lp_control_client *client,
			 const json_t *request);
/* Asks every instance, and answers when all have come to an end; with client NULL the command ends
 * then. */
void lp_mirror_verify(struct lp_mirror *m, struct lp_control_client *client, uint32_t timeout_ms);
/* The client is gone. Returns whether it waited for a comparison. */
bool lp_mirror_verify_gone(struct lp_mirror *m, const struct lp_control_client *client);
/* What happens to instance i meanwhile: a message; it holds what the workspace holds; it is lost.
 */
void lp_mirror_verify_message(struct lp_mirror *m, struct lp_link *link, const struct lp_msg *msg);
void lp_mirror_verify_caught_up(struct lp_mirror *m, unsigned i);
void lp_mirror_verify_lost(struct lp_mirror *m, unsigned i, const char *reason);
void lp_mirror_end_verify(struct lp_mirror *m, const char *why);

#endif
