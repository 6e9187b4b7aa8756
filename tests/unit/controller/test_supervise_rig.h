/* test_supervise_rig.h: a supervisor in a loop, with a door that writes down what it is told and an
 * app whose behaviour is chosen by a file. */
#ifndef LP_TEST_SUPERVISE_RIG_H
#define LP_TEST_SUPERVISE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/lp_buf.h"
#include "controller/supervise.h"

/* log: one line per event, in order: "hold", "forward G", "refuse TEXT", "cut G", "restarted R G",
 * "settled R", "failed STAGE R G ERROR", "stopped". drain: the door reports a retired generation as
 * drained at once. */
struct rig {
	struct lp_loop *loop;
	struct lp_sup *sup;
	struct lp_conf conf;
	struct lp_conf_rule rules[8];
	char dir[64];
	int dir_fd;
	bool drain;
	uint64_t serving;
	uint16_t port;
	uint64_t took_us;
	struct lp_buf log;
	size_t seen;
	struct lp_buf out;
	struct lp_buf err;
	struct lp_buf own;
	char excerpt[9000];
	char path[64]; /* of the last failure */
	size_t n_paths;
};

/* cmocka fixtures: *state is the rig; swap, TCP health, grace 5 s, drain 5 s. The supervisor is not
 * made yet, so that a test can change conf; rig_create makes it. */
int rig_setup(void **state);
int rig_teardown(void **state);
void rig_create(struct rig *rig);

/* Writes dir/name. */
void rig_write(const struct rig *rig, const char *name, const char *text);

/* Chooses what the app does from its next start on; see app_text in the .c file. */
void rig_mode(const struct rig *rig, const char *mode);

/* Runs the loop until a log line that begins with `prefix` comes, behind those seen before; fails
 * the test with the log after 20 s. Returns the line, valid until the next call. */
const char *rig_wait(struct rig *rig, const char *prefix);

/* Runs the loop until check(arg) is true; fails the test after 20 s. */
void rig_until(struct rig *rig, bool (*check)(struct rig *rig, const void *arg), const void *arg);

/* Runs the loop until the file exists in the tree, and reads a number from it. */
long rig_wait_number(struct rig *rig, const char *name);

/* How many lines of the whole log begin with prefix. */
size_t rig_count(struct rig *rig, const char *prefix);

/* lp_sup_applied for one path. */
void rig_applied(struct rig *rig, uint64_t revision, const char *path);

/* Connects to the port of the serving generation and reads a line: the number of the generation
 * that answers. */
uint64_t rig_ask(const struct rig *rig);

/* lp_sup_stop and the wait for it; then checks that this process has no child left. */
void rig_stop(struct rig *rig);

/* Whether the process exists and is no zombie. */
bool rig_alive(long pid);

#endif
