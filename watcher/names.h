/* watcher/names.h: names that tools give to files which they rename or remove a moment later. Pure
 * text. */
#ifndef LP_WATCHER_NAMES_H
#define LP_WATCHER_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a known tool writes such a name (one component) before it renames or removes it: sed,
 * rsync, Python's tempfile, editors. A file may have such a name for good. */
bool lp_name_is_transient(const char *name);

/* The names that `name` may have been made of by putting something around them (".x.AbC123", "x~",
 * "x.tmp.4711" of "x"): writes candidate number `at` (from 0) into out, which has room for the
 * length of name. Returns its length; 0: there are no more. */
size_t lp_name_origin(const char *name, size_t at, char *out);

/* Whether `name` may have been made of `origin`. */
bool lp_name_is_made_of(const char *name, const char *origin);

#endif
