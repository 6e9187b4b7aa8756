/* tests/unit/proxy/test_tls.c: the door with TLS: what it speaks and refuses, how connections begin
 * and end, and its certificate. */
#include "common/base/lp_fs.h"
#include "harness.h"
#include "harness_io.h"
#include "harness_tls.h"
#include "proxy/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GET_NAME "GET /name HTTP/1.1\r\nHost: x\r\n\r\n"

static struct up one;
static struct rig door;
static struct tls_files files;
static struct lp_proxy_limits limits;

static int set_up(void **state)
{
	struct lp_proxy_opts opts = {.tls_cert = files.cert, .tls_key = files.key};
	struct lp_err err = {0};

	(void)state;
	tls_make_files(&files, "first", 0);
	up_start(&one, "one", NULL);
	memset(&door, 0, sizeof(door));
	(void)pthread_mutex_init(&door.lock, NULL);
	(void)pthread_cond_init(&door.changed, NULL);
	opts.limits = limits;
	assert_int_equal(lp_proxy_addr_parse(&opts.listen, "127.0.0.1:0", &err), 0);
	assert_int_equal(lp_proxy_create(&door.proxy, &opts, &err), 0);
	rig_forward(&door, 1, &one);
	return 0;
}

static int set_up_short(void **state)
{
	limits.header_timeout_ms = 2000; /* a handshake, however slow the machine is */
	return set_up(state);
}

/* What ends here is ended by something else than time. */
static int set_up_patient(void **state)
{
	limits.header_timeout_ms = 3600000;
	return set_up(state);
}

static int tear_down(void **state)
{
	(void)state;
	rig_stop(&door);
	up_stop(&one);
	memset(&limits, 0, sizeof(limits));
	return 0;
}

static SSL *open_client(void)
{
	SSL *ssl = tls_connect(client_open(&door), 0, 0);

	assert_non_null(ssl);
	return ssl;
}

/* Writes all of it. */
static void say(SSL *ssl, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		int n = SSL_write(ssl, text, (int)len);

		assert_true(n > 0);
		text += n;
		len -= (size_t)n;
	}
}

/* Reads until `last` came or the connection ended; the cause of the end, or 0. */
static int hear(SSL *ssl, char *to, size_t bytes, const char *last)
{
	size_t len = 0;

	to[0] = '\0';
	while (!last || !strstr(to, last)) {
		int n = SSL_read(ssl, to + len, (int)(bytes - 1 - len));

		if (n <= 0)
			return SSL_get_error(ssl, n);
		len += (size_t)n;
		to[len] = '\0';
	}
	return 0;
}

static void assert_serves(SSL *ssl)
{
	char text[4096];

	say(ssl, GET_NAME);
	assert_int_equal(hear(ssl, text, sizeof(text), "one"), 0);
	assert_non_null(strstr(text, "200"));
}

static void versions__are_1_2_and_1_3(void **state)
{
	SSL *ssl;

	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		ssl = tls_connect(client_open(&door), version, version);
		assert_non_null(ssl);
		assert_int_equal(SSL_version(ssl), version);
		assert_serves(ssl);
		tls_close(ssl);
	}
	assert_null(tls_connect(client_open(&door), TLS1_VERSION, TLS1_1_VERSION));
}

static void upstreams__are_told_the_scheme(void **state)
{
	SSL *ssl = open_client();
	char text[4096];

	(void)state;
	say(ssl, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(hear(ssl, text, sizeof(text), "X-Forwarded-Proto: https\r\n"), 0);
	tls_close(ssl);
}

static void plain_http__is_told_what_the_port_speaks(void **state)
{
	struct reply reply;
	int fd = client_open(&door);

	(void)state;
	client_send(fd, GET_NAME);
	reply_read(&reply, fd, false);
	assert_int_equal(reply.status, 400);
	assert_non_null(strstr(reply.body, "HTTPS"));
	reply_finish(&reply);
	assert_true(is_closed(fd));
	(void)close(fd);
	assert_int_equal(up_conns(&one), 0);
}

static void noise__ends_the_connection(void **state)
{
	static const char *const noises[] = {"\x16\x03\x01\xff\xff\xff", "\x01\x02\x03\x04\x05\x06",
					     "\x80\x80\x80\x80\x80\x80", "hello, world\r\n\r\n"};
	char answer[64];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(noises); i++) {
		int fd = client_open(&door);

		client_send(fd, noises[i]);
		assert_int_equal(shutdown(fd, SHUT_WR), 0);
		while (recv(fd, answer, sizeof(answer), 0) > 0) /* an alert, or nothing */
			;
		(void)close(fd);
	}
	rig_await(&door, RIG_CONNS, 0);
}

