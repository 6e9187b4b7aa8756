/* sync/wildmatch.h: shell wildcards as gitignore(5) means them, compiled once and matched without
 * allocation or recursion. Knows nothing of lines, directories or precedence. */
#ifndef LP_SYNC_WILDMATCH_H
#define LP_SYNC_WILDMATCH_H

#include "common/base/lp_util.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One step of a compiled pattern: a byte, or what its op says. */
struct lp_wild_step {
	uint8_t op;
	uint8_t byte;
	uint16_t set; /* index into sets */
};

/* The bytes that a bracket expression accepts, one bit each. */
struct lp_wild_set {
	uint64_t bits[4];
};

/* A compiled pattern. A zeroed struct matches the empty text only. Owned by the caller. */
struct lp_wild {
	struct lp_wild_step *steps;
	size_t n_steps;
	struct lp_wild_set *sets;
	size_t n_sets;
	bool never; /* malformed, as with an unclosed bracket: matches nothing */
};

/* The first byte of text[0..len) that is special (one of * ? [ \), or len. */
size_t lp_wild_literal_len(const char *text, size_t len);

/* Compiles pattern[0..len), at most 65535 bytes. With is_path '/' separates components: "*", "?"
 * and brackets stop at it, and "**" between separators crosses it; without, text has no '/'.
 * A malformed pattern is not an error: like in git it never matches. Finish *w after success.
 * Returns 0 or -ENOMEM. */
int lp_wild_compile(struct lp_wild *w, const char *pattern, size_t len, bool is_path) LP_MUST_USE;

void lp_wild_finish(struct lp_wild *w);

/* The byte that every text it matches ends in, or -1 when there is no such byte. */
int lp_wild_last_byte(const struct lp_wild *w);

/* Whether the pattern matches the whole of text[0..len). Time is at most quadratic in len for each
 * run of steps between two stars; never exponential. Any thread. */
bool lp_wild_match(const struct lp_wild *w, const char *text, size_t len);

#endif
