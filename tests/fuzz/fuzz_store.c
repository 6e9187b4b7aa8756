/* fuzz_store.c: any bytes as a remembered index. The magic and the checksum are put around the
 * input, so that what is in between is reached. What can be read can be written again, and gives
 * the same tree. */
#include "tests/fuzz/fuzz.h"
#include "watcher/store.h"

#include <stdlib.h>
#include <string.h>

#define ROOT "/w"

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* Writes what was read, and reads it again. */
static void check_again(struct lp_index *ix)
{
	struct lp_digest first = lp_index_root(ix), second;
	struct lp_store_writer w;
	struct lp_index *back;
	int r;

	require(lp_store_begin(&w, ROOT) == 0);
	while ((r = lp_store_add(&w, ix, 3)) == 1)
		;
	require(r == 0 && lp_store_end(&w) == 0);
	require(lp_store_read(&back, w.out.data, w.out.len, ROOT, NULL) == 0);
	/* Files without an inode or times are left out, so that the trees may differ then. */
	second = lp_index_root(back);
	require(lp_index_count(back) < lp_index_count(ix) || lp_digest_equal(&first, &second));
	lp_index_destroy(back);
	lp_store_finish(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char magic[] = {'l', 'p', 'i', 'n', 'd', 'e', 'x', '1'};
	struct lp_index *ix = NULL;
	struct lp_err err = {0};
	struct lp_buf text;
	struct lp_digest d;

	lp_buf_init(&text, 0);
	require(lp_buf_add(&text, magic, sizeof(magic)) == 0);
	require(lp_buf_add(&text, data, size) == 0);
	d = lp_digest_of(text.data, text.len);
	require(lp_buf_add(&text, d.b, sizeof(d.b)) == 0);
	if (lp_store_read(&ix, text.data, text.len, ROOT, &err) == 0) {
		check_again(ix);
		lp_index_destroy(ix);
	} else {
		require(!ix && err.msg[0]);
	}
	lp_buf_finish(&text);
	return 0;
}
