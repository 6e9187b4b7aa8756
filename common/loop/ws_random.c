/* common/loop/ws_random.c: randomness for libwebsockets without /dev. It opens /dev/urandom at its
 * start and gives up without it, but an instance may run in an empty root. The static link puts
 * these functions in the place of its own (ld --wrap). */
#include "common/base/lp_fs.h"

#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

struct lws_context;

int __real_lws_open(const char *path, int flags, ...);
int __wrap_lws_open(const char *path, int flags, ...);
size_t __wrap_lws_get_random(struct lws_context *context, void *buf, size_t len);

int __wrap_lws_open(const char *path, int flags, ...)
{
	va_list ap;
	int mode, fd;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	fd = __real_lws_open(path, flags, mode);
	/* It only wants a descriptor to keep; what is read comes from below. */
	if (fd < 0 && strcmp(path, "/dev/urandom") == 0)
		fd = memfd_create("random", MFD_CLOEXEC);
	return fd;
}

size_t __wrap_lws_get_random(struct lws_context *context, void *buf, size_t len)
{
	(void)context;
	lp_random(buf, len);
	return len;
}
