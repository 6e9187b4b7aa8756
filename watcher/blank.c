/* watcher/blank.c: the files that a first scan has only seen. Whoever sends them to an instance
 * that has nothing reads them, so that they are read once; for everybody else they are read here.
 * Until then nothing else changes in the index, so that all who look at it lead to the same tree.
 */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/batch.h"
#include "watcher/memory.h"
#include "watcher/workspace_internal.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

/* A turn of reading; then others have the loop. */
#define TURN_US       ((uint64_t)50 * 1000)
#define TURN_PAUSE_US 1000

/* As long as somebody sends the files, reading them before him would only be done twice. */
#define PATIENCE_US ((uint64_t)200 * 1000)

/* Batches that are read together. */
#define BATCHES 8

static void forget_dir(struct lp_blanks *b)
{
	free(b->dir);
	b->dir = NULL;
	lp_auto_close(&b->dir_fd);
}

static void forget_followers(struct lp_blanks *b)
{
	while (b->n_follow > 0)
		lp_changeset_unref(b->follow[--b->n_follow]);
	free(b->follow);
	b->follow = NULL;
	b->cap_follow = 0;
}

/* Gives the operations what the index knows by now. What is not as they say keeps no digest. */
static void complete(const struct lp_index *ix, struct lp_changeset *cs)
{
	for (size_t i = 0; i < cs->n_ops; i++) {
		struct lp_op *op = &cs->ops[i];
		const struct lp_node *n;

		if (op->kind != LP_OP_PUT || !lp_entry_is_blank(&op->e))
			continue;
		n = lp_index_get(ix, op->path);
		if (n && n->e.kind == LP_KIND_FILE && n->e.mode == op->e.mode &&
		    n->e.size == op->e.size)
			op->e.digest = n->e.digest;
	}
}

/* All are read: this is what the sketch was a sketch of. */
static void finish_all(struct lp_workspace *ws)
{
	struct lp_blanks *b = &ws->blanks;
	struct lp_digest root = lp_index_root(ws->index);

	b->n = 0;
	b->next = NULL;
	for (size_t i = 0; i < b->n_follow; i++) {
		complete(ws->index, b->follow[i]);
		b->follow[i]->root = root;
	}
	forget_followers(b);
	forget_dir(b);
}

void lp_blank_finish(struct lp_workspace *ws)
{
	lp_timer_clear(&ws->blanks.timer);
	forget_followers(&ws->blanks);
	forget_dir(&ws->blanks);
}

void lp_workspace_follow(struct lp_workspace *ws, struct lp_changeset *cs)
{
	struct lp_blanks *b = &ws->blanks;

	lp_grow(&b->follow, &b->cap_follow, b->n_follow + 1, sizeof(struct lp_changeset *));
	b->follow[b->n_follow++] = lp_changeset_ref(cs);
}

struct lp_index *lp_workspace_sketch(struct lp_workspace *ws)
{
	return ws->blanks.n > 0 ? ws->index : NULL;
}

/* The directory of the path, open; one after the other are in the same one. Borrowed, or -errno. */
static int dir_of(struct lp_workspace *ws, const char *path)
{
	struct lp_blanks *b = &ws->blanks;
	size_t len = lp_path_dir_len(path);

	int fd;

	if (b->dir && strncmp(b->dir, path, len) == 0 && b->dir[len] == '\0')
		return b->dir_fd;
	forget_dir(b);
	b->dir = lp_xstrndup(path, len);
	fd = lp_open_beneath(ws->root_fd, len ? b->dir : ".", O_PATH | O_DIRECTORY, 0);
	if (fd >= 0)
		b->dir_fd = fd;
	else
		forget_dir(b);
	return fd;
}

/* Reads the whole of an open file that looked like sig when it was seen, which was long after its
 * last change: looking the same after it was read, it is as it was all the time. */
static int read_same(int fd, size_t size, const struct lp_stat_sig *sig, void *to)
{
	struct stat st;
	size_t len;
	int r = lp_read_up_to(fd, to, size + 1, &len);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	return len == size && lp_sig_is(sig, &st) ? 0 : -ESTALE;
}

int lp_workspace_read_blank(struct lp_workspace *ws, const char *path, struct lp_entry *e, void *to)
{
	struct lp_node *n = lp_index_get(ws->index, path);
	LP_AUTO_CLOSE int fd = -1;
	struct lp_stat_sig sig;
	int dir_fd, r;

	/* When all were read, what has got no digest by that was another file. */
	if (ws->blanks.n == 0 || !n || n->e.kind != LP_KIND_FILE || n->e.mode != e->mode ||
	    n->e.size != e->size)
		return -ESTALE;
	if (!lp_node_is_blank(n)) {
		e->digest = n->e.digest;
		return 1;
	}
	dir_fd = dir_of(ws, path);
	fd = dir_fd < 0 ? dir_fd : lp_look_open(dir_fd, lp_path_base(path));
	if (fd < 0)
		return fd;
	sig = *lp_node_sig(n);
	r = read_same(fd, (size_t)e->size, &sig, to);
	if (r == 0 && lp_workspace_is_written(ws, path))
		r = -EBUSY;
	if (r < 0)
		return r;
	e->digest = lp_digest_of(to, (size_t)e->size);
	(void)lp_node_put(ws->index, lp_node_parent(n), n->name, e, &sig);
	lp_memory_touch(ws);
	ws->blanks.filled++;
	if (--ws->blanks.n == 0)
		finish_all(ws);
	return 0;
}

