/* fuzz_link.c: a link as the client of an instance that says anything: what it sends stays what the
 * protocol allows, and what it remembers stays within its limits.
 *
 * The input: one byte of flags, then steps: a kind, the length (u16, little-endian) and the bytes
 * of a message, which only a step that says something has. */
#include "common/base/lp_mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/link/link_rig.h"

#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 400

enum flag {
	FLAG_FOREIGN = 1,
	FLAG_BARE = 2,     /* the instance has nothing; otherwise what the workspace has, */
	FLAG_DIFFERS = 4,  /* or something else */
	FLAG_UNPROVEN = 8, /* it speaks before it was welcomed */
};

enum step {
	STEP_SAY,
	STEP_SAVE,
	STEP_HOLD,
	STEP_VERIFY,
	STEP_COUNT_,
};

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* What was sent so far, and what follows of it. fake_sent decodes it. */
static void check(void)
{
	(void)fake_pump(4);
	while (fake_sent())
		continue;
	require(link_->in_flight <= LP_LINK_QUEUE_MAX);
	require(link_->consumed <= link_->sent);
	require(link_->sent - link_->consumed <= LP_WIRE_WINDOW_BYTES);
	require(link_->heard <= link_->asked && link_->asked <= link_->n_todo);
	require(link_->state != LP_LINK_STREAMING || !link_->diff);
}

static void step(unsigned kind, const uint8_t *data, size_t len)
{
	LP_AUTO_FREE uint8_t *copy = NULL;

	switch ((enum step)(kind % STEP_COUNT_)) {
	case STEP_SAY:
		copy = lp_xcalloc(1, len + 1);
		if (len > 0)
			memcpy(copy, data, len);
		fake_say_bytes(copy, len);
		break;
	case STEP_SAVE:
		save(kind & 0x80 ? "g" : "d", kind & 0x40 ? "one" : "another");
		break;
	case STEP_HOLD:
		lp_link_hold(link_, kind & 0x80);
		break;
	case STEP_VERIFY:
		(void)!lp_link_verify(link_);
		break;
	case STEP_COUNT_:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_digest root = {0};
	unsigned flags = size > 0 ? data[0] : 0;
	size_t at = 1;

	(void)set_up(NULL);
	foreign = flags & FLAG_FOREIGN;
	if (flags & FLAG_DIFFERS)
		root = lp_digest_of("other", 5);
	else if (!(flags & FLAG_BARE))
		root = lp_index_root(workspace);
	if (!(flags & FLAG_UNPROVEN))
		welcome(&root, false);
	for (int i = 0; i < STEPS_MAX && at + 3 <= size && fake_is_open(); i++) {
		unsigned kind = data[at];
		size_t len = kind % STEP_COUNT_ == STEP_SAY
				     ? (size_t)data[at + 1] | (size_t)data[at + 2] << 8
				     : 0;

		at += 3;
		if (len > size - at)
			len = size - at;
		step(kind, data + at, len);
		at += len;
		check();
	}
	if (fake_was_closed())
		fake_lose("closed");
	(void)tear_down(NULL);
	return 0;
}
