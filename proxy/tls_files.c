/* proxy/tls_files.c: certificate and key from their files, and the settings of all connections. */
#include "proxy/tls.h"

#include "common/base/lp_buf.h"
#include "common/base/lp_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)1024 * 1024)

/* OpenSSL's words for what went wrong last. */
static const char *reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text ? text : "unknown error";
}

/* Reads a regular file: opening a pipe, or reading a terminal, could wait for ever. */
static int read_text(const char *path, struct lp_buf *text, struct lp_err *err)
{
	LP_AUTO_CLOSE int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return lp_err_set(err, errno, "%s: cannot be read", path);
	if (!S_ISREG(st.st_mode))
		return lp_err_say(err, EINVAL,
				  "%s: is no regular file: a certificate or key is read again "
				  "when it is renewed, so it takes a file with it",
				  path);
	r = lp_read_all(fd, text);
	return r < 0 ? lp_err_set(err, -r, "%s: cannot be read", path) : 0;
}

/* A file in memory, to be given back with close_text. NULL and *err when that fails. */
static BIO *open_text(const char *path, struct lp_buf *text, int *r, struct lp_err *err)
{
	BIO *bio = NULL;

	lp_buf_init(text, FILE_MAX_BYTES);
	*r = read_text(path, text, err);
	if (*r < 0)
		return NULL;
	bio = BIO_new_mem_buf(text->data ? (const void *)text->data : "", (int)text->len);
	if (!bio)
		*r = lp_err_set(err, ENOMEM, "%s", path);
	return bio;
}

static void close_text(BIO *bio, struct lp_buf *text)
{
	(void)BIO_free(bio);
	if (text->data)
		explicit_bzero(text->data, text->len);
	lp_buf_finish(text);
}

/* The server's certificate, then those that lead from it to an authority. */
static int take_chain(SSL_CTX *ctx, BIO *bio, const char *path, struct lp_err *err)
{
	X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
	bool taken;

	if (!cert)
		return lp_err_say(err, EINVAL,
				  "%s: no certificate (PEM) is at its beginning: it takes the "
				  "server's, then those between it and the authority",
				  path);
	taken = SSL_CTX_use_certificate(ctx, cert) == 1;
	X509_free(cert);
	while (taken && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		taken = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
		if (!taken)
			X509_free(cert);
	}
	if (taken && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
		return 0;
	return lp_err_say(err, EINVAL, "%s: a certificate in it cannot be used: %s", path,
			  reason());
}

/* Answers the question for a passphrase, and keeps in mind that it was asked. */
static int on_passphrase(char *to, int len, int is_new, void *asked)
{
	(void)to;
	(void)len;
	(void)is_new;
	*(bool *)asked = true;
	return -1;
}

static int take_key(SSL_CTX *ctx, BIO *bio, const char *path, const char *cert, struct lp_err *err)
{
	bool asked = false;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, &asked);
	bool taken;

	if (!key && asked)
		return lp_err_say(err, EINVAL,
				  "%s: the key is encrypted, and nobody is there to give its "
				  "passphrase: take it off with openssl pkey",
				  path);
	if (!key)
		return lp_err_say(err, EINVAL, "%s: no private key (PEM) is in it", path);
	taken = SSL_CTX_use_PrivateKey(ctx, key) == 1;
	EVP_PKEY_free(key);
	if (taken && SSL_CTX_check_private_key(ctx) == 1)
		return 0;
	return lp_err_say(err, EINVAL,
			  "%s: the key does not belong to the certificate in %s: give the two that "
			  "were issued together",
			  path, cert);
}

static int take_files(SSL_CTX *ctx, const char *cert, const char *key, struct lp_err *err)
{
	struct lp_buf text;
	int r = 0;
	BIO *bio = open_text(cert, &text, &r, err);

	if (r == 0)
		r = take_chain(ctx, bio, cert, err);
	close_text(bio, &text);
	if (r < 0)
		return r;
	bio = open_text(key, &text, &r, err);
	if (r == 0)
		r = take_key(ctx, bio, key, cert, err);
	close_text(bio, &text);
	return r;
}

/* RFC 7301: a client that names protocols and not ours is told so. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		   const unsigned char *in, unsigned int in_len, void *arg)
{
	static const char ours[] = "http/1.1";

	(void)ssl;
	(void)arg;
	for (unsigned int at = 0; at < in_len; at += 1U + in[at]) {
		if (in[at] != sizeof(ours) - 1 || in_len - at < sizeof(ours) ||
		    memcmp(in + at + 1, ours, sizeof(ours) - 1) != 0)
			continue;
		*out = in + at + 1;
		*out_len = in[at];
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool set_up(SSL_CTX *ctx)
{
	/* HTTP says itself where a message ends, so that one that was cut is noticed, whether its
	 * sender has said an end or not. */
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					       SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1;
}

int lp_px_tls_load(SSL_CTX **out, const char *cert, const char *key, struct lp_err *err)
{
	SSL_CTX *ctx;
	int r;

	/* Without openssl.cnf: the instance's root may be empty, or the workspace's. */
	(void)OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	ERR_clear_error();
	ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx || !set_up(ctx))
		r = lp_err_say(err, ENOMEM, "TLS cannot be set up: %s", reason());
	else
		r = take_files(ctx, cert, key, err);
	ERR_clear_error();
	if (r < 0) {
		SSL_CTX_free(ctx);
		return r;
	}
	*out = ctx;
	return 0;
}

void lp_px_tls_unload(SSL_CTX *ctx)
{
	SSL_CTX_free(ctx);
}
