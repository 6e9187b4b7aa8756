/* content_rig.c: see content_rig.h. */
#include "tests/unit/watcher/content_rig.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct rig rig;
struct lp_look look;

uint8_t *content_rig_bytes(size_t len, uint32_t seed)
{
	uint8_t *bytes = lp_xcalloc(1, len + 1);

	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(seed >> 24);
	}
	return bytes;
}

uint64_t content_rig_bytes_read(void)
{
	struct lp_buf text;
	const char *at;
	uint64_t n;

	lp_buf_init(&text, 4096);
	if (lp_read_file(AT_FDCWD, "/proc/self/io", &text) < 0)
		skip(); /* a kernel that does not count */
	at = strstr(lp_buf_text(&text), "rchar:");
	assert_non_null(at);
	n = strtoull(at + 6, NULL, 10);
	lp_buf_finish(&text);
	return n;
}

int content_rig_set_up(void **state)
{
	(void)state;
	rig_open(&rig, false);
	return 0;
}

int content_rig_set_up_scanned(void **state)
{
	(void)state;
	rig_open(&rig, true);
	return 0;
}

int content_rig_tear_down(void **state)
{
	(void)state;
	lp_look_finish(&look);
	rig_close(&rig);
	return 0;
}

enum lp_look_state content_rig_look(const char *name, const struct lp_look_opts *opts)
{
	lp_look_finish(&look);
	assert_int_equal(lp_look_at(lp_workspace_fd(rig.ws), name, opts, &look), 0);
	return look.state;
}
