/* common/loop/ws_cause.c: why a connection did not come about, from libwebsockets' words to ones
 * that say what to do. */
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/loop/ws_internal.h"

#include <openssl/ssl.h>
#include <string.h>

/* A handshake that failed before there was anything to object to in a certificate met a peer that
 * does not speak TLS. */
static char *explain_tls(const struct lp_ws *ws, struct lws *wsi)
{
	SSL *ssl = lws_get_ssl(wsi);

	if (ssl && SSL_get_verify_result(ssl) == X509_V_OK && !SSL_get0_peer_certificate(ssl))
		return lp_xasprintf("TLS failed: %s does not speak it; write ws:// instead of "
				    "wss://, or the port where TLS is spoken",
				    ws->where);
	return lp_xstrdup("TLS failed: the certificate is not for this host, or its authority is "
			  "unknown (--ca, or ca: in livepush.yml)");
}

/* 429 (RFC 6585): controller/gate.h makes it wait. */
static char *explain_status(unsigned status)
{
	if (status == 429)
		return lp_xstrdup("too many wrong attempts from this address; try again in a "
				  "minute");
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
		ws->cause = explain_tls(ws, wsi);
	else if (status >= 100)
		ws->cause = explain_status(status);
	else if (strcmp(said, "Unable to connect") == 0)
		ws->cause = lp_xasprintf("nothing listens at %s, or no way leads there; is the "
					 "controller running?",
					 ws->where);
	else
		ws->cause = lp_xasprintf("%s does not answer as livepush-controller does (%s)",
					 ws->where, said);
}
