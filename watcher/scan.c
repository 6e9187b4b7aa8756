/* watcher/scan.c: walks directories of the workspace into the index. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/workspace_internal.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#define RULES_MAX_BYTES ((size_t)1024 * 1024)

static const struct {
	const char *name;
	enum lp_ignore_level level;
} rule_files[] = {
	{".gitignore", LP_IGNORE_GITIGNORE},
	{".cfignore", LP_IGNORE_CFIGNORE},
	{".livepushignore", LP_IGNORE_LIVEPUSHIGNORE},
};

/* The text of a rule file. What is no plain file has no rules; as in git, a link is not followed.
 */
static int read_rules(int dir_fd, const char *name, struct lp_buf *text)
{
	LP_AUTO_CLOSE int fd = lp_open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd < 0)
		return fd == -ENOENT || fd == -ELOOP || fd == -ENXIO ? 0 : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? lp_read_all(fd, text) : 0;
}

void lp_workspace_load_rules(struct lp_workspace *ws, int dir_fd, const char *path)
{
	for (size_t i = 0; i < LP_COUNT_OF(rule_files); i++) {
		char source[LP_PATH_MAX_BYTES + 32];
		struct lp_buf text;
		int r;

		if (lp_path_join(source, sizeof(source), path, rule_files[i].name) < 0)
			continue;
		lp_buf_init(&text, RULES_MAX_BYTES);
		r = read_rules(dir_fd, rule_files[i].name, &text);
		if (r < 0)
			lp_workspace_notice(ws, source, strerror(-r));
		if (lp_ignore_set(ws->ignore, path, rule_files[i].level, source,
				  text.data ? (const char *)text.data : "",
				  r < 0 ? 0 : text.len) < 0)
			abort();
		lp_buf_finish(&text);
	}
}

void lp_workspace_drop(struct lp_workspace *ws, struct lp_node *node, const char *path,
		       struct lp_changeset *cs)
{
	lp_node_remove(ws->index, node);
	if (cs)
		lp_changeset_add(cs, LP_OP_DELETE, path, NULL, NULL);
}

/* Puts what was looked at into the index, and into cs when it differs from what was known or has to
 * be sent whatever it is. */
static void record(struct lp_workspace *ws, struct lp_node *dir, const char *path,
		   struct lp_look *look, struct lp_changeset *cs)
{
	const char *name = lp_path_base(path);
	struct lp_node *known = lp_node_child(dir, name);
	bool is_new = !known, owed = cs && lp_workspace_owes(ws, path), same, same_content;

	if (look->e.kind == LP_KIND_DIR && known && known->e.kind == LP_KIND_DIR)
		look->e.digest = known->e.digest;
	same = known && lp_entry_equal(&known->e, &look->e);
	same_content = known && known->e.kind == look->e.kind && known->e.size == look->e.size &&
		       lp_digest_equal(&known->e.digest, &look->e.digest);
	if (same)
		known->sig = look->sig;
	else
		known = lp_node_put(ws->index, dir, name, &look->e, &look->sig);
	known->mark = ws->scan_mark;
	if (cs && (!same || owed)) {
		bool keep = same_content && look->e.kind == LP_KIND_FILE && !owed;
		struct lp_blob *blob = keep || cs->bytes > LP_KEEP_MAX_BYTES ? NULL : look->blob;

		lp_changeset_add(cs, keep ? LP_OP_KEEP : LP_OP_PUT, path, &look->e, blob)->is_new =
			is_new;
		if (blob)
			look->blob = NULL;
		lp_workspace_paid(ws, path);
	}
	lp_blob_unref(look->blob);
	look->blob = NULL;
}

/* Looks, and remembers a file that somebody is writing: it goes out when they have closed it. */
static int look_settled(struct lp_workspace *ws, const char *path, int dir_fd,
			const struct lp_look_opts *opts, struct lp_look *look)
{
	int r = lp_look_at(dir_fd, lp_path_base(path), opts, look);

	if (r == 0 && look->state == LP_LOOK_BUSY)
		lp_workspace_defer(ws, path);
	else if (ws->n_busy > 0)
		lp_workspace_settled(ws, path);
	return r;
}

