/* watcher/held.c: files that stay open for writing: logs, databases, and what is slowly written.
 *
 * Nobody can tell from outside whether a writer that has a file open is half through with it. The
 * rule: a file goes out while it is open
 *  - when it is known, has only grown at its end, and rested for a tenth of a second, or is written
 *    to without rest for a second: that is a log, and each length it ever had is a state of it;
 *  - when it is new, has been written to for a second, and ends with a line's end: a new log;
 *  - when nothing was written to it for a second.
 * A file that is rewritten in place, or a new one that is not made of lines, goes out when its
 * writer closes it or stops for a second, never before. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "watcher/settle.h"
#include "watcher/workspace_internal.h"

#include <sys/stat.h>

#define REST_US 100000u
#define MARK_US 1000000u
/* Of what a large file held before, so much is compared at its beginning and at its end: whoever
 * writes over it without cutting it is not likely to leave both. The rest is held against its
 * digests when it is sent. */
#define COMPARE_BYTES ((uint64_t)1024 * 1024)
/* A larger file that is new is no log. */
#define NEW_MAX_BYTES ((off_t)4 * 1024 * 1024)
#define PIECE_BYTES   ((size_t)64 * 1024)
/* Of what a log has grown by, so much is read in one turn of the loop, some milliseconds' worth; it
 * had that length once, too. */
#define GROWN_MAX_BYTES ((uint64_t)4 * 1024 * 1024)

/* Whether bytes [at, at + len) of the file have that digest. */
static bool has_digest(int fd, uint64_t at, size_t len, const struct lp_digest *digest)
{
	LP_AUTO_FREE uint8_t *bytes = lp_xcalloc(1, len + 1);
	struct lp_digest d;

	if (lp_look_read_at(&fd, at, bytes, len) < 0)
		return false;
	d = lp_digest_of(bytes, len);
	return lp_digest_equal(&d, digest);
}

/* Whether the file still begins with what the index has of it. */
static bool has_only_grown(int fd, const struct lp_node *node)
{
	const struct lp_entry e = lp_node_entry(node);
	const struct lp_chunks *chunks = lp_node_chunks(node);
	uint64_t at = 0;

	if (e.size <= LP_INLINE_MAX_BYTES)
		return has_digest(fd, 0, (size_t)e.size, &e.digest);
	for (uint32_t i = 0; chunks && i < chunks->n; i++) {
		uint64_t end = at + chunks->c[i].len;

		if ((at < COMPARE_BYTES || end + COMPARE_BYTES > e.size) &&
		    !has_digest(fd, at, chunks->c[i].len, &chunks->c[i].digest))
			return false;
		at = end;
	}
	return chunks;
}

/* The first `size` bytes of the file as a content: by what is known of it when that has chunks and
 * the file has only grown, or whole. */
static int look_at_content(int fd, const struct lp_node *node, struct lp_look *look)
{
	uint64_t size = look->e.size, known = node ? node->e.size : 0;
	struct lp_hasher *hasher;
	int r = 0;

	if (size <= LP_INLINE_MAX_BYTES) {
		look->blob = lp_blob_create((size_t)size);
		if (!look->blob)
			return -ENOMEM;
		r = lp_look_read_at(&fd, 0, look->blob->data, (size_t)size);
		look->e.digest = lp_digest_of(look->blob->data, (size_t)size);
		return r;
	}
	if (node && lp_node_chunks(node)) {
		struct lp_ranges grown = {0};

		lp_ranges_add(&grown, known, size - known);
		r = lp_chunks_rewrite(lp_node_chunks(node), size, &grown, lp_look_read_at, &fd,
				      &look->chunks);
		if (r == 0)
			look->e.digest = lp_chunks_digest(look->chunks);
		return r;
	}
	hasher = lp_hasher_create_fine();
	for (uint64_t at = 0; r == 0 && at < size;) {
		uint8_t piece[PIECE_BYTES];
		size_t len = size - at < sizeof(piece) ? (size_t)(size - at) : sizeof(piece);

		r = lp_look_read_at(&fd, at, piece, len);
		lp_hasher_add(hasher, piece, r == 0 ? len : 0);
		at += len;
	}
	look->e.digest = lp_hasher_get(hasher);
	look->chunks = lp_hasher_chunks(hasher);
	lp_hasher_destroy(hasher);
	return r;
}

static bool ends_a_line(int fd, const struct stat *st)
{
	char last = '\0';

	return st->st_size > 0 && st->st_size <= NEW_MAX_BYTES &&
	       lp_look_read_at(&fd, (uint64_t)st->st_size - 1, &last, 1) == 0 && last == '\n';
}

enum lp_held lp_held_look(const struct lp_workspace *ws, int dir_fd, const struct lp_wait *wait,
			  struct lp_look *look)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	const struct lp_node *node = lp_index_get(ws->index, wait->path);
	uint64_t now_us = lp_now_us(), size;
	bool marked = wait->is_cut || now_us >= wait->first_us + MARK_US, may_go, is_cut;
	LP_AUTO_CLOSE int fd = -1;
	struct stat st;

	if (now_us >= wait->last_us + LP_HELD_REST_US)
		return LP_HELD_RESTED;
	if (now_us < wait->last_us + REST_US && !marked)
		return LP_HELD_NOT_YET;
	fd = openat(dir_fd, lp_path_base(wait->path), flags);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return LP_HELD_NOT_YET;
	if (node)
		may_go = node->e.kind == LP_KIND_FILE && (uint64_t)st.st_size > node->e.size &&
			 has_only_grown(fd, node);
	else
		may_go = marked && ends_a_line(fd, &st);
	size = (uint64_t)st.st_size;
	is_cut = node && size > node->e.size + GROWN_MAX_BYTES;
	if (is_cut)
		size = node->e.size + GROWN_MAX_BYTES;
	/* It may grow while it is read: what is taken is what it was before. So its times say
	 * nothing of that. */
	*look = (struct lp_look){
		.state = LP_LOOK_READ,
		.e = {.kind = LP_KIND_FILE, .mode = (uint32_t)st.st_mode & 0777, .size = size},
		.sig = {.ino = st.st_ino, .size = size},
		.is_racy = true,
		.is_cut = is_cut,
		.is_sole = st.st_nlink == 1};
	if (may_go && look_at_content(fd, node, look) == 0)
		return LP_HELD_GROWN;
	lp_look_finish(look);
	return LP_HELD_NOT_YET;
}
