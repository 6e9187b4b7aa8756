/* controller/owned.c: the log of what in the tree came from the workspace, so that a controller
 * that starts again knows what to compare and what it may delete. Records are CHANGE messages of
 * the protocol without contents, each behind its length (4 bytes, big-endian). A torn last record
 * is cut off. At every start the entries are checked against the files and the log is written anew.
 */
#include "controller/tree_internal.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOG_NAME       "owned"
#define LOG_NEW_NAME   "owned.new"
#define LOG_MAX_BYTES  ((size_t)1 << 30)
#define LOG_SLACK      ((size_t)1024 * 1024)
#define OPS_PER_RECORD 1000

static void replay(struct lp_tree *t, const struct lp_msg_change *change)
{
	for (size_t i = 0; i < change->n_ops; i++) {
		const struct lp_wire_op *op = &change->ops[i];
		LP_AUTO_FREE char *path = lp_xstrndup((const char *)op->path.p, op->path.len);
		struct lp_entry e = {.kind = (enum lp_kind)op->kind,
				     .mode = (uint32_t)op->mode,
				     .size = op->size};

		memcpy(e.digest.b, op->digest, sizeof(op->digest));
		if (op->op == LP_OP_DELETE)
			(void)lp_index_remove(t->index, path);
		else if (lp_index_put(t->index, path, &e, NULL, NULL) < 0)
			continue; /* its directory was removed later in the log's order */
	}
	t->revision = change->revision;
}

static void read_records(struct lp_tree *t, const uint8_t *p, size_t len)
{
	while (len >= 4) {
		size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
		struct lp_msg msg;

		if (n > len - 4 || lp_msg_decode(&msg, p + 4, n, NULL) < 0)
			return;
		if (msg.kind == LP_MSG_CHANGE)
			replay(t, &msg.u.change);
		lp_msg_finish(&msg);
		p += 4 + n;
		len -= 4 + n;
	}
}

/* Whether the file system has what the index says; a directory's digest is its children's business.
 */
