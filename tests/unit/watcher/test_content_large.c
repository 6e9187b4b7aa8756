/* test_content_large.c: one look at one large file: its chunks, holes, and what was written to it.
 */
#include "common/base/lp_mem.h"
#include "tests/unit/watcher/content_rig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void write_at(const char *name, uint64_t at, const void *data, size_t len)
{
	int fd = rig_open_file(&rig, name, O_WRONLY | O_CREAT);

	assert_int_equal(pwrite(fd, data, len, (off_t)at), (ssize_t)len);
	assert_int_equal(close(fd), 0);
}

/* What a look should say of a content. */
static void check_digest(const uint8_t *bytes, size_t len)
{
	struct lp_hasher *h = lp_hasher_create();
	struct lp_digest d, of_chunks;

	lp_hasher_add(h, bytes, len);
	d = lp_hasher_get(h);
	lp_hasher_destroy(h);
	assert_int_equal(look.e.size, len);
	assert_true(lp_digest_equal(&d, &look.e.digest));
	assert_int_equal(look.chunks != NULL, len > LP_INLINE_MAX_BYTES);
	if (!look.chunks)
		return;
	of_chunks = lp_chunks_digest(look.chunks);
	assert_true(lp_digest_equal(&d, &of_chunks));
	assert_int_equal(look.chunks->bytes, len);
}

static void look__cuts_large_files_into_chunks(void **state)
{
	static const size_t sizes[] = {LP_INLINE_MAX_BYTES,       LP_INLINE_MAX_BYTES + 1,
				       LP_LOOK_SCRATCH_BYTES - 1, LP_LOOK_SCRATCH_BYTES,
				       LP_LOOK_SCRATCH_BYTES + 1, 3000000};
	LP_AUTO_FREE void *scratch = malloc(LP_LOOK_SCRATCH_BYTES);
	const struct lp_look_opts own = {.want_blob = true}, given = {.scratch = scratch};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
		LP_AUTO_FREE uint8_t *bytes = content_rig_bytes(sizes[i], (uint32_t)i);

		rig_write(&rig, "f", "");
		write_at("f", 0, bytes, sizes[i]);
		assert_int_equal(content_rig_look("f", &own), LP_LOOK_READ);
		check_digest(bytes, sizes[i]);
		assert_int_equal(content_rig_look("f", &given), LP_LOOK_READ);
		check_digest(bytes, sizes[i]);
		assert_null(look.blob);
	}
}

/* Holes are zeros, wherever they lie. */
static void look__reads_sparse_files(void **state)
{
	static const char some_data[] = {'d', 'a', 't', 'a'};
	static const uint64_t at[] = {0, 5000000, 6000001, 11999996};
	const size_t len = 12000000;
	LP_AUTO_FREE uint8_t *bytes = lp_xcalloc(1, len);
	const struct lp_look_opts opts = {0};
	int fd = rig_open_file(&rig, "f", O_RDWR | O_CREAT);

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	check_digest(bytes, len); /* nothing but hole */
	for (size_t i = LP_COUNT_OF(at); i-- > 0;) {
		memcpy(bytes + at[i], some_data, sizeof(some_data));
		write_at("f", at[i], some_data, sizeof(some_data));
		assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
		check_digest(bytes, len);
	}
}

/* Holes and data of any lengths, at places that are no multiple of anything. */
static void look__cuts_holes_like_zeros(void **state)
{
	const size_t len = 24000000;
	const struct lp_look_opts opts = {0};

	(void)state;
	for (uint32_t seed = 1; seed <= 6; seed++) {
		LP_AUTO_FREE uint8_t *bytes = lp_xcalloc(1, len);
		LP_AUTO_FREE uint8_t *data = content_rig_bytes(1000000, seed);
		uint32_t r = seed;
		int fd;

		rig_write(&rig, "f", "");
		fd = rig_open_file(&rig, "f", O_RDWR);
		assert_int_equal(ftruncate(fd, (off_t)len), 0);
		for (size_t at = 0; at < len;) {
			size_t hole = (r = r * 1664525 + 1013904223) >> (9 + seed % 3);
			size_t n = (r = r * 1664525 + 1013904223) >> (12 + seed % 5);

			at += hole;
			n = at > len ? 0 : n > len - at ? len - at : n;
			n = n > 1000000 ? 1000000 : n;
			if (n == 0)
				continue;
			memcpy(bytes + at, data, n);
			assert_int_equal(pwrite(fd, data, n, (off_t)at), (ssize_t)n);
			at += n;
		}
		assert_int_equal(close(fd), 0);
		assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
		check_digest(bytes, len);
	}
}

