/* controller/undo_keep.c: the commits that can be taken back: what they replaced and their
 * journals, LP_UNDO_DIR/<id>. Bounded in number and bytes; the oldest go first. */
#include "controller/commit.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define UNDO_MAX_COUNT 64
#define UNDO_MAX_BYTES ((uint64_t)256 * 1024 * 1024)
#define UNDO_DISK_PART 10 /* at most a tenth of what is free */

void lp_undo_name(uint64_t id, char out[LP_STAGE_NAME_BYTES])
{
	(void)snprintf(out, LP_STAGE_NAME_BYTES, "%" PRIu64, id);
}

static int open_undo(const struct lp_tree *t)
{
	return lp_open_beneath(t->state_fd, LP_UNDO_DIR, O_RDONLY | O_DIRECTORY, 0);
}

/* Opens the directory of the records, which is made when it is missing. Returns 0 or -errno. */
static int make_undo(struct lp_tree *t)
{
	if (t->undo_fd >= 0)
		return 0;
	if (mkdirat(t->state_fd, LP_UNDO_DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	t->undo_fd = open_undo(t);
	return t->undo_fd < 0 ? t->undo_fd : 0;
}

static void add(struct lp_tree *t, const struct lp_undo *u)
{
	lp_grow(&t->undo, &t->cap_undo, t->n_undo + 1, sizeof(*t->undo));
	t->undo[t->n_undo++] = *u;
}

static void keep(struct lp_tree *t, const struct lp_undo *u)
{
	char name[LP_STAGE_NAME_BYTES];
	int fd = -1;

	lp_undo_name(u->id, name);
	if (t->stage_fd >= 0 && make_undo(t) == 0 &&
	    renameat(t->state_fd, LP_STAGE_DIR, t->undo_fd, name) == 0)
		fd = t->stage_fd;
	if (fd < 0) {
		/* Then it cannot be taken back; it counts all the same. */
		lp_stage_wipe(t);
		return;
	}
	lp_stage_dirs_finish(t);
	lp_auto_close(&t->stage_fd);
	t->stage_fd = -1;
	add(t, u);
}

void lp_undo_keep(struct lp_tree *t, uint64_t revision, uint64_t bytes)
{
	const struct lp_undo u = {t->commit_id, revision, bytes};

	keep(t, &u);
}

void lp_undo_keep_later(struct lp_tree *t, uint64_t revision, uint64_t bytes)
{
	t->late_undo = (struct lp_undo){t->commit_id, revision, bytes};
}

void lp_undo_settle(struct lp_tree *t)
{
	if (t->late.len == 0)
		return;
	if (t->stage_fd >= 0 && lp_journal_write_late(t) == 0)
		keep(t, &t->late_undo);
	else
		lp_stage_wipe(t);
	t->late.len = 0;
}

static void remove_oldest(struct lp_tree *t)
{
	char name[LP_STAGE_NAME_BYTES];

	lp_undo_name(t->undo[0].id, name);
	(void)lp_remove_tree(t->undo_fd, name);
	t->n_undo--;
	memmove(t->undo, t->undo + 1, t->n_undo * sizeof(*t->undo));
}

void lp_undo_reach(struct lp_tree *t)
{
	size_t keep = 0;

	while (keep < t->n_undo && t->undo[t->n_undo - 1 - keep].id == t->commit_id - keep)
		keep++;
	while (t->n_undo > keep)
		remove_oldest(t);
}

static uint64_t bytes_allowed(const struct lp_tree *t)
{
	struct statvfs fs;
	uint64_t part;

	if (fstatvfs(t->state_fd, &fs) < 0)
		return 0;
	part = (uint64_t)fs.f_bavail * fs.f_frsize / UNDO_DISK_PART;
	return part < UNDO_MAX_BYTES ? part : UNDO_MAX_BYTES;
}

void lp_undo_prune(struct lp_tree *t, bool all)
{
	uint64_t allowed = all ? 0 : bytes_allowed(t), sum = 0;

	lp_undo_settle(t);
	lp_undo_reach(t);
	for (size_t i = 0; i < t->n_undo; i++)
		sum += t->undo[i].bytes;
	while (t->n_undo > 0 && (all || t->n_undo > UNDO_MAX_COUNT || sum > allowed)) {
		sum -= t->undo[0].bytes;
		remove_oldest(t);
	}
}

static int by_id(const void *a, const void *b)
{
	const struct lp_undo *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* A record that this tree's log knows of; others are of no use. */
static void take_record(struct lp_tree *t, const char *name)
{
	LP_AUTO_CLOSE int fd = lp_open_beneath(t->undo_fd, name, O_RDONLY | O_DIRECTORY, 0);
	struct lp_journal j = {0};
	char *end;
	uint64_t id = strtoull(name, &end, 10);

	if (fd >= 0 && *end == '\0' && lp_journal_read(&j, fd) == 0 && j.is_complete &&
	    j.id == id && id <= t->commit_id) {
		const struct lp_undo u = {id, j.revision, j.undo_bytes};

		add(t, &u);
	} else {
		(void)lp_remove_tree(t->undo_fd, name);
	}
	lp_journal_free(&j);
}

int lp_undo_open(struct lp_tree *t, struct lp_err *err)
{
	int fd, r = make_undo(t);
	DIR *dir;
	struct dirent *e;

	/* Then there is none yet, and it is made when there is something to be kept. */
	if (r == -ENOSPC || r == -EDQUOT || r == -EROFS)
		return 0;
	if (r < 0)
		return lp_err_set(err, -r, "cannot open '%s/%s'", LP_STATE_DIR, LP_UNDO_DIR);
	fd = open_undo(t);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		lp_auto_close(&fd);
		return lp_err_set(err, fd < 0 ? -fd : ENOMEM, "cannot read '%s/%s'", LP_STATE_DIR,
				  LP_UNDO_DIR);
	}
	while ((e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			take_record(t, e->d_name);
	(void)closedir(dir);
	if (t->n_undo > 1)
		qsort(t->undo, t->n_undo, sizeof(*t->undo), by_id);
	return 0;
}

size_t lp_tree_kept(const struct lp_tree *t, uint64_t *oldest)
{
	bool late = t->late.len > 0;

	*oldest = t->n_undo > 0 ? t->undo[0].revision : late ? t->late_undo.revision : 0;
	return t->n_undo + late;
}
