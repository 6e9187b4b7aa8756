/* tests/unit/fsmount/fixture.c: see fixture.h. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "fsmount/attach.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A file system of a process without this capability hears of each open and close from the kernel;
 * see fsmount/closes.h. fusermount3, which mounts then, has it all the same. */
static void drop_sys_admin(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	uint32_t mask = CAP_TO_MASK(CAP_SYS_ADMIN);

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective &= ~mask;
	data[CAP_TO_INDEX(CAP_SYS_ADMIN)].permitted &= ~mask;
	assert_int_equal(syscall(SYS_capset, &header, data), 0);
}

void fx_skip_without_fuse(void)
{
	struct lp_err err = {0};

	if (lp_fsmount_probe(&err) < 0) {
		(void)fprintf(stderr, "skipped: %s\n", err.msg);
		_exit(77);
	}
	if (getenv("LP_FX_UNPRIVILEGED") != NULL)
		drop_sys_admin();
}

static void read_below(const struct fx *fx, struct fx_event *ev)
{
	struct stat st;
	ssize_t n;
	int fd;

	if (fstatat(fx->root_fd, ev->path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return;
	fd = openat(fx->root_fd, ev->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, ev->content, sizeof(ev->content) - 1);
	ev->content[n > 0 ? n : 0] = '\0';
	(void)close(fd);
}

static void on_event(void *ctx, const struct lp_event *event)
{
	struct fx *fx = ctx;
	struct fx_event ev = {.kind = event->kind};

	(void)snprintf(ev.path, sizeof(ev.path), "%s", event->path);
	if (ev.kind == LP_EVENT_CHANGED || ev.kind == LP_EVENT_CLOSED)
		read_below(fx, &ev);
	ev.has_written = event->written != NULL;
	if (ev.has_written)
		ev.written = *event->written;
	(void)pthread_mutex_lock(&fx->lock);
	lp_grow(&fx->events, &fx->cap_events, fx->n_events + 1, sizeof(*fx->events));
	fx->events[fx->n_events++] = ev;
	(void)atomic_fetch_add(fx->n_shared, 1);
	(void)pthread_cond_broadcast(&fx->changed);
	(void)pthread_mutex_unlock(&fx->lock);
}

static void on_ended(void *ctx)
{
	struct fx *fx = ctx;

	(void)pthread_mutex_lock(&fx->lock);
	fx->n_ended++;
	(void)pthread_cond_broadcast(&fx->changed);
	(void)pthread_mutex_unlock(&fx->lock);
}

int fx_setup_unmounted(void **state)
{
	struct fx *fx = lp_xcalloc(1, sizeof(*fx));
	char template[] = "/tmp/lp-fsmount-XXXXXX";

	assert_non_null(mkdtemp(template));
	assert_non_null(realpath(template, fx->dir));
	fx->root_fd = open(fx->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fx->root_fd >= 0);
	fx->n_shared = mmap(NULL, sizeof(*fx->n_shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(fx->n_shared != MAP_FAILED);
	(void)pthread_mutex_init(&fx->lock, NULL);
	(void)pthread_cond_init(&fx->changed, NULL);
	*state = fx;
	return 0;
}

void fx_mount(struct fx *fx)
{
	struct lp_err err = {0};
	struct lp_fsmount_opts opts = {
		.root_fd = fx->root_fd,
		.root_path = fx->dir,
		.mountpoint = fx->dir,
		.on_event = on_event,
		.on_ended = on_ended,
		.barrier = fx->barrier,
		.barrier_us = fx->barrier_us,
		.barrier_strict = fx->barrier_strict,
		.ctx = fx,
	};

	if (lp_fsmount_start(&fx->m, &opts, &err) < 0)
		fail_msg("%s", err.msg);
}

int fx_setup(void **state)
{
	(void)fx_setup_unmounted(state);
	fx_mount(*state);
	return 0;
}

int fx_unmount(struct fx *fx)
{
	int r = lp_fsmount_stop(fx->m);

	fx->m = NULL;
	return r;
}

int fx_teardown(void **state)
{
	struct fx *fx = *state;
	int r = fx_unmount(fx);

	assert_int_equal(r, 0);
	fx_expect_no_more(fx);
	assert_false(fx_is_mounted(fx->dir));
	(void)close(fx->root_fd);
	assert_int_equal(lp_remove_tree(AT_FDCWD, fx->dir), 0);
	(void)pthread_cond_destroy(&fx->changed);
	(void)pthread_mutex_destroy(&fx->lock);
	(void)munmap(fx->n_shared, sizeof(*fx->n_shared));
	free(fx->events);
	free(fx);
	return 0;
}

/* Waits for the next report; asserts that it comes. */
static struct fx_event take(struct fx *fx, const char *what)
{
	struct timespec deadline;
	struct fx_event ev = {0};
	bool there;
	int e = 0;

	(void)clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += FX_DEADLINE_S;
	(void)pthread_mutex_lock(&fx->lock);
	while (fx->n_events <= fx->n_expected && e == 0)
		e = pthread_cond_timedwait(&fx->changed, &fx->lock, &deadline);
	there = fx->n_events > fx->n_expected;
	if (there)
		ev = fx->events[fx->n_expected++];
	(void)pthread_mutex_unlock(&fx->lock);
	if (!there)
		fail_msg("no report of %s came", what);
	return ev;
}

void fx_expect(struct fx *fx, enum lp_event_kind kind, const char *path, const char *content)
{
	struct fx_event ev = take(fx, path);

	assert_string_equal(ev.path, path);
	assert_int_equal(ev.kind, kind);
	if (content != NULL)
		assert_string_equal(ev.content, content);
}

struct fx_event fx_take(struct fx *fx, const char *path)
{
	struct fx_event ev = take(fx, path != NULL ? path : "anything");

	if (path != NULL)
		assert_string_equal(ev.path, path);
	return ev;
}

void fx_skip(struct fx *fx, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)take(fx, "anything");
}

void fx_expect_no_more(struct fx *fx)
{
	struct fx_event ev = {0};
	bool more;

	if (fx->m != NULL)
		lp_fsmount_drain(fx->m);
	(void)pthread_mutex_lock(&fx->lock);
	more = fx->n_events > fx->n_expected;
	if (more)
		ev = fx->events[fx->n_expected];
	(void)pthread_mutex_unlock(&fx->lock);
	if (more)
		fail_msg("unexpected report: kind %d, path '%s', content '%s'", (int)ev.kind,
			 ev.path, ev.content);
}

size_t fx_count(struct fx *fx)
{
	size_t n;

	(void)pthread_mutex_lock(&fx->lock);
	n = fx->n_events;
	(void)pthread_mutex_unlock(&fx->lock);
	return n;
}

const char *fx_path(struct fx *fx, const char *name)
{
	static _Thread_local char paths[4][PATH_MAX + 256];
	static _Thread_local unsigned next;
	char *path = paths[next++ % LP_COUNT_OF(paths)];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", fx->dir, name);
	return path;
}

void fx_write(struct fx *fx, const char *name, const char *text)
{
	int fd = open(fx_path(fx, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(close(fd), 0);
}

bool fx_is_mounted(const char *path)
{
	char type[64];

	return lp_attach_type_at(path, type, sizeof(type)) == 0;
}

void fx_wait_until(bool (*condition)(void *arg), void *arg)
{
	struct timespec now;
	time_t deadline;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	deadline = now.tv_sec + FX_DEADLINE_S;
	while (!condition(arg)) {
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > deadline)
			fail_msg("a condition did not come true");
		(void)poll(NULL, 0, 2);
	}
}

void fx_reap(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

void fx_sh(const char *dir, const char *script)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (chdir(dir) == 0)
			(void)execl("/bin/sh", "sh", "-ec", script, (char *)NULL);
		_exit(126);
	}
	assert_true(pid > 0);
	fx_reap(pid);
}
