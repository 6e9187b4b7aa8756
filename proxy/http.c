/* proxy/http.c: finding, splitting and checking heads. */
#include "proxy/http.h"

#include <errno.h>
#include <http_parser.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

ptrdiff_t lp_px_http_find_end(struct lp_px_scan *scan, const char *buf, size_t len)
{
	while (scan->seen < len) {
		const char *lf = memchr(buf + scan->seen, '\n', len - scan->seen);
		size_t at;

		if (!lf) {
			scan->seen = len;
			return 0;
		}
		at = (size_t)(lf - buf);
		if (at == scan->line || lf[-1] != '\r')
			return -EBADMSG;
		if (at == scan->line + 1)
			return (ptrdiff_t)at + 1;
		if (scan->line && lp_px_is_blank(buf[scan->line]))
			return -EBADMSG;
		scan->line = at + 1;
		scan->seen = at + 1;
	}
	return 0;
}

/* What the callbacks of http_parser fill. */
struct split {
	struct lp_px_head *head;
	struct lp_px_span url;
	const char *bad; /* what our own checks found */
	bool too_many;
	bool complete;
};

static int on_url(http_parser *p, const char *at, size_t len)
{
	struct split *s = p->data;

	s->url = (struct lp_px_span){at, len};
	return 0;
}

static int on_status(http_parser *p, const char *at, size_t len)
{
	struct split *s = p->data;

	for (size_t i = 0; i < len; i++) {
		if (!lp_px_is_text(at[i])) {
			s->bad = "invalid character in the status line";
			return 1;
		}
	}
	s->head->reason = (struct lp_px_span){at, len};
	return 0;
}

static int on_field(http_parser *p, const char *at, size_t len)
{
	struct split *s = p->data;
	struct lp_px_field *f;

	if (s->head->n_fields == LP_PX_MAX_FIELDS) {
		s->too_many = true;
		return 1;
	}
	for (size_t i = 0; i < len; i++) {
		if (!lp_px_is_token(at[i])) {
			s->bad = "invalid character in a header name";
			return 1;
		}
	}
	f = &s->head->fields[s->head->n_fields++];
	f->name = (struct lp_px_span){at, len};
	f->value = (struct lp_px_span){at, 0};
	lp_px_field_identify(f);
	return 0;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
	struct split *s = p->data;

	/* http_parser does not look at the first byte. */
	for (size_t i = 0; i < len; i++) {
		if (!lp_px_is_text(at[i])) {
			s->bad = "invalid character in a header value";
			return 1;
		}
	}
	if (s->head->n_fields)
		s->head->fields[s->head->n_fields - 1].value =
			lp_px_span_trim((struct lp_px_span){at, len});
	return 0;
}

/* A body never follows what is given to the parser. */
static int on_headers_complete(http_parser *p)
{
	struct split *s = p->data;

	s->complete = true;
	return 1;
}

static const http_parser_settings settings = {
	.on_url = on_url,
	.on_status = on_status,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers_complete,
};

/* Runs http_parser over the head. Returns 0 or -1 with s->bad or s->too_many set. */
static int run_parser(http_parser *p, struct split *s, const char *buf, size_t len,
		      enum http_parser_type type)
{
	enum http_errno e;

	http_parser_init(p, type);
	p->data = s;
	(void)http_parser_execute(p, &settings, buf, len);
	e = HTTP_PARSER_ERRNO(p);
	if (e == HPE_OK && s->complete)
		return 0;
	if (!s->bad)
		s->bad = e == HPE_OK ? "incomplete head" : http_errno_description(e);
	return -1;
}

/* What the Connection fields of a head say. */
struct connection {
	bool close;
	bool keep_alive;
	bool upgrade;
};

static void mark_hop(struct lp_px_head *h, struct lp_px_span name)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		struct lp_px_field *f = &h->fields[i];

		/* Only fields unknown to the proxy: naming one that it or the framing needs is a
		 * trick to get rid of it. */
		if (f->id == LP_PX_F_OTHER && f->name.len == name.len &&
		    strncasecmp(f->name.at, name.at, name.len) == 0)
			f->hop = true;
	}
}

static void read_options(struct lp_px_head *h, struct lp_px_span list, struct connection *c)
{
	struct lp_px_span e;

	while (lp_px_list_next(&list, &e)) {
		if (lp_px_span_is(e, "close"))
			c->close = true;
		else if (lp_px_span_is(e, "keep-alive"))
			c->keep_alive = true;
		else if (lp_px_span_is(e, "upgrade"))
			c->upgrade = true;
		else
			mark_hop(h, e);
	}
}

