/* tests/unit/proxy/harness_tls.h: certificates that are made for a test, TLS clients, and a bridge
 * that lets a test which knows nothing of TLS speak to a proxy that asks for it. */
#ifndef LP_TESTS_UNIT_PROXY_HARNESS_TLS_H
#define LP_TESTS_UNIT_PROXY_HARNESS_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>

/* Whether the rigs of this run ask for TLS: LP_TEST_TLS is set. */
bool tls_wanted(void);

/* A self-signed certificate for that name and its key, in a directory of this process that is
 * removed at its end. n tells several apart. */
struct tls_files {
	char cert[128];
	char key[128];
};
void tls_make_files(struct tls_files *files, const char *name, unsigned n);

/* A blocking client on a connected socket, which it takes, with the handshake done; the server's
 * certificate is not checked. min, max: versions, 0 for any. NULL: the handshake failed. */
SSL *tls_connect(int fd, int min, int max);
void tls_close(SSL *ssl);

/* A socket whose bytes go through TLS on `fd`, which it takes: ends and resets go through as well.
 * A thread of its own does that until either side has closed. */
int tls_bridge(int fd);

/* Returns when all bridges have ended. */
void tls_bridges_join(void);

#endif
