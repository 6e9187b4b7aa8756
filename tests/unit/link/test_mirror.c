/* test_mirror.c: workspace, inotify, links and instances together, in one process: whatever is
 * saved and whoever restarts, the trees end equal. LIVEPUSH_TEST_SEED repeats a run. */
#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/loop/loop_internal.h"
#include "link/fleet.h"
#include "tests/unit/controller/instance_rig.h"
#include "tests/unit/watcher/watch_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define INSTANCES   2
#define ROUNDS      25
#define DEADLINE_US 60000000u
#define LARGE_BYTES 3000000

static struct rig rig;
static struct instance instances[INSTANCES];
static struct lp_fleet *fleet;
static struct lp_timer tick;
static uint64_t seed;
static unsigned failures;
static uint8_t noise[LARGE_BYTES];

static unsigned pick(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed % n);
}

static struct lp_index *source_index(void *ctx)
{
	(void)ctx;
	return lp_workspace_index(rig.ws);
}

static int source_open(void *ctx, const char *path)
{
	(void)ctx;
	return lp_workspace_open_file(rig.ws, path);
}

static long source_read_link(void *ctx, const char *path, char *out, size_t out_bytes)
{
	(void)ctx;
	return lp_workspace_read_link(rig.ws, path, out, out_bytes);
}

static void source_stale(void *ctx, const char *path, int cause)
{
	(void)ctx;
	(void)cause;
	lp_workspace_resend(rig.ws, path);
}

static uint64_t source_revision(void *ctx)
{
	(void)ctx;
	return lp_workspace_revision(rig.ws);
}

static void source_raise(void *ctx, uint64_t floor)
{
	struct lp_changeset *nothing;

	(void)ctx;
	if (lp_workspace_revision(rig.ws) >= floor)
		return;
	lp_workspace_raise_revision(rig.ws, floor);
	nothing = lp_changeset_create();
	nothing->revision = floor;
	nothing->root = lp_index_root(lp_workspace_index(rig.ws));
	lp_fleet_push(fleet, nothing);
	lp_changeset_unref(nothing);
}

static void on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	(void)ctx;
	(void)link;
	failures += msg->kind == LP_MSG_FAILED;
}

static void on_down(void *ctx, struct lp_link *link, const char *reason, bool final)
{
	(void)ctx;
	(void)link;
	if (final)
		fail_msg("%s", reason);
}

static void on_tick(struct lp_timer *timer)
{
	lp_timer_set(rig.loop, timer, lp_now_us() + 5000);
}

static void step(void)
{
	struct lp_changeset *cs;

	assert_int_equal(rig.loop->driver ? rig.loop->driver->service(rig.loop)
					  : lp_loop_dispatch(rig.loop, 5),
			 0);
	lp_watch_drain(rig.watch);
	while (lp_fleet_wants(fleet) && (cs = lp_workspace_take(rig.ws))) {
		lp_fleet_push(fleet, cs);
		lp_changeset_unref(cs);
	}
}

/* Until all that was saved is applied everywhere. */
static void settle(void)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	for (;;) {
		step();
		if (!lp_workspace_has_notes(rig.ws) &&
		    lp_fleet_has_applied(fleet, lp_workspace_revision(rig.ws)))
			return;
		assert_true(lp_now_us() < deadline_us);
	}
}

/* The tree as a text without what is livepush's or the app's own. */
static char *text_of(const char *dir)
{
	struct rig other = {0};
	struct lp_buf out = {0};
	LP_AUTO_FREE char *all = NULL;
	char *text;

	(void)snprintf(other.dir, sizeof(other.dir), "%s", dir);
	all = rig_tree(&other);
	for (char *line = all; *line; line += strcspn(line, "\n") + 1)
		if (strncmp(line, ".livepush", 9) != 0 && strncmp(line, "own", 3) != 0)
			assert_int_equal(lp_buf_add(&out, line, strcspn(line, "\n") + 1), 0);
	text = lp_xstrdup(lp_buf_text(&out));
	lp_buf_finish(&out);
	return text;
}

static void check_equal(void)
{
	LP_AUTO_FREE char *here = text_of(rig.dir);

	for (size_t i = 0; i < INSTANCES; i++) {
		LP_AUTO_FREE char *there = text_of(instances[i].tree);

		if (strcmp(here, there) != 0)
			fail_msg("instance %zu:\n%s\ninstead of\n%s", i, there, here);
	}
}

static void connect_all(bool compress)
{
	static const uint8_t id[LP_WIRE_ID_BYTES] = "a workspace";
	char *urls[INSTANCES];
	const struct lp_link_ops ops = {.on_message = on_message, .on_down = on_down};
	const struct lp_source source = {.index = source_index,
					 .open = source_open,
					 .read_link = source_read_link,
					 .stale = source_stale,
					 .revision = source_revision,
					 .raise_revision = source_raise};
	const struct lp_fleet_opts opts = {.common = {.secret = INSTANCE_SECRET,
						      .app = "app",
						      .holder = "test",
						      .workspace = id,
						      .role = LP_ROLE_OWNER,
						      .take_over = true,
						      .compress = compress,
						      .reconnect = true},
					   .urls = urls,
					   .n_urls = INSTANCES};

	for (size_t i = 0; i < INSTANCES; i++)
		urls[i] = instances[i].url;
	assert_int_equal(lp_fleet_create(&fleet, rig.loop, &opts, &ops, &source, NULL), 0);
}

