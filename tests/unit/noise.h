/* noise.h: bytes without a pattern, the same in every run: what a test expects of a content depends
 * on where it is cut into chunks and on how well it packs. */
#ifndef LP_TESTS_NOISE_H
#define LP_TESTS_NOISE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Fills out with len bytes that follow from the seed (SplitMix64, Steele et al., OOPSLA 2014). */
static inline void fill_noise(void *out, size_t len, uint64_t seed)
{
	uint8_t *p = out;

	while (len > 0) {
		size_t n = len < sizeof(seed) ? len : sizeof(seed);
		uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		z ^= z >> 31;
		memcpy(p, &z, n);
		p += n;
		len -= n;
	}
}

#endif
