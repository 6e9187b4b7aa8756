/* tests/unit/fsmount/test_ahead.c: the order in which a tree is gone through, and what is read
 * ahead of who reads it from a slow disk. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_path.h"
#include "common/base/lp_util.h"
#include "fsmount/fs.h"
#include "fsmount/walk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	DIRS = 5,
	FILES = 12, /* of each */
	BYTES = 8192,
	SLOW_US = 5000,
};

/* The paths of all files in the order of a walk, found out without one. */
struct order {
	char paths[DIRS * FILES][64];
	size_t n;
	bool by_ino;
};

static int by_ino(const struct dirent **a, const struct dirent **b)
{
	return ((*a)->d_ino > (*b)->d_ino) - ((*a)->d_ino < (*b)->d_ino);
}

static int no_dots(const struct dirent *de)
{
	return strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
}

static void find_order(struct order *o, int root_fd, const char *dir)
{
	struct dirent **found;
	int n = scandirat(root_fd, dir[0] == '\0' ? "." : dir, &found, no_dots,
			  o->by_ino ? by_ino : NULL);

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		char path[64];

		assert_int_equal(lp_path_join(path, sizeof(path), dir, found[i]->d_name), 0);
		if (found[i]->d_type == DT_DIR)
			find_order(o, root_fd, path);
		else
			(void)snprintf(o->paths[o->n++], sizeof(path), "%s", path);
		free(found[i]);
	}
	free(found);
}

/* d0/f0.. , d0/d1/f0.. and so on, on the disk and in no memory. */
static void make_tree(struct fx *fx)
{
	char dir[64] = "";

	for (int d = 0; d < DIRS; d++) {
		size_t len = strlen(dir);

		(void)snprintf(dir + len, sizeof(dir) - len, "%sd%d", d == 0 ? "" : "/", d);
		assert_int_equal(mkdirat(fx->root_fd, dir, 0755), 0);
		for (int f = 0; f < FILES; f++) {
			char content[BYTES] = {0};
			char path[96];
			int fd;

			(void)snprintf(path, sizeof(path), "%.63s/f%d", dir, f);
			fd = openat(fx->root_fd, path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
			assert_int_equal(lp_write_all(fd, content, sizeof(content)), 0);
			assert_int_equal(fsync(fd), 0);
			assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
			(void)close(fd);
		}
	}
}

static void walk__goes_on_behind_each_file(void **state)
{
	struct fx *fx = *state;

	make_tree(fx);
	for (int by = 0; by < 2; by++) {
		struct order o = {.by_ino = by == 1};

		find_order(&o, fx->root_fd, "");
		assert_int_equal(o.n, DIRS * FILES);
		for (size_t i = 0; i < o.n; i++) {
			struct lp_walk w;
			enum lp_walk_found found;
			const char *name;
			size_t at = i + 1;
			int dir_fd;

			assert_int_equal(lp_walk_begin(&w, fx->root_fd, o.paths[i], by == 1), 0);
			while ((found = lp_walk_step(&w, &dir_fd, &name)) != LP_WALK_END) {
				if (found != LP_WALK_FILE)
					continue;
				assert_true(at < o.n);
				assert_string_equal(name, strrchr(o.paths[at], '/') + 1);
				assert_int_equal(faccessat(dir_fd, name, F_OK, 0), 0);
				at++;
			}
			assert_int_equal(at, o.n);
			lp_walk_end(&w);
		}
	}
}

static void walk__says_what_is_not_there(void **state)
{
	static const char *const paths[] = {"none", "d0/none", "d0/f0/f0", "none/f0"};
	struct fx *fx = *state;
	struct lp_walk w;

	make_tree(fx);
	for (size_t i = 0; i < LP_COUNT_OF(paths); i++) {
		assert_true(lp_walk_begin(&w, fx->root_fd, paths[i], false) < 0);
		assert_int_equal(w.depth, 0);
	}
}

/* Whether the file below is in memory. */
static bool is_resident(int root_fd, const char *path)
{
	int fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC);
	unsigned char pages[BYTES / 4096] = {0};
	void *map = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mincore(map, BYTES, pages), 0);
	(void)munmap(map, BYTES);
	(void)close(fd);
	return (pages[0] & 1) != 0;
}

