/* link/walk.c: catching up: walks the two trees down where they differ and makes one changeset of
 * it. Whatever changes in the workspace meanwhile is added at the end from the index as it is then,
 * so the changeset leads to the workspace's present root digest. */
#include "link/link_internal.h"

#include "common/base/lp_mem.h"

#include <stdlib.h>
#include <string.h>

/* One LIST: so many paths at most, and as many as let expect an answer of about LIST_BYTES, judged
 * by what the workspace has in them. The answer waits in the instance's memory. */
#define LIST_MAX_PATHS 4000
#define LIST_BYTES     ((size_t)2 * 1024 * 1024)
#define ENTRY_BYTES    ((size_t)64) /* of a listing */
#define UNKNOWN        8            /* entries to reckon with that the workspace does not have */

/* What an instance may make the workspace remember: the listing of one directory, and operations
 * for entries that the workspace does not have. */
#define LISTED_MAX_BYTES ((size_t)256 * 1024 * 1024)
#define SURPLUS_MAX      ((size_t)1024 * 1024)
#define TOUCHED_MAX      10000 /* paths; when more change while it walks, it walks again */

static void free_strings(char **list, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		free(list[i]);
	*n = 0;
}

void lp_walk_reset(struct lp_link *link)
{
	lp_changeset_unref(link->diff);
	link->diff = NULL;
	free_strings(link->todo, &link->n_todo);
	free_strings(link->touched, &link->n_touched);
	for (size_t i = 0; i < link->n_listed; i++)
		free((char *)(uintptr_t)link->listed[i].name);
	link->n_listed = link->listed_bytes = 0;
	link->asked = link->heard = 0;
	link->again = false;
}

static void push_todo(void *ctx, const char *path)
{
	struct lp_link *link = ctx;

	lp_grow(&link->todo, &link->cap_todo, link->n_todo + 1, sizeof(char *));
	link->todo[link->n_todo++] = lp_xstrdup(path);
}

static void touch(struct lp_link *link, const char *path)
{
	lp_grow(&link->touched, &link->cap_touched, link->n_touched + 1, sizeof(char *));
	link->touched[link->n_touched++] = lp_xstrdup(path);
}

/* What moved took along what is below it, which may have been listed already, or never will be. */
static void touch_below(struct lp_link *link, const char *path)
{
	const struct lp_node *top = lp_index_get(link->source.index(link->source.ctx), path);
	char below[LP_PATH_MAX_BYTES + 1];

	for (const struct lp_node *n = top; n && link->n_touched < TOUCHED_MAX;
	     n = lp_node_next(top, n))
		if (lp_node_path(n, below, sizeof(below)) == 0)
			touch(link, below);
}

void lp_walk_touch(struct lp_link *link, const struct lp_changeset *cs)
{
	for (size_t i = 0; i < cs->n_ops && link->n_touched < TOUCHED_MAX; i++) {
		const struct lp_op *op = &cs->ops[i];

		touch(link, op->kind == LP_OP_MOVE ? op->from : op->path);
		if (op->kind == LP_OP_MOVE)
			touch_below(link, op->path);
	}
	link->again |= link->n_touched >= TOUCHED_MAX;
}

/* What the diff saw may have changed since; the index as it is now decides. */
static void refresh(struct lp_link *link, struct lp_index *ix)
{
	struct lp_changeset *cs = link->diff;

	for (size_t i = 0; i < link->n_touched; i++) {
		const struct lp_node *n = lp_index_get(ix, link->touched[i]);
		struct lp_entry e = n ? lp_node_entry(n) : (struct lp_entry){0};

		lp_changeset_add(cs, n ? LP_OP_PUT : LP_OP_DELETE, link->touched[i], n ? &e : NULL,
				 NULL);
	}
	for (size_t i = 0; link->n_touched > 0 && i < cs->n_ops; i++) {
		struct lp_op *op = &cs->ops[i];
		const struct lp_node *n = lp_index_get(ix, op->path);

		if (n && (op->kind == LP_OP_DELETE || !lp_node_equal(n, &op->e))) {
			op->kind = LP_OP_PUT;
			op->e = lp_node_entry(n);
		} else if (!n) {
			op->kind = LP_OP_DELETE;
			op->e = (struct lp_entry){0};
		}
	}
}

void lp_walk_catch_up(struct lp_link *link, struct lp_changeset *cs)
{
	const struct lp_feed_have have = {
		/* Only what was listed has a base. */
		.bases = true,
		.partial = link->partial,
		.partial_have = link->partial_have,
	};

	link->state = LP_LINK_CATCHING;
	link->unsure = false;
	link->partial_have = 0;
	if (!link->ops.on_difference || link->ops.on_difference(link->ops.ctx, link, cs))
		lp_stream_enqueue(link, cs, NULL, &have);
}

/* The difference goes out. */
static void send_diff(struct lp_link *link, struct lp_index *ix)
{
	struct lp_changeset *cs = link->diff;

	lp_old_use(link, cs, ix);
	lp_changeset_sort(cs);
	cs->revision = link->source.revision(link->source.ctx);
	link->diff = NULL;
	lp_walk_reset(link);
	lp_walk_catch_up(link, cs);
	lp_changeset_unref(cs);
}

static void finish_walk(struct lp_link *link)
{
	struct lp_index *ix = link->source.index(link->source.ctx);

	if (link->again) {
		lp_walk_start(link, false);
		return;
	}
	refresh(link, ix);
	link->diff->root = lp_index_root(ix);
	send_diff(link, ix);
}

/* Everything goes to an instance that has nothing. What was not read yet is read as it is sent: by
 * then the changeset has got its root. */
