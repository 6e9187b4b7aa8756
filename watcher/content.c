/* watcher/content.c: reads a file so that what was read is what some writer left behind. */
#include "watcher/content.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/sparse.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define CLOSE_TRIES 25 /* of 20 µs and what the timer adds */
#define READ_TRIES  3
#define NS_PER_S    1000000000

/* What nobody wrote to for so long is not in the middle of being written. */
#define REST_NS ((int64_t)2 * NS_PER_S)

/* Pages that were written through a mapping are on disk after about half a minute, unless the
 * system is told otherwise; from then on the next write to them moves the file's times again. */
#define MAPPED_NS ((int64_t)60 * NS_PER_S)

/* Where nobody can tell whether a file is being written. */
#define BLIND_REST_NS ((int64_t)1 * NS_PER_S)

_Static_assert(LP_LOOK_SCRATCH_BYTES > LP_INLINE_MAX_BYTES, "a small file fits, and one byte");

void lp_look_setup(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	(void)sigaction(SIGIO, &ignore, NULL);
}

void lp_look_finish(struct lp_look *look)
{
	lp_blob_unref(look->blob);
	lp_chunks_unref(look->chunks);
	look->blob = NULL;
	look->chunks = NULL;
}

/* How long ago the file changed, by ctime: every write moves it, and nobody can set it. Negative
 * when the clock was set back. */
static int64_t age_ns(const struct stat *st)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return ((int64_t)now.tv_sec - st->st_ctim.tv_sec) * NS_PER_S + now.tv_nsec -
	       st->st_ctim.tv_nsec;
}

bool lp_look_has_rested(const struct stat *st)
{
	return age_ns(st) >= REST_NS;
}

/* The signature and what belongs to it, as stat(2) just said. Times move in steps: what changed
 * within the last one may change again without showing it, and the next look has to read. git(1)
 * calls an index entry of such a file racy. */
static void note_stat(const struct stat *st, const struct lp_look_opts *opts, struct lp_look *out)
{
	lp_stat_sig_of(st, &out->sig);
	out->is_racy = age_ns(st) < lp_ticks_for(&opts->ticks, st->st_dev);
	out->is_sole = st->st_nlink == 1;
}

static int look_link(int dir_fd, const char *name, struct lp_look *out)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir_fd, name, target, sizeof(target));

	if (n < 0) {
		/* EINVAL: it stopped being a link; that change has an event of its own. */
		out->state = LP_LOOK_GONE;
		return errno == ENOENT || errno == EINVAL ? 0 : -errno;
	}
	out->blob = lp_blob_create((size_t)n);
	if (!out->blob)
		return -ENOMEM;
	memcpy(out->blob->data, target, (size_t)n);
	out->state = LP_LOOK_READ;
	out->e = (struct lp_entry){.kind = LP_KIND_LINK,
				   .size = (uint64_t)n,
				   .digest = lp_digest_of(target, (size_t)n)};
	return 0;
}

/* The content of a small file; one byte more is asked for to notice growth. */
static int read_small(int fd, size_t size, bool keep, struct lp_look *out, uint64_t *got,
		      void *scratch)
{
	struct lp_blob *blob = keep ? lp_blob_create(size + 1) : NULL;
	void *to = blob ? blob->data : scratch;
	size_t len;
	int r;

	if (keep && !blob)
		return -ENOMEM;
	r = lp_read_up_to(fd, to, size + 1, &len);
	if (r < 0) {
		lp_blob_unref(blob);
		return r;
	}
	if (blob)
		blob->len = len;
	out->e.digest = lp_digest_of(to, len);
	out->blob = blob;
	*got = len;
	return 0;
}

static bool is_stopped(const struct lp_look_opts *opts)
{
	return opts->stop && atomic_load_explicit(opts->stop, memory_order_relaxed);
}

