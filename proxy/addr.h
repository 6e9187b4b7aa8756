/* proxy/addr.h: addresses as text and their comparison. No I/O. */
#ifndef LP_PROXY_ADDR_H
#define LP_PROXY_ADDR_H

#include "proxy/proxy.h"

#define LP_PX_ADDR_TEXT_BYTES 128

/* Writes "127.0.0.1:80", "[::1]:80" or "unix:/path" into out, which has LP_PX_ADDR_TEXT_BYTES. */
void lp_px_addr_text(const struct lp_proxy_addr *addr, char *out);

/* Writes the IP address without a port (an IPv4 address mapped into IPv6 as IPv4) into out, which
 * has INET6_ADDRSTRLEN bytes; "" for other families. */
void lp_px_addr_ip_text(const struct sockaddr *sa, char *out);

/* Whether both name the same endpoint. */
bool lp_px_addr_same(const struct lp_proxy_addr *a, const struct lp_proxy_addr *b);

#endif
