/* proxy/rewrite.h: heads as they are passed on, and the proxy's own answers. Pure. */
#ifndef LP_PROXY_REWRITE_H
#define LP_PROXY_REWRITE_H

#include "proxy/buf.h"
#include "proxy/http.h"

/* What the proxy knows about the client's side. */
struct lp_px_origin {
	const char *ip; /* of the peer, "" when it has none */
	bool is_tls;    /* it spoke TLS to us */
	bool via;       /* add Via */
	bool identity;  /* the response has to come uncompressed */
};

/* Appends the request head as the upstream gets it: origin form, fields for one hop left out,
 * framing set anew, X-Forwarded-For extended by the peer, X-Forwarded-Proto and -Host added where
 * no router in front has set them. Returns 0, -ENOMEM or -EMSGSIZE. */
int lp_px_rewrite_request(struct lp_px_buf *out, const struct lp_px_head *head,
			  const struct lp_px_origin *origin) LP_MUST_USE;

/* How a response is passed on. */
struct lp_px_reply {
	uint8_t client_minor; /* of the client's HTTP/1.minor */
	bool keep_alive;      /* the client's connection stays open */
	bool chunked;         /* the body goes out in chunks */
	bool upgrade;         /* 101: pass Upgrade on */
	bool via;             /* add Via */
	size_t injected;      /* bytes by which the body grows; 0: it is passed on as it is */
};

/* Appends the response head as the client gets it. Returns 0, -ENOMEM or -EMSGSIZE. */
int lp_px_rewrite_response(struct lp_px_buf *out, const struct lp_px_head *head,
			   const struct lp_px_reply *reply) LP_MUST_USE;

/* An answer by the proxy itself: cause goes into X-Livepush-Error; text (NULL: the standard phrase)
 * is the body, which a HEAD request does not get. retry: add Retry-After: 1. */
struct lp_px_answer {
	int status;
	const char *cause;
	const char *text;
	uint8_t client_minor;
	bool keep_alive;
	bool to_head;
	bool retry;
};

/* Appends the whole answer. Returns 0, -ENOMEM or -EMSGSIZE. */
int lp_px_rewrite_answer(struct lp_px_buf *out, const struct lp_px_answer *answer) LP_MUST_USE;

/* The standard phrase of a status, "Unknown" when there is none. */
const char *lp_px_phrase(int status);

#endif
