/* common/conf/conf_value.h: readers of single values for the tables of keys. All are conf_value_fn.
 * Internal to the room. */
#ifndef LP_COMMON_CONF_CONF_VALUE_H
#define LP_COMMON_CONF_CONF_VALUE_H

#include "common/conf/conf_read.h"

/* char *: a string that is not empty. */
conf_value_fn conf_read_string;

/* char ** and size_t: a string or a list of at least min of them, none empty. */
conf_value_fn conf_read_strings;

/* struct lp_conf_command: a shell line or a list of arguments. */
conf_value_fn conf_read_command;

/* enum: one of f->words. */
conf_value_fn conf_read_word;

/* The words of such a key that is on (1) or off (0): true and false. */
extern const struct conf_word conf_yes_words[];

/* uint32_t: a duration in milliseconds within min and max. */
conf_value_fn conf_read_duration;

/* uint16_t: a whole number within min and max. */
conf_value_fn conf_read_u16;

/* int and int: "N" or "N-M" within min and max. */
conf_value_fn conf_read_range;

/* int: a signal by name, with or without "SIG". Those that the supervisor needs are refused. */
conf_value_fn conf_read_signal;

/* Refuses, in words, what is no name of an app or target / of an environment variable. */
int conf_check_name(struct conf_reader *r, const char *text);
int conf_check_env_name(struct conf_reader *r, const char *text);

/* Refuses what is no ws:// or wss:// URL, or has a user or password in it. */
int conf_check_url(struct conf_reader *r, const char *text);

/* Refuses what is no name of a host, with or without a port. */
int conf_check_host(struct conf_reader *r, const char *text);

/* Refuses a line break; conf_check_glob also a '!' in front. */
int conf_check_line(struct conf_reader *r, const char *text);
int conf_check_glob(struct conf_reader *r, const char *text);

/* Releases what conf_read_strings made, and zeroes it. */
void conf_free_strings(char ***strings, size_t *n);

#endif
