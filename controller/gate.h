/* controller/gate.h: attempts to get in with the wrong secret, counted per address and slowed down.
 * Pure: no clock, no log. The table is bounded: the address that failed longest ago makes room. */
#ifndef LP_CONTROLLER_GATE_H
#define LP_CONTROLLER_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LP_GATE_ADDRESSES     256
#define LP_GATE_ADDRESS_BYTES 48         /* of an address, with its NUL */
#define LP_GATE_FREE          5          /* failures that cost nothing */
#define LP_GATE_WAIT_US       1000000u   /* the wait after the next; each further one doubles it */
#define LP_GATE_WAIT_MAX_US   60000000u  /* but no more than that */
#define LP_GATE_FORGET_US     600000000u /* without a failure, all is forgotten */

struct lp_gate_entry {
	char address[LP_GATE_ADDRESS_BYTES];
	uint64_t failed_us; /* when last; 0: free */
	uint64_t until_us;
	uint32_t failures;
};

/* Zeroed: nobody has failed. */
struct lp_gate {
	struct lp_gate_entry at[LP_GATE_ADDRESSES];
};

/* Who a request comes from, by the X-Forwarded-For that the front door has written: the last hop,
 * which is the peer of the connection. While that is a private or loopback address, such as a
 * platform's router or balancer has, and there is a hop before it, that one: otherwise one stranger
 * would lock out everybody behind the router. Without a port, in one spelling; of IPv6 the network
 * of 64 bits, all of which one host may have. "" when it says nothing. */
void lp_gate_peer(const char *forwarded_for, char out[LP_GATE_ADDRESS_BYTES]);

/* How long the address has to wait before its next attempt is looked at; 0: not at all. */
uint64_t lp_gate_wait_us(const struct lp_gate *g, const char *address, uint64_t now_us);

/* It gave a wrong secret; it gave the right one. */
void lp_gate_failed(struct lp_gate *g, const char *address, uint64_t now_us);
void lp_gate_passed(struct lp_gate *g, const char *address);

#endif
