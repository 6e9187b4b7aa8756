/* fsmount/writing.c: see writing.h. */
#include "fsmount/writing.h"

#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"
#include "sync/changeset.h"

static struct lp_stat_sig sig_of(const struct stat *st)
{
	return (struct lp_stat_sig){
		.ino = (uint64_t)st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
		.ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
	};
}

static bool same_sig(const struct lp_stat_sig *a, const struct lp_stat_sig *b)
{
	return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns;
}

struct lp_writing *lp_writing_create(void)
{
	struct lp_writing *w = lp_xcalloc(1, sizeof(*w));

	(void)pthread_mutex_init(&w->lock, NULL);
	w->fd = -1;
	return w;
}

void lp_writing_destroy(struct lp_writing *w)
{
	if (w == NULL)
		return;
	lp_auto_close(&w->fd);
	free(w->written);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

static void forget(struct lp_writing *w)
{
	free(w->written);
	w->written = NULL;
}

void lp_writing_begin(struct lp_writing *w, int fd)
{
	struct lp_stat_sig now;
	struct stat st;

	if (w->begun && w->written == NULL)
		return;
	if (fstat(fd, &st) < 0) {
		w->begun = true;
		forget(w);
		return;
	}
	now = sig_of(&st);
	w->size = now.size;
	if (!w->begun) {
		w->begun = true;
		if (now.size > LP_INLINE_MAX_BYTES) {
			w->written = lp_xcalloc(1, sizeof(*w->written));
			w->written->before = now;
		}
	} else if (!same_sig(&now, &w->last)) {
		forget(w);
	}
}

int lp_writing_end(struct lp_writing *w, int fd, uint64_t at, uint64_t len, struct stat *st)
{
	int r = fstat(fd, st) < 0 ? -errno : 0;

	if (w->written != NULL && r == 0) {
		lp_ranges_add(&w->written->ranges, at, len);
		w->last = sig_of(st);
	} else if (r < 0) {
		forget(w);
	}
	return r;
}

int lp_writing_end_from(struct lp_writing *w, int fd, uint64_t from, struct stat *st)
{
	uint64_t end = w->size;

	if (w->written != NULL && fstat(fd, st) == 0 && (uint64_t)st->st_size > end)
		end = (uint64_t)st->st_size;
	return lp_writing_end(w, fd, from, from < end ? end - from : 0, st);
}

struct lp_written *lp_writing_take(struct lp_writing *w, int path_fd)
{
	struct lp_written *written = w->written;
	struct stat st;

	w->written = NULL;
	w->begun = false;
	if (written == NULL)
		return NULL;
	written->after = w->last;
	if (fstat(path_fd, &st) == 0) {
		struct lp_stat_sig now = sig_of(&st);

		if (same_sig(&now, &written->after))
			return written;
	}
	free(written);
	return NULL;
}
