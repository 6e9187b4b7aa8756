/* proxy/rewrite.c: writing heads. */
#include "proxy/rewrite.h"

#include "proxy/inject.h"

#include <http_parser.h>
#include <stdio.h>
#include <string.h>

#define HEAD_MAX ((size_t)1024 * 1024) /* beyond what limits can let in */

static void put(struct lp_px_buf *out, const char *text)
{
	lp_px_buf_put(out, text, strlen(text));
}

static void put_span(struct lp_px_buf *out, struct lp_px_span s)
{
	lp_px_buf_put(out, s.at, s.len);
}

static void put_field(struct lp_px_buf *out, const struct lp_px_field *f)
{
	put_span(out, f->name);
	lp_px_buf_put(out, ": ", 2);
	put_span(out, f->value);
	lp_px_buf_put(out, "\r\n", 2);
}

static void put_named(struct lp_px_buf *out, const char *name, struct lp_px_span value)
{
	put(out, name);
	put_span(out, value);
	lp_px_buf_put(out, "\r\n", 2);
}

/* Makes room for all fields (": " and CRLF included) and `more` bytes. */
static int reserve(struct lp_px_buf *out, const struct lp_px_head *h, size_t more)
{
	size_t need = more;

	for (size_t i = 0; i < h->n_fields; i++)
		need += h->fields[i].name.len + h->fields[i].value.len + 4;
	return lp_px_buf_reserve(out, need, HEAD_MAX);
}

static void put_forwarded_for(struct lp_px_buf *out, const struct lp_px_head *h, const char *ip)
{
	bool any = false;

	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id != LP_PX_F_FORWARDED_FOR || !h->fields[i].value.len)
			continue;
		put(out, any ? ", " : "X-Forwarded-For: ");
		put_span(out, h->fields[i].value);
		any = true;
	}
	if (*ip) {
		put(out, any ? ", " : "X-Forwarded-For: ");
		put(out, ip);
		any = true;
	}
	if (any)
		put(out, "\r\n");
}

static bool has(const struct lp_px_head *h, enum lp_px_field_id id)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id == id)
			return true;
	}
	return false;
}

/* RFC 9110 section 7.6.3: with the version that the message was received in. A field of its own
 * counts as the end of the list in those before. */
static void put_via(struct lp_px_buf *out, const struct lp_px_head *h, bool wanted)
{
	if (wanted)
		put(out, h->minor ? "Via: 1.1 livepush\r\n" : "Via: 1.0 livepush\r\n");
}

int lp_px_rewrite_request(struct lp_px_buf *out, const struct lp_px_head *head,
			  const struct lp_px_origin *origin)
{
	int r = reserve(out, head,
			head->method.len + head->path.len + 2 * head->host.len + head->upgrade.len +
				strlen(origin->ip) + 256);

	if (r < 0)
		return r;
	put_span(out, head->method);
	put(out, " ");
	put_span(out, head->path);
	put(out, " HTTP/1.1\r\n");
	put_named(out, "Host: ", head->host);
	for (size_t i = 0; i < head->n_fields; i++) {
		const struct lp_px_field *f = &head->fields[i];

		if (!f->hop && f->id != LP_PX_F_HOST && f->id != LP_PX_F_FORWARDED_FOR &&
		    !(origin->identity && lp_px_span_is(f->name, "accept-encoding")))
			put_field(out, f);
	}
	if (origin->identity)
		put(out, "Accept-Encoding: identity\r\n");
	if (head->wants_upgrade) {
		put(out, "Connection: Upgrade\r\n");
		put_named(out, "Upgrade: ", head->upgrade);
	}
	if (head->body == LP_PX_BODY_CHUNKED)
		put(out, "Transfer-Encoding: chunked\r\n");
	put_forwarded_for(out, head, origin->ip);
	if (!has(head, LP_PX_F_FORWARDED_PROTO))
		put(out, origin->is_tls ? "X-Forwarded-Proto: https\r\n"
					: "X-Forwarded-Proto: http\r\n");
	if (!has(head, LP_PX_F_FORWARDED_HOST) && head->host.len)
		put_named(out, "X-Forwarded-Host: ", head->host);
	put_via(out, head, origin->via);
	put(out, "\r\n");
	return 0;
}

static void put_connection(struct lp_px_buf *out, uint8_t client_minor, bool keep_alive)
{
	if (!keep_alive)
		put(out, "Connection: close\r\n");
	else if (client_minor == 0)
		put(out, "Connection: keep-alive\r\n");
}

static void put_status_line(struct lp_px_buf *out, int status, struct lp_px_span reason)
{
	char line[24];

	(void)snprintf(line, sizeof(line), "HTTP/1.1 %03d ", status);
	put(out, line);
	put_span(out, reason);
	put(out, "\r\n");
}

static void put_length(struct lp_px_buf *out, uint64_t length)
{
	char line[48];

	(void)snprintf(line, sizeof(line), "Content-Length: %llu\r\n", (unsigned long long)length);
	put(out, line);
}

int lp_px_rewrite_response(struct lp_px_buf *out, const struct lp_px_head *head,
			   const struct lp_px_reply *reply)
{
	int r = reserve(out, head, head->reason.len + head->upgrade.len + 128);

	if (r < 0)
		return r;
	put_status_line(out, head->status, head->reason);
	for (size_t i = 0; i < head->n_fields; i++) {
		const struct lp_px_field *f = &head->fields[i];

		if (!f->hop && !(reply->injected && lp_px_inject_spoils(f)))
			put_field(out, f);
	}
	if (reply->injected && head->body == LP_PX_BODY_LENGTH)
		put_length(out, head->length + reply->injected);
	if (reply->upgrade) {
		put(out, "Connection: Upgrade\r\n");
		put_named(out, "Upgrade: ", head->upgrade);
	} else if (head->status >= 200) {
		put_connection(out, reply->client_minor, reply->keep_alive);
	}
	if (reply->chunked)
		put(out, "Transfer-Encoding: chunked\r\n");
	put_via(out, head, reply->via);
	put(out, "\r\n");
	return 0;
}

const char *lp_px_phrase(int status)
{
	static const struct {
		int status;
		const char *phrase;
	} phrases[] = {
#define ROW(number, name, text) {number, #text},
		HTTP_STATUS_MAP(ROW)
#undef ROW
	};

	for (size_t i = 0; i < LP_COUNT_OF(phrases); i++) {
		if (phrases[i].status == status)
			return phrases[i].phrase;
	}
	return "Unknown";
}

int lp_px_rewrite_answer(struct lp_px_buf *out, const struct lp_px_answer *answer)
{
	const char *phrase = lp_px_phrase(answer->status);
	const char *text = answer->text ? answer->text : phrase;
	size_t text_len = strlen(text);
	char fixed[128];
	int r = lp_px_buf_reserve(out, strlen(phrase) + strlen(answer->cause) + text_len + 384,
				  HEAD_MAX);

	if (r < 0)
		return r;
	put_status_line(out, answer->status, (struct lp_px_span){phrase, strlen(phrase)});
	(void)snprintf(fixed, sizeof(fixed),
		       "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n",
		       text_len + 1);
	put(out, fixed);
	put_named(out,
		  "X-Livepush-Error: ", (struct lp_px_span){answer->cause, strlen(answer->cause)});
	if (answer->retry)
		put(out, "Retry-After: 1\r\n");
	put_connection(out, answer->client_minor, answer->keep_alive);
	put(out, "\r\n");
	if (!answer->to_head) {
		lp_px_buf_put(out, text, text_len);
		put(out, "\n");
	}
	return 0;
}
