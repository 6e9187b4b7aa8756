/* watcher/workspace_internal.h: what the parts of a workspace share: workspace.c (life), notes.c
 * (events), settle.c and held.c (waiting), take.c and moves.c (changesets), scan.c (walking),
 * hold.c and git.c (holding back), poll.c (what cannot be watched), root.c (a root that went, lost
 * events), blank.c (what a first scan has not read).
 */
#ifndef LP_WATCHER_WORKSPACE_INTERNAL_H
#define LP_WATCHER_WORKSPACE_INTERNAL_H

#include "common/base/lp_map.h"
#include "sync/ignore.h"
#include "watcher/content.h"
#include "watcher/personal.h"
#include "watcher/workspace.h"

#define LP_CONF_NAME "livepush.yml"

/* Contents kept in one changeset; what is beyond is read again when it is sent. */
#define LP_KEEP_MAX_BYTES ((uint64_t)16 * 1024 * 1024)

/* Where to look with the next take. */
struct lp_dirty {
	char *path;                 /* owned */
	uint64_t at_us;             /* of the first event */
	uint64_t last_us;           /* of the last one */
	struct lp_written *written; /* owned; NULL: unknown */
	bool subtree;
	bool closed; /* nobody writes any more, whatever a lease says */
	bool just_closed;
	bool created;
	bool moved;    /* a part of a move */
	bool changed;  /* something else than a move happened to it */
	bool replaced; /* its name was made free for another file of that name */
	bool rested;   /* it was waited for long enough: take what is there */
	bool held;     /* somebody has it open, and it may be taken all the same (held.c) */
};

enum lp_wait_why {
	LP_WAIT_WRITER, /* somebody has it open for writing */
	LP_WAIT_OPEN,   /* the same, but what is in it now was taken: waits for its next event */
	LP_WAIT_NAME,   /* new, with a name that tools give to files that they rename or remove soon
			 */
	LP_WAIT_GONE,   /* it went away, and may be made again in a moment */
	LP_WAIT_WHY_COUNT_,
};

/* Where not to look before due_us unless something happens; due_us 0: only then. */
struct lp_wait {
	char *path; /* owned */
	enum lp_wait_why why;
	uint64_t first_us; /* since when it waits, or since when there is something to be taken */
	uint64_t last_us;  /* the last event */
	uint64_t due_us;
	uint64_t at_us;             /* the first event, as in lp_dirty */
	struct lp_written *written; /* owned */
	bool replaced;
	bool taken;  /* what it held was taken once while it was open */
	bool is_cut; /* not all that it held: the rest follows with the next turns */
};

/* A move that was reported. */
struct lp_move {
	char *from; /* owned */
	char *to;   /* owned */
};

/* What a first scan has not read. allowed: a walk may leave more of that. n: at most so many files
 * in the index have no digest. next: where the reading of them goes on; NULL: at the beginning.
 * filled: grows with it. dir: where the last file was read from that was sent, open as dir_fd.
 * follow: changesets that were made of the sketch, one reference each. */
struct lp_blanks {
	bool allowed;
	size_t n;
	struct lp_node *next;
	uint64_t filled;
	uint64_t seen; /* what `filled` was when the timer was set */
	struct lp_timer timer;
	char *dir; /* owned */
	int dir_fd;
	struct lp_changeset **follow;
	size_t n_follow;
	size_t cap_follow;
};

struct lp_hold {
	int id;
	char *who; /* owned */
};

struct lp_workspace {
	struct lp_loop *loop;
	int root_fd;
	char *path;
	struct lp_index *index;
	struct lp_ignore *ignore;
	struct lp_workspace_ops ops;
	void *ctx;
	struct lp_map dirty; /* of struct lp_dirty, owned */
	struct lp_map waits; /* of struct lp_wait, owned */
	size_t n_gone;       /* waits of something gone */
	size_t n_soon;       /* waits that end by themselves: of a name or of something gone */
	struct lp_timer wait_timer;
	uint64_t gone_us;       /* when something was seen to be gone last */
	uint64_t gone_first_us; /* since when there is something gone */
	uint64_t grew_us;       /* when something was found to be new or to have changed last */
	uint64_t quiet_us;      /* what happened up to then needs no rest any more */
	struct lp_move *moves;
	size_t n_moves;
	size_t cap_moves;
	struct lp_map owed;    /* of char, owned: paths that have to be sent, changed or not */
	struct lp_map noticed; /* of char, owned: paths */
	struct lp_map linked;  /* of struct lp_linked, owned (links.c) */
	bool links_unresolved;
	bool lost; /* events were lost, and the whole tree was not walked since */
	struct lp_hold *holds;
	size_t n_holds;
	size_t cap_holds;
	int last_hold;
	struct lp_personal personal;
	struct lp_git *git;   /* git.c */
	struct lp_poll *poll; /* poll.c */
	struct lp_root *root; /* root.c */
	uint64_t revision;
	uint32_t scan_mark;
	struct lp_ticks ticks;
	void *scratch;              /* LP_LOOK_SCRATCH_BYTES for looks in the loop's thread */
	struct lp_readers *readers; /* of walks; NULL until the first */
	struct lp_blanks blanks;    /* blank.c */
	struct lp_aside *aside;     /* aside.c; NULL until needed */
	struct lp_memory *memory;   /* memory.c; NULL: nothing is remembered */
};

/* Says a line. */
void lp_workspace_say(struct lp_workspace *ws, const char *fmt, ...) LP_PRINTF(2, 3);

