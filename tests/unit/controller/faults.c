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

static size_t count, armed_at, also_after, also_times, also_struck;
static int armed_error, also_error;
static const char *hit;
static enum faults_missing missing;

void faults_arm(size_t at, int error)
{
	count = 0;
	armed_at = at;
	armed_error = error;
	also_times = also_struck = 0;
	hit = NULL;
}

void faults_also(size_t after, size_t times, int error)
{
	also_after = after;
	also_times = times;
	also_error = error;
}

void faults_without(enum faults_missing what)
{
	missing = what;
}

size_t faults_also_struck(void)
{
	return also_struck;
}

size_t faults_count(void)
{
	return count;
}

const char *faults_hit(void)
{
	return hit;
}

static bool fail_with(int error)
{
	if (error == 0)
		(void)kill(getpid(), SIGKILL);
	errno = error;
	return true;
}

bool faults_strike(const char *name)
{
	size_t since;

	count++;
	if (armed_at == 0 || count < armed_at)
		return false;
	if (count == armed_at) {
		hit = name;
		return fail_with(armed_error);
	}
	since = count - armed_at;
	if (also_times == 0 || since < also_after || since - also_after >= also_times)
		return false;
	also_struck++;
	return fail_with(also_error);
}

/* The linker gives calls of X to __wrap_X, and __real_X is X. */
#define WRAP(type, name, params, args)                                                             \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		return faults_strike(#name) ? (type)-1 : __real_##name args;                       \
	}

WRAP(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
WRAP(int, renameat, (int fd, const char *path, int to_fd, const char *to), (fd, path, to_fd, to))
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, symlinkat, (const char *target, int fd, const char *path), (target, fd, path))
WRAP(int, ftruncate64, (int fd, off_t len), (fd, len))
WRAP(ssize_t, write, (int fd, const void *p, size_t len), (fd, p, len))
WRAP(ssize_t, pwrite64, (int fd, const void *p, size_t len, off_t at), (fd, p, len, at))
WRAP(ssize_t, copy_file_range,
     (int fd, off_t *in, int to_fd, off_t *out, size_t len, unsigned flags),
     (fd, in, to_fd, out, len, flags))

int __real_linkat(int fd, const char *path, int to_fd, const char *to, int flags);
int __wrap_linkat(int fd, const char *path, int to_fd, const char *to, int flags);
int __wrap_linkat(int fd, const char *path, int to_fd, const char *to, int flags)
{
	if (faults_strike("linkat"))
		return -1;
	if (missing < FAULTS_NO_LINKS)
		return __real_linkat(fd, path, to_fd, to, flags);
	errno = EPERM;
	return -1;
}

int __real_renameat2(int fd, const char *path, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int fd, const char *path, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int fd, const char *path, int to_fd, const char *to, unsigned flags)
{
	if (faults_strike("renameat2"))
		return -1;
	if (missing < FAULTS_NO_EXCHANGE || !(flags & RENAME_EXCHANGE))
		return __real_renameat2(fd, path, to_fd, to, flags);
	errno = EINVAL;
	return -1;
}

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
	if (!faults_strike("openat"))
		return __real_openat64(fd, path, flags, mode);
	/* The kernel finds out first that something is no directory. */
	if (errno == EACCES && flags & O_DIRECTORY) {
		int there = __real_openat64(fd, path, flags, mode);

		if (there >= 0)
			(void)close(there);
		errno = there < 0 ? errno : EACCES;
	}
	return -1;
}

long __real_syscall(long number, long a, long b, long c, long d);
long __wrap_syscall(long number, long a, long b, long c, long d);
long __wrap_syscall(long number, long a, long b, long c, long d)
{
	return faults_strike("openat2") ? -1 : __real_syscall(number, a, b, c, d);
}
