/* tests/unit/fsmount/test_storm.c: many threads at once in one mount. */
#include "tests/unit/fsmount/fixture.h"

#include "common/base/lp_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct hammer {
	struct fx *fx;
	int id;
	int failures;
};

/* What one thread of the storm does: names of its own in a directory of all. */
static void *hammer(void *arg)
{
	enum { ROUNDS = 150 };
	struct hammer *h = arg;

	for (int i = 0; i < ROUNDS; i++) {
		char name[64];
		char other[64];
		char text[64];
		int len = snprintf(text, sizeof(text), "thread %d round %d", h->id, i);
		int fd;

		(void)snprintf(name, sizeof(name), "d%d/t%d-%d", i % 5, h->id, i % 20);
		(void)snprintf(other, sizeof(other), "d%d/t%d-%d", (i + 1) % 5, h->id, i % 7);
		fd = open(fx_path(h->fx, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		h->failures += fd < 0 || write(fd, text, (size_t)len) != len || close(fd) < 0;
		h->failures += rename(fx_path(h->fx, name), fx_path(h->fx, other)) < 0;
		if (i % 3 == 0)
			h->failures += unlink(fx_path(h->fx, other)) < 0;
	}
	return NULL;
}

struct lister {
	struct fx *fx;
	atomic_bool stop;
};

static void *keep_listing(void *arg)
{
	struct lister *l = arg;

	while (!atomic_load(&l->stop)) {
		for (int i = 0; i < 5; i++) {
			char name[16];
			DIR *dir;

			(void)snprintf(name, sizeof(name), "d%d", i);
			dir = opendir(fx_path(l->fx, name));
			while (dir != NULL && readdir(dir) != NULL)
				;
			if (dir != NULL)
				(void)closedir(dir);
		}
	}
	return NULL;
}

/* Whether every file below has been reported. */
static void assert_all_reported(struct fx *fx, const char *dir_name)
{
	int fd = openat(fx->root_fd, dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);
	struct dirent *de;

	assert_non_null(dir);
	while ((de = readdir(dir)) != NULL) {
		char path[300];
		bool found = de->d_name[0] == '.';

		(void)snprintf(path, sizeof(path), "%s/%s", dir_name, de->d_name);
		for (size_t i = 0; i < fx->n_events && !found; i++)
			found = strcmp(fx->events[i].path, path) == 0;
		if (!found)
			fail_msg("'%s' was not reported", path);
	}
	assert_int_equal(closedir(dir), 0);
}

static void storm__leaves_equal_trees(void **state)
{
	enum { THREADS = 8 };
	struct fx *fx = *state;
	struct hammer hammers[THREADS];
	struct lister lister = {.fx = fx};
	pthread_t threads[THREADS];
	pthread_t listing;
	char script[128];

	for (int i = 0; i < 5; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(mkdir(fx_path(fx, name), 0755), 0);
	}
	assert_int_equal(pthread_create(&listing, NULL, keep_listing, &lister), 0);
	for (int i = 0; i < THREADS; i++) {
		hammers[i] = (struct hammer){.fx = fx, .id = i};
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, &hammers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(hammers[i].failures, 0);
	}
	atomic_store(&lister.stop, true);
	assert_int_equal(pthread_join(listing, NULL), 0);
	(void)snprintf(script, sizeof(script), "diff -r . /proc/%d/fd/%d", (int)getpid(),
		       fx->root_fd);
	fx_sh(fx->dir, script);
	assert_int_equal(fx_unmount(fx), 0);
	for (int i = 0; i < 5; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "d%d", i);
		assert_all_reported(fx, name);
	}
	fx_skip(fx, fx_count(fx) - fx->n_expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(storm__leaves_equal_trees, fx_setup, fx_teardown),
	};

	fx_skip_without_fuse();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
