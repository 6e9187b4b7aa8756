/* sync/ignore_pattern.c: tells the simple patterns, which most are, from those that need wildcards,
 * and keeps the plain names of a file in a hash table, so that they cost nothing per check. In what
 * lines and slashes mean it follows dir.c of git 2.39. */
#include "sync/ignore_pattern.h"

#include <string.h>

static const char byte_order_mark[] = "\xef\xbb\xbf";

size_t lp_pattern_trimmed(const char *line, size_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < len; i++) {
		if (line[i] == '\\' && i + 1 < len)
			i++;
		else if (line[i] == ' ')
			continue;
		kept = i + 1;
	}
	return kept;
}

static int compile_wild(struct lp_pattern *p, const char *text, size_t len, bool is_path)
{
	int r = lp_wild_compile(&p->wild, text, len, is_path);

	if (r == 0 && p->wild.never)
		p->kind = LP_PATTERN_NEVER;
	return r;
}

static int compile_name(struct lp_pattern *p, const char *text, size_t len)
{
	p->text = text;
	p->text_len = len;
	if (lp_wild_literal_len(text, len) == len) {
		p->kind = LP_PATTERN_NAME;
		return 0;
	}
	if (text[0] == '*' && lp_wild_literal_len(text + 1, len - 1) == len - 1) {
		p->kind = LP_PATTERN_SUFFIX;
		p->text++;
		p->text_len--;
		return 0;
	}
	p->kind = LP_PATTERN_NAME_WILD;
	p->text_len = lp_wild_literal_len(text, len);
	return compile_wild(p, text + p->text_len, len - p->text_len, false);
}

/* git compares the part before the first wildcard as it is and gives only the rest to its wildcard
 * matcher, for which "**" at the start of that rest then stands at a boundary: "a**" matches
 * "ab/c". The same is done here. */
static int compile_path(struct lp_pattern *p, const char *text, size_t len)
{
	p->text = text;
	p->text_len = lp_wild_literal_len(text, len);
	if (p->text_len == len) {
		p->kind = LP_PATTERN_PATH;
		return 0;
	}
	p->kind = LP_PATTERN_PATH_WILD;
	return compile_wild(p, text + p->text_len, len - p->text_len, true);
}

int lp_pattern_compile(struct lp_pattern *p, const char *pattern, size_t len)
{
	*p = (struct lp_pattern){.kind = LP_PATTERN_NEVER};
	if (len > 0 && pattern[len - 1] == '/') {
		p->dir_only = true;
		len--;
	}
	if (len == 0 || len > LP_IGNORE_LINE_MAX_BYTES)
		return 0;
	if (!memchr(pattern, '/', len))
		return compile_name(p, pattern, len);
	if (pattern[0] == '/') {
		pattern++;
		len--;
	}
	return len == 0 ? 0 : compile_path(p, pattern, len);
}

void lp_pattern_finish(struct lp_pattern *p)
{
	lp_wild_finish(&p->wild);
	*p = (struct lp_pattern){.kind = LP_PATTERN_NEVER};
}

static bool begins(const struct lp_pattern *p, const char *text, size_t len)
{
	return p->text_len <= len && memcmp(text, p->text, p->text_len) == 0;
}

static bool ends(const struct lp_pattern *p, const char *text, size_t len)
{
	return p->text_len <= len && memcmp(text + len - p->text_len, p->text, p->text_len) == 0;
}

bool lp_pattern_match(const struct lp_pattern *p, const struct lp_pattern_path *at)
{
	size_t skip = p->text_len;

	switch (p->kind) {
	case LP_PATTERN_NAME:
		return skip == at->base_len && begins(p, at->base, at->base_len);
	case LP_PATTERN_SUFFIX:
		return ends(p, at->base, at->base_len);
	case LP_PATTERN_NAME_WILD:
		return begins(p, at->base, at->base_len) &&
		       lp_wild_match(&p->wild, at->base + skip, at->base_len - skip);
	case LP_PATTERN_PATH:
		return skip == at->len && begins(p, at->path, at->len);
	case LP_PATTERN_PATH_WILD:
		return begins(p, at->path, at->len) &&
		       lp_wild_match(&p->wild, at->path + skip, at->len - skip);
	case LP_PATTERN_NEVER:
	case LP_PATTERN_KIND_COUNT_:
		break;
	}
	return false;
}

/* One line of the text, cut as git cuts it: at a NUL, one carriage return before the newline and
 * trailing spaces. */
static size_t line_len(const char *line, size_t len)
{
	if (len > 0 && line[len - 1] == '\r')
		len--;
	return lp_pattern_trimmed(line, strnlen(line, len));
}

static int add_rule(struct lp_rules *rules, char *line, size_t len, unsigned number)
{
	struct lp_rule *rule = &rules->rules[rules->n];
	size_t bang = len > 0 && line[0] == '!';

	*rule = (struct lp_rule){.line_text = line, .line = number, .negated = bang > 0};
	if (lp_pattern_compile(&rule->pattern, line + bang, len - bang) < 0)
		return -ENOMEM;
	/* The patterns keep lengths; the NUL is for messages. It overwrites what was cut off or
	 * the newline. */
	line[len] = '\0';
	if (rule->pattern.kind != LP_PATTERN_NEVER)
		rules->n++;
	return 0;
}

