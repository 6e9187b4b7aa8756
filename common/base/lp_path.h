/* lp_path.h: relative paths inside a tree, as pure text. '/' separates; nothing here looks at a
 * file system. */
#ifndef LP_COMMON_BASE_LP_PATH_H
#define LP_COMMON_BASE_LP_PATH_H

#include "common/base/lp_util.h"

#include <stdbool.h>
#include <stddef.h>

#define LP_PATH_MAX_BYTES 4095 /* longest relative path that is mirrored, without NUL */
#define LP_NAME_MAX_BYTES 255

/* Whether path[0..len) is a clean relative path: not empty, no NUL, not absolute, no empty, "." or
 * ".." component, no trailing '/', no component over LP_NAME_MAX_BYTES, in all at most
 * LP_PATH_MAX_BYTES. Any other bytes are legal, UTF-8 or not. */
bool lp_path_is_clean(const char *path, size_t len);

/* Whether a symlink at clean path `path` may point to target[0..len): relative, not empty, without
 * NUL, ".." only at its beginning and not more of them than `path` has parents. With real
 * directories above the link such a target cannot lead out of the tree, whatever other links
 * obeying the same rule it crosses. */
bool lp_path_link_is_inside(const char *path, const char *target, size_t len);

/* Writes "dir/name" (or "name" when dir is "") into out. Returns 0 or -ENAMETOOLONG. */
int lp_path_join(char *out, size_t out_bytes, const char *dir, const char *name) LP_MUST_USE;

/* Length of the directory part of a clean path: 0 for "a", 3 for "dir/a". */
size_t lp_path_dir_len(const char *path);

/* The last component of a clean path; points into it. */
const char *lp_path_base(const char *path);

/* Whether clean path `path` is `dir` or lies below it; "" contains everything. */
bool lp_path_is_below(const char *path, const char *dir);

#endif
