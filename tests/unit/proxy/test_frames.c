/* tests/unit/proxy/test_frames.c: where frames begin. */
#include "proxy/frames.h"

#include "common/base/lp_util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static uint8_t stream[1 << 18];

/* A frame of each form of length; returns the length of the whole and the boundaries. */
static size_t websocket_stream(size_t *ends, size_t *n_ends)
{
	static const struct {
		uint8_t head[14];
		size_t head_len;
		size_t payload;
	} frames[] = {
		{{0x81, 0x00}, 2, 0},
		{{0x82, 0x7d}, 2, 125},
		{{0x82, 0x85, 1, 2, 3, 4}, 6, 5},
		{{0x02, 0x7e, 0x01, 0x00}, 4, 256},
		{{0x80, 0xfe, 0xff, 0xff, 9, 9, 9, 9}, 8, 65535},
		{{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}, 10, 65536},
		{{0x88, 0x02}, 2, 2},
	};
	size_t at = 0;

	*n_ends = LP_COUNT_OF(frames);
	for (size_t i = 0; i < LP_COUNT_OF(frames); i++) {
		memcpy(stream + at, frames[i].head, frames[i].head_len);
		memset(stream + at + frames[i].head_len, 0xff, frames[i].payload);
		at += frames[i].head_len + frames[i].payload;
		ends[i] = at;
	}
	return at;
}

static void check(enum lp_px_framing framing, const size_t *ends, size_t n_ends, size_t len,
		  size_t piece)
{
	struct lp_px_frames f = {.framing = framing};
	size_t seen = 0;

	for (size_t at = 0; at < len;) {
		size_t n = len - at < piece ? len - at : piece;
		/* At a boundary it stays: the first byte of each piece has to be pushed over it. */
		size_t took = lp_px_frames_follow(&f, stream + at, 1, false);

		assert_int_equal(took, 1);
		took += lp_px_frames_follow(&f, stream + at + 1, n - 1, true);
		at += took;
		assert_true(took == n || at == ends[seen]);
		assert_int_equal(lp_px_frames_between(&f), at == ends[seen]);
		seen += at == ends[seen];
	}
	assert_int_equal(seen, n_ends);
}

static void frames_follow__stops_at_every_boundary_of_websocket(void **state)
{
	size_t ends[16], n_ends, len = websocket_stream(ends, &n_ends);

	(void)state;
	for (size_t piece = 1; piece < 40; piece++)
		check(LP_PX_FRAMES_WEBSOCKET, ends, n_ends, len, piece);
	check(LP_PX_FRAMES_WEBSOCKET, ends, n_ends, len, len);
}

static void frames_follow__stops_at_every_boundary_of_http2(void **state)
{
	static const size_t payloads[] = {0, 1, 255, 16384, 70000, 8};
	size_t ends[LP_COUNT_OF(payloads)], at = 0;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(payloads); i++) {
		memset(stream + at, 0x55, 9 + payloads[i]);
		stream[at] = (uint8_t)(payloads[i] >> 16);
		stream[at + 1] = (uint8_t)(payloads[i] >> 8);
		stream[at + 2] = (uint8_t)payloads[i];
		at += 9 + payloads[i];
		ends[i] = at;
	}
	for (size_t piece = 1; piece < 40; piece++)
		check(LP_PX_FRAMES_HTTP2, ends, LP_COUNT_OF(ends), at, piece);
	check(LP_PX_FRAMES_HTTP2, ends, LP_COUNT_OF(ends), at, at);
}

static void frames_follow__takes_unknown_bytes_as_they_come(void **state)
{
	struct lp_px_frames f = {0};

	(void)state;
	assert_int_equal(lp_px_frames_follow(&f, stream, 100, true), 100);
	assert_true(lp_px_frames_between(&f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_follow__stops_at_every_boundary_of_websocket),
		cmocka_unit_test(frames_follow__stops_at_every_boundary_of_http2),
		cmocka_unit_test(frames_follow__takes_unknown_bytes_as_they_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