static void send_all(struct lp_link *link)
{
	struct lp_index *sketch =
		link->source.sketch ? link->source.sketch(link->source.ctx) : NULL;
	struct lp_index *ix = sketch ? sketch : link->source.index(link->source.ctx);

	if (lp_diff_add_subtree(link->diff, lp_index_get(ix, "")) < 0) {
		lp_link_fail(link, "a path is too long");
		return;
	}
	if (sketch)
		link->source.follow(link->source.ctx, link->diff);
	else
		link->diff->root = lp_index_root(ix);
	send_diff(link, ix);
}

/* Bytes to expect of the listing of a directory. */
static size_t expected_bytes(const struct lp_index *ix, const char *path)
{
	const struct lp_node *node = lp_index_get(ix, path);

	return ENTRY_BYTES * ((node ? lp_node_count(node) : 0) + UNKNOWN) + strlen(path);
}

static void ask_more(struct lp_link *link)
{
	const struct lp_index *ix = link->source.index(link->source.ctx);
	size_t n = 0, bytes = 0, answer = 0;
	struct lp_msg msg = {.kind = LP_MSG_LIST};
	LP_AUTO_FREE struct lp_bytes *paths = lp_xcalloc(
		link->n_todo < LIST_MAX_PATHS ? link->n_todo : LIST_MAX_PATHS, sizeof(*paths));

	while (n < link->n_todo && n < LIST_MAX_PATHS && bytes < LP_WIRE_PIECE_BYTES) {
		const char *path = link->todo[n];

		answer += expected_bytes(ix, path);
		if (n > 0 && answer > LIST_BYTES)
			break;
		paths[n] = lp_bytes_of(path);
		bytes += paths[n++].len + 8;
	}
	msg.u.list.paths = paths;
	msg.u.list.n_paths = n;
	link->asked = n;
	link->heard = 0;
	if (lp_link_queue(link, &msg) < 0)
		lp_link_fail(link, "cannot ask for the instance's tree");
}

void lp_walk_start(struct lp_link *link, bool empty_instance)
{
	lp_walk_reset(link);
	link->behind = link->rolled = false;
	link->state = LP_LINK_WALKING;
	link->diff = lp_changeset_create();
	if (empty_instance) {
		send_all(link);
		return;
	}
	push_todo(link, "");
	ask_more(link);
}

/* A listing is complete: compare and go down. Returns as lp_diff_listing. */
static int compare(struct lp_link *link, const char *path)
{
	struct lp_index *ix = link->source.index(link->source.ctx);
	const struct lp_node *node;
	int r;

	(void)lp_index_root(ix);
	node = lp_index_get(ix, path);
	r = lp_diff_listing(link->diff, node && node->e.kind == LP_KIND_DIR ? node : NULL,
			    &(struct lp_peer_dir){path, link->listed, link->n_listed}, push_todo,
			    link);
	lp_old_listed(link, path, link->listed, link->n_listed);
	for (size_t i = 0; i < link->n_listed; i++)
		free((char *)(uintptr_t)link->listed[i].name);
	link->n_listed = link->listed_bytes = 0;
	return r;
}

/* Compares the directory whose listing is complete. Returns false when the link is failed. */
static bool take_listing(struct lp_link *link)
{
	int r = compare(link, link->todo[link->heard++]);

	if (r == 0 &&
	    link->diff->n_ops > lp_index_count(link->source.index(link->source.ctx)) + SURPLUS_MAX)
		r = -EMSGSIZE;
	if (r < 0)
		lp_link_fail(link, r == -EBADMSG    ? "the instance lists a name twice"
				   : r == -EMSGSIZE ? "the instance holds too much to compare"
						    : "a path is too long");
	return r == 0;
}

/* Whether the listing is of the directory whose turn it is: LIST is answered in the order asked. */
static bool is_due(const struct lp_link *link, const struct lp_msg_listing *listing)
{
	const char *path;

	if (link->heard >= link->asked)
		return false;
	path = link->todo[link->heard];
	return strlen(path) == listing->path.len &&
	       memcmp(path, listing->path.p ? (const char *)listing->path.p : "",
		      listing->path.len) == 0 &&
	       listing->last == (!listing->more && link->heard + 1 == link->asked);
}

void lp_walk_listing(struct lp_link *link, const struct lp_msg_listing *listing)
{
	if (link->state != LP_LINK_WALKING)
		return;
	for (size_t i = 0; i < listing->n_entries; i++)
		link->listed_bytes += sizeof(*link->listed) + listing->entries[i].name.len + 1;
	if (!is_due(link, listing) || link->listed_bytes > LISTED_MAX_BYTES) {
		lp_link_fail(link, "the instance lists what was not asked, or too much");
		return;
	}
	for (size_t i = 0; i < listing->n_entries; i++) {
		const struct lp_wire_entry *w = &listing->entries[i];
		struct lp_peer_entry *p;

		lp_grow(&link->listed, &link->cap_listed, link->n_listed + 1,
			sizeof(*link->listed));
		p = &link->listed[link->n_listed++];
		*p = (struct lp_peer_entry){
			.name = lp_xstrndup((const char *)w->name.p, w->name.len),
			.e = {.kind = (enum lp_kind)w->kind,
			      .mode = (uint32_t)w->mode,
			      .size = w->size},
			.owned = w->owned,
		};
		memcpy(p->e.digest.b, w->digest, sizeof(w->digest));
	}
	if (listing->more)
		return;
	if (!take_listing(link) || !listing->last)
		return;
	/* The asked ones are answered; what they led to comes next. */
	for (size_t i = 0; i < link->asked; i++)
		free(link->todo[i]);
	link->n_todo -= link->asked;
	memmove(link->todo, link->todo + link->asked, link->n_todo * sizeof(char *));
	link->asked = link->heard = 0;
	if (link->n_todo > 0)
		ask_more(link);
	else
		finish_walk(link);
}