/* The content of a file with holes. Returns -EOPNOTSUPP when it has to be read like any other. */
static int read_sparse(int fd, uint64_t size, const struct lp_look_opts *opts, struct lp_look *out,
		       uint64_t *got)
{
	int r = lp_sparse_chunks(fd, size, opts->stop, &out->chunks);

	if (r == -ESTALE)
		return 0; /* it changed, which the caller sees */
	if (r < 0)
		return r;
	out->e.digest = lp_chunks_digest(out->chunks);
	*got = size;
	return 0;
}

/* The content up to its size at the beginning, and one piece more to notice growth. */
static int read_large(int fd, const struct stat *st, const struct lp_look_opts *opts,
		      struct lp_look *out, uint64_t *got, void *scratch)
{
	uint64_t size = (uint64_t)st->st_size;
	struct lp_hasher *hasher;
	size_t len = 0;
	int r = -EOPNOTSUPP;

	*got = 0;
	if ((uint64_t)st->st_blocks * 512 < size)
		r = read_sparse(fd, size, opts, out, got);
	if (r != -EOPNOTSUPP)
		return r;
	hasher = lp_hasher_create_fine();
	do {
		r = is_stopped(opts) ? -ECANCELED
				     : lp_read_up_to(fd, scratch, LP_LOOK_SCRATCH_BYTES, &len);
		if (r == 0) {
			uint64_t rest = size - (*got < size ? *got : size);

			lp_hasher_add(hasher, scratch, rest < len ? (size_t)rest : len);
			*got += len;
		}
	} while (r == 0 && len == LP_LOOK_SCRATCH_BYTES && *got <= size);
	if (r == 0) {
		out->e.digest = lp_hasher_get(hasher);
		out->chunks = lp_hasher_chunks(hasher);
	}
	lp_hasher_destroy(hasher);
	return r;
}

/* Whether what was read of a large file may be taken although it changed: somebody who has it open
 * goes on writing, and it would never be quiet for as long as reading takes. Taken is what it began
 * with; when more than its end changed, whoever sends it finds that out. */
static bool may_have_grown(const struct lp_look_opts *opts, const struct stat *before,
			   const struct stat *after, uint64_t got)
{
	return opts->even_if_busy && before->st_size > (off_t)LP_INLINE_MAX_BYTES &&
	       got >= (uint64_t)before->st_size && after->st_size >= before->st_size;
}

static void accept(const struct stat *st, struct lp_look *out)
{
	out->e.kind = LP_KIND_FILE;
	out->e.mode = (uint32_t)st->st_mode & 0777;
	out->e.size = (uint64_t)st->st_size;
	out->state = LP_LOOK_READ;
}

/* One reading of an open file. leased: nobody can write meanwhile. Returns 1 when it changed
 * meanwhile. */
static int read_once(int fd, const struct stat *before, bool leased,
		     const struct lp_look_opts *opts, struct lp_look *out)
{
	size_t size = (size_t)before->st_size;
	bool own = !opts->scratch && (size > LP_INLINE_MAX_BYTES || !opts->want_blob);
	LP_AUTO_FREE void *owned = own ? malloc(LP_LOOK_SCRATCH_BYTES) : NULL;
	void *scratch = own ? owned : opts->scratch;
	struct stat after = *before;
	uint64_t got = 0;
	int r;

	if (own && !owned)
		return -ENOMEM;
	r = size <= LP_INLINE_MAX_BYTES ? read_small(fd, size, opts->want_blob, out, &got, scratch)
					: read_large(fd, before, opts, out, &got, scratch);
	if (r == 0 && !leased && fstat(fd, &after) < 0)
		r = -errno;
	if (r == 0 && got == size && lp_sig_is(&out->sig, &after)) {
		accept(&after, out);
		return 0;
	}
	if (r == 0 && may_have_grown(opts, before, &after, got)) {
		accept(before, out);
		out->is_racy = out->is_growing = true;
		return 0;
	}
	lp_look_finish(out);
	return r < 0 ? r : 1;
}

