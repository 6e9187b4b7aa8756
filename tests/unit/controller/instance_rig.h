/* instance_rig.h: a real instance in a thread of the test, with its front door on a port of the
 * loopback. */
#ifndef LP_TESTS_INSTANCE_RIG_H
#define LP_TESTS_INSTANCE_RIG_H

#include "controller/instance.h"

#include <pthread.h>

#define INSTANCE_SECRET "a secret of the test"

struct instance {
	char tree[64];
	char address[64]; /* "127.0.0.1:PORT"; kept when it starts again */
	char listen[64];  /* what it was told to listen at */
	char url[128];
	int life_fd;
	pthread_t thread;
	bool runs;
	struct lp_instance_opts opts;
	struct lp_err err;
	int result;
};

/* Makes the tree's directory. secret NULL: none. */
void instance_init(struct instance *in, const char *secret);
/* Starts it and waits until it listens. Not two at the same time. */
void instance_start(struct instance *in);
/* Ends it; fails the test when it did not end well. Harmless when it does not run. */
void instance_stop(struct instance *in);
/* Stops it and removes its tree. */
void instance_finish(struct instance *in);

#endif
