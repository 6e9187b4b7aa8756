/* sync/ignore_pattern.h: one pattern of a .gitignore file, and the rules of one such file. Knows
 * nothing of other files and of directories above. Internal to the room. */
#ifndef LP_SYNC_IGNORE_PATTERN_H
#define LP_SYNC_IGNORE_PATTERN_H

#include "sync/wildmatch.h"

#define LP_IGNORE_LINE_MAX_BYTES 4096

enum lp_pattern_kind {
	LP_PATTERN_NEVER,  /* matches nothing */
	LP_PATTERN_NAME,   /* the base name is `text` */
	LP_PATTERN_SUFFIX, /* the base name ends in `text` */
	LP_PATTERN_NAME_WILD,
	LP_PATTERN_PATH,      /* the path below the file's directory is `text` */
	LP_PATTERN_PATH_WILD, /* it begins with `text`, and `wild` matches the rest */
	LP_PATTERN_KIND_COUNT_,
};

/* text is borrowed from what was compiled. dir_only: the pattern ended in '/'; the caller checks
 * it. */
struct lp_pattern {
	enum lp_pattern_kind kind;
	bool dir_only;
	const char *text;
	size_t text_len;
	struct lp_wild wild;
};

/* A path seen from one directory: path[0..len) is relative to it, the base name is at `base`. */
struct lp_pattern_path {
	const char *path;
	size_t len;
	const char *base;
	size_t base_len;
};

/* Length of line[0..len) without the trailing spaces that are not escaped. */
size_t lp_pattern_trimmed(const char *line, size_t len);

/* Compiles a pattern as it stands in the file, slashes included (no NUL in it; over
 * LP_IGNORE_LINE_MAX_BYTES it never matches). Finish *p after success. Returns 0 or -ENOMEM. */
int lp_pattern_compile(struct lp_pattern *p, const char *pattern, size_t len) LP_MUST_USE;

void lp_pattern_finish(struct lp_pattern *p);

/* Whether the pattern matches that path, whatever its kind (see dir_only). */
bool lp_pattern_match(const struct lp_pattern *p, const struct lp_pattern_path *at);

/* One line of a file. line_text is the pattern as written, '!' included, trailing spaces not. */
struct lp_rule {
	struct lp_pattern pattern;
	const char *line_text;
	unsigned line;
	bool negated;
	size_t next; /* the name rule before this one in its bucket: index + 1, or 0 */
};

/* Where a byte stands that a path must have for a rule to match: tells most rules apart from a path
 * without looking at them. */
enum lp_rule_probe {
	LP_PROBE_NONE,
	LP_PROBE_BASE_FIRST,
	LP_PROBE_BASE_LAST,
	LP_PROBE_PATH_FIRST,
	LP_PROBE_COUNT_,
};

/* A rule that is no plain name: its index, and the byte at the probe (0 for LP_PROBE_NONE). */
struct lp_rule_other {
	size_t index;
	enum lp_rule_probe probe;
	uint8_t byte;
};

/* rules[0..n) in the order of the text. Plain names are found through buckets (a power of two,
 * indexed by lp_rules_hash, last rule first: index + 1, or 0); other[0..n_other) are the rest, in
 * the same order. Owns everything. */
struct lp_rules {
	char *source;
	char *text;
	struct lp_rule *rules;
	size_t n;
	size_t *buckets;
	size_t n_buckets;
	struct lp_rule_other *other;
	size_t n_other;
};

/* Reads text[0..len). Returns the rules, or NULL when there is no memory. */
struct lp_rules *lp_rules_create(const char *source, const char *text, size_t len);
void lp_rules_destroy(struct lp_rules *rules);

/* The hash of a base name that lp_rules_find wants. */
size_t lp_rules_hash(const char *name, size_t len);

/* The last rule that matches, or NULL. hash is that of the base name. Any thread. */
const struct lp_rule *lp_rules_find(const struct lp_rules *rules, const struct lp_pattern_path *at,
				    size_t hash, bool is_dir);

#endif
