/* controller/list.c: what one directory of the tree holds, for an owner that compares. */
#include "controller/tree_internal.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

/* Larger files of the app are not read to find out whether they happen to be the workspace's. */
#define HASH_MAX_BYTES   ((off_t)64 * 1024 * 1024)
#define ENTRIES_PER_CALL 1000

/* What no workspace sent is only listed so that equal content need not be sent, and for what it is
 * in the way of. An app that makes more than that in one directory must not fill the memory. */
#define FOREIGN_MAX   65536
#define FOREIGN_BYTES 48 /* of one, about, without its name */

struct listing {
	struct lp_tree *tree;
	const char *path;
	struct lp_wire_entry entries[ENTRIES_PER_CALL];
	char *names[ENTRIES_PER_CALL]; /* owned */
	size_t n;
	size_t *foreign_bytes;
	size_t foreign;
	bool is_cut; /* there were more */
	void (*emit)(void *ctx, const struct lp_wire_entry *entries, size_t n, bool more);
	void *ctx;
};

static void flush(struct listing *l, bool more)
{
	l->emit(l->ctx, l->entries, l->n, more);
	for (size_t i = 0; i < l->n; i++)
		free(l->names[i]);
	l->n = 0;
}

/* An entry that no workspace sent: read as it is, so that equal content need not be sent. */
static int look(struct listing *l, int dir_fd, const char *name, struct lp_entry *e)
{
	char path[LP_PATH_MAX_BYTES + 1], target[LP_PATH_MAX_BYTES + 1];
	struct stat st, before;
	ssize_t n;

	*e = (struct lp_entry){0};
	if (lp_path_join(path, sizeof(path), l->path, name) < 0 ||
	    fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -ENOENT;
	if (S_ISDIR(st.st_mode)) {
		e->kind = LP_KIND_DIR;
		e->mode = (uint32_t)st.st_mode & 0777;
		return 0;
	}
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(dir_fd, name, target, sizeof(target));
		if (n < 0)
			return -ENOENT;
		e->kind = LP_KIND_LINK;
		e->size = (uint64_t)n;
		e->digest = lp_digest_of(target, (size_t)n);
		return 0;
	}
	/* Unreadable and special files have no content to compare; they are in the way all the
	 * same. */
	if (!S_ISREG(st.st_mode) || st.st_size > HASH_MAX_BYTES ||
	    lp_tree_hash(l->tree, path, e, &before) < 0)
		*e = (struct lp_entry){.kind = LP_KIND_NONE};
	return 0;
}

static void add(struct listing *l, const char *name, const struct lp_entry *e, bool owned)
{
	struct lp_wire_entry *w = &l->entries[l->n];

	l->names[l->n] = lp_xstrdup(name);
	*w = (struct lp_wire_entry){
		.name = lp_bytes_of(l->names[l->n]),
		.kind = e->kind,
		.mode = e->mode,
		.size = e->size,
		.owned = owned,
	};
	memcpy(w->digest, e->digest.b, sizeof(w->digest));
	if (++l->n == ENTRIES_PER_CALL)
		flush(l, true);
}

/* Whether another entry that no workspace sent may be told. */
static bool may_tell(struct listing *l, const char *name)
{
	size_t bytes = FOREIGN_BYTES + strlen(name);

	if (l->foreign == FOREIGN_MAX || bytes > *l->foreign_bytes) {
		l->is_cut = true;
		return false;
	}
	l->foreign++;
	*l->foreign_bytes -= bytes;
	return true;
}

static void add_entry(struct listing *l, struct lp_node *node, int dir_fd, const char *name)
{
	struct lp_node *child = node ? lp_node_child(node, name) : NULL;
	struct lp_entry e;
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	    (l->path[0] == '\0' && strcmp(name, LP_STATE_DIR) == 0))
		return;
	/* What the app put in the place of an entry of another kind is the app's. */
	if (child && (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		      (st.st_mode & S_IFMT) != lp_tree_format(child)))
		child = NULL;
	if (child) {
		child->mark |= LP_MARK_SEEN;
		e = lp_node_entry(child);
		add(l, name, &e, true);
	} else if (may_tell(l, name) && look(l, dir_fd, name, &e) == 0) {
		add(l, name, &e, false);
	}
}

/* What the index has and the directory has not was removed by the app. */
static void drop_missing(struct lp_tree *t, struct lp_node *node, bool keep)
{
	for (uint32_t i = lp_node_count(node); i-- > 0;) {
		struct lp_node *child = lp_node_at(node, i);

		if (child->mark & LP_MARK_SEEN)
			child->mark &= LP_MARK_SIG;
		else if (!keep)
			lp_node_remove(t->index, child);
	}
}

int lp_tree_list(struct lp_tree *t, const char *path, size_t *foreign_bytes,
		 void (*emit)(void *ctx, const struct lp_wire_entry *entries, size_t n, bool more),
		 void *ctx, struct lp_err *err)
{
	LP_AUTO_FREE struct listing *l = lp_xcalloc(1, sizeof(*l));
	struct lp_node *node;
	struct dirent *e;
	int fd;
	DIR *dir;

	(void)lp_index_root(t->index); /* makes the digests of directories valid */
	node = lp_index_get(t->index, path);
	l->tree = t;
	l->path = path;
	l->foreign_bytes = foreign_bytes;
	l->emit = emit;
	l->ctx = ctx;
	fd = lp_open_beneath(t->root_fd, path[0] ? path : ".", O_RDONLY | O_DIRECTORY, 0);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int cause = fd < 0 ? -fd : errno;

		lp_auto_close(&fd);
		if (cause != ENOENT && cause != ENOTDIR && cause != ELOOP)
			return lp_err_set(err, cause, "%s: cannot be listed", path);
	}
	while (dir && (errno = 0, e = readdir(dir)))
		add_entry(l, node, dirfd(dir), e->d_name);
	/* What was not seen because of an error is not gone. */
	if (node)
		drop_missing(t, node, dir && errno != 0);
	flush(l, false);
	if (dir)
		(void)closedir(dir);
	return l->is_cut;
}