static void handshakes__have_the_time_of_a_head(void **state)
{
	static const char hello[] = "\x16\x03\x01\x02";
	int silent = client_open(&door), slow = client_open(&door);
	SSL *idle = open_client();

	(void)state;
	client_send(slow, hello);
	assert_true(is_closed(silent));
	assert_true(is_closed(slow));
	/* One that is over leaves the time of an idle connection. */
	assert_serves(idle);
	tls_close(idle);
	(void)close(silent);
	(void)close(slow);
}

/* Those who begin a handshake and never end it take up no more than some do; the last that came
 * stay, and so does who is through. */
static void handshakes__that_do_not_end_are_bounded_together(void **state)
{
	enum { N = 550, LEFT = 512 }; /* times 64 KiB: N is more than 32 MiB */
	static const char hello[] = "\x16\x03\x01\x02";
	SSL *idle = open_client();
	static int fds[N];

	(void)state;
	(void)lp_raise_nofile();
	for (size_t i = 0; i < N; i++) {
		fds[i] = client_open(&door);
		client_send(fds[i], hello);
	}
	rig_await(&door, RIG_CONNS, LEFT + 1);
	assert_true(is_closed(fds[0]));
	assert_serves(idle);
	tls_close(idle);
	for (size_t i = 0; i < N; i++)
		(void)close(fds[i]);
	/* Nothing is left of them: as many can begin again, and one end. */
	rig_await(&door, RIG_CONNS, 0);
	for (size_t i = 0; i < LEFT; i++) {
		fds[i] = client_open(&door);
		client_send(fds[i], hello);
	}
	rig_await(&door, RIG_CONNS, LEFT);
	for (size_t i = 0; i < LEFT; i++)
		(void)close(fds[i]);
}

/* OpenSSL would take 128 KiB of a ClientHello, and keep them until the rest comes. */
static void handshakes__are_short(void **state)
{
	static const uint8_t record[] = {0x16, 3, 1, 0x40, 0}, hello[] = {1, 1, 0xff, 0};
	static const char zeros[0x4000];
	int fd = client_open(&door);

	(void)state;
	client_send_bytes(fd, record, sizeof(record));
	client_send_bytes(fd, hello, sizeof(hello));
	client_send_bytes(fd, zeros, sizeof(zeros) - sizeof(hello));
	rig_await(&door, RIG_CONNS, 0);
	assert_true(is_closed(fd));
	(void)close(fd);
}

static void protocols__are_http_1_1_alone(void **state)
{
	static const struct {
		const char *offer;
		bool taken;
	} rows[] = {{"\x02h2\x08http/1.1", true}, {"\x08http/1.1", true}, {"\x02h2", false}};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
		SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
		SSL *ssl = SSL_new(ctx);
		const unsigned char *got = NULL;
		unsigned int len = 0;

		assert_int_equal(SSL_set_alpn_protos(ssl, (const unsigned char *)rows[i].offer,
						     (unsigned int)strlen(rows[i].offer)),
				 0);
		assert_int_equal(SSL_set_fd(ssl, client_open(&door)), 1);
		assert_int_equal(SSL_connect(ssl) == 1, rows[i].taken);
		SSL_get0_alpn_selected(ssl, &got, &len);
		assert_int_equal(len, rows[i].taken ? 8 : 0);
		tls_close(ssl);
		SSL_CTX_free(ctx);
	}
}

