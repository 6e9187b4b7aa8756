/* fsmount/attach.c: mounting and unmounting; see attach.h. */
#include "fsmount/attach.h"

#include "common/base/lp_buf.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <linux/capability.h>

enum {
	MAX_MOUNTINFO_BYTES = 64 << 20,
	MAX_HELPER_TEXT_BYTES = 4096,
};

static const char HELPER[] = "fusermount3";

bool lp_attach_privileged(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &header, data) == 0 &&
	       (data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN)) != 0;
}

/* dir[0..len)/fusermount3 when it can be run, otherwise NULL. Owned. */
static char *helper_in(const char *dir, size_t len)
{
	char *path = lp_xasprintf("%.*s/%s", (int)len, dir, HELPER);

	if (len > 0 && dir[0] == '/' && access(path, X_OK) == 0)
		return path;
	free(path);
	return NULL;
}

char *lp_attach_helper(void)
{
	const char *lists[] = {getenv("PATH"), "/usr/local/bin:/usr/bin:/bin"};
	char *found = NULL;

	for (size_t i = 0; i < LP_COUNT_OF(lists) && found == NULL; i++) {
		const char *at = lists[i];

		while (at != NULL && found == NULL) {
			size_t len = strcspn(at, ":");

			found = helper_in(at, len);
			at = at[len] == ':' ? at + len + 1 : NULL;
		}
	}
	return found;
}

/* Undoes the octal escapes of mountinfo in place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s != '\0') {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* Picks mount point and type out of one line of mountinfo (proc(5)), which it cuts up. Returns
 * whether they are there. */
static bool parse_line(char *line, char **mountpoint, char **fstype)
{
	char *rest = line;
	char *dash = strstr(line, " - ");

	if (dash == NULL)
		return false;
	*dash = '\0';
	*fstype = dash + 3;
	(*fstype)[strcspn(*fstype, " ")] = '\0';
	for (int i = 0; i < 4 && rest != NULL; i++) {
		rest = strchr(rest, ' ');
		if (rest != NULL)
			rest++;
	}
	if (rest == NULL)
		return false;
	rest[strcspn(rest, " ")] = '\0';
	*mountpoint = rest;
	unescape(rest);
	return true;
}

int lp_attach_type_at(const char *path, char *fstype, size_t fstype_bytes)
{
	struct lp_buf buf;
	bool found = false;
	int r;

	lp_buf_init(&buf, MAX_MOUNTINFO_BYTES);
	r = lp_read_file(AT_FDCWD, "/proc/self/mountinfo", &buf);
	if (r == 0 && lp_buf_text(&buf) == NULL)
		r = -ENOMEM;
	if (r == 0) {
		char *rest = (char *)buf.data;
		char *line;

		while ((line = strsep(&rest, "\n")) != NULL) {
			char *at;
			char *type;

			if (parse_line(line, &at, &type) && strcmp(at, path) == 0) {
				(void)snprintf(fstype, fstype_bytes, "%s", type);
				found = true;
			}
		}
	}
	lp_buf_finish(&buf);
	if (r < 0)
		return r;
	return found ? 0 : -ENOENT;
}

/* mount(2). Returns the descriptor of the device or -errno. */
static int mount_directly(const char *mountpoint, struct lp_err *err)
{
	LP_AUTO_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[160];

	if (fd < 0)
		return lp_err_set(err, errno, "open /dev/fuse");
	/* allow_other: an app that runs under an account of its own has to see the workspace. */
	(void)snprintf(options, sizeof(options),
		       "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions,"
		       "allow_other",
		       fd, (unsigned)geteuid(), (unsigned)getegid());
	if (mount("livepush", mountpoint, LP_ATTACH_FSTYPE, MS_NOSUID | MS_NODEV, options) < 0)
		return lp_err_set(err, errno, "mount on '%s'", mountpoint);
	return lp_take_fd(&fd);
}

/* The environment plus one variable; the array is owned, the strings are borrowed. */
static char **env_with(char *variable)
{
	size_t n = 0;
	char **env;

	while (environ[n] != NULL)
		n++;
	env = lp_xcalloc(n + 2, sizeof(*env));
	memcpy(env, environ, n * sizeof(*env));
	env[n] = variable;
	return env;
}

/* A helper process on its way; text_fd is where it complains. */
struct helper {
	pid_t pid;
	int text_fd;
};

/* Starts fusermount3 with argv (argv[0] is filled in). comm_fd: stays open for it, or -1. Returns 0
 * or -errno. */
