/* controller/verify.c: reads the whole tree again, to find what changed without the workspace. It
 * does so in turns, between which changesets are applied: it remembers the path that it looked at
 * last, and goes on behind that one. */
#include "controller/tree_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <string.h>

#define PIECE_BYTES ((size_t)128 * 1024)

/* A file that commits keep writing into while it is read is what they say. */
#define FILE_TRIES 8

/* at: the path that was looked at last. fd: it is a file that is being read; -1: it is done. sig,
 * before: how it and its node were when that began. now: what was read of it. */
struct lp_verifying {
	char at[LP_PATH_MAX_BYTES + 1];
	int fd;
	unsigned tries;
	uint64_t sig;
	struct lp_entry before;
	struct lp_entry now;
	struct lp_hasher *hasher;
	struct lp_verified found;
	uint8_t piece[PIECE_BYTES];
};

void lp_verified_finish(struct lp_verified *v)
{
	for (size_t i = 0; i < v->n_paths; i++)
		free(v->paths[i]);
	*v = (struct lp_verified){0};
}

void lp_tree_verify_end(struct lp_tree *t)
{
	struct lp_verifying *v = t->verifying;

	if (!v)
		return;
	lp_auto_close(&v->fd);
	lp_hasher_destroy(v->hasher);
	lp_verified_finish(&v->found);
	free(v);
	t->verifying = NULL;
}

void lp_tree_verify_begin(struct lp_tree *t)
{
	lp_tree_verify_end(t);
	t->verifying = lp_xcalloc(1, sizeof(*t->verifying));
	t->verifying->fd = -1;
	t->verifying->hasher = lp_hasher_create();
}

static struct lp_node *first_behind(struct lp_node *dir, const char *name)
{
	for (uint32_t i = 0; i < lp_node_count(dir); i++)
		if (strcmp(lp_node_at(dir, i)->name, name) > 0)
			return lp_node_at(dir, i);
	return NULL;
}

/* The node that comes next behind a path, which need not be there any more. */
static struct lp_node *behind(struct lp_index *ix, const char *path)
{
	struct lp_node *root = lp_index_get(ix, ""), *n = root;
	char name[LP_NAME_MAX_BYTES + 1];

	while (*path) {
		size_t len = strcspn(path, "/");
		struct lp_node *child, *next;

		memcpy(name, path, len);
		name[len] = '\0';
		child = lp_node_child(n, name);
		if (!child) {
			next = first_behind(n, name);
			return next ? next : lp_node_after(root, n);
		}
		n = child;
		path += path[len] == '/' ? len + 1 : len;
	}
	return lp_node_next(root, n);
}

static void drifted(struct lp_verified *v, const char *path)
{
	v->drifted++;
	if (v->n_paths < LP_VERIFIED_PATHS_MAX)
		v->paths[v->n_paths++] = lp_xstrdup(path);
}

/* Compares what was found at the path with its node, which learns it. */
static void compare(struct lp_tree *t, struct lp_node *n, const struct lp_entry *now, uint32_t mark)
{
	struct lp_verified *found = &t->verifying->found;
	struct lp_entry e = *now;

	if (e.kind == LP_KIND_FILE) {
		found->files++;
		found->bytes += e.size;
	}
	if (e.kind == LP_KIND_DIR && n->e.kind == LP_KIND_DIR)
		e.digest = n->e.digest; /* its children are looked at, too */
	if (!lp_node_equal(n, &e))
		drifted(found, t->verifying->at);
	if (e.kind != (enum lp_kind)n->e.kind) {
		lp_node_remove(t->index, n); /* gone, or the app's */
		return;
	}
	if (!lp_node_equal(n, &e) && lp_index_put(t->index, t->verifying->at, &e, NULL, &n) < 0)
		return;
	n->mark = mark;
}