/* Whoever reads files [first, end) of the order, slowly, so that `path` is read ahead. */
struct reader {
	struct fx *fx;
	const struct order *o;
	struct stat st[DIRS * FILES];
	size_t first;
	size_t end;
	const char *path;
};

/* Once more each time: a machine that is busy may be too slow for one go. But who reads the first
 * ones while they are read ahead looks for another order. */
static bool has_come(void *arg)
{
	const struct reader *r = arg;
	bool waits = r->first == 0 && atomic_load(&r->fx->m->ahead.active);

	for (size_t i = r->first; i < r->end && !waits; i++)
		lp_ahead_read(&r->fx->m->ahead, r->st[i].st_dev, r->st[i].st_ino, SLOW_US);
	return is_resident(r->fx->root_fd, r->path);
}

static void read__is_ahead_of_who_reads_in_order(void **state)
{
	struct fx *fx = *state;
	struct order o = {0};
	struct reader r = {.fx = fx, .o = &o, .end = 2, .path = o.paths[3]};

	make_tree(fx);
	find_order(&o, fx->root_fd, "");
	if (is_resident(fx->root_fd, o.paths[5]))
		skip(); /* a file system in memory */
	for (size_t i = 0; i < o.n; i++) {
		assert_int_equal(access(fx_path(fx, o.paths[i]), F_OK), 0); /* looks it up */
		assert_int_equal(fstatat(fx->root_fd, o.paths[i], &r.st[i], 0), 0);
	}
	assert_false(has_come(&r));
	assert_false(atomic_load(&fx->m->ahead.active)); /* two are not a row */
	r.end = 3;
	fx_wait_until(has_come, &r);
	/* A window, which grows with the reader. */
	assert_false(is_resident(fx->root_fd, o.paths[DIRS * FILES - 1]));
	r.path = o.paths[DIRS * FILES - 1];
	r.first = 3;
	r.end = 35;
	fx_wait_until(has_come, &r);
}

/* A file that no walk gets to. */
struct deep {
	struct lp_ahead *ahead;
	struct stat st;
};

static bool is_quiet(void *arg)
{
	const struct deep *deep = arg;
	bool quiet;

	for (int i = 0; i < 3; i++)
		lp_ahead_read(deep->ahead, deep->st.st_dev, deep->st.st_ino, SLOW_US);
	(void)pthread_mutex_lock(&deep->ahead->lock);
	quiet = deep->ahead->quiet_us > 0;
	(void)pthread_mutex_unlock(&deep->ahead->lock);
	return quiet;
}

static void read__where_it_cannot_begin_is_left_alone_for_a_while(void **state)
{
	struct fx *fx = *state;
	struct deep deep = {.ahead = &fx->m->ahead};
	char path[2 * LP_WALK_MAX_DEPTH + 4] = "";
	int fd;

	for (size_t i = 0; i < LP_WALK_MAX_DEPTH; i++) {
		path[2 * i] = 'd';
		assert_int_equal(mkdirat(fx->root_fd, path, 0755), 0);
		path[2 * i + 1] = '/';
	}
	path[(size_t)2 * LP_WALK_MAX_DEPTH] = 'f';
	fd = openat(fx->root_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(access(fx_path(fx, path), F_OK), 0); /* looks it up */
	assert_int_equal(fstatat(fx->root_fd, path, &deep.st, 0), 0);
	fx_wait_until(is_quiet, &deep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(walk__goes_on_behind_each_file, fx_setup,
						fx_teardown),
		cmocka_unit_test_setup_teardown(walk__says_what_is_not_there, fx_setup,
						fx_teardown),
		cmocka_unit_test_setup_teardown(read__is_ahead_of_who_reads_in_order, fx_setup,
						fx_teardown),
		cmocka_unit_test_setup_teardown(
			read__where_it_cannot_begin_is_left_alone_for_a_while, fx_setup,
			fx_teardown),
	};

	fx_skip_without_fuse();
	return cmocka_run_group_tests_name("fsmount/ahead", tests, NULL, NULL);
}
