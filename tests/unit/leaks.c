/* leaks.c: keeps the message of a failed test readable: what it had not released when it was left
 * is no news, so leaks are only looked for when all tests passed. Linked into every unit test of a
 * build with sanitizers. */
#include <sanitizer/lsan_interface.h>
#include <stdlib.h>

static int exit_status;

static void note_status(int status, void *arg)
{
	(void)arg;
	exit_status = status;
}

__attribute__((constructor)) static void watch_status(void)
{
	if (on_exit(note_status, NULL) != 0)
		abort();
}

/* The sanitizer asks when all functions of atexit(3) and on_exit(3) have run. */
int __lsan_is_turned_off(void)
{
	return exit_status != 0;
}
