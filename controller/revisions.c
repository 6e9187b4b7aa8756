/* controller/revisions.c: a short list of records and the file behind it: a frame for each record
 * and for each change of one, the last of a serial number counts. Written anew when it has grown.
 */
#include "controller/revisions.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "controller/tree_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEPT           LP_WIRE_REVISIONS_MAX
#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define PATHS_MAX      16
#define NEW_FILE       LP_REVISIONS_FILE ".new"

/* wire: its texts are owned. */
struct record {
	uint64_t serial;
	struct lp_wire_revision wire;
};

struct lp_revisions {
	int dir_fd; /* LP_STATE_DIR; -1: memory only */
	int fd;     /* the file, for appending */
	size_t bytes;
	uint64_t next_serial;
	struct record list[KEPT]; /* oldest first */
	size_t n;
};

static void release(struct record *r)
{
	free((void *)(uintptr_t)r->wire.paths.p);
	free((void *)(uintptr_t)r->wire.error.p);
	*r = (struct record){0};
}

static struct lp_bytes copy(const void *p, size_t len)
{
	uint8_t *own = len > 0 ? lp_xcalloc(1, len) : NULL;

	if (own)
		memcpy(own, p, len);
	return (struct lp_bytes){own, len};
}

static void set_error(struct record *r, const char *text)
{
	size_t len = strlen(text);

	free((void *)(uintptr_t)r->wire.error.p);
	r->wire.error =
		copy(text, len < LP_WIRE_TEXT_MAX_BYTES ? len : (size_t)LP_WIRE_TEXT_MAX_BYTES);
}

/* A new record at the end; the oldest makes room. */
static struct record *append(struct lp_revisions *h)
{
	if (h->n == KEPT) {
		release(&h->list[0]);
		h->n--;
		memmove(h->list, h->list + 1, h->n * sizeof(h->list[0]));
	}
	h->list[h->n] = (struct record){0};
	return &h->list[h->n++];
}

/* One frame: the length, then a REVISIONS message with the serial number as its revision. */
static int add_frame(struct lp_buf *out, const struct record *r)
{
	struct lp_msg msg = {.kind = LP_MSG_REVISIONS};
	struct lp_wire_revision one = r->wire;
	struct lp_buf body = {0};
	uint32_t len;
	int e;

	msg.u.revisions.revision = r->serial;
	msg.u.revisions.revisions = &one;
	msg.u.revisions.n_revisions = 1;
	e = lp_msg_encode(&msg, &body);
	len = (uint32_t)body.len;
	if (e == 0)
		e = lp_buf_add(out, &len, sizeof(len));
	if (e == 0)
		e = lp_buf_add(out, body.data, body.len);
	lp_buf_finish(&body);
	return e;
}

/* From now on in memory only. */
static void give_up(struct lp_revisions *h, int code)
{
	char text[128];

	lp_log(LP_WARN, "history", "%s/%s cannot be used, so no history is kept: %s", LP_STATE_DIR,
	       LP_REVISIONS_FILE, strerror_r(code, text, sizeof(text)));
	lp_auto_close(&h->fd);
	lp_auto_close(&h->dir_fd);
	h->fd = h->dir_fd = -1;
}

static int write_new(struct lp_revisions *h, int *out_fd)
{
	const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
	LP_AUTO_CLOSE int fd = openat(h->dir_fd, NEW_FILE, flags, 0600);
	struct lp_buf text = {0};
	int e = fd < 0 ? -errno : 0;

	for (size_t i = 0; i < h->n && e == 0; i++)
		e = add_frame(&text, &h->list[i]);
	if (e == 0 && text.len > 0)
		e = lp_write_all(fd, text.data, text.len);
	if (e == 0 && renameat(h->dir_fd, NEW_FILE, h->dir_fd, LP_REVISIONS_FILE) < 0)
		e = -errno;
	h->bytes = text.len;
	lp_buf_finish(&text);
	if (e == 0)
		*out_fd = lp_take_fd(&fd);
	return e;
}

static void rewrite(struct lp_revisions *h)
{
	int e;

	if (h->dir_fd < 0)
		return;
	lp_auto_close(&h->fd);
	h->fd = -1;
	e = write_new(h, &h->fd);
	if (e < 0)
		give_up(h, -e);
}

static void save(struct lp_revisions *h, const struct record *r)
{
	struct lp_buf frame = {0};
	int e;

	if (h->fd < 0)
		return;
	e = add_frame(&frame, r);
	if (e == 0)
		e = lp_write_all(h->fd, frame.data, frame.len);
	h->bytes += frame.len;
	lp_buf_finish(&frame);
	if (e < 0)
		give_up(h, -e);
	else if (h->bytes > FILE_MAX_BYTES / 2)
		rewrite(h);
}