/* However large: what is not there is not read. */
static void look__does_not_read_holes(void **state)
{
	static const char some_data[] = {'d', 'a', 't', 'a'};
	const uint64_t len = (uint64_t)40 << 30;
	const struct lp_look_opts opts = {0};
	uint64_t before;
	int fd = rig_open_file(&rig, "f", O_RDWR | O_CREAT);

	(void)state;
	if (ftruncate(fd, (off_t)len) < 0 || lseek(fd, 0, SEEK_DATA) >= 0) {
		(void)close(fd);
		skip(); /* a file system without such files */
	}
	for (uint64_t at = 1000; at < len; at += len / 3)
		assert_int_equal(pwrite(fd, some_data, sizeof(some_data), (off_t)at),
				 sizeof(some_data));
	assert_int_equal(close(fd), 0);
	before = content_rig_bytes_read();
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	assert_true(content_rig_bytes_read() - before < 4000000);
	assert_int_equal(look.e.size, len);
	assert_int_equal(look.chunks->bytes, len);
	fd = rig_open_file(&rig, "f", O_RDWR);
	assert_int_equal(ftruncate(fd, LP_LOOK_MAX_BYTES + 1), 0);
	assert_int_equal(close(fd), 0);
	lp_look_finish(&look);
	assert_int_equal(lp_look_at(lp_workspace_fd(rig.ws), "f", &opts, &look), -EFBIG);
}

/* A large file that was read as it was, then written to; bytes: what it holds then. */
static void write_some(uint8_t *bytes, size_t len, struct lp_written *w)
{
	const struct lp_look_opts stat_only = {.max_bytes = 1};

	*w = (struct lp_written){0};
	assert_int_equal(content_rig_look("f", &stat_only), LP_LOOK_LARGE);
	w->before = look.sig;
	for (size_t i = 0; i < 3; i++) {
		size_t at = i * len / 3 + 12345;

		memset(bytes + at, 'A' + (int)i, 4096);
		write_at("f", at, bytes + at, 4096);
		lp_ranges_add(&w->ranges, at, 4096);
	}
	assert_int_equal(content_rig_look("f", &stat_only), LP_LOOK_LARGE);
	w->after = look.sig;
}

static void look__reads_only_what_was_written(void **state)
{
	static const char some_bytes[] = {'e', 'l', 's', 'e'};
	const size_t len = 4000000;
	LP_AUTO_FREE uint8_t *bytes = content_rig_bytes(len, 7);
	struct lp_look_opts opts = {0};
	struct lp_stat_sig known;
	struct lp_chunks *chunks;
	struct lp_written w;

	(void)state;
	write_at("f", 0, bytes, len);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	chunks = look.chunks;
	look.chunks = NULL;
	known = look.sig;
	write_some(bytes, len, &w);
	opts = (struct lp_look_opts){
		.known = &known, .chunks = chunks, .written = &w, .max_bytes = 1};
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	assert_true(look.by_ranges);
	check_digest(bytes, len);
	/* Even while the writer goes on holding it open. */
	{
		int fd = rig_open_file(&rig, "f", O_RDWR);

		assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
		assert_true(look.by_ranges);
		assert_int_equal(close(fd), 0);
	}
	/* Somebody else wrote before, or after: then all of it has to be read. */
	w.before.ctime_ns++;
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_LARGE);
	w.before.ctime_ns--;
	write_at("f", 99, some_bytes, sizeof(some_bytes));
	memcpy(bytes + 99, some_bytes, sizeof(some_bytes));
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_LARGE);
	opts.max_bytes = 0;
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	assert_false(look.by_ranges);
	check_digest(bytes, len);
	lp_chunks_unref(chunks);
}

static void look__stops_when_nobody_wants_it(void **state)
{
	LP_AUTO_FREE uint8_t *bytes = content_rig_bytes(2000000, 1);
	atomic_bool stop = true;
	const struct lp_look_opts opts = {.stop = &stop};

	(void)state;
	write_at("f", 0, bytes, 2000000);
	assert_int_equal(lp_look_at(lp_workspace_fd(rig.ws), "f", &opts, &look), -ECANCELED);
	assert_int_equal(look.error, -ECANCELED);
	assert_null(look.chunks);
	atomic_store(&stop, false);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
}

/* A scan reads what has rested, whoever has it open; but then its times are not to be trusted. */
static void look__mistrusts_times_of_what_is_open(void **state)
{
	LP_AUTO_FREE uint8_t *bytes = content_rig_bytes(2000000, 1);
	const struct lp_look_opts opts = {.is_file = true,
					  .ticks = lp_ticks_of(lp_workspace_fd(rig.ws))};
	struct stat st;
	int writer;

	(void)state;
	write_at("f", 0, bytes, 2000000);
	writer = rig_open_file(&rig, "f", O_WRONLY);
	do {
		rig_run(&rig, 100);
		assert_int_equal(fstat(writer, &st), 0);
	} while (!lp_look_has_rested(&st));
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	assert_true(look.is_racy);
	check_digest(bytes, 2000000);
	assert_int_equal(close(writer), 0);
	assert_int_equal(content_rig_look("f", &opts), LP_LOOK_READ);
	assert_false(look.is_racy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(look__cuts_large_files_into_chunks,
						content_rig_set_up, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__reads_sparse_files, content_rig_set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__cuts_holes_like_zeros, content_rig_set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__does_not_read_holes, content_rig_set_up,
						content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__reads_only_what_was_written,
						content_rig_set_up, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__stops_when_nobody_wants_it,
						content_rig_set_up, content_rig_tear_down),
		cmocka_unit_test_setup_teardown(look__mistrusts_times_of_what_is_open,
						content_rig_set_up, content_rig_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
