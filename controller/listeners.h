/* controller/listeners.h: the browsers that an instance streams events to: their places, and whose
 * is given away when there are none left. Loop thread only; knows no events. */
#ifndef LP_CONTROLLER_LISTENERS_H
#define LP_CONTROLLER_LISTENERS_H

#include "common/loop/http.h"

struct lp_listener; /* opaque */

/* A zeroed one has none. */
struct lp_listeners {
	struct lp_listener *first; /* the newest */
	size_t n;
	size_t n_pages; /* of them */
};

/* Counts a stream that is about to begin, until it is gone. page: of the instance's own page, whose
 * places no visitor takes. When all visitors' places are taken, and another address has clearly
 * more of them than this one's, the oldest of those that has most is cut. Returns false when there
 * is no place. */
bool lp_listeners_add(struct lp_listeners *all, struct lp_http *http, bool page);

/* Sends bytes to the pages, or to all. One that does not read is cut; it comes back by itself. */
void lp_listeners_tell(const struct lp_listeners *all, bool pages_only, const void *data,
		       size_t len);

/* Forgets them; their streams stay. */
void lp_listeners_finish(struct lp_listeners *all);

#endif
