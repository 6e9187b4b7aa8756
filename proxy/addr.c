/* proxy/addr.c: addresses from and to text. */
#include "proxy/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static int parse_unix(struct lp_proxy_addr *addr, const char *path, struct lp_err *err)
{
	size_t len = strlen(path);

	if (!len || len >= sizeof(addr->u.un.sun_path))
		return lp_err_say(err, EINVAL,
				  "the socket path '%s' has %zu bytes; 1 to %zu are possible", path,
				  len, sizeof(addr->u.un.sun_path) - 1);
	addr->u.un.sun_family = AF_UNIX;
	memcpy(addr->u.un.sun_path, path, len + 1);
	addr->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return 0;
}

/* Port number at `text`, or -1. */
static int parse_port(const char *text)
{
	int port = 0;

	if (!*text || strlen(text) > 5)
		return -1;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -1;
		port = port * 10 + (*text - '0');
	}
	return port <= 65535 ? port : -1;
}

static void set_in6(struct lp_proxy_addr *addr, int port)
{
	addr->u.in6.sin6_family = AF_INET6;
	addr->u.in6.sin6_port = htons((uint16_t)port);
	addr->len = sizeof(addr->u.in6);
}

static int parse_host(struct lp_proxy_addr *addr, const char *host, int port)
{
	size_t len = strlen(host);
	char plain[INET6_ADDRSTRLEN];

	if (!len) { /* in6addr_any is all zero bits */
		set_in6(addr, port);
		return 0;
	}
	if (host[0] != '[') {
		addr->u.in.sin_family = AF_INET;
		addr->u.in.sin_port = htons((uint16_t)port);
		addr->len = sizeof(addr->u.in);
		return inet_pton(AF_INET, host, &addr->u.in.sin_addr) == 1 ? 0 : -EINVAL;
	}
	if (len < 3 || host[len - 1] != ']' || len - 2 >= sizeof(plain))
		return -EINVAL;
	memcpy(plain, host + 1, len - 2);
	plain[len - 2] = '\0';
	set_in6(addr, port);
	return inet_pton(AF_INET6, plain, &addr->u.in6.sin6_addr) == 1 ? 0 : -EINVAL;
}

int lp_proxy_addr_parse(struct lp_proxy_addr *addr, const char *text, struct lp_err *err)
{
	const char *colon = strrchr(text, ':');
	struct lp_proxy_addr got = {0};
	char host[INET6_ADDRSTRLEN + 2];
	int r;

	if (strncmp(text, "unix:", 5) == 0) {
		r = parse_unix(&got, text + 5, err);
		if (r == 0)
			*addr = got;
		return r;
	}
	if (!colon || (size_t)(colon - text) >= sizeof(host) || parse_port(colon + 1) < 0)
		return lp_err_say(err, EINVAL,
				  "'%s' is no address; write IP:PORT, [IPV6]:PORT, :PORT or "
				  "unix:/path",
				  text);
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	if (parse_host(&got, host, parse_port(colon + 1)) < 0)
		return lp_err_say(err, EINVAL,
				  "'%s' is no IP address (in '%s'); names are not looked up, and "
				  "IPv6 addresses go in brackets",
				  host, text);
	*addr = got;
	return 0;
}

void lp_px_addr_ip_text(const struct sockaddr *sa, char *out)
{
	out[0] = '\0';
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		(void)inet_ntop(AF_INET, &in->sin_addr, out, INET6_ADDRSTRLEN);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
			(void)inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out,
					INET6_ADDRSTRLEN);
		else
			(void)inet_ntop(AF_INET6, &in6->sin6_addr, out, INET6_ADDRSTRLEN);
	}
}

void lp_px_addr_text(const struct lp_proxy_addr *addr, char *out)
{
	char ip[INET6_ADDRSTRLEN];

	lp_px_addr_ip_text(&addr->u.any, ip);
	if (addr->u.any.sa_family == AF_INET)
		(void)snprintf(out, LP_PX_ADDR_TEXT_BYTES, "%s:%u", ip, ntohs(addr->u.in.sin_port));
	else if (addr->u.any.sa_family == AF_INET6)
		(void)snprintf(out, LP_PX_ADDR_TEXT_BYTES, "[%s]:%u", ip,
			       ntohs(addr->u.in6.sin6_port));
	else
		(void)snprintf(out, LP_PX_ADDR_TEXT_BYTES, "unix:%s", addr->u.un.sun_path);
}

bool lp_px_addr_same(const struct lp_proxy_addr *a, const struct lp_proxy_addr *b)
{
	if (a->u.any.sa_family != b->u.any.sa_family)
		return false;
	if (a->u.any.sa_family == AF_INET)
		return a->u.in.sin_port == b->u.in.sin_port &&
		       a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
	if (a->u.any.sa_family == AF_INET6)
		return a->u.in6.sin6_port == b->u.in6.sin6_port &&
		       a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id &&
		       memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr,
			      sizeof(a->u.in6.sin6_addr)) == 0;
	return strcmp(a->u.un.sun_path, b->u.un.sun_path) == 0;
}