/* Begins to read a file. One that cannot be read has another content for all that is known. */
static void begin_file(struct lp_tree *t, struct lp_node *n, const struct stat *looked)
{
	LP_AUTO_CLOSE int fd =
		lp_open_beneath(t->root_fd, t->verifying->at, O_RDONLY | O_NONBLOCK, 0);
	struct lp_verifying *v = t->verifying;
	struct stat st;

	v->now = (struct lp_entry){.kind = LP_KIND_FILE, .mode = (uint32_t)looked->st_mode & 0777};
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		v->now.size = (uint64_t)looked->st_size;
		compare(t, n, &v->now, 0);
		return;
	}
	v->fd = lp_take_fd(&fd);
	v->sig = lp_sig_of(&st);
	v->before = lp_node_entry(n);
	lp_hasher_reset(v->hasher);
}

/* Looks at the node's path. */
static void look(struct lp_tree *t, struct lp_node *n)
{
	const struct lp_verifying *v = t->verifying;
	char target[LP_PATH_MAX_BYTES + 1];
	struct lp_entry e = {0}; /* nothing that can be compared */
	int fd = lp_tree_find_parent(t, v->at);
	struct stat st;
	ssize_t len;

	if (fd < 0 || fstatat(fd, n->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		st.st_mode = 0;
	if (S_ISREG(st.st_mode)) {
		begin_file(t, n, &st);
		return;
	}
	if (S_ISDIR(st.st_mode)) {
		e.kind = LP_KIND_DIR;
		e.mode = st.st_mode & 0777;
	} else if (S_ISLNK(st.st_mode) &&
		   (len = readlinkat(fd, n->name, target, sizeof(target))) >= 0) {
		e.kind = LP_KIND_LINK;
		e.size = (uint64_t)len;
		e.digest = lp_digest_of(target, (size_t)len);
	}
	compare(t, n, &e, 0);
}

static void end_file(struct lp_tree *t, bool is_read)
{
	struct lp_verifying *v = t->verifying;
	struct lp_node *n = lp_index_get(t->index, v->at);

	lp_auto_close(&v->fd);
	v->fd = -1;
	if (!n)
		return; /* deleted meanwhile */
	/* A commit put something else there meanwhile. */
	if (n->e.kind != v->before.kind ||
	    (n->e.kind != LP_KIND_DIR && !lp_digest_equal(&n->e.digest, &v->before.digest))) {
		if (++v->tries < FILE_TRIES)
			look(t, n);
		return;
	}
	if (is_read)
		v->now.digest = lp_hasher_get(v->hasher);
	compare(t, n, &v->now, is_read ? lp_sig_mark(v->sig) : 0);
}

static void read_piece(struct lp_tree *t)
{
	struct lp_verifying *v = t->verifying;
	ssize_t len = read(v->fd, v->piece, sizeof(v->piece));

	if (len <= 0) {
		if (len == 0 || errno != EINTR)
			end_file(t, len == 0);
		return;
	}
	lp_hasher_add(v->hasher, v->piece, (size_t)len);
	v->now.size += (uint64_t)len;
}

bool lp_tree_verify_turn(struct lp_tree *t, uint64_t budget_us, struct lp_verified *out)
{
	const uint64_t until_us = lp_now_us() + budget_us;
	struct lp_verifying *v = t->verifying;
	struct lp_node *n;

	do {
		if (v->fd >= 0) {
			read_piece(t);
			continue;
		}
		n = behind(t->index, v->at);
		/* What a MOVE made too long to be named is left out, with what is below. */
		while (n && lp_node_path(n, v->at, sizeof(v->at)) < 0)
			n = lp_node_after(lp_index_get(t->index, ""), n);
		if (!n) {
			lp_tree_forget_parent(t);
			*out = v->found;
			out->root = lp_index_root(t->index);
			v->found = (struct lp_verified){0};
			lp_tree_verify_end(t);
			return true;
		}
		v->tries = 0;
		look(t, n);
	} while (lp_now_us() < until_us);
	lp_tree_forget_parent(t);
	return false;
}
