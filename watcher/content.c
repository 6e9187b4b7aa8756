/* watcher/content.c: reads a file so that what was read is what some writer left behind. */
#include "watcher/content.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define PIECE_BYTES ((size_t)256 * 1024)
#define CLOSE_TRIES 25 /* of 20 µs and what the timer adds */
#define READ_TRIES  3

void lp_look_setup(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	(void)sigaction(SIGIO, &ignore, NULL);
}

static void sig_of(const struct stat *st, struct lp_stat_sig *sig)
{
	*sig = (struct lp_stat_sig){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
		.ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
	};
}

static bool sig_equal(const struct lp_stat_sig *a, const struct lp_stat_sig *b)
{
	return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns;
}

static int look_link(int dir_fd, const char *name, struct lp_look *out)
{
	struct lp_blob *blob = lp_blob_create(PATH_MAX);
	ssize_t n;

	if (!blob)
		return -ENOMEM;
	n = readlinkat(dir_fd, name, (char *)blob->data, PATH_MAX);
	if (n < 0) {
		int r = -errno;

		lp_blob_unref(blob);
		/* EINVAL: it stopped being a link; that change has an event of its own. */
		out->state = LP_LOOK_GONE;
		return r == -ENOENT || r == -EINVAL ? 0 : r;
	}
	blob->len = (size_t)n;
	out->state = LP_LOOK_READ;
	out->e = (struct lp_entry){.kind = LP_KIND_LINK,
				   .size = (uint64_t)n,
				   .digest = lp_digest_of(blob->data, (size_t)n)};
	out->blob = blob;
	return 0;
}

/* The content of a small file in one blob; one byte more is asked for to notice growth. */
static int read_small(int fd, size_t size, bool keep, struct lp_look *out, uint64_t *got)
{
	struct lp_blob *blob = lp_blob_create(size + 1);
	size_t len;
	int r;

	if (!blob)
		return -ENOMEM;
	r = lp_read_up_to(fd, blob->data, size + 1, &len);
	if (r < 0) {
		lp_blob_unref(blob);
		return r;
	}
	blob->len = len;
	out->e.digest = lp_digest_of(blob->data, len);
	*got = len;
	if (keep)
		out->blob = blob;
	else
		lp_blob_unref(blob);
	return 0;
}

static int read_large(int fd, struct lp_look *out, uint64_t *got)
{
	struct lp_hasher *hasher = lp_hasher_create();
	LP_AUTO_FREE uint8_t *piece = lp_xcalloc(1, PIECE_BYTES);
	size_t len;
	int r;

	*got = 0;
	do {
		r = lp_read_up_to(fd, piece, PIECE_BYTES, &len);
		if (r == 0) {
			lp_hasher_add(hasher, piece, len);
			*got += len;
		}
	} while (r == 0 && len == PIECE_BYTES);
	out->e.digest = lp_hasher_get(hasher);
	lp_hasher_destroy(hasher);
	return r;
}

/* Whether the file may change again without its times showing it: they move in ticks (4 ms on most
 * kernels before 6.13, 2 s on FAT). Then the next look has to read. git(1) calls an index entry of
 * such a file racy. */
static bool is_racy(const struct lp_stat_sig *sig)
{
	const int64_t tick_ns = (int64_t)2 * 1000000000;
	int64_t now_ns = (int64_t)lp_wall_us() * 1000;

	/* Every write moves ctime, and nobody can set it. */
	return sig->ctime_ns > now_ns - tick_ns;
}

/* One reading of an open file. leased: nobody can write meanwhile. Returns 1 when it changed
 * meanwhile. */
static int read_once(int fd, const struct stat *before, bool leased, bool want_blob,
		     struct lp_look *out)
{
	size_t size = (size_t)before->st_size;
	struct lp_stat_sig sig;
	struct stat after = *before;
	uint64_t got = 0;
	int r;

	r = size <= LP_INLINE_MAX_BYTES ? read_small(fd, size, want_blob, out, &got)
					: read_large(fd, out, &got);
	if (r == 0 && !leased && fstat(fd, &after) < 0)
		r = -errno;
	if (r < 0) {
		lp_blob_unref(out->blob);
		out->blob = NULL;
		return r;
	}
	sig_of(&after, &sig);
	sig_of(before, &out->sig);
	if (got == size && sig_equal(&sig, &out->sig)) {
		if (is_racy(&out->sig))
			out->sig = (struct lp_stat_sig){0};
		out->e.kind = LP_KIND_FILE;
		out->e.mode = (uint32_t)after.st_mode & 0777;
		out->e.size = size;
		out->state = LP_LOOK_READ;
		return 0;
	}
	lp_blob_unref(out->blob);
	out->blob = NULL;
	return 1;
}

/* Where nobody can tell whether a file is being written, one that did not change for a second
 * counts as complete. */
static bool has_rested(const struct stat *st)
{
	/* Not by mtime, which anybody may set, into the future too. */
	return (uint64_t)st->st_ctim.tv_sec * 1000000 + (uint64_t)st->st_ctim.tv_nsec / 1000 +
		       1000000 <
	       lp_wall_us();
}

/* Takes a read lease; false when somebody has the file open for writing. EAGAIN is the only refusal
 * that means so; others mean that there are no leases here, or none on a file of another user. The
 * kernel reports a closing before it has given up the writer's access, so one that was just
 * reported is asked again for a moment. */
static bool take_lease(int fd, const struct lp_look_opts *opts, bool *leased)
{
	const struct timespec pause = {.tv_nsec = 20000};
	struct stat st;

	for (int i = 0; fcntl(fd, F_SETLEASE, F_RDLCK) < 0; i++) {
		if (opts->even_if_busy)
			return true;
		if (errno != EAGAIN)
			return opts->just_closed || (fstat(fd, &st) == 0 && has_rested(&st));
		if (!opts->just_closed || i == CLOSE_TRIES)
			return false;
		(void)nanosleep(&pause, NULL);
	}
	*leased = true;
	return true;
}

static int look_file(int dir_fd, const char *name, const struct lp_look_opts *opts,
		     struct lp_look *out)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	LP_AUTO_CLOSE int fd = openat(dir_fd, name, flags);
	bool leased = false;
	struct stat st;
	int r = 1;

	if (fd < 0) {
		out->state = LP_LOOK_GONE;
		return errno == ENOENT || errno == ELOOP || errno == ENXIO ? 0 : -errno;
	}
	if (!take_lease(fd, opts, &leased)) {
		out->state = LP_LOOK_BUSY;
		return 0;
	}
	for (int i = 0; i < READ_TRIES && r == 1; i++) {
		if (fstat(fd, &st) < 0 || (i > 0 && lseek(fd, 0, SEEK_SET) < 0))
			return -errno;
		if (!S_ISREG(st.st_mode)) {
			out->state = LP_LOOK_GONE;
			return 0;
		}
		r = read_once(fd, &st, leased, opts->want_blob, out);
	}
	if (r == 1) {
		out->state = LP_LOOK_BUSY;
		return 0;
	}
	return r; /* closing the descriptor gives the lease back */
}

int lp_look_at(int dir_fd, const char *name, const struct lp_look_opts *opts, struct lp_look *out)
{
	struct stat st;

	*out = (struct lp_look){.state = LP_LOOK_GONE};
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	sig_of(&st, &out->sig);
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
	if (opts->known && opts->known->e.kind == LP_KIND_FILE &&
	    sig_equal(&opts->known->sig, &out->sig)) {
		out->state = LP_LOOK_SAME;
		return 0;
	}
	return look_file(dir_fd, name, opts, out);
}
