/* wire/ticket.h: signed, expiring tokens for browsers: in a link that a person opens, and in the
 * cookie that the link is exchanged for. Whoever knows the secret can make and check them; nothing
 * is stored. */
#ifndef LP_WIRE_TICKET_H
#define LP_WIRE_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a ticket with its NUL: "EXPIRY.SCOPE.MAC": seconds since 1970, the scope's name, and 64 hex
 * digits. */
#define LP_TICKET_MAX_BYTES 128

enum lp_ticket_use {
	LP_TICKET_LINK,
	LP_TICKET_COOKIE,
};

enum lp_ticket_scope {
	LP_TICKET_ADMIN = 1,
	LP_TICKET_RELOAD,
	LP_TICKET_SCOPE_COUNT_,
};

/* Writes a ticket that is good until expiry_s. The MAC is HMAC-SHA-256 (RFC 2104) under a key that
 * is itself HMAC-SHA-256 of "livepush.v1 ticket" under the secret, over the use ("link" or
 * "cookie"), a NUL, and "EXPIRY.SCOPE". */
void lp_ticket_make(char out[LP_TICKET_MAX_BYTES], const char *secret, enum lp_ticket_use use,
		    enum lp_ticket_scope scope, uint64_t expiry_s);

/* Returns 0 and the scope; -ETIME: made by somebody who knows the secret, but over at now_s;
 * -EACCES: not one of ours, or for another use. The MAC is compared in constant time. */
int lp_ticket_check(const char *ticket, const char *secret, enum lp_ticket_use use, uint64_t now_s,
		    enum lp_ticket_scope *scope);

/* Whether the two strings are the same, in a time that says nothing of where they differ. */
bool lp_ticket_same(const char *given, const char *secret);

#endif
