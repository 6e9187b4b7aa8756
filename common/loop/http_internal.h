/* common/loop/http_internal.h: a plain HTTP request, shared by http.c (its life and answer) and
 * http_head.c (what it says). */
#ifndef LP_COMMON_LOOP_HTTP_INTERNAL_H
#define LP_COMMON_LOOP_HTTP_INTERNAL_H

#include "common/loop/ws_internal.h"

/* extra: name, NUL, value, NUL, … of the answer. out[out_at..] is to be written. cut: the peer does
 * not read. asked: the owner has it. */
struct lp_http {
	struct lws *wsi; /* NULL: the head of an upgrade */
	struct lp_loop *loop;
	const char *method;
	char *path;
	char *query;
	char *values[LP_HTTP_HEADER_COUNT_];
	struct lp_buf body;
	uint64_t body_left;
	bool is_counted; /* in n_discarding of the host */
	bool discards;
	bool asked;
	bool close_after;
	int status; /* 0: not answered */
	char type[96];
	struct lp_buf extra;
	struct lp_buf out;
	size_t out_at;
	size_t out_max; /* of a stream */
	bool head_written;
	bool is_stream;
	bool ended;
	bool cut;
	void (*gone)(struct lp_http *h, void *user);
	void *user;
};

/* A header's value, several of one name joined by ','. Owned; NULL when it is longer than max. */
char *lp_http_copy_token(struct lws *wsi, enum lws_token_indexes token, size_t max);

/* Fills method, path, query and values. Returns 0 or the status to refuse it with; all are filled
 * then, too. */
int lp_http_read_head(struct lp_http *h, struct lws *wsi, const char *path);

#endif