/* Says once per path that it is left out. */
void lp_workspace_notice(struct lp_workspace *ws, const char *path, const char *why);

/* Notes a place without an event; flags as for an event of that kind. */
void lp_workspace_dirty(struct lp_workspace *ws, enum lp_event_kind kind, const char *path);

/* Puts a note where it was, merged with what was noted since. d is taken. */
void lp_workspace_renote(struct lp_workspace *ws, struct lp_dirty *d);

/* Whether somebody writes the file in a way that no lease shows. */
bool lp_workspace_is_written(const struct lp_workspace *ws, const char *path);

/* Says that there is something to take, unless somebody holds. */
void lp_workspace_tell(struct lp_workspace *ws);

/* What two reports in a row say together; later (NULL is allowed) is taken. When somebody else
 * wrote in between, only the later one stays: whoever takes it compares its `before` with what is
 * known. */
void lp_written_join(struct lp_written **into, struct lp_written *later);

void lp_dirty_free(struct lp_dirty *d); /* NULL is allowed */
void lp_notes_finish(struct lp_workspace *ws);

/* Whether lp_workspace_resend was called for a path that has not settled since. paid forgets it. */
bool lp_workspace_owes(const struct lp_workspace *ws, const char *path);
void lp_workspace_paid(struct lp_workspace *ws, const char *path);

/* moves.c. Carries out what was reported as moves, as far as it is certain. */
void lp_moves_take(struct lp_workspace *ws, struct lp_changeset *cs);
void lp_moves_note(struct lp_workspace *ws, const char *from, const char *to);
void lp_moves_finish(struct lp_workspace *ws);

/* Takes from operations what a move in the same changeset makes untrue. */
void lp_moves_finish_changeset(struct lp_changeset *cs);

/* links.c. A regular file with several names was looked at: its other names in the workspace are
 * noted when `changed`. */
void lp_links_seen(struct lp_workspace *ws, const char *path, uint64_t ino, bool changed);

/* A writer closed the file that was known at path, whatever is there by now: its other names are
 * noted. */
void lp_links_written(struct lp_workspace *ws, const char *path);

/* A name of the file with that inode is of no file any more, or of another one. */
void lp_links_gone(struct lp_workspace *ws, const char *path, uint64_t ino);

/* Files got a second name: finds the first one, which had only one when it was looked at. Goes
 * through the whole index, once for all files that are new since it was called. */
void lp_links_resolve(struct lp_workspace *ws);
void lp_links_finish(struct lp_workspace *ws);

/* git.c. A directory of the workspace holds an entry ".git"; dir_fd is borrowed. */
void lp_git_found(struct lp_workspace *ws, const char *dir, int dir_fd);

/* Takes an event at or below an entry ".git"; false: it is another's. */
bool lp_git_event(struct lp_workspace *ws, const struct lp_event *ev);

/* Which repository's lock holds, or NULL. */
const char *lp_git_holds(const struct lp_workspace *ws);
void lp_git_finish(struct lp_workspace *ws);

/* hold.c: a hold ended. */
void lp_workspace_unheld(struct lp_workspace *ws);
void lp_holds_finish(struct lp_workspace *ws);

/* poll.c. A directory could not be watched: it is polled. why: what lp_watch_add said. */
void lp_poll_add(struct lp_workspace *ws, const char *path, const char *why);

/* A walk ended: says how many directories are polled, when that is news. */
void lp_poll_say(struct lp_workspace *ws);
void lp_poll_finish(struct lp_workspace *ws);

/* root.c. Events were lost, or a walk failed: notes the whole tree, soon. */
void lp_root_rescan(struct lp_workspace *ws);

/* Whether the root is there; begins to wait for it when it is not. */
bool lp_root_is_there(struct lp_workspace *ws);
bool lp_root_has_notes(const struct lp_workspace *ws);

/* A take or a walk has ended. */
void lp_root_looked(struct lp_workspace *ws);

/* A walk of the whole tree has ended. */
void lp_root_scanned(struct lp_workspace *ws);
void lp_root_finish(struct lp_workspace *ws);

/* update.c. Brings one entry of directory `dir` (open as dir_fd) up to date and appends what
 * changed to cs (NULL: nobody wants to know). Returns 1 when it is a directory that was not known
 * before or that must be walked because of `hint`, 0 otherwise, or -errno. */
int lp_workspace_update(struct lp_workspace *ws, struct lp_node *dir, int dir_fd, const char *path,
			const struct lp_dirty *hint, struct lp_changeset *cs);

/* The same with what lp_look_at said of it; look is taken. */
int lp_workspace_accept(struct lp_workspace *ws, struct lp_node *dir, const char *path,
			const struct lp_dirty *hint, struct lp_look *look, struct lp_changeset *cs);

/* scan.c. Reads the directory `path` ("" for the root) and all below it into the index. The node
 * must be there. Returns 0 or -errno with a message; unreadable directories are noticed and left
 * out. */
int lp_workspace_walk(struct lp_workspace *ws, const char *path, struct lp_changeset *cs,
		      struct lp_err *err) LP_MUST_USE;

/* blank.c. Whether files in the index have no digest; has them read before long, and tells then. */
bool lp_blank_wait(struct lp_workspace *ws);
void lp_blank_finish(struct lp_workspace *ws);

/* Removes a node from the index and reports it. */
void lp_workspace_drop(struct lp_workspace *ws, struct lp_node *node, const char *path,
		       struct lp_changeset *cs);

#endif
