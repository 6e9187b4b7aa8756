/* sync/globs.c: a list of patterns without negation, for the rules that say what to do about a
 * path. */
#include "sync/ignore.h"
#include "sync/ignore_pattern.h"

#include <string.h>

struct lp_globs {
	struct lp_pattern *patterns;
	size_t n;
	char *text; /* what the patterns borrow */
};

static int compile_all(struct lp_globs *globs, const char *const *patterns, size_t n)
{
	size_t bytes = 0;
	char *at;

	for (size_t i = 0; i < n; i++)
		bytes += strlen(patterns[i]);
	globs->text = malloc(bytes + 1);
	globs->patterns = calloc(n + 1, sizeof(*globs->patterns));
	if (!globs->text || !globs->patterns)
		return -ENOMEM;
	at = globs->text;
	for (size_t i = 0; i < n; i++) {
		size_t len = lp_pattern_trimmed(patterns[i], strlen(patterns[i]));

		memcpy(at, patterns[i], len);
		if (lp_pattern_compile(&globs->patterns[i], at, len) < 0)
			return -ENOMEM;
		globs->n++;
		at += len;
	}
	return 0;
}

struct lp_globs *lp_globs_create(const char *const *patterns, size_t n)
{
	struct lp_globs *globs = calloc(1, sizeof(*globs));

	if (globs && compile_all(globs, patterns, n) < 0) {
		lp_globs_destroy(globs);
		return NULL;
	}
	return globs;
}

void lp_globs_destroy(struct lp_globs *globs)
{
	if (!globs)
		return;
	for (size_t i = 0; i < globs->n; i++)
		lp_pattern_finish(&globs->patterns[i]);
	free(globs->patterns);
	free(globs->text);
	free(globs);
}

bool lp_globs_match(const struct lp_globs *globs, const char *path)
{
	struct lp_pattern_path at = {.path = path, .base = path};

	for (;;) {
		bool is_dir;

		at.base_len = strcspn(at.base, "/");
		at.len = (size_t)(at.base - path) + at.base_len;
		is_dir = path[at.len] == '/';
		for (size_t i = 0; i < globs->n; i++) {
			const struct lp_pattern *p = &globs->patterns[i];

			if ((is_dir || !p->dir_only) && lp_pattern_match(p, &at))
				return true;
		}
		if (!is_dir)
			return false;
		at.base = path + at.len + 1;
	}
}
