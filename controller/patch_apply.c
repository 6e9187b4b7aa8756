/* controller/patch_apply.c: writes a patch into its file, and what was there back. */
#include "controller/patch.h"

#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "sync/stat_sig.h"

#include <string.h>
#include <sys/stat.h>

#define OLD_MAGIC      0x33444c4fu /* "OLD3" */
#define COPY_MAX_BYTES ((size_t)1 << 30)

/* As lp_patch_copy, where the kernel cannot do it by itself. */
static int copy_by_hand(int from, uint64_t from_at, int to, uint64_t to_at, uint64_t len)
{
	LP_AUTO_FREE uint8_t *piece = lp_xcalloc(1, LP_PATCH_PIECE_BYTES);
	int r = 0;

	while (len > 0 && r == 0) {
		size_t n = len < LP_PATCH_PIECE_BYTES ? (size_t)len : LP_PATCH_PIECE_BYTES;

		r = lp_read_at(from, from_at, piece, n);
		if (r == 0)
			r = lp_patch_write(to, to_at, piece, n);
		from_at += n;
		to_at += n;
		len -= n;
	}
	return r;
}

int lp_patch_copy(int from, uint64_t from_at, int to, uint64_t to_at, uint64_t len)
{
	off_t in = (off_t)from_at, out = (off_t)to_at;

	while (len > 0) {
		ssize_t n = copy_file_range(from, &in, to, &out,
					    len < COPY_MAX_BYTES ? (size_t)len : COPY_MAX_BYTES, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 &&
		    (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
			return copy_by_hand(from, (uint64_t)in, to, (uint64_t)out, len);
		if (n <= 0)
			return n < 0 ? -errno : -ESTALE;
		len -= (uint64_t)n;
	}
	return 0;
}

int lp_patch_write(int fd, uint64_t at, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

enum old_state {
	OLD_BEGUN = 1, /* something may have been written into the file, nothing is known of it */
	OLD_DONE,      /* it is as seen says, unless somebody else changed it since */
	OLD_REVERTING, /* something may have been written back */
	OLD_REVERTED,  /* all was: what somebody wrote into it since stays */
};

/* What was there: the head, then the places, then the bytes of all of them that the old file had.
 * The head is written last, so that without it nothing was changed yet. ino, dev: of the file. was:
 * its time before. seen: its size and time when the patch was in it. */
struct old_head {
	uint32_t magic;
	uint32_t n;
	uint64_t bytes; /* size of the old file */
	uint64_t ino;
	uint64_t dev;
	uint64_t seen_bytes;
	int64_t seen_mtime_ns;
	int64_t was_mtime_s;
	int64_t was_mtime_ns; /* the rest of that */
	uint32_t state;       /* enum old_state */
	uint32_t unused;
};

/* How much of a place the old file had. */
static uint64_t old_len(const struct lp_range *place, uint64_t old_bytes)
{
	if (place->at >= old_bytes)
		return 0;
	return old_bytes - place->at < place->len ? old_bytes - place->at : place->len;
}

static int keep_old(const struct lp_patch *p, int fd, int old_fd, uint64_t *kept)
{
	const struct old_head head = {.magic = OLD_MAGIC,
				      .n = (uint32_t)p->n_places,
				      .bytes = (uint64_t)p->base.st_size,
				      .ino = p->base.st_ino,
				      .dev = p->base.st_dev,
				      .was_mtime_s = p->base.st_mtim.tv_sec,
				      .was_mtime_ns = p->base.st_mtim.tv_nsec,
				      .state = OLD_BEGUN};
	uint64_t at = sizeof(head) + p->n_places * sizeof(*p->places), first = at;
	int r = lp_patch_write(old_fd, sizeof(head), p->places, p->n_places * sizeof(*p->places));

	for (size_t i = 0; i < p->n_places && r == 0; i++) {
		uint64_t len = old_len(&p->places[i], head.bytes);

		r = lp_patch_copy(fd, p->places[i].at, old_fd, at, len);
		at += len;
	}
	*kept = at - first;
	return r < 0 ? r : lp_patch_write(old_fd, 0, &head, sizeof(head));
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int write_places(const struct lp_patch *p, int from, int fd, const struct lp_staged *s)
{
	int r = 0;

	for (size_t i = 0; i < p->n_places && r == 0; i++)
		r = lp_patch_copy(from, p->places[i].at, fd, p->places[i].at, p->places[i].len);
	if (r == 0 && (p->base.st_mode & 0777) != s->e.mode && fchmod(fd, s->e.mode) < 0)
		r = -errno;
	return r;
}

/* In the head, which says how far it is. */
static int note_state(struct old_head *head, int old_fd, enum old_state state)
{
	head->state = state;
	return lp_patch_write(old_fd, 0, head, sizeof(*head));
}

/* How the patched file looks, by which it is known again. */
static int note_done(int old_fd, const struct stat *st)
{
	struct old_head head;
	int r = lp_read_at(old_fd, 0, &head, sizeof(head));
	struct lp_stat_sig seen;

	lp_stat_sig_of(st, &seen);
	head.seen_bytes = seen.size;
	head.seen_mtime_ns = seen.mtime_ns;
	return r < 0 ? r : note_state(&head, old_fd, OLD_DONE);
}

int lp_patch_apply(struct lp_tree *t, struct lp_staged *s, struct lp_err *err)
{
	const struct lp_patch *p = s->patch;
	char number[LP_STAGE_NAME_BYTES], old[LP_STAGE_NAME_BYTES];
	LP_AUTO_CLOSE int fd = lp_open_beneath(t->root_fd, s->path, O_RDWR | O_NONBLOCK, 0);
	LP_AUTO_CLOSE int from = -1;
	LP_AUTO_CLOSE int old_fd = -1;
	uint64_t kept = 0;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || !is_same(&st, &p->base))
		return lp_err_say(err, ESTALE, "%s: was changed here", s->path);
	lp_stage_name((size_t)(s - t->ops), number);
	lp_stage_old_name((size_t)(s - t->ops), old);
	from = openat(t->stage_fd, number, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	old_fd = openat(t->stage_fd, old, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (from < 0 || old_fd < 0)
		return lp_err_set(err, errno, "%s: cannot be patched", s->path);
	r = keep_old(p, fd, old_fd, &kept);
	if (r == 0)
		r = write_places(p, from, fd, s);
	if (r == 0)
		r = fstat(fd, &st) < 0 ? -errno : note_done(old_fd, &st);
	if (r < 0)
		return lp_err_set(err, -r, "%s: cannot be patched", s->path);
	t->undo_bytes += kept;
	(void)unlinkat(t->stage_fd, number, 0);
	s->sig = lp_sig_of(&st);
	s->ctime_ns = INT64_MAX; /* too fresh to be trusted after a restart */
	return 0;
}

/* Whether the file at fd is the one that was patched, and only that happened to it. 1, 0 or -errno.
 */
static int is_patched(const struct old_head *head, int fd)
{
	struct lp_stat_sig now;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	lp_stat_sig_of(&st, &now);
	if (!S_ISREG(st.st_mode) || now.ino != head->ino || st.st_dev != head->dev)
		return 0;
	return head->state != OLD_DONE ||
	       (now.size == head->seen_bytes && now.mtime_ns == head->seen_mtime_ns);
}

static int write_back(const struct old_head *head, int fd, int old_fd)
{
	LP_AUTO_FREE struct lp_range *places = NULL;
	uint64_t at = sizeof(*head) + head->n * sizeof(*places);
	struct stat st;
	int r;

	if (fstat(old_fd, &st) < 0)
		return -errno;
	if (head->n > ((uint64_t)st.st_size - sizeof(*head)) / sizeof(*places))
		return -EINVAL;
	places = lp_xcalloc(head->n, sizeof(*places));
	r = lp_read_at(old_fd, sizeof(*head), places, head->n * sizeof(*places));
	for (uint32_t i = 0; i < head->n && r == 0; i++) {
		uint64_t len = old_len(&places[i], head->bytes);

		r = lp_patch_copy(old_fd, at, fd, places[i].at, len);
		at += len;
	}
	return r == 0 && ftruncate(fd, (off_t)head->bytes) < 0 ? -errno : r;
}

/* By its time a patch before this one knows the file again. Where setting it is not ours to do,
 * what that one wrote stays. */
static void restore_time(const struct old_head *head, int fd)
{
	const struct timespec times[] = {{.tv_nsec = UTIME_OMIT},
					 {(time_t)head->was_mtime_s, (long)head->was_mtime_ns}};

	(void)futimens(fd, times);
}

int lp_patch_revert(int fd, int old_fd)
{
	struct old_head head;
	int r = lp_read_at(old_fd, 0, &head, sizeof(head));

	/* Without a head nothing was written. */
	if (r == -ESTALE || (r == 0 && head.magic != OLD_MAGIC))
		return 0;
	if (r == 0)
		r = is_patched(&head, fd);
	if (r <= 0 || head.state == OLD_REVERTED)
		return r;
	/* Interrupted from here on, the file is as nobody knows it, and has to be written again. */
	r = note_state(&head, old_fd, OLD_REVERTING);
	if (r == 0)
		r = write_back(&head, fd, old_fd);
	if (r < 0)
		return r;
	restore_time(&head, fd);
	r = note_state(&head, old_fd, OLD_REVERTED);
	return r < 0 ? r : 1;
}
