/* link_rig.h: a link to an instance that the test speaks for, over fake_ws.h, and a workspace that
 * is an index only. One of each at a time. */
#ifndef LP_TESTS_LINK_RIG_H
#define LP_TESTS_LINK_RIG_H

#include "common/loop/loop_internal.h"
#include "link/link_internal.h"
#include "tests/unit/link/fake_ws.h"

#define LINK_SECRET "a secret of the test"

extern struct lp_loop *loop;
extern struct lp_link *link_;
extern struct lp_index *workspace;
extern uint64_t revision;
extern char large_path[64]; /* what the source opens as "large" */
extern const struct lp_link_ops ops;
extern const struct lp_source source;
extern const uint8_t id[LP_WIRE_ID_BYTES];

/* The revision that the instance names in WELCOME: 41 unless a test says otherwise. */
extern uint64_t claimed;

/* What the instance says in WELCOME to have of a large file. */
extern struct lp_digest partial;
extern uint64_t partial_have;

/* Whether there is something of others in its tree: true unless a test says otherwise. */
extern bool foreign;

/* How often the link called back, and its last reason. */
extern unsigned ups, downs, finals, caught_up, idles, stales, messages;
extern char reason[256];

/* For cmocka. The link is connected and about to say HELLO; the workspace holds the file f. */
int set_up(void **state);
int tear_down(void **state);

/* Puts a file into the workspace's index; save tells the link of it, too. */
void put(const char *path, const char *content);
void save(const char *path, const char *content);

/* What the link sent next, which must be of that kind; wait_for: after a timer has brought it
 * about. Borrowed until the next message. */
const struct lp_msg *expect(enum lp_msg_kind kind);
const struct lp_msg *wait_for(enum lp_msg_kind kind);
void expect_nothing(void);

/* A CHANGE with these paths ("-" before one that is deleted) that leads to what the workspace holds
 * now. */
void expect_catch_up(const char *const *paths, size_t n);

/* The instance's side. welcome: from HELLO to WELCOME; wrong_secret: it does not
 * know the secret. */
void welcome(const struct lp_digest *root, bool wrong_secret);
void applied(uint64_t rev);
void failed(void);
void credit(uint64_t consumed);
void list(const char *path, struct lp_wire_entry *entries, size_t n, bool last);

/* From HELLO to a link that streams, because the trees are equal; the revision is 42 then. */
void start_streaming(void);

#endif
