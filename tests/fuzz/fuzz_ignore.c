/* fuzz_ignore.c: any bytes as rule files and paths: the part up to the first two newlines in a row
 * is the root's rule file, the part up to the next two that of the directory "a", and each line of
 * the rest a path to ask about. */
#include "common/base/lp_path.h"
#include "sync/ignore.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* Takes the part up to two newlines in a row from *data. */
static size_t take_part(const uint8_t **data, size_t *size, const char **part)
{
	const uint8_t *end = memmem(*data, *size, "\n\n", 2);
	size_t len = end ? (size_t)(end - *data) : *size;

	*part = (const char *)*data;
	*data += len + (end ? 2 : 0);
	*size -= len + (end ? 2 : 0);
	return len;
}

static void check_path(const struct lp_ignore *ig, const char *path)
{
	struct lp_ignore_match m, leaf;
	bool ignored = lp_ignore_check(ig, path, false, &m);
	bool leaf_ignored = lp_ignore_check_leaf(ig, path, false, &leaf);

	require(ignored == (m.source && !m.negated));
	require(leaf_ignored == (leaf.source && !leaf.negated));
	require(ignored || !leaf_ignored);
	require(!m.source || (m.line > 0 && m.pattern[0] && (m.pattern[0] == '!') == m.negated));
	(void)lp_ignore_check(ig, path, true, NULL);
}

/* The rules as globs, line by line, against the path. */
static void check_globs(const char *text, size_t len, const char *path)
{
	char *copy = strndup(text, len), *next = copy, *line;
	const char *patterns[64];
	struct lp_globs *globs;
	size_t n = 0;

	require(copy);
	while (n < LP_COUNT_OF(patterns) && (line = strsep(&next, "\n")))
		patterns[n++] = line;
	globs = lp_globs_create(patterns, n);
	require(globs);
	(void)lp_globs_match(globs, path);
	lp_globs_destroy(globs);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_ignore *ig = lp_ignore_create();
	const char *root, *below;
	size_t root_len = take_part(&data, &size, &root);
	size_t below_len = take_part(&data, &size, &below);

	require(ig);
	require(lp_ignore_add_builtin(ig) == 0);
	require(lp_ignore_set(ig, "", LP_IGNORE_GITIGNORE, "root", root, root_len) == 0);
	require(lp_ignore_set(ig, "a", LP_IGNORE_GITIGNORE, "a", below, below_len) == 0);
	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;

		if (lp_path_is_clean((const char *)data, len)) {
			char path[LP_PATH_MAX_BYTES + 1];

			memcpy(path, data, len);
			path[len] = '\0';
			check_path(ig, path);
			check_globs(root, root_len, path);
		}
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	require(lp_ignore_set(ig, "a", LP_IGNORE_GITIGNORE, "a", NULL, 0) == 0);
	lp_ignore_destroy(ig);
	return 0;
}
