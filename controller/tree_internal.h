/* controller/tree_internal.h: the state behind tree.h, shared by the files of the tree. */
#ifndef LP_CONTROLLER_TREE_INTERNAL_H
#define LP_CONTROLLER_TREE_INTERNAL_H

#include "common/base/lp_map.h"
#include "controller/rows.h"
#include "controller/tree.h"

#include <sys/stat.h>

#define LP_STAGE_DIR        "stage"
#define LP_UNDO_DIR         "undo"
#define LP_DAMAGED_DIR      "damaged"
#define LP_JOURNAL_NAME     "journal"
#define LP_PARTIAL_NAME     "partial"
#define LP_STAGE_NAME_BYTES 32
#define LP_STAGE_PATH_BYTES (LP_PATH_MAX_BYTES + LP_STAGE_NAME_BYTES)
#define LP_STAGE_LEVELS     32

/* The chunks of smaller files are not kept: reading one costs less than they do. */
#define LP_CHUNKED_MIN_BYTES ((uint64_t)1024 * 1024)

/* Of lp_node.mark: a hash of the file's signature when its digest was taken, 0: unknown; and
 * whether a listing saw the entry. */
#define LP_MARK_SIG  0x7fffffffu
#define LP_MARK_SEEN 0x80000000u

struct lp_patch;
struct lp_verifying;
struct lp_owed;
struct opening;

/* One operation of the changeset under way. Its number among them is the name of what is staged for
 * it, and with ".old" behind it of what it replaced. */
struct lp_staged {
	enum lp_op_kind op;
	struct lp_entry e;
	char *path;               /* owned */
	char *from;               /* owned; of a MOVE */
	struct lp_chunks *chunks; /* of a large content, one reference; NULL: not known */
	struct lp_patch *patch;   /* owned; how it is made of what is there; NULL: it is whole */
	uint64_t ino;             /* of what is staged, no directory; of a MOVE: what moves */
	size_t top;               /* of what is nested: the operation in whose directory it is */
	uint64_t sig;             /* of what is staged, when that does not change any more */
	int64_t ctime_ns;         /* of the same */
	uint32_t was_mode;        /* of what is there, when has_was */
	bool has_was;
	bool is_staged; /* something was written for it */
	bool is_nested; /* into a staged directory, so that it becomes visible with that */
	bool late_mode; /* of a directory: the mode is set when everything is in it */
	bool in_place;  /* a patch that is written into the file itself */
	bool is_done;
	bool changes;  /* leaves something else at its path than was there */
	bool left_out; /* something of the app is in the way */
	bool is_back;  /* undone: what it replaced is at its path again, or was */
	bool is_left;  /* undone: what the app has at its path stays */
};

/* A directory that is staged. path: borrowed from its operation. top: the operation whose staged
 * directory it is in, or is. merged: the app made one, too, so that what is in it goes there one by
 * one. takes_moves: something is moved into it. is_fresh: the index did not have it. */
struct lp_stage_dir {
	const char *path;
	size_t len;
	size_t top;
	bool merged;
	bool takes_moves;
	bool is_fresh;
};

/* The staged directories on the way to the one that was used last, open. */
struct lp_stage_level {
	const struct lp_stage_dir *dir;
	int fd;
};

/* How the index was at a path before the commit under way changed it: LP_ROW_ENTRY, LP_ROW_ABSENT,
 * or LP_ROW_MOVED there from `from`. */
struct lp_was {
	enum lp_row_kind kind;
	struct lp_entry e;
	struct lp_chunks *chunks; /* one reference */
	uint32_t mark;
	bool owns_path;
	char *path;
	const char *from; /* borrowed from the operation */
};

/* A commit that can be undone: LP_UNDO_DIR/<id>. */
struct lp_undo {
	uint64_t id;
	uint64_t revision;
	uint64_t bytes;
};

/* The beginning of a large content whose connection was lost. */
struct lp_partial {
	int fd; /* LP_STATE_DIR/partial; -1: none */
	struct lp_hasher *hasher;
	struct lp_digest digest;
	uint64_t size;
	uint64_t have;
	uint64_t until_us;
};

struct lp_tree {
	int root_fd;
	int state_fd;            /* LP_STATE_DIR */
	int stage_fd;            /* LP_STATE_DIR/stage; -1: not there */
	int undo_fd;             /* LP_STATE_DIR/undo */
	int log_fd;              /* LP_STATE_DIR/owned */
	size_t log_bytes;        /* its length */
	uint64_t log_rows;       /* in it */
	uint64_t log_unread;     /* how much of it could not be read */
	int log_error;           /* why it could not be written anew: -errno; 0: it was */
	struct opening *opening; /* owned.c's, while the tree is being opened */
	struct lp_index *index;
	uint64_t revision;
	uint64_t commit_id; /* of the last commit in the log */
	struct lp_staged *ops;
	size_t n_ops;
	size_t cap_ops;
	size_t ops_bytes;         /* that they take, about */
	size_t n_moves;           /* they are the first ones */
	struct lp_map stage_dirs; /* path → struct lp_stage_dir, owned */
	struct lp_stage_dir *last_dir;
	struct lp_stage_level levels[LP_STAGE_LEVELS];
	size_t n_levels;
	/* The commit under way. */
	struct lp_was *was;
	size_t n_was;
	size_t cap_was;
	struct lp_buf rows; /* for the log */
	uint64_t n_rows;
	uint64_t undo_bytes; /* of what it replaced */
	int64_t begun_ns;    /* lp_sig_now */
	int journal_fd;
	struct lp_owed *owed; /* what could not be put back; NULL: nothing */
	size_t n_left;        /* lp_tree_left */
	char *left_path;      /* owned */
	uint64_t next;        /* the revision that is being committed */
	struct lp_buf late; /* the journal of the last commit of one file, whose staging area still
			     * is that; empty: none */
	struct lp_undo late_undo;
	struct lp_undo *undo; /* oldest first */
	size_t n_undo;
	size_t cap_undo;
	/* What changed since the last commit that went well: one that failed halfway changed files,
	 * too. */
	char **changed; /* owned */
	size_t n_changed;
	size_t cap_changed;
	mode_t umask; /* of the process */
	size_t churn; /* operations since memory was last given back */
	/* The large file whose content is under way: the last of ops. */
	int data_fd; /* -1: none */
	uint64_t data_left;
	struct lp_hasher *data_hasher;
	struct lp_partial partial;
	struct lp_verifying *verifying; /* verify.c's; NULL: it is not under way */
	/* The directory that was used last; most operations are neighbours. */
	char *parent_path; /* owned; NULL: none */
	int parent_fd;
	bool has_damage; /* the journal that was found could not be used */
	bool unwiped;    /* the staging area holds what is of no use any more */
	bool log_torn;   /* the log ends in half a batch, and must be written anew */
	bool is_single;  /* one file for another: a rename, which needs no journal to be whole */
	bool lenient;    /* the last one failed: leave out what cannot be put now */
};