/* Reads Connection and Upgrade. */
static void read_connection(struct lp_px_head *h)
{
	struct connection c = {0};

	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id == LP_PX_F_UPGRADE && !h->upgrade.len)
			h->upgrade = h->fields[i].value;
		else if (h->fields[i].id == LP_PX_F_CONNECTION)
			read_options(h, h->fields[i].value, &c);
	}
	h->keep_alive = !c.close && (h->minor > 0 || c.keep_alive);
	/* HTTP/2 in clear text would go past the routing table and the header rules. */
	h->wants_upgrade =
		c.upgrade && h->upgrade.len && h->minor > 0 && !lp_px_span_is(h->upgrade, "h2c");
}

static bool parse_length(struct lp_px_span v, uint64_t *out)
{
	uint64_t n = 0;

	if (!v.len || v.len > 18)
		return false;
	for (size_t i = 0; i < v.len; i++) {
		if (v.at[i] < '0' || v.at[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(v.at[i] - '0');
	}
	*out = n;
	return true;
}

/* What Content-Length and Transfer-Encoding say. */
struct framing {
	size_t n_lengths;
	size_t n_codings; /* elements in all Transfer-Encoding fields */
	size_t n_chunked; /* of them "chunked" */
	bool chunked_last;
	bool bad_length;
	uint64_t length;
};

static void read_codings(struct framing *fr, struct lp_px_span list)
{
	struct lp_px_span e;

	while (lp_px_list_next(&list, &e)) {
		fr->n_codings++;
		fr->chunked_last = lp_px_span_is(e, "chunked");
		fr->n_chunked += fr->chunked_last;
	}
}

static struct framing read_framing(const struct lp_px_head *h)
{
	struct framing fr = {0};

	for (size_t i = 0; i < h->n_fields; i++) {
		const struct lp_px_field *f = &h->fields[i];

		if (f->id == LP_PX_F_CONTENT_LENGTH) {
			fr.n_lengths++;
			fr.bad_length = fr.bad_length || !parse_length(f->value, &fr.length);
		} else if (f->id == LP_PX_F_TRANSFER_ENCODING) {
			read_codings(&fr, f->value);
		}
	}
	return fr;
}

static int refuse(const char **cause, int status, const char *text)
{
	*cause = text;
	return status;
}

static int frame_request(struct lp_px_head *h, const char **cause)
{
	struct framing fr = read_framing(h);

	if (fr.n_lengths && fr.n_codings)
		return refuse(cause, 400, "both Content-Length and Transfer-Encoding");
	if (fr.n_lengths > 1 || fr.bad_length)
		return refuse(cause, 400, "invalid Content-Length");
	if (fr.n_codings && h->minor == 0)
		return refuse(cause, 400, "Transfer-Encoding in HTTP/1.0");
	/* RFC 9112 section 6.3: without "chunked" at the end, its length cannot be told. */
	if (fr.n_codings && (!fr.chunked_last || fr.n_chunked > 1))
		return refuse(cause, 400, "invalid Transfer-Encoding");
	if (fr.n_codings > 1)
		return refuse(cause, 501, "only the transfer coding \"chunked\" is supported");
	if (fr.n_codings)
		h->body = LP_PX_BODY_CHUNKED;
	else if (fr.n_lengths && fr.length)
		h->body = LP_PX_BODY_LENGTH;
	h->length = fr.length;
	return 0;
}

static bool host_is_valid(struct lp_px_span host)
{
	for (size_t i = 0; i < host.len; i++) {
		char c = host.at[i];

		if (!lp_px_is_token(c) && c != ':' && c != '[' && c != ']')
			return false;
	}
	return true;
}

static int read_host(struct lp_px_head *h, const char **cause)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id != LP_PX_F_HOST)
			continue;
		n++;
		if (!h->host.at)
			h->host = h->fields[i].value;
		if (!host_is_valid(h->fields[i].value))
			return refuse(cause, 400, "invalid Host");
	}
	if (n > 1)
		return refuse(cause, 400, "several Host headers");
	if (!n && h->minor > 0)
		return refuse(cause, 400, "Host is missing");
	return 0;
}

/* Splits the target: "/path", "http://host/path" (RFC 9112 section 3.2.2) or "*". */
static int read_target(struct lp_px_head *h, const char **cause)
{
	struct lp_px_span t = h->target;
	const char *slash;

	for (size_t i = 0; i < t.len; i++) {
		/* A fragment is none of a server's business; some cut it off, some do not. */
		if ((unsigned char)t.at[i] <= 0x20 || t.at[i] == 0x7f || t.at[i] == '#')
			return refuse(cause, 400, "invalid character in the request target");
	}
	h->path = t;
	if (t.len && t.at[0] == '/')
		return 0;
	if (lp_px_span_is(t, "*") && lp_px_span_is(h->method, "OPTIONS"))
		return 0;
	if (t.len <= 7 || strncasecmp(t.at, "http://", 7) != 0)
		return refuse(cause, 400, "unsupported request target");
	h->host.at = t.at + 7;
	slash = memchr(h->host.at, '/', t.len - 7);
	h->host.len = slash ? (size_t)(slash - h->host.at) : t.len - 7;
	h->path = slash ? (struct lp_px_span){slash, t.len - 7 - h->host.len}
			: (struct lp_px_span){"/", 1};
	if (!h->host.len || !host_is_valid(h->host))
		return refuse(cause, 400, "invalid host in the request target");
	return 0;
}

