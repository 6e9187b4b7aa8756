/* watch_rig.c: see watch_rig.h. */
#include "tests/unit/watcher/watch_rig.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"
#include "tests/unit/watcher/tree_text.h"
#include "watcher/workspace_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* The model: what someone would hold who knows the changesets only. */
struct item {
	char *path; /* owned */
	struct lp_entry e;
};
static struct item *items;
static size_t n_items, cap_items;

static int on_dir(void *ctx, const char *path, int fd, struct lp_err *err)
{
	struct rig *r = ctx;

	r->n_dirs++;
	return lp_watch_add(r->watch, path, fd, err);
}

static int on_file(void *ctx, const char *path, int fd)
{
	const struct rig *r = ctx;

	return lp_watch_add_file(r->watch, path, fd);
}

static void on_notice(void *ctx, const char *text)
{
	struct rig *r = ctx;

	assert_int_equal(lp_buf_addf(&r->notices, "%s\n", text), 0);
}

static void on_conf(void *ctx)
{
	struct rig *r = ctx;

	r->n_conf++;
}

static bool is_being_written(void *ctx, const char *path)
{
	const struct rig *r = ctx;

	return r->written && strcmp(path, r->written) == 0;
}

static void on_event(void *ctx, const struct lp_event *ev)
{
	struct rig *r = ctx;

	lp_workspace_note(r->ws, ev, false);
}

static void on_root_gone(void *ctx)
{
	struct rig *r = ctx;

	r->n_root_gone++;
}

static void on_drained(void *ctx)
{
	(void)ctx;
}

const char *rig_config_home;
const char *rig_git_config;

void rig_open(struct rig *r, bool scanned)
{
	static const struct lp_workspace_ops ws_ops = {.on_dir = on_dir,
						       .on_file = on_file,
						       .on_notice = on_notice,
						       .on_conf = on_conf,
						       .is_being_written = is_being_written};
	static const struct lp_watch_ops watch_ops = {
		.on_event = on_event, .on_root_gone = on_root_gone, .on_drained = on_drained};
	struct lp_err err = {0};

	/* Not the rules of whoever runs the tests. */
	if (setenv("XDG_CONFIG_HOME", rig_config_home ? rig_config_home : "/nonexistent", 1) < 0 ||
	    setenv("GIT_CONFIG_GLOBAL", rig_git_config ? rig_git_config : "/dev/null", 1) < 0 ||
	    setenv("GIT_CONFIG_NOSYSTEM", "1", 1) < 0)
		fail_msg("no environment");
	*r = (struct rig){.dir = "/tmp/livepush-watch-XXXXXX"};
	assert_non_null(mkdtemp(r->dir));
	if (lp_loop_create(&r->loop, &err) < 0 ||
	    lp_workspace_open(&r->ws, r->loop, r->dir, &ws_ops, r, &err) < 0 ||
	    lp_watch_create(&r->watch, r->loop, &watch_ops, r, &err) < 0)
		fail_msg("%s", err.msg);
	if (scanned)
		rig_scan(r);
}

static void add_item(const char *path, const struct lp_entry *e)
{
	lp_grow(&items, &cap_items, n_items + 1, sizeof(*items));
	items[n_items++] = (struct item){lp_xstrdup(path), *e};
}

void rig_scan(struct rig *r)
{
	struct lp_err err = {0};
	char path[LP_PATH_MAX_BYTES + 1];
	struct lp_node *top;

	if (lp_workspace_scan(r->ws, &err) < 0)
		fail_msg("%s", err.msg);
	top = lp_index_get(lp_workspace_index(r->ws), "");
	for (struct lp_node *n = lp_node_next(top, top); n; n = lp_node_next(top, n)) {
		struct lp_entry e = lp_node_entry(n);

		assert_int_equal(lp_node_path(n, path, sizeof(path)), 0);
		add_item(path, &e);
	}
}

static void forget_items(void)
{
	for (size_t i = 0; i < n_items; i++)
		free(items[i].path);
	free(items);
	items = NULL;
	n_items = cap_items = 0;
}

void rig_close(struct rig *r)
{
	lp_watch_destroy(r->watch);
	lp_workspace_close(r->ws);
	lp_loop_destroy(r->loop);
	lp_buf_finish(&r->notices);
	lp_buf_finish(&r->ops);
	forget_items();
	assert_int_equal(lp_remove_tree(AT_FDCWD, r->dir), 0);
}

