/* tree_rig.c: see tree_rig.h. */
#include "tests/unit/controller/tree_rig.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct lp_buf text;

void rig_open(struct rig *r)
{
	*r = (struct rig){.dir = "/tmp/livepush-tree-XXXXXX"};
	assert_non_null(mkdtemp(r->dir));
	assert_int_equal(chmod(r->dir, 0755), 0);
	if (lp_tree_open(&r->tree, r->dir, &r->err) < 0)
		fail_msg("%s", r->err.msg);
}

void rig_close(struct rig *r)
{
	lp_tree_close(r->tree);
	assert_int_equal(lp_remove_tree(AT_FDCWD, r->dir), 0);
	lp_buf_finish(&text);
}

void rig_reopen(struct rig *r)
{
	lp_tree_close(r->tree);
	r->tree = NULL;
	if (lp_tree_open(&r->tree, r->dir, &r->err) < 0)
		fail_msg("%s", r->err.msg);
}

static struct lp_wire_op op_of(unsigned op, unsigned kind, const char *path, unsigned mode)
{
	return (struct lp_wire_op){.op = op, .kind = kind, .path = lp_bytes_of(path), .mode = mode};
}

static void set_content(struct lp_wire_op *op, const void *content, size_t len)
{
	struct lp_hasher *hasher = lp_hasher_create();
	struct lp_digest d;

	lp_hasher_add(hasher, content, len);
	d = lp_hasher_get(hasher);
	lp_hasher_destroy(hasher);
	op->size = len;
	memcpy(op->digest, d.b, sizeof(op->digest));
}

struct lp_wire_op op_file(const char *path, const char *content, unsigned mode)
{
	struct lp_wire_op op = op_of(LP_OP_PUT, LP_KIND_FILE, path, mode);

	set_content(&op, content, strlen(content));
	op.has_content = true;
	op.content = lp_bytes_of(content);
	return op;
}

struct lp_wire_op op_dir(const char *path, unsigned mode)
{
	return op_of(LP_OP_PUT, LP_KIND_DIR, path, mode);
}

struct lp_wire_op op_link(const char *path, const char *target)
{
	struct lp_wire_op op = op_file(path, target, 0);

	op.kind = LP_KIND_LINK;
	return op;
}

struct lp_wire_op op_keep(const char *path, const char *content, unsigned mode)
{
	struct lp_wire_op op = op_of(LP_OP_KEEP, LP_KIND_FILE, path, mode);

	set_content(&op, content, strlen(content));
	return op;
}

struct lp_wire_op op_delete(const char *path)
{
	return op_of(LP_OP_DELETE, LP_KIND_NONE, path, 0);
}

struct lp_wire_op op_large(const char *path, const void *content, size_t size)
{
	struct lp_wire_op op = op_of(LP_OP_PUT, LP_KIND_FILE, path, 0644);

	set_content(&op, content, size);
	return op;
}

int rig_apply(struct rig *r, const struct lp_wire_op *ops, size_t n)
{
	struct lp_applied done;
	int result = 0;

	r->err = (struct lp_err){0};
	lp_tree_begin(r->tree);
	for (size_t i = 0; i < n && result == 0; i++)
		result = lp_tree_op(r->tree, &ops[i], &r->err);
	if (result < 0) {
		lp_tree_drop(r->tree);
		return result;
	}
	result = lp_tree_commit(r->tree, lp_tree_revision(r->tree) + 1, &done, &r->err);
	lp_applied_finish(&done);
	lp_tree_tidy(r->tree);
	return result;
}

static const char *full(const struct rig *r, const char *path)
{
	static char out[8192];

	(void)snprintf(out, sizeof(out), "%s/%s", r->dir, path);
	return out;
}

void app_write(const struct rig *r, const char *path, const char *content)
{
	LP_AUTO_CLOSE int fd = open(full(r, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, content, strlen(content)), 0);
}

void app_mkdir(const struct rig *r, const char *path)
{
	assert_int_equal(mkdir(full(r, path), 0755), 0);
}

void app_symlink(const struct rig *r, const char *path, const char *target)
{
	assert_int_equal(symlink(target, full(r, path)), 0);
}

void app_remove(const struct rig *r, const char *path)
{
	assert_int_equal(lp_remove_tree(AT_FDCWD, full(r, path)), 0);
}

const char *app_reads(const struct rig *r, const char *path)
{
	struct stat st;

	lp_buf_finish(&text);
	if (lstat(full(r, path), &st) < 0 || S_ISDIR(st.st_mode))
		return NULL;
	if (S_ISLNK(st.st_mode)) {
		char target[4096];
		ssize_t n = readlink(full(r, path), target, sizeof(target) - 1);

		assert_true(n >= 0);
		assert_int_equal(lp_buf_addf(&text, "-> %.*s", (int)n, target), 0);
	} else {
		assert_int_equal(lp_read_file(AT_FDCWD, full(r, path), &text), 0);
	}
	return lp_buf_text(&text);
}

struct lp_digest app_digest(const struct rig *r, const char *path)
{
	assert_non_null(app_reads(r, path));
	return lp_digest_of(text.data, text.len);
}

unsigned app_mode(const struct rig *r, const char *path)
{
	struct stat st;

	return lstat(full(r, path), &st) < 0 ? 0 : (unsigned)st.st_mode & 07777;
}

bool app_sees(const struct rig *r, const char *path)
{
	struct stat st;

	return lstat(full(r, path), &st) == 0;
}

bool app_sees_dir(const struct rig *r, const char *path)
{
	struct stat st;

	return lstat(full(r, path), &st) == 0 && S_ISDIR(st.st_mode);
}

size_t rig_staged(const struct rig *r)
{
	DIR *dir = opendir(full(r, LP_STATE_DIR "/stage"));
	size_t n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n - 2;
}

struct lines {
	char *line[64];
	size_t n;
};

static void on_entries(void *ctx, const struct lp_wire_entry *entries, size_t n, bool more)
{
	static const char *const kinds[] = {"none", "file", "dir", "link"};
	struct lines *l = ctx;

	(void)more;
	for (size_t i = 0; i < n; i++) {
		assert_true(l->n < LP_COUNT_OF(l->line));
		l->line[l->n++] =
			lp_xasprintf("%.*s %s %03o %c\n", (int)entries[i].name.len,
				     (const char *)entries[i].name.p, kinds[entries[i].kind],
				     (unsigned)entries[i].mode, entries[i].owned ? 'o' : '-');
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *rig_list(struct rig *r, const char *path)
{
	size_t room = LP_LIST_FOREIGN_BYTES;
	struct lines l = {0};

	if (lp_tree_list(r->tree, path, &room, on_entries, &l, &r->err) < 0)
		fail_msg("%s", r->err.msg);
	if (l.n > 1)
		qsort(l.line, l.n, sizeof(char *), by_text);
	lp_buf_finish(&text);
	for (size_t i = 0; i < l.n; i++) {
		assert_int_equal(lp_buf_add_str(&text, l.line[i]), 0);
		free(l.line[i]);
	}
	return lp_buf_text(&text);
}
