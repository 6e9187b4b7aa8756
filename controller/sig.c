/* controller/sig.c: signatures of files: what stat(2) says of them, so that a file need not be read
 * to know that it did not change. */
#include "controller/tree_internal.h"

#include "common/base/lp_buf.h"
#include "common/base/lp_fs.h"
#include "sync/stat_sig.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* Times of files come from a clock that may stand still for that long: a change in the same moment
 * cannot be told from none. */
#define TICK_NS 20000000

static int64_t ns_of(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec;
}

uint64_t lp_sig_of(const struct stat *st)
{
	struct lp_stat_sig sig;
	struct lp_digest d;
	uint64_t out;

	lp_stat_sig_of(st, &sig);
	d = lp_digest_of(&sig, sizeof(sig));
	memcpy(&out, d.b, sizeof(out));
	return out ? out : 1;
}

uint32_t lp_sig_mark(uint64_t sig)
{
	uint32_t mark = (uint32_t)sig & LP_MARK_SIG;

	return sig != 0 && mark == 0 ? 1 : mark;
}

int64_t lp_sig_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return ns_of(&now);
}

int64_t lp_sig_ctime(const struct stat *st)
{
	return ns_of(&st->st_ctim);
}

bool lp_sig_is_settled(int64_t ctime_ns, int64_t since_ns)
{
	return ctime_ns < since_ns - TICK_NS;
}

uint64_t lp_sig_boot(void)
{
	static uint64_t boot; /* the same as long as the process lives */
	struct lp_buf text;
	struct lp_digest d;

	if (boot)
		return boot;
	lp_buf_init(&text, 256);
	if (lp_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &text) < 0 || text.len == 0)
		lp_random(&boot, sizeof(boot)); /* unknown: another one each time */
	else
		d = lp_digest_of(text.data, text.len), memcpy(&boot, d.b, sizeof(boot));
	lp_buf_finish(&text);
	boot |= 1;
	return boot;
}