static int start_helper(struct helper *h, char *argv[], int comm_fd, struct lp_err *err)
{
	LP_AUTO_FREE char *path = lp_attach_helper();
	char variable[32];
	LP_AUTO_FREE char **env = NULL;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t set;
	int fds[2];
	int e;

	if (path == NULL)
		return lp_err_say(err, ENOENT,
				  "fusermount3 is not installed: install the package "
				  "fuse3, or run as root");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return lp_err_set(err, errno, "make a pipe for fusermount3");
	(void)snprintf(variable, sizeof(variable), "_FUSE_COMMFD=%d", comm_fd);
	env = env_with(variable);
	argv[0] = path;
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);
	if (comm_fd >= 0) /* onto itself: clears close-on-exec */
		(void)posix_spawn_file_actions_adddup2(&actions, comm_fd, comm_fd);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	(void)sigemptyset(&set);
	(void)posix_spawnattr_setsigmask(&attr, &set);
	(void)sigfillset(&set);
	(void)posix_spawnattr_setsigdefault(&attr, &set);
	e = posix_spawn(&h->pid, path, &actions, &attr, argv, env);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(fds[1]);
	h->text_fd = fds[0];
	if (e != 0) {
		(void)close(fds[0]);
		return lp_err_set(err, e, "run '%s'", path);
	}
	return 0;
}

/* Waits for the helper. Returns 0 when it did its work, otherwise -EPERM with what it said: it does
 * not tell more than failure. */
static int finish_helper(struct helper *h, const char *what, struct lp_err *err)
{
	LP_AUTO_CLOSE int fd = h->text_fd;
	struct lp_buf text;
	int status = 0;
	pid_t pid;
	int r = 0;

	lp_buf_init(&text, MAX_HELPER_TEXT_BYTES);
	if (lp_read_all(fd, &text) < 0) /* what came so far is better than nothing */
		errno = 0;
	do
		pid = waitpid(h->pid, &status, 0);
	while (pid < 0 && errno == EINTR);
	while (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		const char *said = lp_buf_text(&text);

		r = lp_err_say(err, EPERM, "%s: %s", what,
			       said != NULL && text.len > 0 ? said : "fusermount3 failed");
	}
	lp_buf_finish(&text);
	return r;
}

/* Takes the descriptor that fusermount3 sends. Returns it (owned) or -errno. */
static int receive_fd(int sock)
{
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	ssize_t n;
	int fd;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (n == 0 || c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static int mount_by_helper(const char *mountpoint, struct lp_err *err)
{
	LP_AUTO_FREE char *options =
		lp_xstrdup("fsname=livepush,subtype=livepush,default_permissions,nosuid,nodev");
	LP_AUTO_FREE char *what = lp_xasprintf("mount on '%s'", mountpoint);
	LP_AUTO_FREE char *where = lp_xstrdup(mountpoint);
	char flag[] = "-o";
	char end[] = "--";
	char *argv[] = {NULL, flag, options, end, where, NULL};
	LP_AUTO_CLOSE int ours = -1;
	LP_AUTO_CLOSE int fd = -1;
	struct helper h = {.text_fd = -1};
	int socks[2];
	int r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks) < 0)
		return lp_err_set(err, errno, "make a connection to fusermount3");
	ours = socks[0];
	r = start_helper(&h, argv, socks[1], err);
	(void)close(socks[1]);
	if (r < 0)
		return r;
	fd = receive_fd(ours);
	r = finish_helper(&h, what, err);
	if (r < 0)
		return r;
	if (fd < 0)
		return lp_err_set(err, -fd, "%s: receive the device from fusermount3", what);
	return lp_take_fd(&fd);
}

int lp_attach_mount(const char *mountpoint, struct lp_err *err)
{
	return lp_attach_privileged() ? mount_directly(mountpoint, err)
				      : mount_by_helper(mountpoint, err);
}

dev_t lp_attach_dev(const char *mountpoint)
{
	const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
	struct statx stx;

	if (statx(AT_FDCWD, mountpoint, flags, 0, &stx) < 0)
		return 0;
	return makedev(stx.stx_dev_major, stx.stx_dev_minor);
}

static int unmount_by_helper(const char *mountpoint, bool lazy, struct lp_err *err)
{
	LP_AUTO_FREE char *what = lp_xasprintf("unmount '%s'", mountpoint);
	LP_AUTO_FREE char *where = lp_xstrdup(mountpoint);
	char unmount[] = "-u";
	char detach[] = "-z";
	char end[] = "--";
	char *argv[] = {NULL, unmount, lazy ? detach : end, lazy ? end : where, lazy ? where : NULL,
			NULL};
	struct helper h = {.text_fd = -1};
	int r = start_helper(&h, argv, -1, err);

	return r < 0 ? r : finish_helper(&h, what, err);
}

int lp_attach_unmount(const char *mountpoint, bool lazy, struct lp_err *err)
{
	if (umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno != EPERM)
		return lp_err_set(err, errno, "unmount '%s'", mountpoint);
	return unmount_by_helper(mountpoint, lazy, err);
}
