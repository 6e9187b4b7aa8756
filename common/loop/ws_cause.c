/* common/loop/ws_cause.c: why a connection did not come about, from libwebsockets' words to ones
 * that say what to do. */
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/loop/ws_internal.h"

#include <string.h>

#define CAUSE_HEADER "x-livepush-error:"

/* Our own door says in a header when it is asked without the TLS that it speaks. Others (nginx) say
 * it in a text that is not shown here. */
static char *explain_bad_request(const struct lp_ws *ws, struct lws *wsi)
{
	char text[128] = "";
	int len = lws_hdr_custom_copy(wsi, text, sizeof(text), CAUSE_HEADER,
				      sizeof(CAUSE_HEADER) - 1);

	if (len > 0 && strstr(text, "HTTPS"))
		return lp_xasprintf("%s asks for TLS (HTTP status 400); write wss:// instead of "
				    "ws://",
				    ws->where);
	return lp_xasprintf("it answers with HTTP status 400, not as livepush-controller%s",
			    len > 0 ? "" : "; if it speaks TLS, write wss:// instead of ws://");
}

/* 429 (RFC 6585): controller/gate.h makes it wait. */
static char *explain_status(const struct lp_ws *ws, struct lws *wsi, unsigned status)
{
	if (status == 429)
		return lp_xstrdup("too many wrong attempts from this address; try again in a "
				  "minute");
	if (status == 400 && !ws->is_tls)
		return explain_bad_request(ws, wsi);
	return lp_xasprintf("it answers with HTTP status %u, not as livepush-controller", status);
}

void lp_ws_explain(struct lp_ws *ws, struct lws *wsi, const char *text, size_t len)
{
	LP_AUTO_FREE char *said = lp_xstrndup(text, len);
	unsigned status = lws_http_client_http_response(wsi);

	lp_log(LP_DEBUG, "websockets", "cannot connect: %s status=%u", said, status);
	if (ws->cause)
		return;
	if (strncmp(said, "connect SSL err", 15) == 0)
		ws->cause = lp_ws_tls_explain(ws, wsi);
	else if (status >= 100)
		ws->cause = explain_status(ws, wsi, status);
	else if (strcmp(said, "Unable to connect") == 0)
		ws->cause = lp_xasprintf("nothing listens at %s, or no way leads there; is the "
					 "controller running?",
					 ws->where);
	else
		ws->cause = lp_xasprintf("%s does not answer as livepush-controller does (%s)",
					 ws->where, said);
}