int lp_workspace_update(struct lp_workspace *ws, struct lp_node *dir, int dir_fd, const char *path,
			const struct lp_dirty *hint, struct lp_changeset *cs)
{
	struct lp_node *known = lp_node_child(dir, lp_path_base(path));
	bool was_dir = known && known->e.kind == LP_KIND_DIR, opened;
	struct lp_look_opts opts = {.known = lp_workspace_owes(ws, path) ? NULL : known,
				    .want_blob = cs,
				    .even_if_busy = hint && hint->closed,
				    .just_closed = hint && hint->just_closed,
				    .created = hint && hint->created};
	struct lp_look look;
	int r = look_settled(ws, path, dir_fd, &opts, &look);

	if (r < 0) {
		lp_workspace_notice(ws, path, strerror(-r));
		/* What cannot be read cannot be sent: the instances have to do without, too, or
		 * their trees would never be equal. */
		if (known && r == -EACCES)
			lp_workspace_drop(ws, known, path, cs);
		else if (known)
			known->mark = ws->scan_mark;
		return r == -ENOMEM ? r : 0;
	}
	switch (look.state) {
	case LP_LOOK_SAME:
	case LP_LOOK_BUSY:
		if (known)
			known->mark = ws->scan_mark;
		return 0;
	case LP_LOOK_SPECIAL:
		lp_workspace_notice(ws, path, "is a socket, fifo or device");
		break;
	case LP_LOOK_READ:
		if (look.e.kind == LP_KIND_LINK &&
		    !lp_path_link_is_inside(path, (const char *)look.blob->data, look.blob->len)) {
			lp_blob_unref(look.blob);
			lp_workspace_notice(ws, path, "is a link that leads out of the workspace");
			break;
		}
		/* What could not be read or entered before may be now. */
		opened = was_dir && (look.e.mode & ~known->e.mode & 0555);
		record(ws, dir, path, &look, cs);
		return look.e.kind == LP_KIND_DIR &&
		       (!was_dir || opened || (hint && hint->subtree));
	case LP_LOOK_GONE:
	case LP_LOOK_STATE_COUNT_:
		break;
	}
	lp_workspace_paid(ws, path);
	if (known)
		lp_workspace_drop(ws, known, path, cs);
	return 0;
}

/* Paths of directories still to be read. */
struct stack {
	char **paths;
	size_t n;
	size_t cap;
};

static void push(struct stack *s, const char *path)
{
	lp_grow(&s->paths, &s->cap, s->n + 1, sizeof(char *));
	s->paths[s->n++] = lp_xstrdup(path);
}

static void drop_unseen(struct lp_workspace *ws, struct lp_node *dir, const char *path,
			struct lp_changeset *cs)
{
	char child[LP_PATH_MAX_BYTES + 1];

	for (size_t i = dir->n_children; i-- > 0;) {
		struct lp_node *n = dir->children[i];

		if (n->mark != ws->scan_mark &&
		    lp_path_join(child, sizeof(child), path, n->name) == 0)
			lp_workspace_drop(ws, n, child, cs);
	}
}

/* Some file systems do not tell the kind with the name. */
static bool entry_is_dir(int dir_fd, const struct dirent *e)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN)
		return e->d_type == DT_DIR;
	return fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int read_entries(struct lp_workspace *ws, struct lp_node *node, const char *path, DIR *dir,
			struct lp_changeset *cs, struct stack *todo)
{
	char child[LP_PATH_MAX_BYTES + 1];
	struct dirent *e;

	while (errno = 0, (e = readdir(dir))) {
		bool is_dir;
		int r;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (lp_path_join(child, sizeof(child), path, e->d_name) < 0) {
			lp_workspace_notice(ws, path, "holds a path longer than 4095 bytes");
			continue;
		}
		is_dir = entry_is_dir(dirfd(dir), e);
		if (lp_ignore_check_leaf(ws->ignore, child, is_dir, NULL))
			continue;
		r = lp_workspace_update(ws, node, dirfd(dir), child, NULL, cs);
		if (r < 0)
			return r;
		/* Below a directory that is walked, everything is walked. */
		if (is_dir || r == 1)
			push(todo, child);
	}
	return -errno;
}

static int walk_one(struct lp_workspace *ws, const char *path, struct lp_changeset *cs,
		    struct stack *todo, struct lp_err *err)
{
	struct lp_node *node = lp_index_get(ws->index, path);
	int fd, r = 0;
	DIR *dir;

	if (!node || node->e.kind != LP_KIND_DIR)
		return 0;
	fd = lp_open_beneath(ws->root_fd, path[0] ? path : ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0) {
		if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP)
			lp_workspace_notice(ws, path, strerror(-fd));
		return 0;
	}
	if (ws->ops.on_dir)
		r = ws->ops.on_dir(ws->ctx, path, fd, err);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	lp_workspace_load_rules(ws, fd, path);
	dir = fdopendir(fd);
	if (!dir) {
		r = lp_err_set(err, errno, "%s", path);
		(void)close(fd);
		return r;
	}
	r = read_entries(ws, node, path, dir, cs, todo);
	if (r == -ENOMEM) {
		r = lp_err_set(err, -r, "%s", path);
	} else if (r < 0 && r != -ENOENT) {
		/* What was not seen may be there all the same. */
		lp_workspace_notice(ws, path, strerror(-r));
		r = 0;
	} else {
		drop_unseen(ws, node, path, cs);
		r = 0;
	}
	(void)closedir(dir);
	return r;
}

int lp_workspace_walk(struct lp_workspace *ws, const char *path, struct lp_changeset *cs,
		      struct lp_err *err)
{
	struct stack todo = {0};
	int r = 0;

	ws->scan_mark++;
	push(&todo, path);
	while (todo.n > 0) {
		LP_AUTO_FREE char *next = todo.paths[--todo.n];

		if (r == 0)
			r = walk_one(ws, next, cs, &todo, err);
	}
	free(todo.paths);
	return r;
}