static int read_lines(struct lp_rules *rules, size_t len)
{
	char *line = rules->text, *end = rules->text + len;

	if (len >= strlen(byte_order_mark) &&
	    memcmp(line, byte_order_mark, strlen(byte_order_mark)) == 0)
		line += strlen(byte_order_mark);
	for (unsigned number = 1; line < end; number++) {
		char *newline = memchr(line, '\n', (size_t)(end - line));
		size_t n = (size_t)((newline ? newline : end) - line);
		size_t kept = line_len(line, n);

		if (kept > 0 && kept <= LP_IGNORE_LINE_MAX_BYTES && line[0] != '#' &&
		    add_rule(rules, line, kept, number) < 0)
			return -ENOMEM;
		line += n + 1;
	}
	return 0;
}

size_t lp_rules_hash(const char *name, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 32);
}

static struct lp_rule_other other_of(const struct lp_pattern *p, size_t index)
{
	struct lp_rule_other other = {.index = index};
	int last = lp_wild_last_byte(&p->wild);

	if (p->kind == LP_PATTERN_SUFFIX && p->text_len > 0)
		last = (uint8_t)p->text[p->text_len - 1];
	if (last >= 0) {
		other.probe = LP_PROBE_BASE_LAST;
		other.byte = (uint8_t)last;
	} else if (p->kind != LP_PATTERN_SUFFIX && p->text_len > 0) {
		other.probe =
			p->kind == LP_PATTERN_NAME_WILD ? LP_PROBE_BASE_FIRST : LP_PROBE_PATH_FIRST;
		other.byte = (uint8_t)p->text[0];
	}
	return other;
}

static int index_rules(struct lp_rules *rules)
{
	size_t n_names = 0;

	for (size_t i = 0; i < rules->n; i++)
		n_names += rules->rules[i].pattern.kind == LP_PATTERN_NAME;
	for (rules->n_buckets = 1; rules->n_buckets < n_names * 2;)
		rules->n_buckets *= 2;
	rules->buckets = calloc(rules->n_buckets, sizeof(*rules->buckets));
	rules->other = calloc(rules->n - n_names + 1, sizeof(*rules->other));
	if (!rules->buckets || !rules->other)
		return -ENOMEM;
	for (size_t i = 0; i < rules->n; i++) {
		struct lp_rule *rule = &rules->rules[i];
		size_t *bucket;

		if (rule->pattern.kind != LP_PATTERN_NAME) {
			rules->other[rules->n_other++] = other_of(&rule->pattern, i);
			continue;
		}
		bucket = &rules->buckets[lp_rules_hash(rule->pattern.text, rule->pattern.text_len) &
					 (rules->n_buckets - 1)];
		rule->next = *bucket;
		*bucket = i + 1;
	}
	return 0;
}

static int fill(struct lp_rules *rules, const char *source, const char *text, size_t len)
{
	size_t n_lines = 1;

	rules->source = strdup(source);
	rules->text = malloc(len + 1);
	if (!rules->source || !rules->text)
		return -ENOMEM;
	memcpy(rules->text, text, len);
	rules->text[len] = '\0';
	for (size_t i = 0; i < len; i++)
		n_lines += text[i] == '\n';
	rules->rules = calloc(n_lines, sizeof(*rules->rules));
	if (!rules->rules || read_lines(rules, len) < 0)
		return -ENOMEM;
	return index_rules(rules);
}

struct lp_rules *lp_rules_create(const char *source, const char *text, size_t len)
{
	struct lp_rules *rules = calloc(1, sizeof(*rules));

	if (rules && fill(rules, source, text, len) < 0) {
		lp_rules_destroy(rules);
		return NULL;
	}
	return rules;
}

void lp_rules_destroy(struct lp_rules *rules)
{
	if (!rules)
		return;
	for (size_t i = 0; i < rules->n; i++)
		lp_pattern_finish(&rules->rules[i].pattern);
	free(rules->rules);
	free(rules->buckets);
	free(rules->other);
	free(rules->text);
	free(rules->source);
	free(rules);
}

/* The last of the other rules from `from` on that matches, or NULL. */
static const struct lp_rule *find_other(const struct lp_rules *rules,
					const struct lp_pattern_path *at, size_t from, bool is_dir)
{
	const uint8_t bytes[LP_PROBE_COUNT_] = {
		[LP_PROBE_BASE_FIRST] = (uint8_t)at->base[0],
		[LP_PROBE_BASE_LAST] = at->base_len ? (uint8_t)at->base[at->base_len - 1] : 0,
		[LP_PROBE_PATH_FIRST] = (uint8_t)at->path[0],
	};

	for (size_t i = rules->n_other; i > 0 && rules->other[i - 1].index >= from; i--) {
		const struct lp_rule_other *other = &rules->other[i - 1];
		const struct lp_rule *rule;

		if (bytes[other->probe] != other->byte)
			continue;
		rule = &rules->rules[other->index];
		if ((is_dir || !rule->pattern.dir_only) && lp_pattern_match(&rule->pattern, at))
			return rule;
	}
	return NULL;
}

const struct lp_rule *lp_rules_find(const struct lp_rules *rules, const struct lp_pattern_path *at,
				    size_t hash, bool is_dir)
{
	size_t best = rules->buckets[hash & (rules->n_buckets - 1)]; /* index + 1 */
	const struct lp_rule *other;

	for (; best > 0; best = rules->rules[best - 1].next) {
		const struct lp_pattern *p = &rules->rules[best - 1].pattern;

		if ((is_dir || !p->dir_only) && lp_pattern_match(p, at))
			break;
	}
	/* Only what stands below that line can still outdo it. */
	other = find_other(rules, at, best, is_dir);
	if (other)
		return other;
	return best > 0 ? &rules->rules[best - 1] : NULL;
}
