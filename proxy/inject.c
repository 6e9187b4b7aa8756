/* proxy/inject.c: where a script element goes in a page that streams through. */
#include "proxy/inject.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PIECE_BYTES ((size_t)16 * 1024) /* looked at at once */
#define FRAME_BYTES 32                  /* of a chunk: its size, three line ends, the last chunk */

struct lp_px_tag {
	atomic_uint refs;
	size_t len;
	char text[];
};

/* What the bytes looked at belong to. The text goes behind <head>, or before the first element that
 * is neither <html> nor <head>: a parser would make a head there by itself (HTML, 13.2.6.4). */
enum state {
	TEXT,
	OPEN,    /* '<' */
	NAME,    /* '<' and letters */
	BANG,    /* "<!" */
	DASH,    /* "<!-" */
	COMMENT, /* name_len: dashes in a row; 3 and more: "--!" */
	ELEMENT, /* in <html>, a document type or the like, until its '>' */
	HEAD,    /* in <head> */
};

enum {
	NOT_HERE = -1, /* no place in these bytes */
};

struct lp_px_tag *lp_px_tag_create(const char *text)
{
	size_t len = text ? strlen(text) : 0;
	struct lp_px_tag *tag =
		len > 0 && len <= LP_PX_TAG_MAX_BYTES ? malloc(sizeof(*tag) + len + 1) : NULL;

	if (!tag)
		return NULL;
	atomic_init(&tag->refs, 1);
	tag->len = len;
	memcpy(tag->text, text, len + 1);
	return tag;
}

struct lp_px_tag *lp_px_tag_ref(struct lp_px_tag *tag)
{
	if (tag)
		atomic_fetch_add_explicit(&tag->refs, 1, memory_order_relaxed);
	return tag;
}

void lp_px_tag_unref(struct lp_px_tag *tag)
{
	if (tag && atomic_fetch_sub_explicit(&tag->refs, 1, memory_order_acq_rel) == 1)
		free(tag);
}

size_t lp_px_tag_len(const struct lp_px_tag *tag)
{
	return tag->len;
}

static bool named(const struct lp_px_field *f, const char *name)
{
	return strlen(name) == f->name.len && strncasecmp(f->name.at, name, f->name.len) == 0;
}

/* Whether the text stands in the span, in any case. */
static bool contains(struct lp_px_span s, const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i + len <= s.len; i++)
		if (strncasecmp(s.at + i, text, len) == 0)
			return true;
	return false;
}

bool lp_px_inject_wants(const struct lp_px_head *request)
{
	bool page = false;

	if (request->method.len != 3 || memcmp(request->method.at, "GET", 3) != 0 ||
	    request->wants_upgrade)
		return false;
	for (size_t i = 0; i < request->n_fields; i++) {
		const struct lp_px_field *f = &request->fields[i];

		if (named(f, "range"))
			return false;
		page = page || (named(f, "accept") && contains(f->value, "text/html"));
	}
	return page;
}

void lp_px_inject_prepare(struct lp_px_inject *j, struct lp_px_tag *tag,
			  const struct lp_px_head *request)
{
	lp_px_inject_finish(j);
	if (tag && lp_px_inject_wants(request))
		j->tag = lp_px_tag_ref(tag);
}

/* Whether a header says that the page is to be left as it is. */
static bool forbids(const struct lp_px_field *f)
{
	if (named(f, "content-encoding"))
		return f->value.len > 0 && !lp_px_span_is(f->value, "identity");
	if (named(f, "content-security-policy") || named(f, "content-security-policy-report-only"))
		return contains(f->value, "'nonce-") || contains(f->value, "'sha") ||
		       contains(f->value, "'strict-dynamic'");
	if (named(f, "content-disposition"))
		return contains(f->value, "attachment");
	return named(f, "content-range");
}

static bool is_page(struct lp_px_span type)
{
	static const char html[] = "text/html";
	size_t len = sizeof(html) - 1;

	if (type.len < len || strncasecmp(type.at, html, len) != 0)
		return false;
	if (type.len > len && type.at[len] != ';' && type.at[len] != ' ' && type.at[len] != '\t')
		return false;
	/* Two or four bytes a character: the text would be none there. */
	return !contains(type, "utf-16") && !contains(type, "utf-32");
}

bool lp_px_inject_begin(struct lp_px_inject *j, const struct lp_px_head *response)
{
	bool page = false;

	if (!j->tag || response->status != 200 || response->body == LP_PX_BODY_NONE ||
	    (response->body == LP_PX_BODY_LENGTH && response->length == 0))
		return false;
	for (size_t i = 0; i < response->n_fields; i++) {
		const struct lp_px_field *f = &response->fields[i];

		if (forbids(f))
			return false;
		if (f->id == LP_PX_F_CONTENT_TYPE)
			page = is_page(f->value);
	}
	j->state = TEXT;
	j->held_len = 0;
	j->is_in = false;
	j->active = page;
	return page;
}

