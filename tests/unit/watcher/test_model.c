/* test_model.c: random operations on a directory: after each burst the index and whoever followed
 * the changesets hold what the directory holds. LIVEPUSH_TEST_SEED repeats a run. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "tests/unit/watcher/watch_rig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BURSTS     300
#define OPS_MAX    40
#define LARGE_SIZE 200000

static uint64_t seed;

static unsigned pick(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed % n);
}

/* A path of one to four components out of few names, so that they often meet. */
static const char *any_path(char out[128])
{
	static const char *const names[] = {"a", "b", "c.d", "a b", "\xff\n", "z"};
	int len = 0;

	for (unsigned depth = 1 + pick(4); depth > 0; depth--)
		len += snprintf(out + len, 128 - (size_t)len, "%s%s", len ? "/" : "",
				names[pick(LP_COUNT_OF(names))]);
	return out;
}

static void write_file(const char *path)
{
	static char text[LARGE_SIZE];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (pick(2) ? O_TRUNC : O_APPEND), 0644);
	size_t len = pick(20) == 0 ? (size_t)LARGE_SIZE : pick(100);

	if (fd < 0)
		return;
	memset(text, 'a' + (int)pick(26), len);
	for (unsigned parts = 1 + pick(3); parts > 0; parts--)
		(void)!write(fd, text, len / parts);
	(void)close(fd);
}

/* What an editor does that saves safely. */
static void replace_file(const char *path)
{
	char beside[300];

	(void)snprintf(beside, sizeof(beside), "%s.new", path);
	write_file(beside);
	if (rename(beside, path) < 0)
		(void)unlink(beside);
}

/* One operation; many fail, as they do in life. */
static void act(struct rig *r)
{
	static const mode_t modes[] = {0644, 0755, 0600, 0444};
	char rel[128], other_rel[128], path[256], other[256];

	(void)snprintf(path, sizeof(path), "%s/%s", r->dir, any_path(rel));
	(void)snprintf(other, sizeof(other), "%s/%s", r->dir, any_path(other_rel));
	switch (pick(13)) {
	case 0:
	case 1:
	case 2:
		write_file(path);
		break;
	case 3:
		replace_file(path);
		break;
	case 4:
	case 5:
	case 6:
		(void)mkdir(path, 0755);
		break;
	case 7:
		(void)rename(path, other);
		break;
	case 8:
		(void)renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE);
		break;
	case 9:
		(void)unlink(path);
		break;
	case 10:
		(void)lp_remove_tree(AT_FDCWD, path);
		break;
	case 11:
		(void)symlink("a", path);
		break;
	default:
		(void)chmod(path, modes[pick(LP_COUNT_OF(modes))] | (mode_t)(pick(2) ? 0700 : 0));
	}
}

static void take__follows_whatever_is_done(void **state)
{
	const char *given = getenv("LIVEPUSH_TEST_SEED");
	struct rig r;

	(void)state;
	seed = given ? strtoull(given, NULL, 0) : lp_wall_us() | 1;
	print_message("LIVEPUSH_TEST_SEED=%llu\n", (unsigned long long)seed);
	rig_open(&r, true);
	for (int burst = 0; burst < BURSTS; burst++) {
		for (unsigned n = 1 + pick(OPS_MAX); n > 0; n--) {
			act(&r);
			if (pick(8) == 0)
				(void)rig_take(&r); /* in the middle of it */
		}
		(void)rig_settle(&r);
		rig_check(&r);
	}
	assert_int_equal(r.n_root_gone, 0);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(take__follows_whatever_is_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
