/* watcher/settle.h: waiting: settle.c (for what goes on) and held.c (files that stay open). */
#ifndef LP_WATCHER_SETTLE_H
#define LP_WATCHER_SETTLE_H

#include "watcher/workspace_internal.h"

/* Remembers a path that is being written, to look at it again after a rest. */
void lp_workspace_defer(struct lp_workspace *ws, const char *path);

/* Forgets that it was waited for. */
void lp_workspace_settled(struct lp_workspace *ws, const char *path);

/* What is no directory and new to the index was seen in directory `dir`: whether to leave it for a
 * moment because of its name. ctime_ns: its change time; 0: unknown. */
bool lp_settle_name(struct lp_workspace *ws, const struct lp_node *dir, const char *path,
		    const struct lp_dirty *hint, int64_t ctime_ns);

/* Something known was not there: whether to leave it in the index for a moment. */
bool lp_settle_gone(struct lp_workspace *ws, const char *path, const struct lp_dirty *hint);

/* Something is there; when it was gone, the tree does not only lose. */
void lp_settle_there(struct lp_workspace *ws, const char *path);

/* A walk did not find something known: it is left in the index for a moment. */
void lp_settle_missed(struct lp_workspace *ws, const char *path);

/* An event came for a path; d is the note to be made of it. When a writer goes on writing its wait
 * is renewed and true returned: there is nothing to look at yet. */
bool lp_settle_event(struct lp_workspace *ws, const struct lp_event *ev, struct lp_dirty *d);

/* The name of `from` was taken away by renaming it to `to`: whether that looks like making room for
 * a new file `from`. */
bool lp_settle_makes_room(struct lp_workspace *ws, const char *from, const char *to);

/* An open file may not go yet; it was taken as it is; its place was looked at, whatever came of it.
 */
void lp_settle_not_yet(struct lp_workspace *ws, struct lp_wait *wait);
void lp_settle_taken(struct lp_workspace *ws, const char *path);

/* A part of what is in an open file was taken: the next one is looked at after a moment, whether it
 * is written to or not. */
void lp_settle_cut(struct lp_workspace *ws, const char *path);
void lp_settle_visited(struct lp_workspace *ws, const char *path);

/* Notes what waits for a writer who is gone without an event. Whether there was any. */
bool lp_settle_ask(struct lp_workspace *ws);

void lp_settle_start(struct lp_workspace *ws);
void lp_settle_finish(struct lp_workspace *ws);

/* held.c. After such a rest an open file goes out in any case. */
#define LP_HELD_REST_US 1000000u

enum lp_held {
	LP_HELD_NOT_YET,
	LP_HELD_GROWN,  /* a state of a file that only grows was looked at */
	LP_HELD_RESTED, /* it may be looked at like any other */
};

/* Whether a file that somebody has open for writing may be taken as it is. dir_fd: its directory.
 * GROWN: look is filled and the caller's. */
enum lp_held lp_held_look(const struct lp_workspace *ws, int dir_fd, const struct lp_wait *wait,
			  struct lp_look *look);

#endif
