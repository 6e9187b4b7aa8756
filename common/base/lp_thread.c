/* lp_thread.c: see lp_thread.h. */
#include "common/base/lp_thread.h"

#include <signal.h>

int lp_thread_start(pthread_t *out, void *(*run)(void *arg), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;
	int e = pthread_attr_init(&attr);

	if (e != 0)
		return -e;
	if (!out)
		(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)sigfillset(&all);
	/* It has from the start what its parent has now. */
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(out ? out : &thread, &attr, run, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return -e;
}
