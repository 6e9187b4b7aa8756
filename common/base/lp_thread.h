/* lp_thread.h: threads that no signal reaches, so that signals stay with the thread that waits for
 * them. */
#ifndef LP_COMMON_BASE_LP_THREAD_H
#define LP_COMMON_BASE_LP_THREAD_H

#include "common/base/lp_util.h"

#include <pthread.h>

/* Starts run(arg) in a thread with all signals blocked. out: to be joined; NULL: it is detached.
 * Returns 0 or -errno (-EAGAIN: there may be no more threads); *out is undefined then. */
int lp_thread_start(pthread_t *out, void *(*run)(void *arg), void *arg) LP_MUST_USE;

#endif