static void renegotiation__is_refused(void **state)
{
	SSL *ssl = tls_connect(client_open(&door), TLS1_2_VERSION, TLS1_2_VERSION);

	(void)state;
	assert_non_null(ssl);
	assert_serves(ssl);
	if (SSL_renegotiate(ssl) == 1)
		assert_true(SSL_do_handshake(ssl) != 1);
	ERR_clear_error();
	tls_close(ssl);
}

static void sessions__are_resumed_by_ticket(void **state)
{
	SSL *ssl = tls_connect(client_open(&door), TLS1_2_VERSION, TLS1_2_VERSION), *again;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL_SESSION *session;

	(void)state;
	assert_non_null(ssl);
	assert_serves(ssl);
	session = SSL_get1_session(ssl);
	assert_int_equal(SSL_SESSION_has_ticket(session), 1);
	assert_true(SSL_shutdown(ssl) >= 0); /* otherwise OpenSSL forgets the session */
	tls_close(ssl);
	again = SSL_new(ctx);
	assert_int_equal(SSL_set_max_proto_version(again, TLS1_2_VERSION), 1);
	assert_int_equal(SSL_set_session(again, session), 1);
	assert_int_equal(SSL_set_fd(again, client_open(&door)), 1);
	assert_int_equal(SSL_connect(again), 1);
	assert_int_equal(SSL_session_reused(again), 1);
	assert_serves(again);
	tls_close(again);
	SSL_SESSION_free(session);
	SSL_CTX_free(ctx);
}

/* An end that is not said could be anybody's. */
static void ends__are_said(void **state)
{
	static const char *const requests[] = {
		"GET /name HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /name HTTP/1.0\r\n\r\n",
		"nonsense\r\n\r\n",
		"POST /name HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
	};
	char text[4096];

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(requests); i++) {
		SSL *ssl = open_client();

		say(ssl, requests[i]);
		assert_int_equal(hear(ssl, text, sizeof(text), NULL), SSL_ERROR_ZERO_RETURN);
		assert_non_null(strstr(text, "HTTP/1.1 "));
		tls_close(ssl);
	}
}

static void half_closed_clients__get_their_answer(void **state)
{
	SSL *ssl = open_client();
	char text[4096];

	(void)state;
	say(ssl, GET_NAME);
	assert_true(SSL_shutdown(ssl) >= 0);
	assert_int_equal(hear(ssl, text, sizeof(text), "one"), 0);
	tls_close(ssl);
}

