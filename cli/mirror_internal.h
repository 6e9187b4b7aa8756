/* cli/mirror_internal.h: a session's state, shared by mirror.c (life), mirror_sources.c (workspace,
 * inotify, FUSE), mirror_links.c (instances, push) and mirror_control.c (flush and the like). */
#ifndef LP_CLI_MIRROR_INTERNAL_H
#define LP_CLI_MIRROR_INTERNAL_H

#include "cli/control.h"
#include "cli/drone.h"
#include "cli/mirror.h"
#include "cli/report.h"
#include "cli/target.h"
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

/* A change that FUSE reported from one of its threads. */
struct lp_fuse_event {
	struct lp_fuse_event *next;
	enum lp_event_kind kind;
	uint64_t at_us;
	char path[];
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
	bool fuse_posted; /* protected by fuse_lock */
	struct lp_conf conf;
	struct lp_target target;
	struct lp_loop *loop;
	struct lp_workspace *ws;
	struct lp_watch *watch;
	struct lp_fsmount *mount;
	struct lp_drone *drone;
	struct lp_fleet *fleet;
	struct lp_report *report;
	struct lp_control_server *control;
	struct lp_flush_wait *waits;
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
	bool *done; /* push: which instances have settled or need nothing; owned */
};

/* mirror.c */
void lp_mirror_end(struct lp_mirror *m, int exit_status);

/* mirror_sources.c */
int lp_mirror_open_sources(struct lp_mirror *m, struct lp_err *err) LP_MUST_USE;
void lp_mirror_close_sources(struct lp_mirror *m);
/* Takes what is noted and gives it to the instances, as far as they want it. */
void lp_mirror_pump(struct lp_mirror *m);
/* Notes everything that was saved before the call. */
void lp_mirror_drain(struct lp_mirror *m);

/* mirror_links.c */
int lp_mirror_connect(struct lp_mirror *m, char *const *urls, size_t n,
		      struct lp_err *err) LP_MUST_USE;

/* mirror_control.c */
int lp_mirror_serve_control(struct lp_mirror *m, struct lp_err *err) LP_MUST_USE;
void lp_mirror_close_control(struct lp_mirror *m);
/* Looks whether a flush can be answered; after everything that moves a revision. */
void lp_mirror_check_waits(struct lp_mirror *m);

#endif
