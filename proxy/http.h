/* proxy/http.h: HTTP/1.x heads from bytes to checked facts (RFC 9112, RFC 9110). http_parser splits
 * them; everything that it lets through in the form that Debian ships is refused here, because two
 * servers that read a message differently can be played off against each other. Pure. */
#ifndef LP_PROXY_HTTP_H
#define LP_PROXY_HTTP_H

#include "proxy/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LP_PX_MAX_FIELDS 256

/* Header fields that a proxy looks at. */
enum lp_px_field_id {
	LP_PX_F_OTHER,
	LP_PX_F_CONNECTION,
	LP_PX_F_CONTENT_LENGTH,
	LP_PX_F_CONTENT_TYPE,
	LP_PX_F_EXPECT,
	LP_PX_F_FORWARDED_FOR,
	LP_PX_F_FORWARDED_HOST,
	LP_PX_F_FORWARDED_PROTO,
	LP_PX_F_HOP, /* any other field that is for one hop only */
	LP_PX_F_HOST,
	LP_PX_F_TRANSFER_ENCODING,
	LP_PX_F_UPGRADE,
};

struct lp_px_field {
	struct lp_px_span name;
	struct lp_px_span value; /* without white space around it */
	enum lp_px_field_id id;
	bool hop; /* not to be passed on */
};

/* Sets id and hop by the name. A field that passes for a known one when '_' is read as '-' is for
 * one hop. */
void lp_px_field_identify(struct lp_px_field *f);

/* Whether a field of that name may be passed on behind a body (RFC 9110 section 6.5.1): a server
 * that puts trailers among the headers must not be told there how long the message is, where it
 * goes, who sends it, or what its content is. */
bool lp_px_field_may_trail(struct lp_px_span name);

/* How the end of a body is found. */
enum lp_px_body {
	LP_PX_BODY_NONE,
	LP_PX_BODY_LENGTH,
	LP_PX_BODY_CHUNKED,
	LP_PX_BODY_CLOSE,
};

/* A parsed head; its spans are borrowed from the parsed bytes. */
struct lp_px_head {
	struct lp_px_span method; /* of a request */
	struct lp_px_span target; /* as sent */
	struct lp_px_span path; /* the part of target to route and forward by: origin form or "*" */
	struct lp_px_span host; /* Host, or the authority of an absolute target; may be empty */
	struct lp_px_span upgrade;
	struct lp_px_span reason; /* of a response */
	int status;
	uint8_t minor;   /* of HTTP/1.minor */
	bool keep_alive; /* the sender is willing to go on */
	bool is_head;    /* method HEAD */
	bool is_safe;    /* idempotent method (RFC 9110 section 9.2.2) */
	bool wants_upgrade;
	bool expects;         /* Expect is there */
	bool is_event_stream; /* Content-Type: text/event-stream */
	enum lp_px_body body;
	uint64_t length; /* for LP_PX_BODY_LENGTH */
	struct lp_px_field fields[LP_PX_MAX_FIELDS];
	size_t n_fields;
};

/* Where the search for the end of a head stands; zero it for each head. */
struct lp_px_scan {
	size_t line; /* start of the current line */
	size_t seen; /* bytes looked at */
};

/* Lifts the ceiling that http_parser has for the whole process (80 KiB), since callers check their
 * own. Any thread, any number of times. */
void lp_px_http_setup(void);

/* Looks for the empty line in buf[0..len), which starts with the head and only grows between calls.
 * Returns the length of the head with its empty line, 0 when it is not there yet, or -EBADMSG for a
 * line that ends in a bare LF or continues the one before. */
ptrdiff_t lp_px_http_find_end(struct lp_px_scan *scan, const char *buf, size_t len) LP_MUST_USE;

/* Parses the head buf[0..len) found before. Returns 0, or the status to refuse it with and a
 * static text for people in *cause. */
int lp_px_http_parse_request(struct lp_px_head *head, const char *buf, size_t len,
			     const char **cause) LP_MUST_USE;

/* Parses a response head; to_head: it answers HEAD. Returns 0 or -EBADMSG with *cause. */
int lp_px_http_parse_response(struct lp_px_head *head, const char *buf, size_t len, bool to_head,
			      const char **cause) LP_MUST_USE;

#endif