static const char *full(const struct rig *r, const char *path)
{
	static char out[2][8192];
	static unsigned turn;

	turn ^= 1;
	(void)snprintf(out[turn], sizeof(out[turn]), "%s/%s", r->dir, path);
	return out[turn];
}

static void must(int result, const char *what, const char *path)
{
	if (result < 0)
		fail_msg("%s %s: %s", what, path, strerror(errno));
}

int rig_open_file(struct rig *r, const char *path, int flags)
{
	int fd = open(full(r, path), flags | O_CLOEXEC, 0644);

	must(fd, "open", path);
	return fd;
}

void rig_write(struct rig *r, const char *path, const char *text)
{
	int fd = rig_open_file(r, path, O_WRONLY | O_CREAT | O_TRUNC);

	must(lp_write_all(fd, text, strlen(text)), "write", path);
	must(close(fd), "close", path);
}

void rig_mkdir(struct rig *r, const char *path)
{
	must(mkdir(full(r, path), 0755), "mkdir", path);
}

void rig_symlink(struct rig *r, const char *path, const char *target)
{
	must(symlink(target, full(r, path)), "symlink", path);
}

void rig_rename(struct rig *r, const char *from, const char *to)
{
	must(rename(full(r, from), full(r, to)), "rename", from);
}

void rig_chmod(struct rig *r, const char *path, mode_t mode)
{
	must(chmod(full(r, path), mode), "chmod", path);
}

void rig_remove(struct rig *r, const char *path)
{
	must(lp_remove_tree(AT_FDCWD, full(r, path)), "remove", path);
}

static struct item *find_item(const char *path)
{
	for (size_t i = 0; i < n_items; i++)
		if (strcmp(items[i].path, path) == 0)
			return &items[i];
	return NULL;
}

static void remove_items(const char *path, bool itself)
{
	size_t kept = 0;

	for (size_t i = 0; i < n_items; i++) {
		bool same = strcmp(items[i].path, path) == 0;

		if (same ? itself : lp_path_is_below(items[i].path, path))
			free(items[i].path);
		else
			items[kept++] = items[i];
	}
	n_items = kept;
}

static void model_put(const struct lp_op *op)
{
	LP_AUTO_FREE char *dir = lp_xstrndup(op->path, lp_path_dir_len(op->path));
	struct item *item = find_item(op->path), *above = find_item(dir);

	if (dir[0] && (!above || above->e.kind != LP_KIND_DIR))
		fail_msg("%s: put into nothing", op->path);
	if (op->blob) {
		struct lp_digest d = lp_digest_of(op->blob->data, op->blob->len);

		assert_true(lp_digest_equal(&d, &op->e.digest));
		assert_int_equal(op->blob->len, op->e.size);
	}
	if (op->kind == LP_OP_KEEP && (!item || !lp_digest_equal(&item->e.digest, &op->e.digest)))
		fail_msg("%s: is kept but not there", op->path);
	if (item && (item->e.kind != LP_KIND_DIR || op->e.kind != LP_KIND_DIR))
		remove_items(op->path, false);
	item = find_item(op->path);
	if (item)
		item->e = op->e;
	else
		add_item(op->path, &op->e);
}

/* What is at `from` is at the path instead, with all below it. */
static void model_move(const struct lp_op *op)
{
	size_t len = strlen(op->from);

	assert_non_null(find_item(op->from));
	assert_false(lp_path_is_below(op->path, op->from));
	remove_items(op->path, true);
	for (size_t i = 0; i < n_items; i++) {
		char *path = items[i].path;

		if (!lp_path_is_below(path, op->from))
			continue;
		items[i].path = lp_xasprintf("%s%s", op->path, path + len);
		free(path);
	}
}

