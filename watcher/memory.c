/* watcher/memory.c: when the index is written to disk, and where. */
#include "watcher/memory.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_trim.h"
#include "watcher/readers.h"
#include "watcher/store.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* A first scan is written down after the first sync has had the disk for itself for a while. */
#define FIRST_DELAY_US ((uint64_t)5 * 1000000)
#define DELAY_US       ((uint64_t)60 * 1000000)

/* So many records are encoded in well under a millisecond, and then others have the loop. */
#define SLICE_RECORDS  2000
#define SLICE_PAUSE_US 1000

#define LARGE_PAGE_BYTES ((size_t)2 * 1024 * 1024)

/* Three months. */
#define KEEP_S ((uint64_t)90 * 24 * 3600)

static const char suffix[] = ".index";

enum saving {
	SAVING_NOT,
	SAVING_ENCODES, /* in the loop, by slices */
	SAVING_WRITES,  /* in the thread */
};

/* generation grows with each change; saved is the one that is on disk. writer belongs to the thread
 * while it writes. */
struct lp_memory {
	struct lp_workspace *ws;
	char *dir;  /* owned */
	char *path; /* owned */
	uint64_t generation;
	uint64_t saved;
	uint64_t saving_generation;
	enum saving saving;
	struct lp_timer timer;
	struct lp_store_writer writer;
	struct lp_readers *thread;
	struct lp_read_job job;
};

/* $XDG_STATE_HOME/livepush, or ~/.local/state/livepush; owned. NULL: there is no such place. */
static char *state_dir(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	/* The XDG Base Directory Specification: paths that are not absolute are to be ignored. */
	if (state && state[0] == '/')
		return lp_xasprintf("%s/livepush", state);
	return home && home[0] == '/' ? lp_xasprintf("%s/.local/state/livepush", home) : NULL;
}

/* Puts the bytes into the place of what was remembered. With `sure` they are on disk before that;
 * without, a crash of the machine may leave a file that its checksum gives away. */
