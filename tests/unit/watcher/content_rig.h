/* content_rig.h: the rig that tests share, contents of any size, and looks at single files. */
#ifndef LP_TESTS_CONTENT_RIG_H
#define LP_TESTS_CONTENT_RIG_H

#include "tests/unit/watcher/watch_rig.h"
#include "watcher/content.h"

extern struct rig rig;

/* Any bytes, the same for the same seed; owned. */
uint8_t *content_rig_bytes(size_t len, uint32_t seed);

/* Bytes that this process has read so far; skips the test where that is not counted. */
uint64_t content_rig_bytes_read(void);

/* For each test: the rig over an empty directory, not scanned or scanned; what content_rig_look
 * found last is released at the end. */
int content_rig_set_up(void **state);
int content_rig_set_up_scanned(void **state);
int content_rig_tear_down(void **state);

extern struct lp_look look; /* the last one */

/* A look at a file of the workspace, which must not fail. */
enum lp_look_state content_rig_look(const char *name, const struct lp_look_opts *opts);

#endif