static struct record *by_serial(struct lp_revisions *h, uint64_t serial)
{
	for (size_t i = h->n; i-- > 0;) {
		if (h->list[i].serial == serial)
			return &h->list[i];
	}
	return NULL;
}

/* Takes over one frame's record. Returns false when it makes no sense. */
static bool read_frame(struct lp_revisions *h, const uint8_t *data, size_t len)
{
	struct lp_msg msg;
	const struct lp_wire_revision *w;
	struct record *r;
	bool good;

	if (lp_msg_decode(&msg, data, len, NULL) < 0)
		return false;
	good = msg.kind == LP_MSG_REVISIONS && msg.u.revisions.n_revisions == 1;
	if (good) {
		w = msg.u.revisions.revisions;
		r = by_serial(h, msg.u.revisions.revision);
		if (!r)
			r = append(h);
		else
			release(r);
		r->serial = msg.u.revisions.revision;
		r->wire = *w;
		r->wire.paths = copy(w->paths.p, w->paths.len);
		r->wire.error = copy(w->error.p, w->error.len);
		if (r->serial >= h->next_serial)
			h->next_serial = r->serial + 1;
	}
	lp_msg_finish(&msg);
	return good;
}

/* A frame that was cut off by a crash ends it. */
static int read_all(struct lp_revisions *h)
{
	struct lp_buf text;
	size_t at = 0;
	int e;

	text = (struct lp_buf){0};
	e = lp_state_read(h->dir_fd, LP_REVISIONS_FILE, FILE_MAX_BYTES, &text);
	if (e == 0) {
		while (text.len - at > sizeof(uint32_t)) {
			uint32_t len;

			memcpy(&len, text.data + at, sizeof(len));
			at += sizeof(len);
			if (len > text.len - at || !read_frame(h, text.data + at, len))
				break;
			at += len;
		}
	}
	lp_buf_finish(&text);
	return e;
}

struct lp_revisions *lp_revisions_open(int tree_fd)
{
	struct lp_revisions *h = lp_xcalloc(1, sizeof(*h));
	int e;

	h->fd = -1;
	h->next_serial = 1;
	h->dir_fd = lp_open_beneath(tree_fd, LP_STATE_DIR, O_RDONLY | O_DIRECTORY, 0);
	if (h->dir_fd < 0) {
		h->dir_fd = -1;
		return h;
	}
	/* What could not be read is not written over. */
	e = read_all(h);
	if (e < 0)
		give_up(h, -e);
	else
		rewrite(h);
	return h;
}

void lp_revisions_close(struct lp_revisions *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++)
		release(&h->list[i]);
	lp_auto_close(&h->fd);
	lp_auto_close(&h->dir_fd);
	free(h);
}

/* The first paths that fit, each with its NUL, behind what is there. */
static void add_paths(struct record *r, const struct lp_applied *a)
{
	struct lp_buf text;
	size_t there = 0;

	lp_buf_init(&text, LP_WIRE_PATHS_MAX_BYTES);
	for (size_t i = 0; i < r->wire.paths.len; i++)
		there += r->wire.paths.p[i] == '\0';
	/* What does not fit is left out. */
	if (r->wire.paths.len > 0 && lp_buf_add(&text, r->wire.paths.p, r->wire.paths.len) < 0)
		text.len = 0;
	for (size_t i = 0; i < a->n_paths && i + there < PATHS_MAX; i++) {
		if (lp_buf_add(&text, a->paths[i], strlen(a->paths[i]) + 1) < 0)
			break;
	}
	free((void *)(uintptr_t)r->wire.paths.p);
	r->wire.paths = copy(text.data, text.len);
	lp_buf_finish(&text);
}

void lp_revisions_applied(struct lp_revisions *h, const struct lp_applied *a, uint64_t at_ms)
{
	struct record *r = h->n > 0 ? &h->list[h->n - 1] : NULL;

	if (a->n_paths == 0)
		return;
	/* What mends a revision belongs to it. */
	if (!r || r->wire.revision != a->revision || r->wire.state == LP_REVISION_UNDONE) {
		r = append(h);
		r->serial = h->next_serial++;
		r->wire.revision = a->revision;
	}
	r->wire.at_ms = at_ms;
	r->wire.state = LP_REVISION_PENDING;
	r->wire.files += a->n_paths;
	r->wire.removed += a->removed;
	r->wire.bytes += a->bytes;
	memcpy(r->wire.root, a->root.b, sizeof(r->wire.root));
	add_paths(r, a);
	save(h, r);
}

