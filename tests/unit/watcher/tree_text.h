/* tree_text.h: a tree as a text, one line for each entry, sorted: "path kind mode size digest". */
#ifndef LP_TESTS_TREE_TEXT_H
#define LP_TESTS_TREE_TEXT_H

#include "sync/index.h"

#include <stddef.h>

/* A zeroed one is empty. */
struct tree_text {
	char **line;
	size_t n, cap;
};

void tree_text_add(struct tree_text *t, const char *path, const struct lp_entry *e);

/* Adds all that is in the directory, but the state of a controller. */
void tree_text_walk(struct tree_text *t, const char *top);

/* The text, owned; what t has is released. */
char *tree_text_join(struct tree_text *t);

#endif
