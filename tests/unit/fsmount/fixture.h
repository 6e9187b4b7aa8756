/* tests/unit/fsmount/fixture.h: a workspace in a temporary directory, mounted over itself, and what
 * was reported about it. */
#ifndef LP_TESTS_UNIT_FSMOUNT_FIXTURE_H
#define LP_TESTS_UNIT_FSMOUNT_FIXTURE_H

#include "fsmount/fsmount.h"

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#define FX_DEADLINE_S 20

/* One report. content: what the file below held when it came, up to 63 bytes; "" for what is no
 * regular file. written: what the event said, if it did. */
struct fx_event {
	enum lp_event_kind kind;
	char path[256];
	char content[64];
	bool has_written;
	struct lp_written written;
};

struct fx {
	char dir[PATH_MAX]; /* the workspace and the mount point */
	int root_fd;        /* below */
	struct lp_fsmount *m;
	int (*barrier)(void *ctx, const char *path, uint64_t deadline_us); /* for fx_mount */
	uint64_t barrier_us;
	bool barrier_strict;
	void *of_test; /* anything the test likes */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct fx_event *events;
	size_t n_events;
	size_t cap_events;
	size_t n_expected; /* taken by fx_expect so far */
	int n_ended;
	atomic_int *n_shared; /* how many reports there were, for forked children to see */
};

/* Ends the program with 77, a skip, when no mount can work here. With LP_FX_UNPRIVILEGED in the
 * environment all is mounted as by a user without CAP_SYS_ADMIN. */
void fx_skip_without_fuse(void);

/* cmocka set-up and tear-down: *state is a struct fx, mounted. Tear-down checks that every report
 * was expected and that nothing is left mounted. */
int fx_setup(void **state);
int fx_teardown(void **state);

/* The same without mounting. */
int fx_setup_unmounted(void **state);

/* Mounts; asserts that it worked. */
void fx_mount(struct fx *fx);

/* Unmounts and forgets the mount; returns what lp_fsmount_stop did. */
int fx_unmount(struct fx *fx);

/* Takes the next report, for which it waits, and asserts what it is. content may be NULL. */
void fx_expect(struct fx *fx, enum lp_event_kind kind, const char *path, const char *content);

/* Asserts that nothing more was reported than was expected, of all that has happened. */
void fx_expect_no_more(struct fx *fx);

/* The same, returned: the next report, which is of `path` (NULL: any). */
struct fx_event fx_take(struct fx *fx, const char *path);

/* Takes the next n reports, for which it waits, whatever they are. */
void fx_skip(struct fx *fx, size_t n);

/* How many reports there were. */
size_t fx_count(struct fx *fx);

/* dir/name; four results are valid at a time. */
const char *fx_path(struct fx *fx, const char *name);

/* Writes the whole file through the mount: open, write, close. */
void fx_write(struct fx *fx, const char *name, const char *text);

/* Whether something is mounted at path. */
bool fx_is_mounted(const char *path);

/* Waits until condition(arg) holds; asserts that it comes true before the deadline. */
void fx_wait_until(bool (*condition)(void *arg), void *arg);

/* Runs /bin/sh -c script in directory `dir` and asserts that it succeeds. */
void fx_sh(const char *dir, const char *script);

/* Waits for a child and asserts that it exited with 0. */
void fx_reap(pid_t pid);

#endif