/* The method as it stands in the request line, and the facts that follow from it. Between its
 * words is one space each, which http_parser does not insist on, nor on "HTTP". */
static int read_line(struct lp_px_head *h, const http_parser *p, const char *buf,
		     const char **cause)
{
	static const char *const safe[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
	const char *version = h->target.at + h->target.len; /* at least " HTTP/1.1" follows */

	h->method = (struct lp_px_span){buf, strlen(http_method_str(p->method))};
	if (h->target.at != buf + h->method.len + 1 || memcmp(version, " HTTP/1.", 8) != 0)
		return refuse(cause, 400, "invalid request line");
	for (size_t i = 0; i < LP_COUNT_OF(safe); i++)
		h->is_safe = h->is_safe || lp_px_span_is(h->method, safe[i]);
	h->is_head = p->method == HTTP_HEAD;
	if (p->method == HTTP_CONNECT)
		return refuse(cause, 405, "CONNECT is not supported");
	return read_target(h, cause);
}

static void lift_library_limit(void)
{
	http_parser_set_max_header_size(UINT32_MAX);
}

void lp_px_http_setup(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, lift_library_limit);
}

static void reset(struct lp_px_head *h)
{
	memset(h, 0, offsetof(struct lp_px_head, fields));
	h->n_fields = 0;
}

int lp_px_http_parse_request(struct lp_px_head *head, const char *buf, size_t len,
			     const char **cause)
{
	struct split s = {.head = head};
	http_parser p;
	int status;

	reset(head);
	if (run_parser(&p, &s, buf, len, HTTP_REQUEST) < 0)
		return refuse(cause, s.too_many ? 431 : 400,
			      s.too_many ? "too many header fields" : s.bad);
	if (p.http_major != 1)
		return refuse(cause, 505, "only HTTP/1.0 and HTTP/1.1 are supported");
	head->minor = p.http_minor ? 1 : 0;
	head->target = s.url;
	status = read_line(head, &p, buf, cause);
	if (status)
		return status;
	for (size_t i = 0; i < head->n_fields; i++)
		head->expects = head->expects || head->fields[i].id == LP_PX_F_EXPECT;
	read_connection(head);
	status = read_host(head, cause);
	if (status)
		return status;
	status = frame_request(head, cause);
	if (status)
		return status;
	if (head->body != LP_PX_BODY_NONE)
		head->wants_upgrade = false;
	return 0;
}

static bool is_event_stream(const struct lp_px_head *h)
{
	static const char type[] = "text/event-stream";
	const size_t len = sizeof(type) - 1;

	for (size_t i = 0; i < h->n_fields; i++) {
		struct lp_px_span v = h->fields[i].value;

		if (h->fields[i].id == LP_PX_F_CONTENT_TYPE)
			return v.len >= len && strncasecmp(v.at, type, len) == 0 &&
			       (v.len == len || v.at[len] == ';' || lp_px_is_blank(v.at[len]));
	}
	return false;
}

int lp_px_http_parse_response(struct lp_px_head *head, const char *buf, size_t len, bool to_head,
			      const char **cause)
{
	struct split s = {.head = head};
	struct framing fr;
	http_parser p;

	reset(head);
	if (run_parser(&p, &s, buf, len, HTTP_RESPONSE) < 0)
		return refuse(cause, -EBADMSG, s.too_many ? "too many header fields" : s.bad);
	if (p.http_major != 1 || memcmp(buf, "HTTP/1.", 7) != 0 || p.status_code < 100)
		return refuse(cause, -EBADMSG, "invalid status line");
	head->minor = p.http_minor ? 1 : 0;
	head->status = p.status_code;
	read_connection(head);
	fr = read_framing(head);
	if (fr.n_lengths > 1 || fr.bad_length || (fr.n_lengths && fr.n_codings))
		return refuse(cause, -EBADMSG, "invalid Content-Length");
	if (fr.n_codings > 1 || (fr.n_codings && !fr.chunked_last))
		return refuse(cause, -EBADMSG, "unsupported Transfer-Encoding");
	head->length = fr.length;
	head->is_event_stream = is_event_stream(head);
	if (to_head || head->status < 200 || head->status == 204 || head->status == 304)
		head->body = LP_PX_BODY_NONE;
	else if (fr.n_codings)
		head->body = LP_PX_BODY_CHUNKED;
	else if (fr.n_lengths)
		head->body = fr.length ? LP_PX_BODY_LENGTH : LP_PX_BODY_NONE;
	else
		head->body = LP_PX_BODY_CLOSE;
	return 0;
}
