/* scan_rig.c: see scan_rig.h. */
#include "tests/unit/watcher/scan_rig.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

char state_home[64];

int scan_rig_set_up(void **state)
{
	(void)state;
	rig_open(&rig, false);
	(void)snprintf(state_home, sizeof(state_home), "/tmp/livepush-state-XXXXXX");
	assert_non_null(mkdtemp(state_home));
	assert_int_equal(setenv("XDG_STATE_HOME", state_home, 1), 0);
	return 0;
}

int scan_rig_tear_down(void **state)
{
	(void)state;
	rig_close(&rig);
	assert_int_equal(lp_remove_tree(AT_FDCWD, state_home), 0);
	return 0;
}

static void on_notice(void *ctx, const char *text)
{
	struct session *s = ctx;

	assert_int_equal(lp_buf_addf(&s->notices, "%s\n", text), 0);
}

void session_start(struct session *s, bool remember)
{
	static const struct lp_workspace_ops ops = {.on_notice = on_notice};
	struct lp_err err = {0};

	*s = (struct session){0};
	if (lp_loop_create(&s->loop, &err) < 0 ||
	    lp_workspace_open(&s->ws, s->loop, rig.dir, &ops, s, &err) < 0)
		fail_msg("%s", err.msg);
	if (remember)
		lp_workspace_remember(s->ws);
	if (lp_workspace_scan(s->ws, &err) < 0)
		fail_msg("%s", err.msg);
}

void session_end(struct session *s)
{
	lp_workspace_close(s->ws);
	lp_loop_destroy(s->loop);
	lp_buf_finish(&s->notices);
}

void session_check(const struct session *s)
{
	struct lp_digest mine = lp_index_root(lp_workspace_index(s->ws)), theirs;
	struct session fresh;

	session_start(&fresh, false);
	theirs = lp_index_root(lp_workspace_index(fresh.ws));
	assert_int_equal(lp_index_count(lp_workspace_index(s->ws)),
			 lp_index_count(lp_workspace_index(fresh.ws)));
	assert_true(lp_digest_equal(&mine, &theirs));
	session_end(&fresh);
}

void scan_rig_write(const char *path, size_t len, uint32_t seed)
{
	LP_AUTO_FREE uint8_t *bytes = content_rig_bytes(len, seed);
	int fd = rig_open_file(&rig, path, O_WRONLY | O_CREAT | O_TRUNC);

	assert_int_equal(lp_write_all(fd, bytes, len), 0);
	assert_int_equal(close(fd), 0);
}

void scan_rig_make_many(void)
{
	char path[64];

	for (int d = 0; d < MANY_DIRS; d++) {
		(void)snprintf(path, sizeof(path), "d%d", d);
		rig_mkdir(&rig, path);
		(void)snprintf(path, sizeof(path), "d%d/below", d);
		rig_mkdir(&rig, path);
		for (int f = 0; f < MANY_FILES; f++) {
			(void)snprintf(path, sizeof(path), "d%d/%sf%d", d, f % 2 ? "below/" : "",
				       f);
			scan_rig_write(path, (size_t)f * (size_t)f, (uint32_t)(d * 1000 + f));
		}
	}
	scan_rig_write("large", 400000, 1);
	scan_rig_write("d7/larger", 3000000, 2);
	rig_symlink(&rig, "link", "d3");
	rig_write(&rig, "d9/.gitignore", "f1*\n");
}

void scan_rig_remove_ignored(void)
{
	char path[64];

	for (int f = 1; f < MANY_FILES; f++) {
		if (f != 1 && f / 10 != 1)
			continue;
		(void)snprintf(path, sizeof(path), "d9/%sf%d", f % 2 ? "below/" : "", f);
		rig_remove(&rig, path);
	}
}
