/* controller/patch.h: a large file being made of what is at its path and of new bytes; shared by
 * patch.c, which stages it, and patch_apply.c, which writes it into its file. */
#ifndef LP_CONTROLLER_PATCH_H
#define LP_CONTROLLER_PATCH_H

#include "controller/tree_internal.h"

#define LP_PATCH_PIECE_BYTES ((size_t)256 * 1024)

/* base: how the file was when the patch began. in_place: only the new bytes are staged. */
struct lp_patch {
	int base_fd;
	struct stat base;
	struct lp_chunks *chunks; /* of the base, one reference; NULL: not known */
	bool in_place;
	bool moved; /* something of the base is at another place than before */
	bool is_complete;
	uint64_t at; /* how far it is made */
	uint64_t new_bytes;
	struct lp_ranges written; /* at least the new bytes */
	struct lp_range *places;  /* exactly, in order */
	size_t n_places;
	size_t cap_places;
	int staged_fd; /* borrowed from the tree until it is complete */
};

/* Copies len bytes from a place in one file to a place in another. Returns 0 or -errno (-ESTALE:
 * the source is shorter). */
int lp_patch_copy(int from, uint64_t from_at, int to, uint64_t to_at, uint64_t len) LP_MUST_USE;

/* Exactly len bytes at `at`. Returns 0 or -errno. */
int lp_patch_write(int fd, uint64_t at, const void *data, size_t len) LP_MUST_USE;

#endif