/* The next file after n that has no digest. */
static struct lp_node *next_blank(const struct lp_node *top, const struct lp_node *n)
{
	struct lp_node *next = lp_node_next(top, n);

	while (next && !lp_node_is_blank(next))
		next = lp_node_next(top, next);
	return next;
}

/* Forgets the files of the directory of *n, beginning with it: it is not there any more. *n becomes
 * the one after them. */
static void drop_all(struct lp_workspace *ws, const struct lp_node *top, struct lp_node **n)
{
	const struct lp_node *parent = lp_node_parent(*n);
	char path[LP_PATH_MAX_BYTES + 1];

	while (*n && lp_node_parent(*n) == parent) {
		struct lp_node *gone = *n;

		*n = next_blank(top, gone);
		if (lp_node_path(gone, path, sizeof(path)) < 0)
			abort(); /* it was walked */
		lp_workspace_drop(ws, gone, path, NULL);
	}
}

/* A batch of files of the directory of *n, beginning with it; *n becomes the one after them. NULL:
 * the directory cannot be opened. What keeps it from that may pass: the next take looks there. */
static struct lp_batch *gather(struct lp_workspace *ws, const struct lp_node *top,
			       struct lp_node **n)
{
	const struct lp_node *parent = lp_node_parent(*n);
	char path[LP_PATH_MAX_BYTES + 1];
	struct lp_batch *b;
	int fd;

	if (lp_node_path(parent, path, sizeof(path)) < 0)
		abort(); /* it was walked */
	fd = lp_open_beneath(ws->root_fd, path[0] ? path : ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0) {
		/* It may be there all the same. */
		if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP)
			lp_workspace_dirty(ws, LP_EVENT_SUBTREE, path);
		drop_all(ws, top, n);
		return NULL;
	}
	b = lp_batch_create(lp_batch_dir_create(path, fd), ws, false);
	while (*n && lp_node_parent(*n) == parent && !lp_batch_is_full(b)) {
		(void)lp_batch_add(b, (*n)->name, DT_REG, false);
		*n = next_blank(top, *n);
	}
	return b;
}

/* What is there now is what the sketch was of: nobody was told anything else. A file that is being
 * written, or cannot be read, is none of it. */
static void accept_batch(struct lp_workspace *ws, struct lp_batch *b)
{
	struct lp_node *dir = lp_index_get(ws->index, b->dir->path);
	char child[LP_PATH_MAX_BYTES + 1];

	for (size_t i = 0; i < b->n; i++) {
		struct lp_batch_item *item = &b->items[i];
		struct lp_node *n = lp_node_child(dir, item->name);

		if (lp_path_join(child, sizeof(child), b->dir->path, item->name) < 0)
			abort();
		if (item->look.error < 0 || item->look.state != LP_LOOK_READ)
			lp_workspace_drop(ws, n, child, NULL);
		(void)lp_workspace_accept(ws, dir, child, NULL, &item->look, NULL);
	}
	lp_batch_dir_free(b->dir);
	free(b);
}

/* Reads a few batches at once. */
static void read_some(struct lp_workspace *ws)
{
	const struct lp_node *top = lp_index_get(ws->index, "");
	struct lp_node *n = ws->blanks.next;
	struct lp_read_job *job;

	if (!ws->readers)
		ws->readers = lp_readers_create(lp_readers_width() - 1, LP_LOOK_SCRATCH_BYTES);
	if (!n || !lp_node_is_blank(n))
		n = next_blank(top, n ? n : top);
	for (int i = 0; n && i < BATCHES; i++) {
		struct lp_batch *b = gather(ws, top, &n);

		if (b)
			lp_readers_add(ws->readers, &b->job);
	}
	/* None of what follows moves a node that was not in a batch. */
	ws->blanks.next = n;
	while ((job = lp_readers_wait(ws->readers)))
		accept_batch(ws, LP_CONTAINER_OF(job, struct lp_batch, job));
	ws->blanks.filled++;
	if (!n)
		finish_all(ws);
}

bool lp_workspace_fill(struct lp_workspace *ws)
{
	uint64_t end_us = ws->blanks.n > 0 ? lp_now_us() + TURN_US : 0;

	while (ws->blanks.n > 0 && lp_now_us() < end_us)
		read_some(ws);
	return ws->blanks.n == 0;
}

static void on_timer(struct lp_timer *timer)
{
	struct lp_blanks *b = LP_CONTAINER_OF(timer, struct lp_blanks, timer);
	struct lp_workspace *ws = LP_CONTAINER_OF(b, struct lp_workspace, blanks);
	uint64_t wait_us = PATIENCE_US;

	if (b->filled == b->seen) {
		wait_us = TURN_PAUSE_US;
		(void)lp_workspace_fill(ws);
	}
	b->seen = b->filled;
	if (b->n == 0)
		lp_workspace_tell(ws);
	else
		lp_timer_set(ws->loop, &b->timer, lp_now_us() + wait_us);
}

bool lp_blank_wait(struct lp_workspace *ws)
{
	struct lp_blanks *b = &ws->blanks;

	if (b->n == 0)
		return false;
	if (!b->timer.loop) {
		b->seen = b->filled;
		b->timer.on_fire = on_timer;
		lp_timer_set(ws->loop, &b->timer, lp_now_us() + PATIENCE_US);
	}
	return true;
}