/* stage.c: the names of what is staged for an operation and of what it replaced; where the former
 * is (directory borrowed, or -errno); the staging area made anew. */
void lp_stage_name(size_t number, char out[LP_STAGE_NAME_BYTES]);
void lp_stage_old_name(size_t number, char out[LP_STAGE_NAME_BYTES]);
int lp_stage_at(struct lp_tree *t, const struct lp_staged *s, char number[LP_STAGE_NAME_BYTES],
		const char **name) LP_MUST_USE;
int lp_stage_open_area(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
void lp_stage_wipe(struct lp_tree *t);
int lp_stage_bad(struct lp_err *err, const struct lp_staged *s, const char *why);
/* Creates the staged file of an operation; an owned descriptor or -errno. Ends it: mode, and what
 * is known of it from then on. */
int lp_stage_create(struct lp_tree *t, struct lp_staged *s, struct lp_err *err) LP_MUST_USE;
int lp_stage_settle(struct lp_tree *t, int fd, struct lp_staged *s, struct lp_err *err) LP_MUST_USE;
void lp_staged_finish(struct lp_staged *s);
/* Where a path is before the changeset's MOVEs; false: nowhere. */
bool lp_stage_before_moves(const struct lp_tree *t, const char *path,
			   char out[LP_PATH_MAX_BYTES + 1]);

/* stage_dir.c. make: stages the directory of an operation; 0 or -errno. of: the staged directory
 * that `path` goes into, or NULL. fd: it open, borrowed until the next call, or -errno. where: its
 * path below the staging area. seal: sets the modes that had to wait. */
int lp_stage_dir_make(struct lp_tree *t, struct lp_staged *s) LP_MUST_USE;
struct lp_stage_dir *lp_stage_dir_of(struct lp_tree *t, const char *path);
int lp_stage_dir_fd(struct lp_tree *t, struct lp_stage_dir *d) LP_MUST_USE;
void lp_stage_where(const struct lp_tree *t, const struct lp_stage_dir *d,
		    char out[LP_STAGE_PATH_BYTES]);
int lp_stage_dirs_seal(struct lp_tree *t, struct lp_err *err) LP_MUST_USE;
void lp_stage_dirs_finish(struct lp_tree *t);

/* content.c: large contents that come as DATA; the one whose connection was lost. */
int lp_stage_large(struct lp_tree *t, struct lp_staged *s, struct lp_err *err) LP_MUST_USE;
void lp_data_end(struct lp_tree *t);
void lp_partial_drop(struct lp_tree *t);
void lp_partial_expire(struct lp_tree *t);

/* patch.c: whether segments of an operation's content are still due. */
void lp_patch_destroy(struct lp_patch *p); /* NULL is allowed */
bool lp_patch_is_open(const struct lp_staged *s);

/* Opens the directory above `path` without crossing a link, making missing ones (they came from the
 * workspace and the app removed them). Borrowed until the next call. Returns it or -errno. */
int lp_tree_parent(struct lp_tree *t, const char *path);

/* The same without making anything: -ENOENT when the directory is missing. */
int lp_tree_find_parent(struct lp_tree *t, const char *path);

/* The type of file that a node's entry is, as in st_mode. */
mode_t lp_tree_format(const struct lp_node *n);

/* Forgets the directory that was used last: it may have been renamed or removed. */
void lp_tree_forget_parent(struct lp_tree *t);

/* Reads and hashes a regular file of the tree; st: how it was before. Returns 0, or -errno
 * (-EINVAL: no regular file). */
int lp_tree_hash(struct lp_tree *t, const char *path, struct lp_entry *out, struct stat *st);

/* sig.c: signatures of files. of: never 0. mark: what a node remembers of one. is_settled: a change
 * after since_ns (lp_sig_now) would change it. boot: names this run of the system. */
uint64_t lp_sig_of(const struct stat *st);
uint32_t lp_sig_mark(uint64_t sig);
int64_t lp_sig_now(void);
int64_t lp_sig_ctime(const struct stat *st);
bool lp_sig_is_settled(int64_t ctime_ns, int64_t since_ns);
uint64_t lp_sig_boot(void);

/* owned.c: reads a file of the state; what is no file, or not there, is empty. */
int lp_state_read(int dir_fd, const char *name, size_t max, struct lp_buf *out) LP_MUST_USE;

#endif
