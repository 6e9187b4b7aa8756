/* proxy/tls.c: connections with TLS. */
#include "proxy/tls.h"

#include "common/base/lp_util.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

/* What one read takes from the socket: more than a record, and an end to a peer that sends for ever
 * what carries no content, such as new keys. */
#define TURN_BYTES ((size_t)64 * 1024)

/* What a handshake takes from the socket. A ClientHello has a few KiB; OpenSSL would keep 128 KiB
 * of one that never ends (heads.c counts what it keeps). */
#define HANDSHAKE_IN_BYTES ((size_t)16 * 1024)

struct lp_px_tls {
	SSL *ssl;
	int fd;        /* borrowed */
	size_t budget; /* what may yet be taken from the socket in this turn */
	size_t shaken; /* what was taken while the handshake was not over */
	bool is_up;    /* it was over when something was to be read */
	bool begun;    /* the first byte is one of TLS */
	bool eof;      /* the socket has ended */
	bool dry;      /* the socket holds nothing more */
	bool failed;   /* OpenSSL has given up */
};

/* The socket as OpenSSL sees it. Its own would send SIGPIPE, and does not tell a socket that is
 * empty from a turn that is over. */
static BIO_METHOD *socket_method;

static int socket_read(BIO *bio, char *to, int len)
{
	struct lp_px_tls *t = BIO_get_data(bio);
	size_t most = (size_t)len;
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (!t->budget) {
		BIO_set_retry_read(bio);
		return -1;
	}
	t->is_up = t->is_up || SSL_is_init_finished(t->ssl);
	if (!t->is_up && most > HANDSHAKE_IN_BYTES - t->shaken)
		most = HANDSHAKE_IN_BYTES - t->shaken;
	if (!most)
		return -1;
	do {
		n = recv(t->fd, to, most, 0);
	} while (n < 0 && errno == EINTR);
	if (!t->is_up && n > 0)
		t->shaken += (size_t)n;
	if (n < 0 && errno == EAGAIN) {
		t->dry = true;
		BIO_set_retry_read(bio);
	}
	t->eof = n == 0;
	if (n > 0)
		t->budget -= (size_t)n < t->budget ? (size_t)n : t->budget;
	return (int)n;
}

static int socket_write(BIO *bio, const char *from, int len)
{
	struct lp_px_tls *t = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	do {
		n = send(t->fd, from, (size_t)len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		BIO_set_retry_write(bio);
	return (int)n;
}

static long socket_control(BIO *bio, int what, long number, void *at)
{
	const struct lp_px_tls *t = BIO_get_data(bio);

	(void)number;
	(void)at;
	if (what == BIO_CTRL_EOF)
		return t->eof;
	return what == BIO_CTRL_FLUSH;
}

static void make_method(void)
{
	socket_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
	if (!socket_method)
		return;
	(void)BIO_meth_set_read(socket_method, socket_read);
	(void)BIO_meth_set_write(socket_method, socket_write);
	(void)BIO_meth_set_ctrl(socket_method, socket_control);
}

struct lp_px_tls *lp_px_tls_create(SSL_CTX *ctx, int fd)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct lp_px_tls *t = calloc(1, sizeof(*t));
	BIO *bio;

	(void)pthread_once(&once, make_method);
	if (!t || !socket_method)
		goto fail;
	t->fd = fd;
	t->ssl = SSL_new(ctx);
	bio = t->ssl ? BIO_new(socket_method) : NULL;
	if (!bio)
		goto fail;
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_accept_state(t->ssl);
	return t;
fail:
	ERR_clear_error();
	lp_px_tls_destroy(t);
	return NULL;
}

void lp_px_tls_destroy(struct lp_px_tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	free(t);
}

bool lp_px_tls_is_refused(struct lp_px_tls *t)
{
	char first;

	if (t->begun || recv(t->fd, &first, 1, MSG_PEEK) != 1)
		return false;
	t->begun = true;
	return first >= 'A' && first <= 'Z';
}

bool lp_px_tls_has_begun(const struct lp_px_tls *t)
{
	return t->begun;
}

bool lp_px_tls_is_up(const struct lp_px_tls *t)
{
	return SSL_is_init_finished(t->ssl);
}

/* Before a call of OpenSSL: its errors stand in a queue of the thread. */
static void begin_turn(struct lp_px_tls *t)
{
	t->budget = TURN_BYTES;
	t->dry = false;
	ERR_clear_error();
}

/* Why a call that gave `r` did not get on, as lp_px_tls_read returns it. */
static int cause_of(struct lp_px_tls *t, int r)
{
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_WANT_READ:
		return t->dry ? -EAGAIN : -EINPROGRESS;
	case SSL_ERROR_WANT_WRITE:
		return -ENOBUFS;
	default:
		t->failed = true;
		ERR_clear_error();
		return -EPROTO;
	}
}

ssize_t lp_px_tls_read(struct lp_px_tls *t, void *to, size_t len)
{
	int r;

	if (t->failed)
		return -EPROTO;
	begin_turn(t);
	r = SSL_read(t->ssl, to, len < INT_MAX ? (int)len : INT_MAX);
	return r > 0 ? r : cause_of(t, r);
}

int lp_px_tls_has_input(struct lp_px_tls *t)
{
	char byte;
	int r;

	if (t->failed)
		return -EPROTO;
	begin_turn(t);
	r = SSL_peek(t->ssl, &byte, 1);
	if (r <= 0)
		r = cause_of(t, r);
	if (r == -EAGAIN)
		return 0;
	return r == -EPROTO ? r : 1;
}

ssize_t lp_px_tls_write(struct lp_px_tls *t, const void *from, size_t len)
{
	int r;

	if (t->failed)
		return -EPROTO;
	begin_turn(t);
	r = SSL_write(t->ssl, from, len < INT_MAX ? (int)len : INT_MAX);
	if (r > 0)
		return r;
	if (cause_of(t, r) == -ENOBUFS)
		return -EAGAIN;
	t->failed = true;
	return -EPROTO;
}

int lp_px_tls_end(struct lp_px_tls *t)
{
	int r;

	if (t->failed || !lp_px_tls_is_up(t))
		return 0;
	begin_turn(t);
	r = SSL_shutdown(t->ssl);
	return r < 0 && cause_of(t, r) == -ENOBUFS ? -EAGAIN : 0;
}