static int set_up(void **state)
{
	(void)state;
	failures = 0;
	rig_open(&rig, true);
	tick.on_fire = on_tick;
	lp_timer_set(rig.loop, &tick, lp_now_us());
	for (size_t i = 0; i < INSTANCES; i++) {
		instance_init(&instances[i], INSTANCE_SECRET);
		instance_start(&instances[i]);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lp_fleet_destroy(fleet);
	fleet = NULL;
	lp_timer_clear(&tick);
	rig_close(&rig);
	for (size_t i = 0; i < INSTANCES; i++)
		instance_finish(&instances[i]);
	return 0;
}

static void write_bytes(const char *path, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return;
	noise[pick(LARGE_BYTES)]++;
	assert_int_equal(lp_write_all(fd, noise, len), 0);
	assert_int_equal(close(fd), 0);
}

/* One save, or something like it; some fail. */
static void act(void)
{
	static const char *const dirs[] = {"", "a/", "a/b/", "c/"};
	static const char *const names[] = {"f", "g", "h.txt", "b", "a"};
	char path[128], other[128];

	(void)snprintf(path, sizeof(path), "%s/%s%s", rig.dir, dirs[pick(4)], names[pick(5)]);
	(void)snprintf(other, sizeof(other), "%s/%s%s", rig.dir, dirs[pick(4)], names[pick(5)]);
	switch (pick(9)) {
	case 0:
	case 1:
	case 2:
		write_bytes(path, pick(12) ? pick(5000) : LARGE_BYTES);
		break;
	case 3:
		(void)rename(path, other);
		break;
	case 4:
		(void)lp_remove_tree(AT_FDCWD, path);
		break;
	case 5:
		(void)symlink("f", path);
		break;
	case 6:
		(void)chmod(path, pick(2) ? 0755 : 0700);
		break;
	default:
		(void)mkdir(path, 0755);
	}
}

/* What an app may do to its tree while the controller is away. */
static void drift(const struct instance *in)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/own%u", in->tree, pick(5));
	write_bytes(path, 10);
	(void)snprintf(path, sizeof(path), "%s/f", in->tree);
	if (pick(2) || access(path, F_OK) < 0)
		(void)unlink(path); /* a new one would be the app's own and in the way for good */
	else
		write_bytes(path, 77);
	(void)snprintf(path, sizeof(path), "%s/a", in->tree);
	if (pick(2))
		(void)lp_remove_tree(AT_FDCWD, path);
	else
		(void)chmod(path, 0711);
}

static void mirror__ends_equal_whatever_happens(void **state)
{
	const char *given = getenv("LIVEPUSH_TEST_SEED");

	(void)state;
	seed = given ? strtoull(given, NULL, 0) : lp_wall_us() | 1;
	print_message("LIVEPUSH_TEST_SEED=%llu\n", (unsigned long long)seed);
	connect_all(pick(2));
	for (int round = 0; round < ROUNDS; round++) {
		struct instance *in = &instances[pick(INSTANCES)];
		unsigned event = pick(4);

		for (unsigned n = pick(60); n > 0; n--) {
			act();
			if (pick(4) == 0)
				step();
			if (n == 20 && event == 0)
				instance_stop(in);
		}
		if (!in->runs) {
			drift(in);
			instance_start(in);
		}
		if (event == 1) {
			lp_fleet_destroy(fleet);
			connect_all(pick(2));
		}
		settle();
		check_equal();
	}
}

static void mirror__sends_a_first_tree(void **state)
{
	char path[64];

	(void)state;
	for (int i = 0; i < 1500; i++) {
		if (i % 50 == 0) {
			(void)snprintf(path, sizeof(path), "d%d", i / 50);
			rig_mkdir(&rig, path);
		}
		(void)snprintf(path, sizeof(path), "d%d/f%d", i / 50, i);
		rig_write(&rig, path, path);
	}
	(void)rig_take(&rig);
	connect_all(false);
	settle();
	check_equal();
	assert_int_equal(failures, 0);
	/* A save of each kind after that is no resynchronisation. */
	rig_write(&rig, "d3/f150", "changed");
	rig_rename(&rig, "d4", "e4");
	rig_remove(&rig, "d5");
	rig_chmod(&rig, "d6/f300", 0755);
	settle();
	check_equal();
	assert_int_equal(failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(mirror__sends_a_first_tree, set_up, tear_down),
		cmocka_unit_test_setup_teardown(mirror__ends_equal_whatever_happens, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
