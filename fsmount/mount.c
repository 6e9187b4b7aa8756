/* fsmount/mount.c: the life of a mount, from its preconditions to its end; see fsmount.h. */
#include "fsmount/fsmount.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"
#include "fsmount/attach.h"
#include "fsmount/fs.h"
#include "fsmount/holders.h"
#include "fsmount/report.h"
#include "fsmount/writers.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>

int lp_fsmount_probe(struct lp_err *err)
{
	LP_AUTO_FREE char *helper = lp_attach_helper();
	LP_AUTO_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return lp_err_say(err, errno,
				  "no FUSE here: /dev/fuse is missing; load the kernel module "
				  "(modprobe fuse), or give the container the device "
				  "(--device /dev/fuse)");
	if (fd < 0 && errno == EACCES)
		return lp_err_say(err, EACCES,
				  "this user may not open /dev/fuse: make it readable and writable "
				  "for everybody (chmod 0666 /dev/fuse), or run as root");
	if (fd < 0)
		return lp_err_set(err, errno, "open /dev/fuse (a container needs it as --device)");
	if (!lp_attach_privileged() && helper == NULL)
		return lp_err_say(err, ENOENT,
				  "fusermount3 is missing: install the package fuse3, or run as "
				  "root");
	return 0;
}

/* The real path, also of a directory that a dead mount covers. Owned; NULL sets errno. */
static char *real_path(const char *path)
{
	char *real = realpath(path, NULL);
	LP_AUTO_FREE char *copy = NULL;
	char *slash;

	if (real != NULL || (errno != ENOTCONN && errno != ECONNABORTED))
		return real;
	copy = lp_xstrdup(path);
	slash = strrchr(copy, '/');
	if (slash == NULL) {
		LP_AUTO_FREE char *here = realpath(".", NULL);

		return here == NULL ? NULL : lp_xasprintf("%s/%s", here, path);
	}
	*slash = '\0';
	real = realpath(slash == copy ? "/" : copy, NULL);
	if (real != NULL) {
		char *full = lp_xasprintf("%s/%s", strcmp(real, "/") == 0 ? "" : real, slash + 1);

		free(real);
		real = full;
	}
	return real;
}

int lp_fsmount_heal(const char *path, struct lp_err *err)
{
	LP_AUTO_FREE char *real = real_path(path);
	char type[64];
	struct statfs sf;

	if (real == NULL || lp_attach_type_at(real, type, sizeof(type)) < 0 ||
	    strncmp(type, "fuse", 4) != 0)
		return 0;
	if (statfs(real, &sf) == 0 || (errno != ENOTCONN && errno != ECONNABORTED))
		return 0;
	return lp_attach_unmount(real, true, err);
}

/* Checks that something can be mounted at m->mountpoint, which it finds out. */
static int check_mountpoint(struct lp_fsmount *m, const char *mountpoint, struct lp_err *err)
{
	char type[64];
	struct stat st;
	size_t len;
	int r = lp_fsmount_heal(mountpoint, err);

	if (r < 0)
		return r;
	m->mountpoint = real_path(mountpoint);
	if (m->mountpoint == NULL && errno == ENOENT)
		return lp_err_say(err, ENOENT, "mount point '%s' does not exist: create it first",
				  mountpoint);
	if (m->mountpoint == NULL || lstat(m->mountpoint, &st) < 0)
		return lp_err_set(err, errno, "mount point '%s'", mountpoint);
	if (!S_ISDIR(st.st_mode))
		return lp_err_say(err, ENOTDIR, "mount point '%s' is not a directory", mountpoint);
	if (lp_attach_type_at(m->mountpoint, type, sizeof(type)) == 0 &&
	    strcmp(type, LP_ATTACH_FSTYPE) == 0)
		return lp_err_say(err, EBUSY,
				  "'%s' is already mounted by livepush: stop that one first, or "
				  "unmount it with: fusermount3 -u '%s'",
				  m->mountpoint, m->mountpoint);
	len = strlen(m->opts.root_path);
	if (strncmp(m->mountpoint, m->opts.root_path, len) == 0 && m->mountpoint[len] == '/')
		return lp_err_say(err, EINVAL,
				  "mount point '%s' lies inside the workspace '%s': take the "
				  "workspace itself or a directory outside",
				  m->mountpoint, m->opts.root_path);
	return 0;
}

/* The library's messages repeat what its return values say. */
static void __attribute__((format(printf, 2, 0)))
on_library_log(enum fuse_log_level level, const char *fmt, va_list args)
{
	char text[256];

	(void)level;
	(void)vsnprintf(text, sizeof(text), fmt, args);
	text[strcspn(text, "\n")] = '\0';
	lp_log(LP_DEBUG, "fsmount", "%s", text);
}

