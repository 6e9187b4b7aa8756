/* common/loop/http.c: plain HTTP requests over libwebsockets' server side. Reads a body only as far
 * as its owner wants it, and writes answers when the peer takes them. */
#include "common/loop/http_internal.h"

#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"

#include <string.h>
#include <sys/socket.h>

/* So much of a body that nobody wants is still read before the answer, because a peer that is cut
 * off while it sends may never see the answer. */
#define DISCARD_MAX_BYTES ((uint64_t)1 << 20)
#define DISCARD_US        3000000 /* but for so long only, and of so many at a time: */
#define DISCARDING_MAX    64      /* strangers shall hold no connections */
#define PIECE_BYTES       ((size_t)64 * 1024)
#define LOOK_US           1000000 /* between looks whether a peer that waits is still there */
#define HEAD_BYTES        ((size_t)1024)

static void free_http(struct lp_http *h)
{
	for (size_t i = 0; i < LP_HTTP_HEADER_COUNT_; i++)
		free(h->values[i]);
	lp_buf_finish(&h->body);
	lp_buf_finish(&h->extra);
	lp_buf_finish(&h->out);
	free(h->path);
	free(h->query);
	free(h);
}

/* Its body, which nobody wants, is waited for; or not any more. */
static void count(struct lp_http *h, bool waits)
{
	if (h->is_counted == waits)
		return;
	h->is_counted = waits;
	if (waits)
		h->loop->ws->n_discarding++;
	else
		h->loop->ws->n_discarding--;
}

void lp_http_lost(struct lp_http **at)
{
	struct lp_http *h = *at;

	if (!h)
		return;
	*at = NULL;
	h->wsi = NULL;
	count(h, false);
	if (h->gone)
		h->gone(h, h->user);
	free_http(h);
}

/* The whole request is there. */
static void ask(struct lp_http *h)
{
	struct lp_ws_serve_opts *serve = &h->loop->ws->serve;

	h->asked = true;
	count(h, false);
	lws_set_timeout(h->wsi, NO_PENDING_TIMEOUT, 0);
	if (h->status == 0)
		serve->on_request(serve->ctx, h);
	else
		(void)lws_callback_on_writable(h->wsi);
	if (h->status == 0 || h->is_stream)
		lws_set_timer_usecs(h->wsi, LOOK_US);
}

