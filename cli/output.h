/* cli/output.h: what people and programs read: JSON lines, calm lines, colours, a progress bar. */
#ifndef LP_CLI_OUTPUT_H
#define LP_CLI_OUTPUT_H

#include "common/base/lp_err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Prints the object as one line on stdout at once and releases it (taken). Returns whether stdout
 * still takes it. */
bool lp_out_json(json_t *object);

/* A JSON string of bytes that need not be UTF-8; what is not becomes U+FFFD. New reference. */
json_t *lp_out_text(const void *bytes, size_t len);

/* Writes an app's output as it is; on a terminal without control characters (`?` instead), apart
 * from tabs, the ends of lines, and the escape sequences of colours. */
void lp_out_shown(FILE *to, const void *bytes, size_t len);

/* The string at `key` of an object, borrowed from it; "" when there is none. */
const char *lp_json_text(const json_t *o, const char *key);

/* A copy of what another machine or a file name says, for a terminal: control characters become
 * '?'. The caller frees it. */
char *lp_out_printable(const char *text);

/* "livepush: text" on stderr; as {"event":"error","error":text} on stdout as well with json.
 * Returns LP_EXIT_FAILED. */
int lp_out_fail(bool json, const char *fmt, ...) LP_PRINTF(2, 3);

/* The same with the text of err. Returns LP_EXIT_USAGE for EINVAL, which tells of a value on the
 * command line or in a variable, and LP_EXIT_FAILED for all else. */
int lp_out_err(bool json, const struct lp_err *err);

struct lp_args;

/* Says that the value of the option is no `what`, and which variable it comes from when it is not
 * on the command line. Returns LP_EXIT_USAGE. */
int lp_out_misuse(const struct lp_args *args, const char *option, const char *what, ...)
	LP_PRINTF(3, 4);

/* The end of an app's output on stderr, in whole lines. */
void lp_out_excerpt(const void *text, size_t len);

/* A line of talk on stderr. */
void lp_out_say(const char *fmt, ...) LP_PRINTF(1, 2);

enum lp_colour {
	LP_PLAIN,
	LP_GREEN,
	LP_RED,
	LP_DIM,
	LP_COLOUR_COUNT_,
};

/* The escape sequence for stderr, "" when that is no terminal or NO_COLOR is set. LP_PLAIN resets.
 */
const char *lp_out_colour(enum lp_colour colour);

/* Whether stderr is a terminal. */
bool lp_out_is_terminal(void);

/* Draws "label [####    ] 42 %" on the terminal's current line; nothing elsewhere. */
void lp_out_progress(const char *label, uint64_t done, uint64_t total);
void lp_out_progress_end(void);

/* "0.84" or "212" : milliseconds for people. */
void lp_out_ms(uint64_t us, char out[16]);

#endif
