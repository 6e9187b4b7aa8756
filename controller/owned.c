/* controller/owned.c: the log of what in the tree came from the workspace, so that a controller
 * that starts again knows what to compare and what it may delete. A batch of rows is appended by
 * every commit and makes it count. At every start the entries are checked against the files, by
 * their signatures where there are any, and the log is written anew; where it cannot be, because
 * the disk is full, the one that is there goes on, and is written anew later.
 *
 * Nothing is synced to the disk: a crash of the controller loses nothing of what was written, and
 * after one of the system (another boot) all files are read again. */
#include "controller/commit.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOG_NAME       "owned"
#define LOG_NEW_NAME   "owned.new"
#define LOG_MAX_BYTES  ((size_t)1 << 30)
#define ROWS_PER_BATCH 4096

/* The log has that many rows more than twice as many as there are entries before it is written
 * anew. */
#define ROWS_SLACK 8192

/* The signatures that the log names, while the tree is being opened: a node's mark is the number of
 * its own, from 1. */
struct opening {
	struct lp_tree *t;
	uint64_t *sigs; /* owned */
	size_t n;
	size_t cap;
	uint64_t boot;
};

static void replay(struct opening *o, const struct lp_row *row, bool same_boot)
{
	struct lp_index *ix = o->t->index;
	struct lp_node *n;

	switch (row->kind) {
	case LP_ROW_ENTRY:
		if (lp_index_put(ix, row->path, &row->e, NULL, &n) < 0)
			return; /* damaged: what it says is checked against the files */
		n->mark = 0;
		if (row->sig && same_boot && o->n < UINT32_MAX - 1) {
			lp_grow(&o->sigs, &o->cap, o->n + 1, sizeof(*o->sigs));
			o->sigs[o->n++] = row->sig;
			n->mark = (uint32_t)o->n;
		}
		return;
	case LP_ROW_ABSENT:
		(void)lp_index_remove(ix, row->path);
		return;
	case LP_ROW_MOVED:
		n = row->from[0] ? lp_index_get(ix, row->from) : NULL;
		if (n && lp_node_move(ix, n, row->path) < 0)
			lp_node_remove(ix, n);
		return;
	case LP_ROW_OP:
	case LP_ROW_COUNT_:
		return;
	}
}

/* Returns how many bytes are left over. */
static size_t replay_all(struct opening *o, const uint8_t *p, size_t len)
{
	struct lp_rows rows = {.p = p, .len = len};
	struct lp_batch batch;
	struct lp_row row;

	while (lp_rows_batch(&rows, &batch)) {
		while (lp_rows_next(&rows, &row))
			replay(o, &row, batch.boot == o->boot);
		o->t->revision = batch.revision;
		o->t->commit_id = batch.id;
	}
	return rows.len;
}

static bool read_link(int fd, const char *name, struct lp_entry *e)
{
	char target[LP_PATH_MAX_BYTES + 1];
	ssize_t n = readlinkat(fd, name, target, sizeof(target));

	if (n < 0)
		return false;
	e->size = (uint64_t)n;
	e->digest = lp_digest_of(target, (size_t)n);
	return true;
}

/* What is at a path that the log names. Returns false when it is gone or of another sort. A file
 * that changed while no controller looked gets another digest, so that the next owner sees the
 * difference; it stays owned. *at: its node, which becomes another one when that is put. */