/* New keys carry no content: who sends them for ever is read like anybody else. */
static void new_keys__do_not_hold_up_others(void **state)
{
	SSL *noisy = tls_connect(client_open(&door), TLS1_3_VERSION, TLS1_3_VERSION);
	SSL *other = open_client();

	(void)state;
	assert_non_null(noisy);
	for (int i = 0; i < 20000; i++) {
		assert_int_equal(SSL_key_update(noisy, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(noisy), 1);
		if (i % 5000 == 0)
			assert_serves(other);
	}
	assert_serves(noisy);
	tls_close(noisy);
	tls_close(other);
}

static long serial_of(SSL *ssl)
{
	X509 *cert = SSL_get1_peer_certificate(ssl);
	long serial;

	assert_non_null(cert);
	serial = ASN1_INTEGER_get(X509_get0_serialNumber(cert));
	X509_free(cert);
	return serial;
}

/* The serial number that a new connection sees, once it is `want`. */
static void await_serial(long want)
{
	struct timespec until = io_deadline(), now;
	long serial;

	do {
		SSL *ssl = open_client();

		serial = serial_of(ssl);
		tls_close(ssl);
		(void)clock_gettime(CLOCK_REALTIME, &now);
	} while (serial != want && now.tv_sec < until.tv_sec);
	assert_int_equal(serial, want);
}

static void certificates__are_replaced_under_way(void **state)
{
	struct tls_files next;
	struct lp_err err = {0};
	SSL *old = open_client();

	(void)state;
	tls_make_files(&next, "second", 1);
	assert_int_equal(lp_proxy_set_tls(door.proxy, next.cert, next.key, &err), 0);
	await_serial(2);
	assert_serves(old);
	assert_int_equal(serial_of(old), 1);
	tls_close(old);
	assert_true(lp_proxy_set_tls(door.proxy, next.cert, files.key, &err) < 0);
	await_serial(2);
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* The same key, with a passphrase. */
static void encrypt_key(const char *from, const char *to)
{
	FILE *f = fopen(from, "re");
	EVP_PKEY *key;

	assert_non_null(f);
	key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	(void)fclose(f);
	assert_non_null(key);
	f = fopen(to, "we");
	assert_non_null(f);
	assert_int_equal(
		PEM_write_PKCS8PrivateKey(f, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL), 1);
	(void)fclose(f);
	EVP_PKEY_free(key);
}

static void files__that_do_not_do_are_named_with_the_way_out(void **state)
{
	struct tls_files good, other;
	char bad[160], locked[160], missing[160], fifo[160];
	struct ssl_ctx_st *ctx = NULL;

	(void)state;
	tls_make_files(&good, "good", 2);
	tls_make_files(&other, "other", 3);
	(void)snprintf(bad, sizeof(bad), "%s.bad", good.cert);
	(void)snprintf(locked, sizeof(locked), "%s.locked", good.key);
	(void)snprintf(missing, sizeof(missing), "%s.missing", good.key);
	write_text(bad, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	encrypt_key(good.key, locked);
	(void)snprintf(fifo, sizeof(fifo), "%s.fifo", good.key);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	const struct {
		const char *cert, *key, *named, *says;
		int error;
	} rows[] = {
		{missing, good.key, missing, "No such file", -ENOENT},
		{good.cert, missing, missing, "No such file", -ENOENT},
		{bad, good.key, bad, "certificate", -EINVAL},
		{good.key, good.key, good.key, "certificate", -EINVAL},
		{good.cert, good.cert, good.cert, "no private key", -EINVAL},
		{good.cert, locked, locked, "openssl pkey", -EINVAL},
		{good.cert, other.key, other.key, "does not belong", -EINVAL},
		{"/dev/null", good.key, "/dev/null", "no regular file", -EINVAL},
		{fifo, good.key, fifo, "no regular file", -EINVAL},
		{good.cert, fifo, fifo, "no regular file", -EINVAL},
	};

	for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
		struct lp_err err = {0};

		assert_int_equal(lp_px_tls_load(&ctx, rows[i].cert, rows[i].key, &err),
				 rows[i].error);
		assert_int_equal(-err.code, rows[i].error);
		if (!strstr(err.msg, rows[i].named) || !strstr(err.msg, rows[i].says))
			fail_msg("row %zu: '%s'", i, err.msg);
	}
	assert_int_equal(lp_px_tls_load(&ctx, good.cert, good.key, NULL), 0);
	lp_px_tls_unload(ctx);
}

int main(void)
{
#define WITH_DOOR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_DOOR(versions__are_1_2_and_1_3),
		WITH_DOOR(upstreams__are_told_the_scheme),
		WITH_DOOR(plain_http__is_told_what_the_port_speaks),
		WITH_DOOR(noise__ends_the_connection),
		cmocka_unit_test_setup_teardown(handshakes__have_the_time_of_a_head, set_up_short,
						tear_down),
		WITH_DOOR(handshakes__that_do_not_end_are_bounded_together),
		cmocka_unit_test_setup_teardown(handshakes__are_short, set_up_patient, tear_down),
		WITH_DOOR(protocols__are_http_1_1_alone),
		WITH_DOOR(renegotiation__is_refused),
		WITH_DOOR(sessions__are_resumed_by_ticket),
		WITH_DOOR(ends__are_said),
		WITH_DOOR(half_closed_clients__get_their_answer),
		WITH_DOOR(new_keys__do_not_hold_up_others),
		WITH_DOOR(certificates__are_replaced_under_way),
		cmocka_unit_test(files__that_do_not_do_are_named_with_the_way_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