/* Takes a read lease; false when somebody has the file open for writing. EAGAIN is the only refusal
 * that means so; others mean that there are no leases here, or none on a file of another user. The
 * kernel reports a closing before it has given up the writer's access, so one that was just
 * reported is asked again for a moment. */
static bool take_lease(int fd, const struct stat *st, const struct lp_look_opts *opts, bool *leased)
{
	const struct timespec pause = {.tv_nsec = 20000};

	for (int i = 0; fcntl(fd, F_SETLEASE, F_RDLCK) < 0; i++) {
		if (opts->even_if_busy)
			return true;
		if (errno != EAGAIN)
			return opts->just_closed || age_ns(st) > BLIND_REST_NS;
		if (!opts->just_closed || i == CLOSE_TRIES)
			return false;
		(void)nanosleep(&pause, NULL);
	}
	*leased = true;
	/* Reading a large one takes too long to keep a writer waiting. */
	if (st->st_size > (off_t)LP_INLINE_MAX_BYTES) {
		(void)fcntl(fd, F_SETLEASE, F_UNLCK);
		*leased = false;
	}
	return true;
}

/* Whether somebody has it open who may have mapped it, and may write to it without moving its
 * times. A small one is read again when it is closed. */
static bool may_be_mapped(int fd, const struct stat *st)
{
	if (st->st_size <= (off_t)LP_INLINE_MAX_BYTES || age_ns(st) >= MAPPED_NS)
		return false;
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return errno == EAGAIN;
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

/* Its access time may be left alone by its owner only. */
int lp_look_open(int dir_fd, const char *name)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = openat(dir_fd, name, flags | O_NOATIME);

	if (fd < 0 && errno == EPERM)
		fd = openat(dir_fd, name, flags);
	return fd < 0 ? -errno : fd;
}

int lp_look_read_at(void *ctx, uint64_t at, void *out, size_t len)
{
	return lp_read_at(*(const int *)ctx, at, out, len);
}

/* Whether the file is what is known but for the ranges that were written. */
static bool is_known_but_written(const struct stat *st, const struct lp_look_opts *opts)
{
	return opts->written && opts->known && opts->chunks &&
	       st->st_size > (off_t)LP_INLINE_MAX_BYTES &&
	       lp_sig_equal(&opts->written->before, opts->known) &&
	       lp_sig_is(&opts->written->after, st);
}

/* Reads what was written of a large file and makes the rest of what is known. Returns whether that
 * worked. */
static bool read_written(int fd, const struct stat *st, const struct lp_look_opts *opts,
			 struct lp_look *out)
{
	struct lp_chunks *chunks = NULL;
	struct stat after;

	if (lp_chunks_rewrite(opts->chunks, (uint64_t)st->st_size, &opts->written->ranges,
			      lp_look_read_at, &fd, &chunks) < 0)
		return false;
	if (fstat(fd, &after) < 0 || !lp_sig_is(&out->sig, &after)) {
		lp_chunks_unref(chunks);
		return false;
	}
	out->chunks = chunks;
	out->e.digest = lp_chunks_digest(chunks);
	out->by_ranges = true;
	accept(&after, out);
	return true;
}

static int read_open(int fd, const struct lp_look_opts *opts, struct lp_look *out)
{
	bool leased = false;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	out->state = LP_LOOK_GONE;
	if (!S_ISREG(st.st_mode))
		return 0;
	if (st.st_size > LP_LOOK_MAX_BYTES)
		return -EFBIG;
	note_stat(&st, opts, out);
	if (is_known_but_written(&st, opts) && read_written(fd, &st, opts, out))
		return 0;
	if (!opts->is_file || !lp_look_has_rested(&st)) {
		if (!take_lease(fd, &st, opts, &leased)) {
			out->state = LP_LOOK_BUSY;
			return 0;
		}
		if (fstat(fd, &st) < 0)
			return -errno;
		note_stat(&st, opts, out);
	} else {
		out->is_racy |= may_be_mapped(fd, &st);
	}
	if (opts->max_bytes > 0 && (uint64_t)st.st_size > opts->max_bytes) {
		out->state = LP_LOOK_LARGE;
		return 0;
	}
	return read_once(fd, &st, leased, opts, out);
}

