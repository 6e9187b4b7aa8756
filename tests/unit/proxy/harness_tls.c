/* tests/unit/proxy/harness_tls.c: see harness_tls.h. */
#include "harness_tls.h"

#include "common/base/lp_fs.h"
#include "harness_io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BRIDGES_MAX 4096

static char folder[64];

static void remove_folder(void)
{
	(void)lp_remove_tree(AT_FDCWD, folder);
}

bool tls_wanted(void)
{
	return getenv("LP_TEST_TLS") != NULL;
}

static void write_files(const struct tls_files *files, X509 *cert, EVP_PKEY *key)
{
	FILE *f = fopen(files->cert, "we");

	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, cert), 1);
	assert_int_equal(fclose(f), 0);
	f = fopen(files->key, "we");
	assert_non_null(f);
	assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(f), 0);
}

void tls_make_files(struct tls_files *files, const char *name, unsigned n)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *subject;

	if (!folder[0]) {
		(void)snprintf(folder, sizeof(folder), "/tmp/test-proxy-tls-XXXXXX");
		assert_non_null(mkdtemp(folder));
		assert_int_equal(atexit(remove_folder), 0);
	}
	(void)snprintf(files->cert, sizeof(files->cert), "%s/cert%u.pem", folder, n);
	(void)snprintf(files->key, sizeof(files->key), "%s/key%u.pem", folder, n);
	assert_non_null(key);
	assert_non_null(cert);
	subject = X509_get_subject_name(cert);
	assert_int_equal(X509_set_version(cert, 2), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1 + (long)n), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -60));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 86400));
	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
						    (const unsigned char *)name, -1, -1, 0),
			 1);
	assert_int_equal(X509_set_issuer_name(cert, subject), 1);
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	write_files(files, cert, key);
	X509_free(cert);
	EVP_PKEY_free(key);
}

/* A client on fd, which stays the caller's when the handshake is not done here. */
static SSL *client_of(int fd, int min, int max)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;

	/* OpenSSL writes to sockets whose peer may have gone. */
	assert_int_equal(sigaction(SIGPIPE, &ignore, NULL), 0);
	assert_non_null(ctx);
	SSL_CTX_set_security_level(ctx, 0); /* lets old versions be offered */
	assert_int_equal(SSL_CTX_set_min_proto_version(ctx, min), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(ctx, max), 1);
	(void)SSL_CTX_set_mode(ctx,
			       SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	assert_non_null(ssl);
	assert_int_equal(SSL_set_fd(ssl, fd), 1);
	SSL_set_connect_state(ssl);
	return ssl;
}

SSL *tls_connect(int fd, int min, int max)
{
	SSL *ssl = client_of(fd, min, max);

	if (SSL_do_handshake(ssl) == 1)
		return ssl;
	tls_close(ssl);
	return NULL;
}

void tls_close(SSL *ssl)
{
	int fd;

	if (!ssl)
		return;
	fd = SSL_get_fd(ssl);
	SSL_free(ssl);
	ERR_clear_error();
	(void)close(fd);
}

/* One direction's bytes on their way. */
struct piece {
	char bytes[16384];
	size_t start, end;
	bool eof;  /* nothing more comes from the one side */
	bool over; /* the other side was told */
};

