/* tests/fuzz/fuzz_proxy_http.c: heads from the network. What the proxy accepts and writes anew must
 * read the same when it is read again: same end, same framing, same target. */
#include "proxy/rewrite.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void must(bool holds)
{
	if (!holds)
		abort();
}

static bool same(struct lp_px_span a, struct lp_px_span b)
{
	return a.len == b.len && (!a.len || memcmp(a.at, b.at, a.len) == 0);
}

/* The end of a head that stands alone in b. */
static size_t end_of(const struct lp_px_buf *b)
{
	struct lp_px_scan scan = {0};
	ptrdiff_t end = lp_px_http_find_end(&scan, lp_px_buf_at(b), lp_px_buf_len(b));

	must(end > 0 && (size_t)end == lp_px_buf_len(b));
	return (size_t)end;
}

static void try_request(const char *text, size_t len)
{
	static struct lp_px_head head;
	static struct lp_px_head again;
	struct lp_px_origin origin = {.ip = "192.0.2.1"};
	struct lp_px_buf out = {0};
	const char *cause = NULL;
	int status = lp_px_http_parse_request(&head, text, len, &cause);

	must(status == 0 || (status >= 400 && status <= 505 && cause));
	/* A few fields are added; a head with as many as possible has no room for them. */
	if (status || head.n_fields > LP_PX_MAX_FIELDS - 8)
		return;
	must(lp_px_rewrite_request(&out, &head, &origin) == 0);
	must(lp_px_http_parse_request(&again, lp_px_buf_at(&out), end_of(&out), &cause) == 0);
	must(again.body == head.body && again.length == head.length);
	must(again.wants_upgrade == head.wants_upgrade && again.is_head == head.is_head);
	must(same(again.method, head.method) && same(again.path, head.path));
	must(same(again.host, head.host) && again.keep_alive);
	lp_px_buf_finish(&out);
}

static void try_response(const char *text, size_t len, bool to_head)
{
	static struct lp_px_head head;
	static struct lp_px_head again;
	struct lp_px_reply reply = {.client_minor = 1, .keep_alive = true};
	struct lp_px_buf out = {0};
	const char *cause = NULL;

	if (lp_px_http_parse_response(&head, text, len, to_head, &cause) != 0) {
		must(cause != NULL);
		return;
	}
	if (head.n_fields > LP_PX_MAX_FIELDS - 8)
		return;
	reply.chunked = head.body == LP_PX_BODY_CHUNKED || head.body == LP_PX_BODY_CLOSE;
	must(lp_px_rewrite_response(&out, &head, &reply) == 0);
	must(lp_px_http_parse_response(&again, lp_px_buf_at(&out), end_of(&out), to_head, &cause) ==
	     0);
	must(again.status == head.status && again.keep_alive);
	must(again.body == (reply.chunked ? LP_PX_BODY_CHUNKED : head.body));
	must(again.body != LP_PX_BODY_LENGTH || again.length == head.length);
	lp_px_buf_finish(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_px_scan scan = {0};
	const char *text = (const char *)data + 1;
	char *copy;
	ptrdiff_t end;

	if (!size)
		return 0;
	end = lp_px_http_find_end(&scan, text, size - 1);
	if (end <= 0)
		return 0;
	copy = malloc((size_t)end); /* so that a read behind the head is seen */
	must(copy != NULL);
	memcpy(copy, text, (size_t)end);
	if (data[0] & 1)
		try_request(copy, (size_t)end);
	else
		try_response(copy, (size_t)end, data[0] & 2);
	free(copy);
	return 0;
}
