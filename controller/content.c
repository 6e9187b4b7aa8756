/* controller/content.c: large contents that come in pieces, and the one whose connection was lost:
 * its beginning is kept for a while, so that it can go on where it stopped. */
#include "controller/tree_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"

#include <stdio.h>

#define PARTIAL_MIN_BYTES ((uint64_t)1024 * 1024) /* less is sent again as fast */
#define PARTIAL_LIFE_US   ((uint64_t)600 * 1000000)

int lp_stage_large(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	int fd = lp_stage_create(t, s, err);

	if (fd < 0)
		return fd;
	t->data_fd = fd;
	t->data_left = s->e.size;
	lp_hasher_reset(t->data_hasher);
	return 0;
}

void lp_data_end(struct lp_tree *t)
{
	lp_auto_close(&t->data_fd);
	t->data_fd = -1;
}

/* The operation whose content is under way; NULL: none. */
static struct lp_staged *under_way(struct lp_tree *t)
{
	return t->data_fd >= 0 && t->n_ops > 0 ? &t->ops[t->n_ops - 1] : NULL;
}

void lp_partial_drop(struct lp_tree *t)
{
	if (t->partial.fd < 0)
		return;
	lp_auto_close(&t->partial.fd);
	t->partial.fd = -1;
	t->partial.have = 0;
	lp_hasher_destroy(t->partial.hasher);
	t->partial.hasher = NULL;
	(void)unlinkat(t->state_fd, LP_PARTIAL_NAME, 0);
}

static void keep_partial(struct lp_tree *t)
{
	struct lp_staged *s = under_way(t);
	char number[LP_STAGE_NAME_BYTES];
	const char *name;
	int dir;

	if (!s || s->patch || s->e.size - t->data_left < PARTIAL_MIN_BYTES)
		return;
	lp_partial_drop(t);
	dir = lp_stage_at(t, s, number, &name);
	if (dir < 0 || renameat(dir, name, t->state_fd, LP_PARTIAL_NAME) < 0)
		return;
	t->partial = (struct lp_partial){
		.fd = lp_take_fd(&t->data_fd),
		.hasher = t->data_hasher,
		.digest = s->e.digest,
		.size = s->e.size,
		.have = s->e.size - t->data_left,
		.until_us = lp_now_us() + PARTIAL_LIFE_US,
	};
	t->data_hasher = lp_hasher_create();
}

void lp_tree_lost(struct lp_tree *t)
{
	keep_partial(t);
	lp_tree_drop(t);
}

uint64_t lp_tree_partial(const struct lp_tree *t, struct lp_digest *digest)
{
	bool is_there = t->partial.fd >= 0 && lp_now_us() < t->partial.until_us;

	*digest = is_there ? t->partial.digest : (struct lp_digest){{0}};
	return is_there ? t->partial.have : 0;
}

void lp_partial_expire(struct lp_tree *t)
{
	if (t->partial.fd >= 0 && lp_now_us() >= t->partial.until_us)
		lp_partial_drop(t);
}

/* Goes on with what was kept of this content instead of beginning anew. */
static int resume(struct lp_tree *t, struct lp_staged *s, uint64_t at, struct lp_err *err)
{
	struct lp_partial *p = &t->partial;
	char number[LP_STAGE_NAME_BYTES];
	const char *name;
	struct lp_hasher *hasher;
	int dir;

	if (p->fd < 0 || p->have != at || p->size != s->e.size ||
	    !lp_digest_equal(&p->digest, &s->e.digest))
		return lp_stage_bad(err, s, "data came for another place than where it ended");
	dir = lp_stage_at(t, s, number, &name);
	if (dir < 0 || renameat(t->state_fd, LP_PARTIAL_NAME, dir, name) < 0)
		return lp_err_set(err, dir < 0 ? -dir : errno, "%s: cannot stage", s->path);
	lp_data_end(t);
	t->data_fd = lp_take_fd(&p->fd);
	t->data_left = s->e.size - p->have;
	hasher = t->data_hasher;
	t->data_hasher = p->hasher;
	p->hasher = NULL;
	lp_hasher_destroy(hasher);
	if (fchmod(t->data_fd, s->e.mode) < 0)
		return lp_err_set(err, errno, "%s: cannot set the mode", s->path);
	return 0;
}

int lp_tree_data(struct lp_tree *t, uint64_t at, const struct lp_bytes *content, struct lp_err *err)
{
	struct lp_staged *s = under_way(t);
	struct lp_digest d;
	int r = 0;

	if (!s || s->patch)
		return lp_err_say(err, EBADMSG, "data came while no file was due");
	if (at != s->e.size - t->data_left)
		r = resume(t, s, at, err);
	if (r < 0)
		return r;
	if (content->len == 0 || content->len > t->data_left)
		return lp_stage_bad(err, s, "more or less data than was announced");
	r = lp_write_all(t->data_fd, content->p, content->len);
	if (r < 0)
		return lp_err_set(err, -r, "%s: cannot stage", s->path);
	lp_hasher_add(t->data_hasher, content->p, content->len);
	t->data_left -= content->len;
	if (t->data_left > 0)
		return 0;
	d = lp_hasher_get(t->data_hasher);
	if (lp_digest_equal(&d, &s->e.digest)) {
		s->chunks = lp_hasher_chunks(t->data_hasher);
		r = lp_stage_settle(t, t->data_fd, s, err);
	} else {
		r = lp_stage_bad(err, s, "the content does not have the digest that was announced");
	}
	lp_data_end(t);
	return r;
}

int lp_tree_skip(struct lp_tree *t, struct lp_err *err)
{
	struct lp_staged *s = under_way(t);
	char number[LP_STAGE_NAME_BYTES];
	const char *name;
	int dir;

	if (!s)
		return lp_err_say(err, EBADMSG, "nothing to skip");
	lp_data_end(t);
	dir = lp_stage_at(t, s, number, &name);
	if (dir >= 0)
		(void)unlinkat(dir, name, 0);
	lp_staged_finish(s);
	t->n_ops--;
	return 0;
}
