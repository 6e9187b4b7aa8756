/* common/conf/conf_word.h: words in messages: quoting what somebody wrote and guessing what was
 * meant. */
#ifndef LP_COMMON_CONF_CONF_WORD_H
#define LP_COMMON_CONF_CONF_WORD_H

#include "common/base/lp_util.h"

#include <stddef.h>

#define CONF_SHOWN_BYTES 64

/* Copies text into out for a message: control characters become '?', what is too long is cut at a
 * whole UTF-8 character and ends in "...". Returns out. */
const char *conf_shown(char out[CONF_SHOWN_BYTES], const char *text);

/* The word of words[0..n) nearest to `wrong` by edits (insert, delete, replace, swap neighbours;
 * optimal string alignment), when it is near enough to be meant, otherwise NULL. Each word is at
 * `stride` bytes from the one before. */
const char *conf_nearest(const char *wrong, const char *const *first, size_t n, size_t stride);

#endif