static void check_changeset(struct rig *r, const struct lp_changeset *cs)
{
	static const char *const names[] = {
		[LP_OP_PUT] = "PUT", [LP_OP_KEEP] = "KEEP", [LP_OP_DELETE] = "DELETE"};
	const char *before = "";
	struct lp_digest root = lp_index_root(lp_workspace_index(r->ws));

	assert_true(cs->n_ops > 0);
	assert_true(lp_digest_equal(&root, &cs->root));
	assert_int_equal(cs->revision, lp_workspace_revision(r->ws));
	for (size_t i = 0; i < cs->n_ops; i++) {
		const struct lp_op *op = &cs->ops[i];

		assert_true(lp_path_is_clean(op->path, strlen(op->path)));
		if (op->kind == LP_OP_MOVE) {
			assert_string_equal(before, ""); /* they come first */
			model_move(op);
			assert_int_equal(lp_buf_addf(&r->ops, "MOVE %s %s\n", op->from, op->path),
					 0);
			continue;
		}
		assert_true(strcmp(before, op->path) < 0);
		before = op->path;
		if (op->kind != LP_OP_DELETE)
			model_put(op);
		assert_int_equal(lp_buf_addf(&r->ops, "%s %s\n", names[op->kind], op->path), 0);
	}
	for (size_t i = cs->n_ops; i-- > 0;)
		if (cs->ops[i].kind == LP_OP_DELETE)
			remove_items(cs->ops[i].path, true);
}

static void take_all(struct rig *r)
{
	struct lp_changeset *cs;
	size_t before;
	bool held;

	do {
		lp_watch_drain(r->watch);
		before = r->ws->dirty.n;
		cs = lp_workspace_take(r->ws);
		held = !cs && before > 0 && r->ws->dirty.n >= before;
		if (cs) {
			check_changeset(r, cs);
			r->n_changesets++;
			lp_changeset_unref(cs);
		}
		lp_watch_drain(r->watch);
	} while (!held && (cs || r->ws->dirty.n > 0));
}

void rig_run(struct rig *r, int ms)
{
	assert_int_equal(lp_loop_dispatch(r->loop, ms), 0);
}

const char *rig_take(struct rig *r)
{
	r->ops.len = 0;
	take_all(r);
	return lp_buf_text(&r->ops);
}

/* A path that something will still come of without an event, or NULL. */
static const char *waited_for(const struct rig *r)
{
	size_t at = 0;

	for (struct lp_wait *w; (w = lp_map_next(&r->ws->waits, &at));)
		if (w->why != LP_WAIT_OPEN)
			return w->path;
	return lp_workspace_has_notes(r->ws) ? "the root" : NULL;
}

const char *rig_settle(struct rig *r)
{
	uint64_t deadline_us = lp_now_us() + RIG_DEADLINE_US;

	r->ops.len = 0;
	for (;;) {
		const char *waits;

		take_all(r);
		waits = waited_for(r);
		if (!waits)
			return lp_buf_text(&r->ops);
		if (lp_now_us() > deadline_us)
			fail_msg("%s does not settle", waits);
		rig_run(r, 10);
	}
}

char *rig_tree(struct rig *r)
{
	struct tree_text t = {0};

	tree_text_walk(&t, r->dir);
	return tree_text_join(&t);
}

/* Shows the first line that differs. */
static void same_text(const char *what, const char *a, const char *b)
{
	size_t i = 0, start = 0;

	for (; a[i] && a[i] == b[i]; i++)
		if (a[i] == '\n')
			start = i + 1;
	if (a[i] == b[i])
		return;
	fail_msg("%s:\n%.*s\ninstead of\n%.*s", what, (int)strcspn(b + start, "\n"), b + start,
		 (int)strcspn(a + start, "\n"), a + start);
}

void rig_check(struct rig *r)
{
	struct lp_node *top = lp_index_get(lp_workspace_index(r->ws), "");
	LP_AUTO_FREE char *disk = rig_tree(r);
	LP_AUTO_FREE char *index = NULL;
	LP_AUTO_FREE char *model = NULL;
	struct tree_text in_index = {0}, in_model = {0};
	char path[LP_PATH_MAX_BYTES + 1];

	for (struct lp_node *n = lp_node_next(top, top); n; n = lp_node_next(top, n)) {
		struct lp_entry e = lp_node_entry(n);

		assert_int_equal(lp_node_path(n, path, sizeof(path)), 0);
		tree_text_add(&in_index, path, &e);
	}
	for (size_t i = 0; i < n_items; i++)
		tree_text_add(&in_model, items[i].path, &items[i].e);
	index = tree_text_join(&in_index);
	model = tree_text_join(&in_model);
	same_text("the index has", disk, index);
	same_text("the model has", disk, model);
}