/* Makes the session on the device. dev_fd: taken. */
static int open_session(struct lp_fsmount *m, int dev_fd, struct lp_err *err)
{
	char name[] = "livepush";
	char *argv[] = {name, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	char device[32];

	fuse_set_log_func(on_library_log);
	m->se = fuse_session_new(&args, &lp_fs_ops, sizeof(lp_fs_ops), m);
	fuse_opt_free_args(&args);
	(void)snprintf(device, sizeof(device), "/dev/fd/%d", dev_fd);
	if (m->se == NULL || fuse_session_mount(m->se, device) != 0) {
		(void)close(dev_fd);
		return lp_err_say(err, EIO, "the FUSE library did not take the session");
	}
	return 0;
}

static void on_session_ended(void *ctx)
{
	struct lp_fsmount *m = ctx;

	lp_closes_settle(&m->closes);
	lp_open_end_all(m);
	if (m->opts.on_ended != NULL)
		m->opts.on_ended(m->opts.ctx);
}

/* Unmounts, if it is still our mount that is there: it may have been unmounted by somebody, or
 * another one put on top. Returns 0 or -EBUSY when it could only be detached. */
static int unmount(struct lp_fsmount *m)
{
	dev_t dev = m->inodes.refused_dev;

	if (dev == 0 || lp_attach_dev(m->mountpoint) != dev)
		return 0;
	do {
		if (lp_attach_unmount(m->mountpoint, false, NULL) == 0)
			return 0;
	} while (lp_closes_drain(&m->closes) > 0); /* those keep it busy */
	(void)lp_attach_unmount(m->mountpoint, true, NULL);
	return -EBUSY;
}

/* Puts the mount there and makes the session for it. */
static int attach(struct lp_fsmount *m, struct lp_err *err)
{
	dev_t before = lp_attach_dev(m->mountpoint);
	int fd = lp_attach_mount(m->mountpoint, err);
	dev_t dev;

	if (fd < 0)
		return fd;
	dev = lp_attach_dev(m->mountpoint);
	if (dev == 0 || dev == before) {
		(void)lp_attach_unmount(m->mountpoint, true, NULL);
		(void)close(fd);
		return lp_err_say(err, EIO, "the mount on '%s' did not appear", m->mountpoint);
	}
	m->inodes.refused_dev = dev;
	lp_guard_tell(&m->guard, dev);
	return open_session(m, fd, err);
}

static int serve(struct lp_fsmount *m, struct lp_err *err)
{
	struct rlimit limit = {.rlim_cur = 1024};
	/* With a barrier the caller's close has to wait for us. */
	bool quick = m->privileged && m->opts.barrier == NULL && lp_writers_probe(m->opts.root_fd);
	int r = attach(m, err);

	if (r < 0)
		return r;
	(void)lp_raise_nofile();
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	if (m->opts.barrier != NULL)
		lp_waits_start(&m->waits, m);
	if (quick)
		r = lp_closes_open(&m->closes, m, err);
	if (r == 0)
		r = lp_trim_start(&m->trim, m, (size_t)limit.rlim_cur, err);
	if (r == 0)
		r = lp_invalidate_start(&m->invalidate, m, err);
	if (r == 0)
		r = lp_ahead_start(&m->ahead, m, err);
	if (r == 0)
		r = lp_pool_start(&m->pool, m->se, on_session_ended, m, err);
	if (r == 0 && m->quick)
		r = lp_closes_start(&m->closes, err);
	return r;
}

int lp_fsmount_start(struct lp_fsmount **out, const struct lp_fsmount_opts *opts,
		     struct lp_err *err)
{
	struct lp_fsmount *m = lp_xcalloc(1, sizeof(*m));
	LP_AUTO_FREE char *helper = lp_attach_helper();
	int r;

	(void)pthread_mutex_init(&m->open_lock, NULL);
	m->opts = *opts;
	m->opts.root_path = lp_xstrdup(opts->root_path);
	m->opts.mountpoint = NULL; /* the caller's; ours is m->mountpoint */
	m->privileged = lp_attach_privileged();
	m->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (m->proc_fd < 0)
		r = lp_err_set(err, errno, "open /proc/self/fd (is /proc mounted?)");
	else
		r = lp_fsmount_probe(err);
	if (r == 0)
		r = check_mountpoint(m, opts->mountpoint, err);
	if (r == 0) {
		r = lp_inodes_init(&m->inodes, opts->root_fd);
		if (r < 0)
			(void)lp_err_set(err, -r, "look at the workspace '%s'", opts->root_path);
	}
	if (r == 0)
		r = lp_guard_start(&m->guard, m->mountpoint, helper, err);
	if (r == 0)
		r = serve(m, err);
	if (r < 0) {
		(void)lp_fsmount_stop(m);
		return r;
	}
	*out = m;
	return 0;
}

void lp_fsmount_set_told(struct lp_fsmount *m, bool told)
{
	atomic_store(&m->told, told);
}

void lp_fsmount_invalidate(struct lp_fsmount *m, const char *path)
{
	lp_invalidate_path(&m->invalidate, path);
}

void lp_fsmount_drain(struct lp_fsmount *m)
{
	lp_closes_sync(&m->closes);
}

int lp_fsmount_stop(struct lp_fsmount *m)
{
	return lp_fsmount_stop_explain(m, NULL);
}

static void release(struct lp_fsmount *m)
{
	lp_closes_finish(&m->closes);
	if (m->se != NULL)
		fuse_session_destroy(m->se);
	lp_inodes_finish(&m->inodes);
	lp_guard_dismiss(&m->guard);
	(void)pthread_mutex_destroy(&m->open_lock);
	if (m->proc_fd >= 0)
		(void)close(m->proc_fd);
	free((char *)(uintptr_t)m->opts.root_path);
	free(m->mountpoint);
	free(m);
}

int lp_fsmount_stop_explain(struct lp_fsmount *m, struct lp_err *who)
{
	int r;

	if (m == NULL)
		return 0;
	lp_pool_mute(&m->pool);
	lp_waits_stop(&m->waits);
	lp_invalidate_stop(&m->invalidate);
	lp_trim_stop(&m->trim);
	lp_ahead_stop(&m->ahead);
	lp_closes_stop(&m->closes);
	r = unmount(m);
	if (r < 0 && who != NULL)
		(void)lp_holders_name(m->inodes.refused_dev, m->mountpoint, who);
	lp_pool_stop(&m->pool);
	/* The kernel drops the RELEASE of what was closed in the last moment. In a busy mount it is
	 * not told from what is still being written. */
	m->silent = r < 0;
	lp_closes_settle(&m->closes);
	lp_open_end_all(m);
	release(m);
	return r;
}