static bool check(struct opening *o, const char *path, struct lp_node **at, uint64_t *sig)
{
	struct lp_tree *t = o->t;
	struct lp_node *n = *at;
	struct lp_entry was = lp_node_entry(n), now = was;
	uint64_t known_sig = n->mark > 0 && n->mark <= o->n ? o->sigs[n->mark - 1] : 0;
	int fd = lp_tree_find_parent(t, path);
	struct stat st;
	int r;
	bool same, known = false; /* whether now is what is there */

	*sig = 0;
	n->mark = 0;
	r = fd < 0 ? fd : fstatat(fd, n->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	/* What cannot be looked at is not gone. */
	if (r < 0 && !lp_step_is_not_ours(r)) {
		memset(now.digest.b, 0, sizeof(now.digest.b));
		return lp_index_put(t->index, path, &now, NULL, at) == 0;
	}
	if (r < 0 || S_ISDIR(st.st_mode) != (was.kind == LP_KIND_DIR))
		return false;
	now.mode = S_ISLNK(st.st_mode) ? 0 : (uint32_t)st.st_mode & 0777;
	if (was.kind == LP_KIND_DIR) {
		same = now.mode == was.mode;
	} else if (was.kind == LP_KIND_LINK) {
		known = S_ISLNK(st.st_mode) && read_link(fd, n->name, &now);
		same = known && lp_entry_equal(&now, &was);
	} else {
		*sig = lp_sig_of(&st);
		same = S_ISREG(st.st_mode) && now.mode == was.mode && *sig == known_sig;
		/* Opening anything else may do something. */
		if (!same && S_ISREG(st.st_mode) && lp_tree_hash(t, path, &now, &st) == 0) {
			known = true;
			same = lp_entry_equal(&now, &was);
			*sig = lp_sig_is_settled(lp_sig_ctime(&st), lp_sig_now()) ? lp_sig_of(&st)
										  : 0;
		}
	}
	if (same) {
		n->mark = lp_sig_mark(*sig);
		return true;
	}
	if (!known)
		memset(now.digest.b, 0, sizeof(now.digest.b));
	*sig = 0;
	return lp_index_put(t->index, path, &now, NULL, at) == 0;
}

/* The signature of a file whose digest was taken when it had that mark; 0 when it differs. */
static uint64_t current_sig(struct lp_tree *t, const char *path, const struct lp_node *n)
{
	struct stat st;
	int fd;
	uint64_t sig;

	if (n->e.kind != LP_KIND_FILE || !n->mark)
		return 0;
	fd = lp_tree_find_parent(t, path);
	if (fd < 0 || fstatat(fd, n->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	sig = lp_sig_of(&st);
	return lp_sig_mark(sig) == n->mark && lp_sig_is_settled(lp_sig_ctime(&st), lp_sig_now())
		       ? sig
		       : 0;
}

/* A batch being filled and written. fd -1: it is not, the index is only looked at; so is what
 * follows the first error of writing. */
struct writer {
	struct lp_tree *t;
	int fd;
	int error; /* of that */
	struct lp_buf buf;
	uint64_t n_rows; /* of the batch */
	uint64_t rows;   /* of all before */
	size_t written;
};

static void flush(struct writer *w)
{
	const struct lp_batch batch = {.id = w->t->commit_id,
				       .revision = w->t->revision,
				       .boot = lp_sig_boot(),
				       .n_rows = w->n_rows};

	lp_rows_end(&w->buf, 0, &batch);
	if (w->fd >= 0 && w->error == 0)
		w->error = lp_write_all(w->fd, w->buf.data, w->buf.len);
	w->written += w->buf.len;
	w->buf.len = 0;
	w->rows += w->n_rows;
	w->n_rows = 0;
}

static int write_node(struct writer *w, const struct lp_node *n, const char *path, uint64_t sig)
{
	const struct lp_row row = {
		.kind = LP_ROW_ENTRY, .e = lp_node_entry(n), .sig = sig, .path = path};
	int r = 0;

	if (w->n_rows == ROWS_PER_BATCH)
		flush(w);
	if (w->buf.len == 0) {
		ssize_t begin = lp_rows_begin(&w->buf);

		r = begin < 0 ? (int)begin : 0;
	}
	if (r == 0)
		r = lp_rows_add(&w->buf, &row);
	w->n_rows++;
	return r;
}

/* Writes all that the index holds; with o what the files are is looked at first, also when nothing
 * can be written. Returns 0 or -errno when memory ran out. */
static int write_index(struct writer *w, struct opening *o)
{
	struct lp_index *ix = w->t->index;
	struct lp_node *root = lp_index_get(ix, ""), *n, *next;
	char path[LP_PATH_MAX_BYTES + 1];
	int r = 0;

	for (n = lp_node_next(root, root); n && r == 0 && (o || w->error == 0); n = next) {
		uint64_t sig = 0;

		if (lp_node_path(n, path, sizeof(path)) < 0 || (o && !check(o, path, &n, &sig))) {
			next = lp_node_after(root, n);
			lp_node_remove(ix, n);
			continue;
		}
		if (!o)
			sig = current_sig(w->t, path, n);
		r = write_node(w, n, path, sig);
		next = lp_node_next(root, n);
	}
	lp_tree_forget_parent(w->t);
	/* An empty one says the revision. */
	if (r == 0 && w->buf.len == 0) {
		ssize_t begin = lp_rows_begin(&w->buf);

		r = begin < 0 ? (int)begin : 0;
	}
	if (r == 0)
		flush(w);
	return r;
}

/* Writes the log anew, with what the index holds now, and goes on with it. */
static int rewrite(struct lp_tree *t, struct opening *o)
{
	LP_AUTO_CLOSE int fd = openat(t->state_fd, LOG_NEW_NAME,
				      O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW |
					      O_NONBLOCK | O_CLOEXEC,
				      0600);
	struct writer w = {.t = t, .fd = fd, .error = fd < 0 ? -errno : 0};
	int r = write_index(&w, o);

	lp_buf_finish(&w.buf);
	if (r == 0)
		r = w.error;
	if (r == 0 && renameat(t->state_fd, LOG_NEW_NAME, t->state_fd, LOG_NAME) < 0)
		r = -errno;
	if (r < 0) {
		/* On a full disk, too. */
		(void)unlinkat(t->state_fd, LOG_NEW_NAME, 0);
		return r;
	}
	lp_auto_close(&t->log_fd);
	t->log_fd = lp_take_fd(&fd);
	t->log_bytes = w.written;
	t->log_rows = w.rows;
	t->log_torn = false;
	t->log_error = 0;
	return 0;
}

/* The log that was read goes on, without what could not be read of it, which would hide all that
 * follows. Without one nothing can be applied until it can be written. */
static void go_on(struct lp_tree *t, int why)
{
	const int flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	LP_AUTO_CLOSE int fd = openat(t->state_fd, LOG_NAME, flags, 0600);
	struct stat st;

	t->log_error = why;
	t->log_torn = true;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size < t->log_unread)
		return;
	st.st_size -= (off_t)t->log_unread;
	if (t->log_unread > 0 && ftruncate(fd, st.st_size) < 0)
		return;
	lp_auto_close(&t->log_fd);
	t->log_fd = lp_take_fd(&fd);
	t->log_bytes = (size_t)st.st_size;
	t->log_rows = 0;
	t->log_torn = false;
}

int lp_owned_append(struct lp_tree *t, const struct lp_buf *batch, uint64_t n_rows,
		    struct lp_err *err)
{
	int r = lp_write_all(t->log_fd, batch->data, batch->len);

	if (r == 0) {
		t->log_bytes += batch->len;
		t->log_rows += n_rows;
		return 0;
	}
	/* Half a batch would hide all that come after it. */
	t->log_torn = ftruncate(t->log_fd, (off_t)t->log_bytes) < 0;
	return lp_err_set(err, -r, "%s/%s: cannot be written", LP_STATE_DIR, LOG_NAME);
}

int lp_owned_make_room(struct lp_tree *t, struct lp_err *err)
{
	int r = t->log_torn || t->log_bytes > LOG_MAX_BYTES / 2 ? rewrite(t, NULL) : 0;

	return r < 0 ? lp_err_set(err, -r, "%s/%s: cannot be written", LP_STATE_DIR, LOG_NAME) : 0;
}

void lp_owned_tidy(struct lp_tree *t)
{
	const uint64_t count = lp_index_count(t->index);

	if (t->log_error < 0 && rewrite(t, NULL) < 0)
		return;
	/* As many rows were added since the last time as there are to look at now, so that it costs
	 * no more than the changes themselves. */
	if (t->log_rows <= 2 * count + ROWS_SLACK)
		return;
	/* When it fails the log is only longer; not again before as many changes. */
	if (rewrite(t, NULL) < 0)
		t->log_rows = count;
}

int lp_owned_lock(struct lp_tree *t, struct lp_err *err)
{
	/* On the directory, which stays while the log is replaced. */
	if (flock(t->state_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK
		       ? lp_err_say(err, EWOULDBLOCK,
				    "another livepush-controller works on this tree; stop it first")
		       : lp_err_set(err, errno, "cannot lock '%s'", LP_STATE_DIR);
}

int lp_state_read(int dir_fd, const char *name, size_t max, struct lp_buf *out)
{
	LP_AUTO_CLOSE int fd = lp_open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;

	lp_buf_init(out, max);
	if (fd == -ENOENT || fd == -ELOOP)
		return 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	return (uint64_t)st.st_size > max ? -EFBIG : lp_read_all(fd, out);
}

int lp_owned_read(struct lp_tree *t, struct lp_err *err)
{
	struct opening o = {.t = t, .boot = lp_sig_boot()};
	struct lp_buf old;
	int r = lp_state_read(t->state_fd, LOG_NAME, LOG_MAX_BYTES, &old);

	t->log_unread = r == 0 && old.len > 0 ? replay_all(&o, old.data, old.len) : 0;
	lp_buf_finish(&old);
	t->opening = NULL;
	if (r < 0) {
		free(o.sigs);
		return lp_err_set(err, -r, "%s/%s: cannot be read", LP_STATE_DIR, LOG_NAME);
	}
	t->opening = lp_xcalloc(1, sizeof(o));
	*t->opening = o;
	return 0;
}

/* Compares the index with the files, and leaves the log alone. */
static int look_only(struct lp_tree *t, struct opening *o)
{
	struct writer w = {.t = t, .fd = -1};
	int r = write_index(&w, o);

	lp_buf_finish(&w.buf);
	return r;
}

int lp_owned_check(struct lp_tree *t, bool as_it_is, struct lp_err *err)
{
	int r = as_it_is ? look_only(t, t->opening) : rewrite(t, t->opening);

	lp_owned_forget(t);
	if (as_it_is || r == -ENOMEM)
		return r < 0 ? lp_err_set(err, -r, "%s/%s: cannot be read", LP_STATE_DIR, LOG_NAME)
			     : 0;
	/* The index is as it should be all the same. */
	if (r < 0)
		go_on(t, r);
	return 0;
}

bool lp_tree_log_is_old(const struct lp_tree *t, struct lp_err *why)
{
	if (t->log_error < 0 && why)
		(void)lp_err_set(why, -t->log_error,
				 "%s/%s cannot be written anew; the one that is there goes on, and "
				 "it is tried again and again: make room, or the state directory "
				 "writable",
				 LP_STATE_DIR, LOG_NAME);
	return t->log_error < 0;
}

bool lp_tree_is_at_hand(const struct lp_tree *t)
{
	return !t->owed && !t->log_torn && t->log_bytes <= LOG_MAX_BYTES / 2;
}

int lp_owned_reread(struct lp_tree *t, bool as_it_is, struct lp_err *err)
{
	struct lp_index *before = t->index;
	uint64_t revision = t->revision, commit_id = t->commit_id;
	int r;

	t->index = lp_index_create_lean();
	lp_tree_forget_parent(t);
	r = lp_owned_read(t, err);
	if (r == 0)
		r = lp_owned_check(t, as_it_is, err);
	if (r < 0) {
		lp_index_destroy(t->index);
		t->index = before;
		t->revision = revision;
		t->commit_id = commit_id;
		return r;
	}
	lp_index_destroy(before);
	t->churn = SIZE_MAX;
	return 0;
}

void lp_owned_forget(struct lp_tree *t)
{
	if (t->opening)
		free(t->opening->sigs);
	free(t->opening);
	t->opening = NULL;
}
