/* watcher/workspace.h: the workspace as its index. Takes events from any source, looks at the
 * places they name and turns what differs into changesets. Loop thread only. Knows nothing of
 * networks. */
#ifndef LP_WATCHER_WORKSPACE_H
#define LP_WATCHER_WORKSPACE_H

#include "common/loop/loop.h"
#include "sync/changeset.h"
#include "sync/event.h"

struct lp_workspace; /* opaque; owns the descriptor of its root */

/* on_dir: a directory was opened during a scan, before it is read: the place to set a watch. fd is
 * borrowed. Returns 0, -ENOSPC (there are no more watches: it is polled) or -errno, which ends the
 * scan. Directories of git are given as well, as `DIR/.git`, for their locks, and `.git/info`.
 * on_file: the same for a file that has several names; a refusal ends nothing. on_dirty: there may
 * be something to take (also later, by a timer). on_conf: livepush.yml changed. on_notice:
 * something is left out and why, one line, once per path. is_being_written: whether somebody writes
 * the file in a way that no lease shows (through a mount) and is not done: it is left until an
 * event comes after they are; called from other threads too, while scan and take run. Any of them
 * may be NULL. */
struct lp_workspace_ops {
	int (*on_dir)(void *ctx, const char *path, int fd, struct lp_err *err);
	int (*on_file)(void *ctx, const char *path, int fd);
	void (*on_dirty)(void *ctx);
	void (*on_conf)(void *ctx);
	void (*on_notice)(void *ctx, const char *text);
	bool (*is_being_written)(void *ctx, const char *path);
};

/* Opens the directory `path`. Returns 0, -ENOENT, -ENOTDIR or another -errno with a message. */
int lp_workspace_open(struct lp_workspace **out, struct lp_loop *loop, const char *path,
		      const struct lp_workspace_ops *ops, void *ctx,
		      struct lp_err *err) LP_MUST_USE;

void lp_workspace_close(struct lp_workspace *ws); /* NULL is allowed */

/* The `ignore:` lines of the configuration. After a scan another one follows with the next take. */
int lp_workspace_set_ignore(struct lp_workspace *ws, char *const *lines, size_t n) LP_MUST_USE;

/* The root, open for O_RDONLY | O_DIRECTORY; borrowed. Its absolute real path; borrowed. */
int lp_workspace_fd(const struct lp_workspace *ws);
const char *lp_workspace_path(const struct lp_workspace *ws);

/* Takes up what an earlier session knew of the files of this workspace, from the state directory of
 * the user ($XDG_STATE_HOME/livepush or ~/.local/state/livepush), so that the scan reads only what
 * changed since; and keeps that up to date there. Call it once, before the scan. What is damaged or
 * cannot be read or written costs time only. */
void lp_workspace_remember(struct lp_workspace *ws);

/* Brings the whole tree into the index. When nothing is known of it yet, small files that have
 * rested are not read now: whoever sends them has to read them anyway (lp_workspace_sketch).
 * Returns 0 or -errno. */
int lp_workspace_scan(struct lp_workspace *ws, struct lp_err *err) LP_MUST_USE;

/* Remembers where to look. closed: the source knows that the last writer has closed the file
 * (FUSE), so that a descriptor still open below does not matter. */
void lp_workspace_note(struct lp_workspace *ws, const struct lp_event *ev, bool closed);

/* Holds back all changesets until it is released: for whoever writes many files that belong
 * together. Any number may hold at a time. Returns an id greater than 0. */
int lp_workspace_hold(struct lp_workspace *ws, const char *who);

/* Ends that hold; what came meanwhile goes out as one changeset when nobody holds any more. Returns
 * whether there was such a hold. */
bool lp_workspace_release(struct lp_workspace *ws, int id);

/* Who holds ("git" while a git command changes the files, "git in DIR" for a repository further
 * down), or NULL. Borrowed until the next call. */
const char *lp_workspace_held(const struct lp_workspace *ws);

/* Remembers to look at a path that could not be sent as the index says: the next changeset after it
 * has settled holds it, changed or not. */
void lp_workspace_resend(struct lp_workspace *ws, const char *path);

/* The same for a path that could not be read (-errno): says so, once. */
void lp_workspace_unread(struct lp_workspace *ws, const char *path, int cause);

/* Looks at everything noted so far, brings the index up to date and returns what changed as a
 * changeset with the next revision (one reference, the caller's), or NULL when nothing did,
 * somebody holds, or the root is gone for the moment. */
struct lp_changeset *lp_workspace_take(struct lp_workspace *ws);

/* Whether something is noted that take has not looked at, or that it has left for a moment because
 * it looked like a part of something that goes on. What waits for its writer is asked for now: when
 * nobody has it open for writing it is noted, and on_dirty called. A file that somebody does have
 * open is not counted. */
bool lp_workspace_has_notes(struct lp_workspace *ws);

/* The index; borrowed, changed by take and scan only. Reads what the scan has not. */
struct lp_index *lp_workspace_index(struct lp_workspace *ws);

/* The index as the scan has left it, as long as some files in it have no digest
 * (lp_entry_is_blank); NULL: all have. It stays what it is until then, and take gives nothing. */
struct lp_index *lp_workspace_sketch(struct lp_workspace *ws);

/* A changeset was made of the sketch: as soon as all is read it gets its root digest, and its
 * operations the digests that they have not got by then. */
void lp_workspace_follow(struct lp_workspace *ws, struct lp_changeset *cs);

/* Reads some of the files that a sketch has no digest of, for 50 ms. Returns whether all are read.
 */
bool lp_workspace_fill(struct lp_workspace *ws);

/* Reads the content of a file that the sketch names as e, which has no digest, into `to` (e->size
 * bytes and one more), and gives e and the index the digest. Returns 0; 1 with nothing read when it
 * has got its digest meanwhile, which e has now, too; -ESTALE when it is not what the sketch says;
 * or otherwise as lp_workspace_open_file. */
int lp_workspace_read_blank(struct lp_workspace *ws, const char *path, struct lp_entry *e,
			    void *to) LP_MUST_USE;

/* How many entries that are no directories the index has now. */
size_t lp_workspace_files(const struct lp_workspace *ws);

/* The file of git's core.excludesFile that the session goes by, there or not; NULL: none, or not
 * known yet. Borrowed. */
const char *lp_workspace_excludes(const struct lp_workspace *ws);

/* The newest revision; raises it to at least `floor`. */
uint64_t lp_workspace_revision(const struct lp_workspace *ws);
void lp_workspace_raise_revision(struct lp_workspace *ws, uint64_t floor);

/* Opens a file of the workspace for reading, crossing no link. As long as a small one
 * (LP_INLINE_MAX_BYTES) that changed within two seconds is open, a writer's open waits; what was
 * read of any other has to be compared with its digest. Returns an owned descriptor, -EBUSY when
 * somebody has such a fresh one open for writing and it was not sent while it was open, -ESTALE
 * when it is no regular file, or another -errno. */
int lp_workspace_open_file(const struct lp_workspace *ws, const char *path) LP_MUST_USE;

/* The target of a link of the workspace into out, not terminated. Returns its length or -errno. */
long lp_workspace_read_link(const struct lp_workspace *ws, const char *path, char *out,
			    size_t out_bytes);

#endif
