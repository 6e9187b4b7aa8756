/* common/loop/http.h: plain HTTP requests at the server side of common/loop/ws.h: what they say,
 * and their answers, at once or later, whole or as a stream. Loop thread only. Knows nothing of who
 * may ask for what. */
#ifndef LP_COMMON_LOOP_HTTP_H
#define LP_COMMON_LOOP_HTTP_H

#include "common/base/lp_buf.h"

#include <stdbool.h>

#define LP_HTTP_TARGET_MAX_BYTES 2048               /* of a path, of a query: 414 beyond */
#define LP_HTTP_VALUE_MAX_BYTES  8192               /* of one header: 431 beyond */
#define LP_HTTP_STREAM_MAX_BYTES ((size_t)1 << 20)  /* unread by the peer of a stream */
#define LP_HTTP_BODY_ANY         ((size_t)64 << 20) /* the largest body that can be asked for */

/* One request. It lives from on_head until its on_gone has returned. */
struct lp_http;

/* The headers that can be asked for. */
enum lp_http_header {
	LP_HTTP_HOST,
	LP_HTTP_ORIGIN,
	LP_HTTP_AUTHORIZATION,
	LP_HTTP_COOKIE,
	LP_HTTP_FORWARDED_FOR, /* X-Forwarded-For, several joined by ',' */
	LP_HTTP_FORWARDED_PROTO,
	LP_HTTP_AUTH_TOKEN, /* X-Auth-Token */
	LP_HTTP_IF_NONE_MATCH,
	LP_HTTP_ACCEPT,
	LP_HTTP_SEC_FETCH_SITE,
	LP_HTTP_LAST_EVENT_ID,
	LP_HTTP_HEADER_COUNT_,
};

/* "GET"; the path with its escapes undone and its dots resolved; a header's value, "" for none; the
 * body (from on_request on). Borrowed. */
const char *lp_http_method(const struct lp_http *h);
const char *lp_http_path(const struct lp_http *h);
const char *lp_http_header(const struct lp_http *h, enum lp_http_header header);
const struct lp_buf *lp_http_body(const struct lp_http *h);

/* Copies the value of a parameter of the query, or of a cookie, as it was sent. Returns false when
 * there is none or it does not fit. */
bool lp_http_parameter(const struct lp_http *h, const char *name, char *out, size_t out_bytes);
bool lp_http_cookie(const struct lp_http *h, const char *name, char *out, size_t out_bytes);

/* Adds a header to the answer; before that. name in lower case, without colon. Control characters
 * in the value become '?'. */
void lp_http_set(struct lp_http *h, const char *name, const char *value);

/* Answers, once; now or later. data is copied; a HEAD gets its length only. */
void lp_http_answer(struct lp_http *h, int status, const char *type, const void *data, size_t len);
/* The same with a line of text. */
void lp_http_say(struct lp_http *h, int status, const char *text);

/* Answers with a body that has no end yet: lp_http_send as often as needed, then lp_http_end.
 * send copies. It returns 0, or -ENOBUFS when the peer does not read (over LP_HTTP_STREAM_MAX_BYTES
 * wait already): the stream is then being cut, and on_gone follows. */
void lp_http_stream(struct lp_http *h, int status, const char *type);
int lp_http_send(struct lp_http *h, const void *data, size_t len) LP_MUST_USE;
void lp_http_end(struct lp_http *h);
/* Lets only so many bytes wait for the peer of a stream. */
void lp_http_bound(struct lp_http *h, size_t unread_max_bytes);
/* Cuts a stream, whatever waits still. on_gone follows, not before this returns. */
void lp_http_cut(struct lp_http *h);

/* gone(user) is called once, when the request is over: answered and written, or the peer went away.
 * h is released when it returns. Whoever answers later or streams needs it. */
void lp_http_on_gone(struct lp_http *h, void (*gone)(struct lp_http *h, void *user), void *user);

#endif
