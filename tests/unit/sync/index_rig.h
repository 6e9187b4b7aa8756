/* index_rig.h: entries of an index in few words. */
#ifndef LP_TESTS_INDEX_RIG_H
#define LP_TESTS_INDEX_RIG_H

#include "sync/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static inline struct lp_entry entry(enum lp_kind kind, const char *content)
{
	struct lp_entry e = {.kind = kind, .mode = kind == LP_KIND_LINK ? 0 : 0644};

	if (kind == LP_KIND_DIR) {
		e.mode = 0755;
		return e;
	}
	e.size = strlen(content);
	e.digest = lp_digest_of(content, e.size);
	return e;
}

static inline void put(struct lp_index *ix, const char *path, enum lp_kind kind,
		       const char *content)
{
	struct lp_entry e = entry(kind, content);

	assert_int_equal(lp_index_put(ix, path, &e, NULL, NULL), 0);
}

/* A file of which chunks may be known. */
static inline void put_large(struct lp_index *ix, const char *path, const char *content)
{
	struct lp_entry e = entry(LP_KIND_FILE, content);

	e.size += LP_INLINE_MAX_BYTES;
	assert_int_equal(lp_index_put(ix, path, &e, NULL, NULL), 0);
}

static inline void assert_root_is(struct lp_index *ix, const struct lp_digest *expected, bool same)
{
	struct lp_digest root = lp_index_root(ix);

	assert_int_equal(lp_digest_equal(&root, expected), same);
}

#endif
