/* tree_text.c: see tree_text.h. */
#include "tests/unit/watcher/tree_text.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

void tree_text_add(struct tree_text *t, const char *path, const struct lp_entry *e)
{
	static const char *const kinds[] = {"none", "file", "dir", "link"};
	char hex[LP_DIGEST_HEX_BYTES] = "-";

	if (e->kind != LP_KIND_DIR)
		lp_digest_hex(&e->digest, hex);
	lp_grow(&t->line, &t->cap, t->n + 1, sizeof(char *));
	t->line[t->n++] = lp_xasprintf("%s %s %03o %llu %s\n", path, kinds[e->kind], e->mode,
				       (unsigned long long)e->size, hex);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *tree_text_join(struct tree_text *t)
{
	struct lp_buf out = {0};
	char *text;

	if (t->n > 1)
		qsort(t->line, t->n, sizeof(char *), by_text);
	for (size_t i = 0; i < t->n; i++) {
		assert_int_equal(lp_buf_add_str(&out, t->line[i]), 0);
		free(t->line[i]);
	}
	free(t->line);
	text = lp_xstrdup(lp_buf_text(&out));
	lp_buf_finish(&out);
	return text;
}

static struct lp_digest digest_of(const struct lp_buf *text)
{
	struct lp_hasher *h = lp_hasher_create();
	struct lp_digest d;

	lp_hasher_add(h, text->data, text->len);
	d = lp_hasher_get(h);
	lp_hasher_destroy(h);
	return d;
}

static void walk(struct tree_text *t, const char *top, const char *rel)
{
	LP_AUTO_FREE char *dir_path = lp_xasprintf("%s/%s", top, rel);
	DIR *dir = opendir(dir_path);
	struct dirent *e;

	assert_non_null(dir);
	while ((e = readdir(dir))) {
		LP_AUTO_FREE char *child = NULL, *path = NULL;
		struct lp_entry entry = {0};
		struct lp_buf text = {0};
		char target[4096];
		struct stat st;

		/* A controller tidies up its state while it is idle. */
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    (!rel[0] && strcmp(e->d_name, ".livepush") == 0))
			continue;
		child = lp_xasprintf("%s%s%s", rel, rel[0] ? "/" : "", e->d_name);
		path = lp_xasprintf("%s/%s", top, child);
		assert_int_equal(lstat(path, &st), 0);
		entry.mode = st.st_mode & 0777;
		if (S_ISDIR(st.st_mode)) {
			entry.kind = LP_KIND_DIR;
			walk(t, top, child);
		} else if (S_ISREG(st.st_mode)) {
			assert_int_equal(lp_read_file(AT_FDCWD, path, &text), 0);
			entry.kind = LP_KIND_FILE;
			entry.size = text.len;
			entry.digest = digest_of(&text);
			lp_buf_finish(&text);
		} else if (S_ISLNK(st.st_mode)) {
			ssize_t n = readlink(path, target, sizeof(target));

			assert_true(n > 0);
			entry = (struct lp_entry){.kind = LP_KIND_LINK,
						  .size = (uint64_t)n,
						  .digest = lp_digest_of(target, (size_t)n)};
		} else {
			continue;
		}
		tree_text_add(t, child, &entry);
	}
	(void)closedir(dir);
}

void tree_text_walk(struct tree_text *t, const char *top)
{
	walk(t, top, "");
}
