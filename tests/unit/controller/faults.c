/* faults.c: see faults.h. */
#include "tests/unit/controller/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static size_t count, armed_at;
static int armed_error;
static const char *hit;

void faults_arm(size_t at, int error)
{
	count = 0;
	armed_at = at;
	armed_error = error;
	hit = NULL;
}

size_t faults_count(void)
{
	return count;
}

const char *faults_hit(void)
{
	return hit;
}

/* Whether this call is the one. */
static bool strikes(const char *name)
{
	count++;
	if (armed_at == 0 || count != armed_at)
		return false;
	hit = name;
	if (armed_error == 0)
		(void)kill(getpid(), SIGKILL);
	errno = armed_error;
	return true;
}

/* The linker gives calls of X to __wrap_X, and __real_X is X. */
#define WRAP(type, name, params, args)                                                             \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		return strikes(#name) ? (type)-1 : __real_##name args;                             \
	}

WRAP(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
WRAP(int, linkat, (int fd, const char *path, int to_fd, const char *to, int flags),
     (fd, path, to_fd, to, flags))
WRAP(int, renameat, (int fd, const char *path, int to_fd, const char *to), (fd, path, to_fd, to))
WRAP(int, renameat2, (int fd, const char *path, int to_fd, const char *to, unsigned flags),
     (fd, path, to_fd, to, flags))
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, symlinkat, (const char *target, int fd, const char *path), (target, fd, path))
WRAP(int, ftruncate64, (int fd, off_t len), (fd, len))
WRAP(ssize_t, write, (int fd, const void *p, size_t len), (fd, p, len))
WRAP(ssize_t, pwrite64, (int fd, const void *p, size_t len, off_t at), (fd, p, len, at))
WRAP(ssize_t, copy_file_range,
     (int fd, off_t *in, int to_fd, off_t *out, size_t len, unsigned flags),
     (fd, in, to_fd, out, len, flags))

int __real_openat64(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode = 0;

	if (flags & O_CREAT) {
		va_start(args, flags);
		mode = (mode_t)va_arg(args, int);
		va_end(args);
	}
	return strikes("openat") ? -1 : __real_openat64(fd, path, flags, mode);
}

long __real_syscall(long number, long a, long b, long c, long d);
long __wrap_syscall(long number, long a, long b, long c, long d);
long __wrap_syscall(long number, long a, long b, long c, long d)
{
	return strikes("openat2") ? -1 : __real_syscall(number, a, b, c, d);
}