/* The newest that is in the tree, up to a revision. */
static struct record *newest(struct lp_revisions *h, uint64_t revision)
{
	for (size_t i = h->n; i-- > 0;) {
		struct record *r = &h->list[i];

		if (r->wire.state != LP_REVISION_UNDONE && r->wire.revision <= revision)
			return r;
	}
	return NULL;
}

/* What was not tried before it never will be. */
static void skip_before(struct lp_revisions *h, const struct record *last)
{
	for (struct record *r = h->list; r < last; r++) {
		if (r->wire.state != LP_REVISION_PENDING)
			continue;
		r->wire.state = LP_REVISION_SKIPPED;
		save(h, r);
	}
}

void lp_revisions_settled(struct lp_revisions *h, uint64_t revision)
{
	struct record *r = newest(h, revision);

	if (!r || r->wire.state == LP_REVISION_HEALTHY)
		return;
	r->wire.state = LP_REVISION_HEALTHY;
	set_error(r, "");
	skip_before(h, r);
	save(h, r);
}

void lp_revisions_failed(struct lp_revisions *h, uint64_t revision, const char *error)
{
	struct record *r = newest(h, revision);

	/* What was healthy once and fails when it is started again was not broken by a change. */
	if (!r || r->wire.state == LP_REVISION_HEALTHY)
		return;
	r->wire.state = LP_REVISION_FAILED;
	set_error(r, error);
	skip_before(h, r);
	save(h, r);
}

/* What is in the tree, newest first: the i-th, or NULL. */
static const struct record *in_tree(const struct lp_revisions *h, size_t i)
{
	for (size_t at = h->n; at-- > 0;) {
		if (h->list[at].wire.state != LP_REVISION_UNDONE && i-- == 0)
			return &h->list[at];
	}
	return NULL;
}

/* Whether it was healthy, and with another tree: what a repair brought back is no way back. */
static bool is_healthy_else(const struct record *r, const struct record *present)
{
	return r->wire.state == LP_REVISION_HEALTHY &&
	       memcmp(r->wire.root, present->wire.root, sizeof(r->wire.root)) != 0;
}

int lp_revisions_goal(const struct lp_revisions *h, uint64_t wanted, struct lp_goal *out,
		      struct lp_err *err)
{
	const struct record *r = in_tree(h, 0), *newer = r, *present;

	if (!r)
		return lp_err_say(err, ENOENT, "no revision is known here");
	if (wanted == r->wire.revision)
		return lp_err_say(err, ENOENT, "revision %" PRIu64 " is what the tree holds",
				  wanted);
	present = r;
	for (size_t i = 1; (r = in_tree(h, i)) != NULL; i++, newer = r) {
		if (wanted ? r->wire.revision == wanted : is_healthy_else(r, present)) {
			*out = (struct lp_goal){r->wire.revision, newer->wire.revision};
			return 0;
		}
	}
	if (wanted)
		return lp_err_say(err, ENOENT,
				  "revision %" PRIu64 " is not known here; 'livepush history' "
				  "lists those that are",
				  wanted);
	return lp_err_say(err, ENOENT,
			  "no revision before the present one was healthy; name one of 'livepush "
			  "history'");
}

bool lp_revisions_escape(const struct lp_revisions *h, struct lp_goal *out)
{
	const struct record *r, *newer = NULL;

	for (size_t i = 0; (r = in_tree(h, i)) != NULL; i++, newer = r) {
		if (r->wire.state != LP_REVISION_HEALTHY)
			continue;
		if (newer)
			*out = (struct lp_goal){r->wire.revision, newer->wire.revision};
		return newer != NULL;
	}
	return false;
}

void lp_revisions_rolled(struct lp_revisions *h, const struct lp_goal *goal)
{
	for (size_t i = h->n; i-- > 0;) {
		struct record *r = &h->list[i];

		if (r->wire.state == LP_REVISION_UNDONE)
			continue;
		if (r->wire.revision == goal->to)
			return;
		r->wire.state = LP_REVISION_UNDONE;
		save(h, r);
	}
}

size_t lp_revisions_list(const struct lp_revisions *h, size_t most, uint64_t reach,
			 struct lp_wire_revision **out)
{
	size_t n = most < h->n ? most : h->n, first = h->n - n;
	const struct record *after = NULL;

	*out = lp_xcalloc(n, sizeof(**out));
	/* One can be reached when what came after it can be taken back. */
	for (size_t i = h->n; i-- > first;) {
		const struct record *r = &h->list[i];
		struct lp_wire_revision *w = &(*out)[i - first];

		*w = r->wire;
		if (w->state == LP_REVISION_UNDONE)
			continue;
		w->kept = reach > 0 && after && after->wire.revision >= reach;
		after = r;
	}
	return n;
}
