/* link/fleet.h: the links of one app: a changeset is encoded once and offered to all. Decides when
 * the next one may be taken: nothing in flight → now; something in flight → what arrives meanwhile
 * is gathered. Loop thread only. */
#ifndef LP_LINK_FLEET_H
#define LP_LINK_FLEET_H

#include "link/canary.h"
#include "link/link.h"

struct lp_fleet; /* opaque */

/* common: as in lp_link_opts; url, index and rate are set per instance. compress_auto: compress
 * towards instances that are not on this machine, whatever common says. rate_bytes_per_s: how fast
 * contents may go out, all instances together; control messages are exempt; 0: no limit. All
 * strings are borrowed until the fleet is destroyed. With common.reconnect, links try at once when
 * the network comes back or the machine wakes up. canary: of several instances one gets what is new
 * first, and the others when it has settled there; when it fails there, that one is asked to go
 * back and the others are left as they are. on_moved: tells, with the links' ctx, when that one was
 * away for so long that another is chosen; or NULL. */
struct lp_fleet_opts {
	struct lp_link_opts common;
	char *const *urls;
	size_t n_urls;
	bool compress_auto;
	uint64_t rate_bytes_per_s;
	bool canary;
	lp_canary_moved_fn *on_moved;
};

int lp_fleet_create(struct lp_fleet **out, struct lp_loop *loop, const struct lp_fleet_opts *opts,
		    const struct lp_link_ops *ops, const struct lp_source *source,
		    struct lp_err *err) LP_MUST_USE;
void lp_fleet_destroy(struct lp_fleet *fleet); /* NULL is allowed */

/* Whether a changeset may be taken from the workspace now: some streaming instance has nothing in
 * flight, or none streams at all (then catching up will cover it). */
bool lp_fleet_wants(const struct lp_fleet *fleet);

/* With a canary: what on_up, on_message and on_down of the links said, before anybody acts on it.
 * heard: whether that one is asked to go back for it. tries: whether it has something that the
 * others wait for. */
bool lp_fleet_tries(const struct lp_fleet *fleet, const struct lp_link *link);
void lp_fleet_up(struct lp_fleet *fleet, struct lp_link *link);
bool lp_fleet_heard(struct lp_fleet *fleet, struct lp_link *link, const struct lp_msg *msg);
void lp_fleet_lost(struct lp_fleet *fleet, struct lp_link *link);

/* Offers the changeset to every link; its reference stays the caller's. */
void lp_fleet_push(struct lp_fleet *fleet, struct lp_changeset *cs);

size_t lp_fleet_size(const struct lp_fleet *fleet);
struct lp_link *lp_fleet_link(struct lp_fleet *fleet, size_t i);

/* How many links have not given up for good (lp_link_has_ended): while there is one, the others
 * having been refused is no reason to end. */
size_t lp_fleet_live(const struct lp_fleet *fleet);

/* Whether every instance that is not given up streams, has nothing in flight and has applied
 * `revision` or newer; false when all are given up. */
bool lp_fleet_has_applied(const struct lp_fleet *fleet, uint64_t revision);

/* Whether the host of a ws:// or wss:// URL is this machine's loopback, by its name alone. */
bool lp_url_is_local(const char *url);

#endif
