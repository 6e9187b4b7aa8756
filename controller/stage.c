/* controller/stage.c: contents are written beside the tree, on its file system, and verified there;
 * nothing of the tree changes yet. */
#include "controller/tree_internal.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <string.h>
#include <sys/stat.h>

void lp_tree_begin(struct lp_tree *t)
{
	lp_tree_drop(t);
}

void lp_tree_drop(struct lp_tree *t)
{
	char name[24];

	lp_auto_close(&t->data_fd);
	t->data_fd = -1;
	for (size_t i = 0; i < t->n_ops; i++) {
		if (t->ops[i].stage) {
			lp_stage_name(t->ops[i].stage, name);
			(void)unlinkat(t->stage_fd, name, 0);
		}
		free(t->ops[i].path);
	}
	t->n_ops = 0;
}

static int bad(struct lp_err *err, const struct lp_staged *s, const char *why)
{
	return lp_err_say(err, EBADMSG, "%s: %s", s->path, why);
}

/* Creates the staged file of an operation. Returns an owned descriptor or -errno. */
static int stage_open(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	char name[24];
	int fd;

	s->stage = ++t->next_stage;
	lp_stage_name(s->stage, name);
	fd = openat(t->stage_fd, name, flags, s->e.mode);
	if (fd < 0) {
		s->stage = 0;
		return lp_err_set(err, errno, "%s: cannot stage", s->path);
	}
	return fd;
}

/* Most files have their mode since they were created. */
static int set_mode(const struct lp_tree *t, int fd, const struct lp_staged *s, struct lp_err *err)
{
	return (s->e.mode & t->umask) != 0 && fchmod(fd, s->e.mode) < 0
		       ? lp_err_set(err, errno, "%s: cannot set the mode", s->path)
		       : 0;
}

static int stage_file(struct lp_tree *t, struct lp_staged *s, const struct lp_wire_op *op,
		      struct lp_err *err)
{
	struct lp_digest d = lp_digest_of(op->content.p, op->content.len);
	int r;

	if (op->content.len != s->e.size || !lp_digest_equal(&d, &s->e.digest))
		return bad(err, s, "the content does not have the digest that was announced");
	{
		LP_AUTO_CLOSE int fd = stage_open(t, s, err);

		if (fd < 0)
			return fd;
		r = lp_write_all(fd, op->content.p, op->content.len);
		if (r < 0)
			return lp_err_set(err, -r, "%s: cannot stage", s->path);
		return set_mode(t, fd, s, err);
	}
}

static int stage_large(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	int fd = stage_open(t, s, err);

	if (fd < 0)
		return fd;
	t->data_fd = fd;
	t->data_left = s->e.size;
	lp_hasher_reset(t->data_hasher);
	return 0;
}

static int stage_link(struct lp_tree *t, struct lp_staged *s, const struct lp_wire_op *op,
		      struct lp_err *err)
{
	struct lp_digest d = lp_digest_of(op->content.p, op->content.len);
	LP_AUTO_FREE char *target = NULL;
	char name[24];

	if (!op->has_content || op->content.len != s->e.size || !lp_digest_equal(&d, &s->e.digest))
		return bad(err, s, "the link's target is missing or has another size or digest");
	if (!lp_path_link_is_inside(s->path, (const char *)op->content.p, op->content.len))
		return bad(err, s, "the link leads out of the tree");
	target = lp_xstrndup((const char *)op->content.p, op->content.len);
	s->stage = ++t->next_stage;
	lp_stage_name(s->stage, name);
	if (symlinkat(target, t->stage_fd, name) < 0) {
		s->stage = 0;
		return lp_err_set(err, errno, "%s: cannot stage", s->path);
	}
	return 0;
}

static int stage_put(struct lp_tree *t, struct lp_staged *s, const struct lp_wire_op *op,
		     struct lp_err *err)
{
	switch (s->e.kind) {
	case LP_KIND_DIR:
		return 0;
	case LP_KIND_LINK:
		return stage_link(t, s, op, err);
	case LP_KIND_FILE:
		if (op->has_content || s->e.size == 0)
			return stage_file(t, s, op, err);
		return stage_large(t, s, err);
	case LP_KIND_NONE:
	case LP_KIND_COUNT_:
		break;
	}
	return bad(err, s, "is of no kind that can be put");
}

int lp_tree_op(struct lp_tree *t, const struct lp_wire_op *op, struct lp_err *err)
{
	struct lp_staged *s;

	if (t->data_fd >= 0)
		return lp_err_say(err, EBADMSG, "an operation came while a file's data was due");
	lp_grow(&t->ops, &t->cap_ops, t->n_ops + 1, sizeof(*t->ops));
	s = &t->ops[t->n_ops++];
	*s = (struct lp_staged){
		.op = (enum lp_op_kind)op->op,
		.e = {.kind = (enum lp_kind)op->kind,
		      .mode = (uint32_t)op->mode & 0777,
		      .size = op->size},
		.path = lp_xstrndup((const char *)op->path.p, op->path.len),
	};
	memcpy(s->e.digest.b, op->digest, sizeof(op->digest));
	if (lp_path_is_below(s->path, LP_STATE_DIR))
		return bad(err, s, "belongs to livepush itself");
	switch (s->op) {
	case LP_OP_PUT:
		return stage_put(t, s, op, err);
	case LP_OP_KEEP:
		return s->e.kind == LP_KIND_FILE || s->e.kind == LP_KIND_LINK
			       ? 0
			       : bad(err, s, "only files and links can be kept");
	case LP_OP_DELETE:
		return 0;
	}
	return bad(err, s, "unknown operation");
}

int lp_tree_data(struct lp_tree *t, const struct lp_bytes *content, struct lp_err *err)
{
	struct lp_staged *s = t->n_ops > 0 ? &t->ops[t->n_ops - 1] : NULL;
	struct lp_digest d;
	int r;

	if (t->data_fd < 0 || !s)
		return lp_err_say(err, EBADMSG, "data came while no file was due");
	if (content->len == 0 || content->len > t->data_left)
		return bad(err, s, "more or less data than was announced");
	r = lp_write_all(t->data_fd, content->p, content->len);
	if (r < 0)
		return lp_err_set(err, -r, "%s: cannot stage", s->path);
	lp_hasher_add(t->data_hasher, content->p, content->len);
	t->data_left -= content->len;
	if (t->data_left > 0)
		return 0;
	d = lp_hasher_get(t->data_hasher);
	r = lp_digest_equal(&d, &s->e.digest)
		    ? set_mode(t, t->data_fd, s, err)
		    : bad(err, s, "the content does not have the digest that was announced");
	lp_auto_close(&t->data_fd);
	t->data_fd = -1;
	return r;
}

int lp_tree_skip(struct lp_tree *t, struct lp_err *err)
{
	struct lp_staged *s = t->n_ops > 0 ? &t->ops[t->n_ops - 1] : NULL;
	char name[24];

	if (t->data_fd < 0 || !s)
		return lp_err_say(err, EBADMSG, "nothing to skip");
	lp_auto_close(&t->data_fd);
	t->data_fd = -1;
	lp_stage_name(s->stage, name);
	(void)unlinkat(t->stage_fd, name, 0);
	free(s->path);
	t->n_ops--;
	return 0;
}