int lp_http_look(struct lp_http *h)
{
	char byte;

	if (!h)
		return 0;
	if (h->discards && !h->asked) {
		h->close_after = true;
		ask(h);
		return 0;
	}
	lws_set_timer_usecs(h->wsi, LOOK_US);
	return recv(lws_get_socket_fd(h->wsi), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0 ? -1 : 0;
}

/* How much body is announced. Returns 0, or the status to refuse it with. */
static int read_length(struct lp_http *h)
{
	LP_AUTO_FREE char *chunked = lp_http_copy_token(h->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING,
							LP_HTTP_VALUE_MAX_BYTES);
	LP_AUTO_FREE char *length = lp_http_copy_token(h->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, 20);
	char *end;

	if (!chunked || chunked[0] || !length) {
		h->close_after = true;
		return length ? 411 : 413;
	}
	/* libwebsockets takes all that follows such a head for its body. */
	if (!length[0] && h->method[0] == 'P')
		h->close_after = true;
	errno = 0;
	h->body_left = strtoull(length, &end, 10);
	if (!*end && errno == 0 && length[0] != '-')
		return 0;
	h->close_after = true;
	return 400;
}

int lp_http_begin(struct lp_loop *loop, struct lws *wsi, struct lp_http **at, const char *path)
{
	struct lp_ws_serve_opts *serve = &loop->ws->serve;
	struct lp_http *h = lp_xcalloc(1, sizeof(*h));
	int status = lp_http_read_head(h, wsi, path);
	size_t max = 0;

	lp_http_lost(at);
	*at = h;
	h->wsi = wsi;
	h->loop = loop;
	h->out_max = LP_HTTP_STREAM_MAX_BYTES;
	if (status == 0)
		status = read_length(h);
	if (status == 0 && serve->on_head)
		max = serve->on_head(serve->ctx, h);
	if (status == 0 && h->status == 0 && h->body_left > max)
		status = 413;
	if (status != 0)
		lp_http_say(h, status, "");
	lp_buf_init(&h->body, max ? max : 1);
	h->discards = h->status != 0;
	if (h->discards && (h->body_left > DISCARD_MAX_BYTES ||
			    (h->body_left > 0 && loop->ws->n_discarding >= DISCARDING_MAX)))
		h->close_after = true;
	if (h->body_left == 0 || h->close_after) {
		ask(h);
	} else if (h->discards) {
		count(h, true);
		lws_set_timer_usecs(wsi, DISCARD_US);
	}
	return 0;
}

int lp_http_more(struct lp_http *h, const void *data, size_t len)
{
	if (h && h->close_after && h->asked)
		return 0; /* the answer is on its way, then it is over */
	if (!h || len > h->body_left)
		return -1;
	h->body_left -= len;
	if (!h->discards && lp_buf_add(&h->body, data, len) < 0) {
		h->discards = true;
		lp_http_say(h, 503, "no memory for this body");
	}
	if (h->body_left == 0 && !h->asked)
		ask(h);
	return 0;
}

static int write_head(struct lp_http *h)
{
	size_t room = LWS_PRE + HEAD_BYTES + h->extra.len * 2;
	LP_AUTO_FREE uint8_t *head = lp_xcalloc(room, 1);
	uint8_t *p = head + LWS_PRE, *end = head + room;
	lws_filepos_t length = h->is_stream ? LWS_ILLEGAL_HTTP_CONTENT_LEN : h->out.len;
	const char *name = (const char *)h->extra.data, *stop = name + h->extra.len;

	if (lws_add_http_common_headers(h->wsi, (unsigned)h->status, h->type, length, &p, end))
		return -1;
	if (h->close_after && lws_add_http_header_by_token(h->wsi, WSI_TOKEN_CONNECTION,
							   (const uint8_t *)"close", 5, &p, end))
		return -1;
	while (name < stop) {
		LP_AUTO_FREE char *with_colon = lp_xasprintf("%s:", name);
		const char *value = name + strlen(name) + 1;

		if (lws_add_http_header_by_name(h->wsi, (const uint8_t *)with_colon,
						(const uint8_t *)value, (int)strlen(value), &p,
						end))
			return -1;
		name = value + strlen(value) + 1;
	}
	h->head_written = true;
	if (strcmp(h->method, "HEAD") == 0)
		lp_buf_finish(&h->out);
	return lws_finalize_write_http_header(h->wsi, head + LWS_PRE, &p, end) ? -1 : 0;
}

int lp_http_upgrade_status(struct lp_loop *loop, struct lws *wsi, const char *path)
{
	struct lp_ws_serve_opts *serve = &loop->ws->serve;
	struct lp_http *h = lp_xcalloc(1, sizeof(*h));
	int status = lp_http_read_head(h, wsi, path);

	if (status == 0 && serve->on_upgrade)
		status = serve->on_upgrade(serve->ctx, h);
	if (status != 0) {
		lp_http_say(h, status, "");
		h->wsi = wsi;
		h->close_after = true;
		if (write_head(h) == 0 && h->out.len > 0 && h->out.len <= PIECE_BYTES) {
			memcpy(loop->ws->scratch + LWS_PRE, h->out.data, h->out.len);
			(void)lws_write(wsi, loop->ws->scratch + LWS_PRE, h->out.len,
					LWS_WRITE_HTTP_FINAL);
		}
	}
	free_http(h);
	return status;
}

/* Written as a whole. */
static int complete(struct lp_http **at)
{
	struct lp_http *h = *at;
	struct lws *wsi = h->wsi;
	bool closes = h->is_stream || h->close_after;

	lp_http_lost(at);
	return closes || lws_http_transaction_completed(wsi) ? -1 : 0;
}

int lp_http_writable(struct lp_http **at)
{
	struct lp_http *h = *at;
	size_t n;

	if (!h || h->status == 0 || !h->asked)
		return 0;
	if (h->cut)
		return -1;
	if (!h->head_written) {
		if (write_head(h) < 0)
			return -1;
		if (h->is_stream || h->out.len > 0) {
			(void)lws_callback_on_writable(h->wsi);
			return 0;
		}
		return complete(at);
	}
	n = h->out.len - h->out_at;
	if (n > PIECE_BYTES)
		n = PIECE_BYTES;
	if (n > 0) {
		bool is_last = !h->is_stream && h->out_at + n == h->out.len;
		uint8_t *out = h->loop->ws->scratch + LWS_PRE;

		memcpy(out, h->out.data + h->out_at, n);
		if (lws_write(h->wsi, out, n, is_last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) <
		    (int)n)
			return -1;
		h->out_at += n;
	}
	if (h->out_at < h->out.len) {
		(void)lws_callback_on_writable(h->wsi);
		return 0;
	}
	lp_buf_finish(&h->out);
	h->out_at = 0;
	return !h->is_stream || h->ended ? complete(at) : 0;
}

void lp_http_set(struct lp_http *h, const char *name, const char *value)
{
	size_t at = h->extra.len + strlen(name) + 1;

	if (lp_buf_add(&h->extra, name, strlen(name) + 1) < 0 ||
	    lp_buf_add(&h->extra, value, strlen(value) + 1) < 0)
		abort();
	for (; h->extra.data[at]; at++)
		if (h->extra.data[at] < ' ' || h->extra.data[at] == 0x7f)
			h->extra.data[at] = '?';
}

static void start(struct lp_http *h, int status, const char *type)
{
	h->status = status;
	(void)lws_snprintf(h->type, sizeof(h->type), "%s", type);
	if (h->wsi && h->asked)
		(void)lws_callback_on_writable(h->wsi);
}

void lp_http_answer(struct lp_http *h, int status, const char *type, const void *data, size_t len)
{
	if (h->status != 0)
		return;
	if (len > 0 && lp_buf_add(&h->out, data, len) < 0) {
		status = 503;
		lp_buf_finish(&h->out);
	}
	start(h, status, type);
}

void lp_http_say(struct lp_http *h, int status, const char *text)
{
	LP_AUTO_FREE char *line = lp_xasprintf("%s%s", text, text[0] ? "\n" : "");

	lp_http_answer(h, status, "text/plain; charset=utf-8", line, strlen(line));
}

void lp_http_stream(struct lp_http *h, int status, const char *type)
{
	if (h->status != 0)
		return;
	h->is_stream = true;
	h->ended = strcmp(h->method, "HEAD") == 0;
	start(h, status, type);
}

int lp_http_send(struct lp_http *h, const void *data, size_t len)
{
	if (h->ended)
		return 0;
	if (h->out_at > 0) {
		lp_buf_drop(&h->out, h->out_at);
		h->out_at = 0;
	}
	if (h->out.len + len > h->out_max || lp_buf_add(&h->out, data, len) < 0) {
		lp_http_cut(h);
		return -ENOBUFS;
	}
	if (h->wsi)
		(void)lws_callback_on_writable(h->wsi);
	return 0;
}

void lp_http_bound(struct lp_http *h, size_t unread_max_bytes)
{
	h->out_max = unread_max_bytes;
}

void lp_http_cut(struct lp_http *h)
{
	h->cut = h->ended = true;
	if (h->wsi)
		lws_set_timeout(h->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

void lp_http_end(struct lp_http *h)
{
	h->ended = true;
	if (h->wsi)
		(void)lws_callback_on_writable(h->wsi);
}

void lp_http_on_gone(struct lp_http *h, void (*gone)(struct lp_http *h, void *user), void *user)
{
	h->gone = gone;
	h->user = user;
}