/* Looks at what is open now. Returns 1 when it changed while it was read. The lease of a small file
 * lasts beyond: who has not begun to write it yet cannot be half through. */
static int look_open(int fd, const struct lp_look_opts *opts, struct lp_look *out)
{
	int r = read_open(fd, opts, out);

	if (r == 0 && (out->state == LP_LOOK_READ || out->state == LP_LOOK_LARGE) &&
	    opts->is_being_written && opts->is_being_written(opts->ctx, opts->path)) {
		lp_look_finish(out);
		out->state = LP_LOOK_BUSY;
	}
	return r;
}

static int look_file(int dir_fd, const char *name, const struct lp_look_opts *opts,
		     struct lp_look *out)
{
	LP_AUTO_CLOSE int fd = lp_look_open(dir_fd, name);
	int r = 1;

	if (fd < 0) {
		out->state = LP_LOOK_GONE;
		return fd == -ENOENT || fd == -ELOOP || fd == -ENXIO ? 0 : fd;
	}
	for (int i = 0; i < READ_TRIES && r == 1; i++) {
		if (i > 0 && lseek(fd, 0, SEEK_SET) < 0)
			return -errno;
		r = look_open(fd, opts, out);
	}
	if (r == 1) {
		out->state = LP_LOOK_BUSY;
		return 0;
	}
	return r; /* closing the descriptor gives the lease back */
}

/* Whether it will be possible to read it, as far as its mode tells. */
static bool may_read(const struct stat *st)
{
	uid_t me = geteuid();

	if (me == 0)
		return true;
	return st->st_uid == me ? st->st_mode & S_IRUSR
				: (st->st_mode & (S_IRGRP | S_IROTH)) == (S_IRGRP | S_IROTH);
}

/* Whether its reading may be left to somebody who does so later: then it is known by its times,
 * which tell whether it is the same by then. */
static bool leave(const struct stat *st, const struct lp_look_opts *opts, struct lp_look *out)
{
	if (!opts->may_leave || opts->known || st->st_size > (off_t)LP_INLINE_MAX_BYTES ||
	    !lp_look_has_rested(st) || !may_read(st) ||
	    (opts->is_being_written && opts->is_being_written(opts->ctx, opts->path)))
		return false;
	note_stat(st, opts, out);
	if (!out->is_racy)
		accept(st, out);
	return !out->is_racy;
}

static int look_at(int dir_fd, const char *name, const struct lp_look_opts *opts,
		   struct lp_look *out)
{
	struct stat st;

	if (opts->is_file && !opts->known && !opts->may_leave)
		return look_file(dir_fd, name, opts, out);
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	lp_stat_sig_of(&st, &out->sig);
	out->is_sole = st.st_nlink == 1;
	if (S_ISDIR(st.st_mode)) {
		out->state = LP_LOOK_READ;
		out->e =
			(struct lp_entry){.kind = LP_KIND_DIR, .mode = (uint32_t)st.st_mode & 0777};
		return 0;
	}
	if (S_ISLNK(st.st_mode))
		return look_link(dir_fd, name, out);
	if (!S_ISREG(st.st_mode)) {
		out->state = LP_LOOK_SPECIAL;
		return 0;
	}
	if (opts->created && st.st_nlink == 1) {
		out->state = LP_LOOK_BUSY;
		return 0;
	}
	if (opts->known && lp_sig_equal(opts->known, &out->sig)) {
		out->state = LP_LOOK_SAME;
		return 0;
	}
	if (leave(&st, opts, out))
		return 0;
	return look_file(dir_fd, name, opts, out);
}

int lp_look_at(int dir_fd, const char *name, const struct lp_look_opts *opts, struct lp_look *out)
{
	*out = (struct lp_look){.state = LP_LOOK_GONE};
	out->error = look_at(dir_fd, name, opts, out);
	return out->error;
}