static int write_file(const struct lp_memory *m, bool sure)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	LP_AUTO_FREE char *beside = lp_xasprintf("%s.new", m->path);
	LP_AUTO_CLOSE int fd = -1;
	int r = lp_mkdir_p(m->dir, 0700);

	if (r < 0)
		return r;
	/* What a session left there that was killed while it wrote. */
	if (unlink(beside) < 0 && errno != ENOENT)
		return -errno;
	fd = open(beside, flags, 0600);
	if (fd < 0)
		return -errno;
	r = lp_write_all(fd, m->writer.out.data, m->writer.out.len);
	if (r == 0 && sure && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(beside, m->path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(beside);
	return r;
}

/* Removes what was kept of workspaces that had no session for long; many are temporary. */
static void prune(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (len == sizeof(suffix) - 1 + LP_DIGEST_HEX_BYTES - 1 &&
		    strcmp(e->d_name + LP_DIGEST_HEX_BYTES - 1, suffix) == 0 &&
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    (uint64_t)st.st_mtim.tv_sec + KEEP_S < lp_wall_us() / 1000000)
			(void)unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		(void)closedir(d);
}

/* In the thread. A state directory that cannot be written to costs time, not correctness. */
static void run_write(struct lp_read_job *job, void *scratch)
{
	struct lp_memory *m = LP_CONTAINER_OF(job, struct lp_memory, job);

	(void)scratch;
	if (lp_store_end(&m->writer) == 0)
		(void)write_file(m, true);
	lp_store_finish(&m->writer);
	prune(m->dir);
	/* Scanning and sending took memory that the system may have back. */
	lp_trim();
}

static void arm(struct lp_memory *m, uint64_t delay_us)
{
	if (!m->timer.loop)
		lp_timer_set(m->ws->loop, &m->timer, lp_now_us() + delay_us);
}

static void on_written(void *ctx)
{
	struct lp_memory *m = ctx;

	while (lp_readers_poll(m->thread)) {
		m->saving = SAVING_NOT;
		m->saved = m->saving_generation;
		if (m->generation != m->saved)
			arm(m, DELAY_US);
	}
}

/* Hands the bytes to the thread, which is made at the first call. Returns 0 or -errno. */
static int start_writing(struct lp_memory *m)
{
	int r = 0;

	if (!m->thread) {
		m->thread = lp_readers_create(1, 0);
		r = lp_readers_watch(m->thread, m->ws->loop, on_written, m, NULL);
	}
	if (r < 0) {
		lp_readers_destroy(m->thread);
		m->thread = NULL;
		return r;
	}
	m->saving = SAVING_WRITES;
	m->job.run = run_write;
	lp_readers_add(m->thread, &m->job);
	return 0;
}

static void give_up(struct lp_memory *m)
{
	lp_store_finish(&m->writer);
	m->saving = SAVING_NOT;
	arm(m, DELAY_US);
}

static void on_timer(struct lp_timer *timer)
{
	struct lp_memory *m = LP_CONTAINER_OF(timer, struct lp_memory, timer);
	int r = 0;

	if (m->saving == SAVING_WRITES)
		return;
	if (m->saving == SAVING_NOT) {
		m->saving = SAVING_ENCODES;
		m->saving_generation = m->generation;
		r = lp_store_begin(&m->writer, m->ws->path);
	}
	if (r == 0)
		r = lp_store_add(&m->writer, m->ws->index, SLICE_RECORDS);
	if (r == 0)
		r = start_writing(m);
	if (r == 1)
		arm(m, SLICE_PAUSE_US);
	else if (r < 0)
		give_up(m);
}

void lp_memory_touch(struct lp_workspace *ws)
{
	struct lp_memory *m = ws->memory;

	if (!m)
		return;
	m->generation++;
	if (m->saving == SAVING_NOT)
		arm(m, m->saved == 0 ? FIRST_DELAY_US : DELAY_US);
}

/* Room for what is read as a whole and soon freed; in large pages where there are any, because
 * asking for each small one takes as long as reading. */
static uint8_t *alloc_bytes(size_t len)
{
	size_t bytes = (len / LARGE_PAGE_BYTES + 1) * LARGE_PAGE_BYTES;
	uint8_t *data;

	if (len < LARGE_PAGE_BYTES)
		return malloc(len + 1);
	data = aligned_alloc(LARGE_PAGE_BYTES, bytes);
	if (data)
		(void)madvise(data, bytes, MADV_HUGEPAGE);
	return data;
}

/* Reads what is at m->path. Returns 0, -ENOENT, or another -errno with the reason. */
static int load(struct lp_memory *m, struct lp_index **out, struct lp_err *err)
{
	LP_AUTO_CLOSE int fd =
		open(m->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	LP_AUTO_FREE uint8_t *data = NULL;
	struct stat st;
	size_t len;
	int r;

	/* Without a state directory there is nothing to say. */
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
		return -ENOENT;
	if (fd < 0)
		return lp_err_set(err, errno, "it cannot be opened");
	if (fstat(fd, &st) < 0)
		return lp_err_set(err, errno, "it cannot be read");
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 022)
		return lp_err_say(err, EPERM, "others may have written it");
	if (st.st_size > (off_t)LP_STORE_MAX_BYTES)
		return lp_err_say(err, EFBIG, "it is too large");
	(void)futimens(fd, NULL); /* it is in use */
	len = (size_t)st.st_size;
	data = alloc_bytes(len);
	if (!data)
		return lp_err_set(err, ENOMEM, "it cannot be read");
	r = lp_read_up_to(fd, data, len, &len);
	if (r < 0)
		return lp_err_set(err, -r, "it cannot be read");
	return lp_store_read(out, data, len, m->ws->path, err);
}

void lp_workspace_remember(struct lp_workspace *ws)
{
	struct lp_digest d = lp_digest_of(ws->path, strlen(ws->path));
	struct lp_index *known = NULL;
	char hex[LP_DIGEST_HEX_BYTES];
	struct lp_err err = {0};
	struct lp_memory *m;
	char *dir = state_dir();
	int r;

	if (!dir || ws->memory) {
		free(dir);
		return;
	}
	lp_digest_hex(&d, hex);
	m = ws->memory = lp_xcalloc(1, sizeof(*m));
	m->ws = ws;
	m->timer.on_fire = on_timer;
	m->dir = dir;
	m->path = lp_xasprintf("%s/%s%s", dir, hex, suffix);
	r = load(m, &known, &err);
	if (r == 0) {
		lp_index_destroy(ws->index);
		ws->index = known;
		m->saved = m->generation = 1;
	} else if (r != -ENOENT) {
		lp_workspace_say(ws,
				 "%s: the index of an earlier session is not used: %s; everything "
				 "is read again",
				 m->path, err.msg);
	}
}

void lp_memory_finish(struct lp_workspace *ws)
{
	struct lp_memory *m = ws->memory;

	if (!m)
		return;
	lp_timer_clear(&m->timer);
	lp_readers_destroy(m->thread); /* waits for what it writes */
	if (m->saving == SAVING_WRITES && !m->writer.out.data)
		m->saved = m->saving_generation;
	lp_store_finish(&m->writer);
	if (m->generation != m->saved && lp_store_begin(&m->writer, ws->path) == 0 &&
	    lp_store_add(&m->writer, ws->index, SIZE_MAX) == 0 && lp_store_end(&m->writer) == 0)
		(void)write_file(m, false);
	lp_store_finish(&m->writer);
	free(m->path);
	free(m->dir);
	free(m);
	ws->memory = NULL;
}