bool lp_px_inject_spoils(const struct lp_px_field *f)
{
	static const char *const names[] = {"etag",       "last-modified",  "accept-ranges",
					    "digest",     "content-digest", "repr-digest",
					    "content-md5"};

	for (size_t i = 0; i < LP_COUNT_OF(names); i++)
		if (named(f, names[i]))
			return true;
	return f->id == LP_PX_F_CONTENT_LENGTH;
}

void lp_px_inject_finish(struct lp_px_inject *j)
{
	lp_px_tag_unref(j->tag);
	*j = (struct lp_px_inject){0};
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The name of an element is over. Returns whether the text goes before that element. */
static bool name_ends(struct lp_px_inject *j)
{
	bool head = j->name_len == 4 && strncasecmp(j->name, "head", 4) == 0;

	if (!head && (j->name_len != 4 || strncasecmp(j->name, "html", 4) != 0))
		return true;
	j->state = head ? HEAD : ELEMENT;
	j->quote = 0;
	return false;
}

/* One byte of an element's inside. Returns whether the text goes behind it. */
static bool inside(struct lp_px_inject *j, char c)
{
	bool head = j->state == HEAD;

	if (j->quote) {
		if (c == j->quote)
			j->quote = 0;
		return false;
	}
	if (c == '"' || c == '\'') {
		j->quote = c;
		return false;
	}
	if (c != '>')
		return false;
	j->state = TEXT;
	return head;
}

static void comment(struct lp_px_inject *j, char c)
{
	if (c == '>' && j->name_len >= 2)
		j->state = TEXT;
	else if (c == '-')
		j->name_len = j->name_len < 2 ? j->name_len + 1 : 2;
	else if (c == '!' && j->name_len == 2)
		j->name_len = 3;
	else
		j->name_len = 0;
}

/* Behind "<". Returns whether the text goes before it. */
static bool opened(struct lp_px_inject *j, char c)
{
	if (is_letter(c)) {
		j->state = NAME;
		j->name[0] = c;
		j->name_len = 1;
	} else if (c == '!') {
		j->state = BANG;
	} else if (c == '/') {
		return true;
	} else {
		j->state = c == '<' ? OPEN : c == '?' ? ELEMENT : TEXT;
		j->quote = 0;
	}
	return false;
}

/* Behind "<!" and "<!-". A document type has no quotes that could hide a '>'. */
static void banged(struct lp_px_inject *j, char c)
{
	if (c == '-') {
		j->state = j->state == BANG ? DASH : COMMENT;
		j->name_len = 2;
	} else {
		j->state = c == '>' ? TEXT : ELEMENT;
		j->quote = 0;
	}
}

/* One byte. Returns 0, 1 when the text goes behind it, -1 when it goes before the last '<'. */
static int look(struct lp_px_inject *j, char c)
{
	switch ((enum state)j->state) {
	case TEXT:
		if (c == '<')
			j->state = OPEN;
		return 0;
	case OPEN:
		return opened(j, c) ? -1 : 0;
	case NAME:
		if (c == '>' || c == '/' || c == ' ' || (c >= '\t' && c <= '\r')) {
			if (name_ends(j))
				return -1;
			return inside(j, c) ? 1 : 0;
		}
		if (j->name_len == 4)
			return -1;
		j->name[j->name_len++] = c;
		return 0;
	case BANG:
	case DASH:
		banged(j, c);
		return 0;
	case COMMENT:
		comment(j, c);
		return 0;
	case ELEMENT:
	case HEAD:
		return inside(j, c) ? 1 : 0;
	}
	return 0;
}

/* Whether what came since the last '<' may still have the text before it. */
static bool holds(const struct lp_px_inject *j)
{
	return j->state == OPEN || j->state == NAME;
}

/* Looks for the place in held and bytes[0..len) together: how many of those bytes come before it,
 * or NOT_HERE. *kept: the bytes at the end that have to be held back. */
static ptrdiff_t find(struct lp_px_inject *j, const char *bytes, size_t len, size_t *kept)
{
	size_t open = 0, before = j->held_len;

	for (size_t i = 0; i < len; i++) {
		int where = look(j, bytes[i]);

		if (where > 0)
			return (ptrdiff_t)(before + i + 1);
		if (where < 0)
			return (ptrdiff_t)open;
		if (j->state == OPEN)
			open = before + i;
	}
	*kept = holds(j) ? before + len - open : 0;
	return NOT_HERE;
}

/* How the pieces of one step go out. */
struct sink {
	struct lp_px_buf *out;
	const char *held;
	size_t held_len;
	const char *bytes;
	size_t len;
};

/* The bytes [from, to) of held and bytes together. */
static void put_part(const struct sink *s, size_t from, size_t to)
{
	if (from < s->held_len)
		lp_px_buf_put(s->out, s->held + from, (to < s->held_len ? to : s->held_len) - from);
	if (to > s->held_len) {
		size_t begin = from > s->held_len ? from - s->held_len : 0;

		lp_px_buf_put(s->out, s->bytes + begin, to - s->held_len - begin);
	}
}

/* Puts out the next bytes of the page; last: there are no more. */
static void pass(struct lp_px_inject *j, const char *bytes, size_t len, bool last, bool chunked,
		 struct lp_px_buf *out)
{
	const struct lp_px_tag *tag = j->tag;
	char held[sizeof(j->held)];
	const struct sink s = {out, held, j->held_len, bytes, len};
	size_t all = j->held_len + len, kept = 0, size;
	ptrdiff_t at;
	char line[16];

	memcpy(held, j->held, sizeof(held));
	at = j->is_in ? NOT_HERE : find(j, bytes, len, &kept);
	if (at == NOT_HERE && last)
		at = (ptrdiff_t)all;
	if (at != NOT_HERE)
		kept = 0;
	size = all - kept + (at == NOT_HERE ? 0 : tag->len);
	if (chunked && size > 0)
		lp_px_buf_put(out, line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", size));
	if (at != NOT_HERE) {
		put_part(&s, 0, (size_t)at);
		lp_px_buf_put(out, tag->text, tag->len);
		put_part(&s, (size_t)at, all);
		j->is_in = true;
	} else {
		put_part(&s, 0, all - kept);
	}
	if (chunked && size > 0)
		lp_px_buf_put(out, "\r\n", 2);
	/* What is held back began in these bytes or in those held before. */
	for (size_t i = 0; i < kept; i++) {
		size_t from = all - kept + i;

		j->held[i] = from < s.held_len ? held[from] : bytes[from - s.held_len];
	}
	j->held_len = (uint8_t)kept;
}

/* The next piece of the body: its bytes stand at the front of `in`; *data: how many of `*len` are
 * content. */
static int next_piece(struct lp_px_flow *f, struct lp_px_buf *in, size_t *len, bool *is_data)
{
	struct lp_px_chunk_step step = {0};
	int r;

	*len = lp_px_buf_len(in) < PIECE_BYTES ? lp_px_buf_len(in) : PIECE_BYTES;
	*is_data = true;
	if (f->kind == LP_PX_BODY_LENGTH) {
		if (*len > f->left)
			*len = (size_t)f->left;
		f->left -= *len;
		f->done = f->left == 0;
	} else if (f->kind == LP_PX_BODY_CHUNKED) {
		r = lp_px_chunk_next(&f->chunk, lp_px_buf_at(in), *len, &step);
		if (r < 0)
			return r;
		*len = step.len;
		*is_data = step.is_data;
		f->done = step.done;
	}
	return 0;
}

/* Whether this response's body goes out in chunks. */
static bool goes_chunked(const struct lp_px_flow *f)
{
	return f->form == LP_PX_ENCHUNK || (f->form == LP_PX_RAW && f->kind == LP_PX_BODY_CHUNKED);
}

/* Whether the flow can go on by itself from here: chunks that pass as they came do so only from a
 * place between two of them. */
static bool may_leave(const struct lp_px_inject *j, const struct lp_px_flow *f)
{
	return j->is_in && (f->form != LP_PX_RAW || f->kind != LP_PX_BODY_CHUNKED ||
			    lp_px_chunk_between(&f->chunk));
}

/* The body is over: what is still to be said. */
static int end_body(struct lp_px_inject *j, struct lp_px_flow *f, struct lp_px_buf *out)
{
	int r = lp_px_buf_reserve(out, lp_px_tag_len(j->tag) + FRAME_BYTES, 2 * LP_PX_BULK_BYTES);

	if (r < 0)
		return r;
	if (!j->is_in)
		pass(j, "", 0, true, goes_chunked(f), out);
	if (goes_chunked(f))
		lp_px_buf_put(out, "0\r\n\r\n", 5);
	f->done = true;
	j->active = false;
	return 0;
}

/* Moves pieces until there is no more input or room, or the flow can go on by itself. */
static int move(struct lp_px_inject *j, struct lp_px_flow *f, struct lp_px_buf *in,
		struct lp_px_buf *out)
{
	while (!f->done && lp_px_buf_len(in) && lp_px_buf_len(out) < LP_PX_BULK_BYTES) {
		size_t len = 0;
		bool is_data = false;
		int r = next_piece(f, in, &len, &is_data);

		if (r == 0)
			r = lp_px_buf_reserve(
				out, len + lp_px_tag_len(j->tag) + sizeof(j->held) + FRAME_BYTES,
				2 * LP_PX_BULK_BYTES);
		if (r < 0)
			return r;
		if (is_data && len > 0)
			pass(j, lp_px_buf_at(in), len, false, goes_chunked(f), out);
		lp_px_buf_drop(in, len);
		if (f->done)
			return end_body(j, f, out);
		if (may_leave(j, f)) {
			j->active = false;
			return 0;
		}
	}
	return 0;
}

int lp_px_inject_scan(struct lp_px_inject *j, struct lp_px_flow *f, struct lp_px_buf *in,
		      enum lp_px_input state, struct lp_px_buf *out)
{
	int r = move(j, f, in, out);

	if (r < 0 || f->done)
		return r;
	if (!j->active)
		return lp_px_flow_scan(f, in, state, out);
	if (state == LP_PX_IN_OPEN || lp_px_buf_len(in))
		return 0;
	if (f->kind != LP_PX_BODY_CLOSE || state == LP_PX_IN_RESET)
		return -EPIPE;
	return end_body(j, f, out);
}