struct bridge {
	SSL *ssl;
	int far;  /* with TLS */
	int near; /* the test's other end */
	bool reset;
	bool wants_out; /* TLS waits until `far` takes more */
	struct piece up, down;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t threads[BRIDGES_MAX]; /* protected by lock */
static size_t n_threads;               /* protected by lock */

/* Whether the call of OpenSSL that gave r only has to be made again. */
static bool is_again(struct bridge *b, int r)
{
	int cause = SSL_get_error(b->ssl, r);

	b->wants_out = b->wants_out || cause == SSL_ERROR_WANT_WRITE;
	return cause == SSL_ERROR_WANT_WRITE || cause == SSL_ERROR_WANT_READ;
}

static void move_up(struct bridge *b)
{
	struct piece *p = &b->up;

	if (p->start == p->end && !p->eof) {
		ssize_t n = recv(b->near, p->bytes, sizeof(p->bytes), MSG_DONTWAIT);

		p->start = 0;
		p->end = n > 0 ? (size_t)n : 0;
		p->eof = n == 0 || (n < 0 && errno != EAGAIN);
	}
	if (p->start < p->end) {
		int r = SSL_write(b->ssl, p->bytes + p->start, (int)(p->end - p->start));

		if (r > 0)
			p->start += (size_t)r;
		else if (!is_again(b, r))
			b->reset = true;
	} else if (p->eof && !p->over && SSL_is_init_finished(b->ssl)) {
		int r = SSL_shutdown(b->ssl);

		if (r >= 0 || !is_again(b, r)) {
			p->over = true;
			(void)shutdown(b->far, SHUT_WR);
		}
	}
}

static void move_down(struct bridge *b)
{
	struct piece *p = &b->down;

	if (p->start == p->end && !p->eof) {
		int r = SSL_read(b->ssl, p->bytes, (int)sizeof(p->bytes));

		p->start = 0;
		p->end = r > 0 ? (size_t)r : 0;
		if (r <= 0 && SSL_get_error(b->ssl, r) == SSL_ERROR_ZERO_RETURN)
			p->eof = true;
		else if (r <= 0 && !is_again(b, r))
			b->reset = true;
	}
	if (p->start < p->end) {
		ssize_t n = send(b->near, p->bytes + p->start, p->end - p->start,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			p->start += (size_t)n;
		else if (n < 0 && errno != EAGAIN)
			b->reset = true;
	} else if (p->eof && !p->over) {
		p->over = true;
		(void)shutdown(b->near, SHUT_WR);
	}
}

static bool has_work(const struct bridge *b)
{
	bool has_up = b->up.start < b->up.end || (b->up.eof && !b->up.over);

	return (b->down.start == b->down.end && SSL_has_pending(b->ssl)) ||
	       (has_up && !b->wants_out && SSL_is_init_finished(b->ssl));
}

static void *run_bridge(void *arg)
{
	struct bridge *b = arg;

	while (!b->reset && !(b->up.over && b->down.over)) {
		bool up_waits = b->up.start < b->up.end, down_waits = b->down.start < b->down.end;
		struct pollfd fds[2] = {
			{.fd = b->near, .events = (short)(down_waits ? POLLOUT : 0)},
			{.fd = b->far, .events = (short)(b->wants_out ? POLLOUT : 0)},
		};

		if (!up_waits && !b->up.eof)
			fds[0].events |= POLLIN;
		if (!down_waits && !b->down.eof)
			fds[1].events |= POLLIN;
		/* What hangs up is told again and again; a moment is lost, no time on a processor.
		 */
		(void)poll(fds, 2, has_work(b) ? 0 : 100);
		b->wants_out = false;
		ERR_clear_error();
		move_up(b);
		move_down(b);
	}
	(void)close(b->near);
	tls_close(b->ssl);
	free(b);
	return NULL;
}

int tls_bridge(int fd)
{
	struct bridge *b = calloc(1, sizeof(*b));
	int pair[2];

	assert_non_null(b);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
	io_set_timeouts(pair[0]);
	b->ssl = client_of(fd, 0, 0);
	b->far = fd;
	b->near = pair[1];
	(void)pthread_mutex_lock(&lock);
	assert_true(n_threads < BRIDGES_MAX);
	assert_int_equal(pthread_create(&threads[n_threads++], NULL, run_bridge, b), 0);
	(void)pthread_mutex_unlock(&lock);
	return pair[0];
}

void tls_bridges_join(void)
{
	while (n_threads)
		assert_int_equal(pthread_join(threads[--n_threads], NULL), 0);
}