static bool holds(struct lp_tree *t, const char *path, const struct lp_entry *e)
{
	char target[LP_PATH_MAX_BYTES + 1];
	struct lp_entry now;
	struct stat st;
	struct lp_digest d;
	ssize_t n;
	int fd;

	if (e->kind == LP_KIND_FILE)
		return lp_tree_hash(t, path, &now) == 0 && lp_entry_equal(&now, e);
	fd = lp_tree_find_parent(t, path);
	if (fd < 0 || fstatat(fd, lp_path_base(path), &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (e->kind == LP_KIND_DIR)
		return S_ISDIR(st.st_mode) && ((uint32_t)st.st_mode & 0777) == e->mode;
	n = readlinkat(fd, lp_path_base(path), target, sizeof(target));
	if (n < 0)
		return false;
	d = lp_digest_of(target, (size_t)n);
	return lp_digest_equal(&d, &e->digest);
}

/* A file that changed while no controller looked gets another digest, so that the next owner sees
 * the difference; it stays owned. Returns false when the path is gone or of another sort. */
static bool still_there(struct lp_tree *t, const char *path, const struct lp_node *n)
{
	struct lp_entry e = n->e;
	struct stat st;
	int fd = lp_tree_find_parent(t, path);

	if (fd < 0 || fstatat(fd, n->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    S_ISDIR(st.st_mode) != (e.kind == LP_KIND_DIR))
		return false;
	e.mode = (uint32_t)st.st_mode & 0777;
	memset(e.digest.b, 0, sizeof(e.digest.b));
	return lp_index_put(t->index, path, &e, NULL, NULL) == 0;
}

static void check_files(struct lp_tree *t)
{
	struct lp_node *root = lp_index_get(t->index, ""), *n, *next;
	char path[LP_PATH_MAX_BYTES + 1];

	for (n = lp_node_next(root, root); n; n = next) {
		if (lp_node_path(n, path, sizeof(path)) == 0 &&
		    (holds(t, path, &n->e) || still_there(t, path, n))) {
			next = lp_node_next(root, n);
			continue;
		}
		next = lp_node_after(root, n);
		lp_node_remove(t->index, n);
	}
	lp_tree_forget_parent(t);
}

static int write_record(int fd, const struct lp_wire_op *ops, size_t n, uint64_t revision)
{
	struct lp_msg msg = {.kind = LP_MSG_CHANGE};
	struct lp_buf out = {0};
	uint8_t head[4] = {0};
	int r;

	msg.u.change.revision = revision;
	msg.u.change.ops = (struct lp_wire_op *)(uintptr_t)ops;
	msg.u.change.n_ops = n;
	r = lp_buf_add(&out, head, sizeof(head));
	if (r == 0)
		r = lp_msg_encode(&msg, &out);
	if (r == 0) {
		size_t len = out.len - 4;

		for (int i = 3; i >= 0; i--, len >>= 8)
			out.data[i] = (uint8_t)len;
		r = lp_write_all(fd, out.data, out.len);
	}
	lp_buf_finish(&out);
	return r;
}

/* Records are bounded in count and bytes: long paths make them full earlier. */
static int write_ops(int fd, const struct lp_wire_op *ops, size_t n, uint64_t revision)
{
	size_t done = 0;
	int r = 0;

	while (r == 0 && done < n) {
		size_t count = 0, bytes = 0;

		while (done + count < n && count < OPS_PER_RECORD && bytes < LP_WIRE_PIECE_BYTES)
			bytes += ops[done + count++].path.len + 64;
		r = write_record(fd, ops + done, count, revision);
		done += count;
	}
	return r;
}

static int write_index(struct lp_tree *t, int fd)
{
	struct lp_node *root = lp_index_get(t->index, ""), *n;
	char path[LP_PATH_MAX_BYTES + 1];
	int r = write_record(fd, NULL, 0, t->revision);

	for (n = lp_node_next(root, root); n && r == 0; n = lp_node_next(root, n)) {
		struct lp_wire_op op = {
			.op = LP_OP_KEEP, .kind = n->e.kind, .mode = n->e.mode, .size = n->e.size};

		if (lp_node_path(n, path, sizeof(path)) < 0)
			continue;
		op.path = lp_bytes_of(path);
		memcpy(op.digest, n->e.digest.b, sizeof(op.digest));
		r = write_record(fd, &op, 1, t->revision);
	}
	return r;
}

/* Writes the log anew, with what the index holds now, and goes on with it. */
static int rewrite(struct lp_tree *t)
{
	LP_AUTO_CLOSE int fd = openat(t->state_fd, LOG_NEW_NAME,
				      O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW |
					      O_NONBLOCK | O_CLOEXEC,
				      0600);
	struct stat st = {0};
	int r = fd < 0 ? -errno : write_index(t, fd);

	if (r == 0 &&
	    (fstat(fd, &st) < 0 || renameat(t->state_fd, LOG_NEW_NAME, t->state_fd, LOG_NAME) < 0))
		r = -errno;
	if (r < 0)
		return r;
	lp_auto_close(&t->log_fd);
	t->log_fd = lp_take_fd(&fd);
	t->log_bytes = (size_t)st.st_size;
	t->log_max_bytes = 4 * t->log_bytes + LOG_SLACK;
	return 0;
}

int lp_owned_append(struct lp_tree *t, const struct lp_wire_op *ops, size_t n, uint64_t revision,
		    struct lp_err *err)
{
	struct stat st;
	int r;

	if (t->log_bytes > t->log_max_bytes && (r = rewrite(t)) < 0)
		return lp_err_set(err, -r, "%s/%s: cannot be written", LP_STATE_DIR, LOG_NAME);
	r = n > 0 ? write_ops(t->log_fd, ops, n, revision)
		  : write_record(t->log_fd, NULL, 0, revision);
	if (r < 0) {
		/* Half a record would hide all that come after it. */
		if (ftruncate(t->log_fd, (off_t)t->log_bytes) < 0)
			t->log_max_bytes = 0; /* write it anew before the next one */
		return lp_err_set(err, -r, "%s/%s: cannot be written", LP_STATE_DIR, LOG_NAME);
	}
	if (fstat(t->log_fd, &st) == 0)
		t->log_bytes = (size_t)st.st_size;
	return 0;
}

/* The lock is on the directory, which stays while the log is replaced. */
static int lock_state(struct lp_tree *t, struct lp_err *err)
{
	if (flock(t->state_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK
		       ? lp_err_say(err, EWOULDBLOCK,
				    "another livepush-controller works on this tree; stop it first")
		       : lp_err_set(err, errno, "cannot lock '%s'", LP_STATE_DIR);
}

/* Reads the log that an earlier run left. What is no file is no log. */
static int read_log(struct lp_tree *t, struct lp_buf *out)
{
	LP_AUTO_CLOSE int fd = lp_open_beneath(t->state_fd, LOG_NAME, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;

	if (fd == -ENOENT || fd == -ELOOP)
		return 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? lp_read_all(fd, out) : 0;
}

int lp_owned_open(struct lp_tree *t, struct lp_err *err)
{
	struct lp_buf old;
	int r = lock_state(t, err);

	if (r < 0)
		return r;
	lp_buf_init(&old, LOG_MAX_BYTES);
	r = read_log(t, &old);
	if (r == 0 && old.len > 0) {
		read_records(t, old.data, old.len);
		check_files(t);
	}
	lp_buf_finish(&old);
	if (r < 0)
		return lp_err_set(err, -r, "%s/%s: cannot be read", LP_STATE_DIR, LOG_NAME);
	r = rewrite(t);
	return r < 0 ? lp_err_set(err, -r, "%s/%s: cannot be written", LP_STATE_DIR, LOG_NAME) : 0;
}
