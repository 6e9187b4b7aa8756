/* controller/gate.c: counting failed attempts. */
#include "controller/gate.h"

#include <arpa/inet.h>
#include <string.h>

/* Whether the address is one that the internet cannot have: loopback, RFC 1918, RFC 6598,
 * link-local or unique-local (RFC 4193). */
static bool is_private(const char *text)
{
	struct in6_addr six;
	struct in_addr four;
	uint32_t a;

	if (inet_pton(AF_INET6, text, &six) == 1) {
		if (!IN6_IS_ADDR_V4MAPPED(&six))
			return IN6_IS_ADDR_LOOPBACK(&six) || IN6_IS_ADDR_LINKLOCAL(&six) ||
			       (six.s6_addr[0] & 0xfe) == 0xfc;
		memcpy(&four, six.s6_addr + 12, sizeof(four));
	} else if (inet_pton(AF_INET, text, &four) != 1) {
		return false;
	}
	a = ntohl(four.s_addr);
	return a >> 24 == 127 || a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 ||
	       a >> 22 == 0x191 || a >> 16 == 0xa9fe;
}

/* The hop that ends at end, without spaces; *begin is where it starts. */
static bool take_hop(const char *text, const char *end, const char **begin,
		     char out[LP_GATE_ADDRESS_BYTES])
{
	size_t len;

	while (end > text && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*begin = end;
	while (*begin > text && (*begin)[-1] != ',')
		(*begin)--;
	text = *begin;
	while (text < end && (*text == ' ' || *text == '\t'))
		text++;
	len = (size_t)(end - text);
	if (len == 0 || len >= LP_GATE_ADDRESS_BYTES)
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

/* Some routers write "1.2.3.4:567" or "[2001:db8::1]:567"; the port is another one each time. */
static void drop_port(char address[LP_GATE_ADDRESS_BYTES])
{
	char *end = strchr(address, address[0] == '[' ? ']' : ':');

	if (address[0] == '[' && end) {
		*end = '\0';
		memmove(address, address + 1, (size_t)(end - address));
	} else if (end && address[0] != '[' && !strchr(end + 1, ':')) {
		*end = '\0';
	}
}

/* One spelling for an address, and one for all that one host has: of IPv6 the network of 64 bits.
 */
static void settle(char address[LP_GATE_ADDRESS_BYTES])
{
	struct in6_addr six;
	struct in_addr four;

	drop_port(address);
	if (inet_pton(AF_INET6, address, &six) != 1)
		return;
	if (IN6_IS_ADDR_V4MAPPED(&six)) {
		memcpy(&four, six.s6_addr + 12, sizeof(four));
		(void)inet_ntop(AF_INET, &four, address, LP_GATE_ADDRESS_BYTES);
		return;
	}
	if (!IN6_IS_ADDR_LOOPBACK(&six))
		memset(six.s6_addr + 8, 0, 8);
	(void)inet_ntop(AF_INET6, &six, address, LP_GATE_ADDRESS_BYTES);
}

void lp_gate_peer(const char *forwarded_for, char out[LP_GATE_ADDRESS_BYTES])
{
	char before[LP_GATE_ADDRESS_BYTES];
	const char *begin;

	if (!take_hop(forwarded_for, forwarded_for + strlen(forwarded_for), &begin, out)) {
		out[0] = '\0';
		return;
	}
	settle(out);
	while (begin > forwarded_for && is_private(out) &&
	       take_hop(forwarded_for, begin - 1, &begin, before)) {
		memcpy(out, before, sizeof(before));
		settle(out);
	}
}

static const struct lp_gate_entry *find(const struct lp_gate *g, const char *address)
{
	for (size_t i = 0; i < LP_GATE_ADDRESSES; i++)
		if (g->at[i].failed_us && strcmp(g->at[i].address, address) == 0)
			return &g->at[i];
	return NULL;
}

uint64_t lp_gate_wait_us(const struct lp_gate *g, const char *address, uint64_t now_us)
{
	const struct lp_gate_entry *e = find(g, address);

	return e && e->until_us > now_us ? e->until_us - now_us : 0;
}

void lp_gate_failed(struct lp_gate *g, const char *address, uint64_t now_us)
{
	struct lp_gate_entry *e = (struct lp_gate_entry *)find(g, address);
	uint64_t wait_us = LP_GATE_WAIT_US;

	if (!e) {
		e = &g->at[0];
		for (size_t i = 1; i < LP_GATE_ADDRESSES; i++)
			if (g->at[i].failed_us < e->failed_us)
				e = &g->at[i];
		memset(e, 0, sizeof(*e));
		memcpy(e->address, address, strnlen(address, sizeof(e->address) - 1));
	}
	if (now_us - e->failed_us > LP_GATE_FORGET_US)
		e->failures = 0;
	e->failed_us = now_us ? now_us : 1;
	if (++e->failures <= LP_GATE_FREE)
		return;
	for (uint32_t i = LP_GATE_FREE + 1; i < e->failures && wait_us < LP_GATE_WAIT_MAX_US; i++)
		wait_us *= 2;
	e->until_us = now_us + (wait_us < LP_GATE_WAIT_MAX_US ? wait_us : LP_GATE_WAIT_MAX_US);
}

void lp_gate_passed(struct lp_gate *g, const char *address)
{
	struct lp_gate_entry *e = (struct lp_gate_entry *)find(g, address);

	if (e)
		memset(e, 0, sizeof(*e));
}
