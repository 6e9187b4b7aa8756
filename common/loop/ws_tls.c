/* common/loop/ws_tls.c: whom a connection over TLS trusts, and why one is not trusted, in words
 * that say what to do. */
#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"
#include "common/loop/ws_internal.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* libwebsockets says nothing of a file that it cannot use. */
static int check_ca(const char *ca_file, struct lp_err *err)
{
	LP_AUTO_CLOSE int fd = open(ca_file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	X509_STORE *store;
	struct stat st;
	int n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return lp_err_say(err, errno,
				  "cannot read %s, the authorities to trust: %s; name another file "
				  "with --ca (ca: in livepush.yml)",
				  ca_file, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return lp_err_say(err, EBADMSG,
				  "%s is no regular file: the authorities to trust are read more "
				  "than once; --ca (ca: in livepush.yml) takes a PEM file",
				  ca_file);
	store = X509_STORE_new();
	n = store ? X509_STORE_load_file(store, ca_file) : 0;
	X509_STORE_free(store);
	ERR_clear_error();
	if (n == 1)
		return 0;
	return lp_err_say(err, EBADMSG,
			  "%s holds no certificate to trust; --ca (ca: in livepush.yml) takes "
			  "a PEM file, with -----BEGIN CERTIFICATE-----",
			  ca_file);
}

int lp_ws_tls_vhost(struct lws_vhost **out, struct lp_loop *loop, const char *ca_file,
		    struct lp_err *err)
{
	struct lp_ws_tls *tls = loop->ws->tls;
	struct lws_vhost *vhost;
	int r;

	while (tls && strcmp(tls->ca_file, ca_file) != 0)
		tls = tls->next;
	if (tls) {
		*out = tls->vhost;
		return 0;
	}
	r = check_ca(ca_file, err);
	if (r < 0)
		return r;
	vhost = lp_ws_vhost(loop, NULL, ca_file);
	if (!vhost)
		return lp_err_say(err, ENOMEM, "%s: libwebsockets cannot trust what is in it",
				  ca_file);
	tls = lp_xcalloc(1, sizeof(*tls));
	tls->ca_file = lp_xstrdup(ca_file);
	tls->vhost = vhost;
	tls->next = loop->ws->tls;
	loop->ws->tls = tls;
	*out = vhost;
	return 0;
}

/* What is behind a result of X509_verify_cert. text: after "the certificate of HOST:PORT "; dated:
 * the clock of this machine may be what is wrong. */
struct refusal {
	long result;
	const char *text;
	bool dated;
};

#define NAMES "is not for this name; use one that it has, or serve one that has this name"
#define AUTHORITY                                                                                  \
	"is by an authority that is not trusted here; give that one's certificate with --ca"
static const struct refusal refusals[] = {
	{X509_V_ERR_HOSTNAME_MISMATCH, NAMES, false},
	{X509_V_ERR_IP_ADDRESS_MISMATCH, NAMES, false},
	{X509_V_ERR_CERT_HAS_EXPIRED, "has expired; renew it there", true},
	{X509_V_ERR_CERT_NOT_YET_VALID, "is not valid yet; renew it there", true},
	{X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
	 "is signed by itself and not trusted here; give a copy of it with --ca", false},
	{X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, AUTHORITY, false},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
	 "is by an authority that is itself by another one; give the certificate of the one at the "
	 "top with --ca",
	 false},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, AUTHORITY, false},
	{X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, AUTHORITY, false},
};

/* Whether the peer may have left out the certificates between its own and the authority: OpenSSL
 * cannot tell that from an authority that is not known. */
static bool comes_alone(SSL *ssl, long result)
{
	return (result == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
		result == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE) &&
	       sk_X509_num(SSL_get_peer_cert_chain(ssl)) == 1;
}

static char *explain_refusal(const struct lp_ws *ws, SSL *ssl, long result)
{
	const struct refusal *refusal = NULL;
	const time_t now = time(NULL);
	char clock[64] = "";
	struct tm tm;

	for (size_t i = 0; i < LP_COUNT_OF(refusals) && !refusal; i++)
		if (refusals[i].result == result)
			refusal = &refusals[i];
	if (!refusal)
		return lp_xasprintf("TLS failed: the certificate of %s is refused: %s", ws->where,
				    X509_verify_cert_error_string(result));
	if (refusal->dated && gmtime_r(&now, &tm))
		(void)strftime(clock, sizeof(clock), ", unless it is not %F %R UTC here", &tm);
	return lp_xasprintf("TLS failed: the certificate of %s %s%s%s", ws->where, refusal->text,
			    comes_alone(ssl, result)
				    ? "; or it is one that is, and the server leaves out the "
				      "certificates between: serve those, too"
				    : "",
			    clock);
}

char *lp_ws_tls_explain(const struct lp_ws *ws, struct lws *wsi)
{
	SSL *ssl = lws_get_ssl(wsi);
	long result = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;

	if (result != X509_V_OK)
		return explain_refusal(ws, ssl, result);
	/* It failed before there was anything to object to in a certificate. */
	if (ssl && !SSL_get0_peer_certificate(ssl))
		return lp_xasprintf(
			"TLS failed: %s ended it at once; if it does not speak TLS, "
			"write ws:// instead of wss://, or the port where TLS is spoken",
			ws->where);
	return lp_xasprintf("TLS failed: %s ended it", ws->where);
}
