/* wire/guard.c: counts what a msgpack message promises. */
#include "wire/guard.h"

#define DEPTH_MAX 4

/* The head of one value: how many bytes follow it as payload, how many elements. size: of the head.
 */
struct head {
	size_t size;
	uint64_t payload;
	uint64_t elements;
};

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

/* Heads that carry a length of `size` bytes after the type byte. */
static bool sized(const uint8_t *p, size_t len, size_t size, uint64_t *out, struct head *h)
{
	if (len < 1 + size)
		return false;
	*out = big_endian(p + 1, size);
	h->size = 1 + size;
	return true;
}

static bool read_head(const uint8_t *p, size_t len, struct head *h)
{
	uint8_t b;

	*h = (struct head){.size = 1};
	if (len == 0)
		return false;
	b = p[0];
	if (b <= 0x7f || b >= 0xe0 || b == 0xc0 || b == 0xc2 || b == 0xc3)
		return true;
	if (b >= 0x90 && b <= 0x9f)
		h->elements = b & 0x0f;
	else if (b >= 0xa0 && b <= 0xbf)
		h->payload = b & 0x1f;
	else if (b >= 0xc4 && b <= 0xc6)
		return sized(p, len, (size_t)1 << (b - 0xc4), &h->payload, h);
	else if (b >= 0xcc && b <= 0xcf)
		h->payload = (uint64_t)1 << (b - 0xcc);
	else if (b >= 0xd9 && b <= 0xdb)
		return sized(p, len, (size_t)1 << (b - 0xd9), &h->payload, h);
	else if (b == 0xdc || b == 0xdd)
		return sized(p, len, b == 0xdc ? 2 : 4, &h->elements, h);
	else
		return false; /* maps, extensions, floats, signed numbers: the protocol has none */
	return true;
}

bool lp_guard_check(const uint8_t *data, size_t len)
{
	uint64_t open[DEPTH_MAX + 1] = {1}; /* values still to come, per level */
	size_t depth = 0, at = 0;

	for (;;) {
		struct head h;

		while (open[depth] == 0) {
			if (depth == 0)
				return at == len;
			depth--;
		}
		open[depth]--;
		if (!read_head(data + at, len - at, &h))
			return false;
		at += h.size;
		/* Every element takes a byte at least. */
		if (h.payload > len - at || h.elements > len - at)
			return false;
		at += (size_t)h.payload;
		if (h.elements > 0) {
			if (depth == DEPTH_MAX)
				return false;
			open[++depth] = h.elements;
		}
	}
}
