/* sync/ignore.c: keeps the rules of each directory in a tree of those directories that have any,
 * and asks them from the deepest to the root. */
#include "sync/ignore.h"

#include "common/base/lp_path.h"
#include "sync/ignore_pattern.h"

#include <string.h>

/* A directory that has rules or lies above one that has. kids are sorted by name. */
struct node {
	struct node *parent;
	char *name;
	size_t name_len;
	size_t below; /* where the names below it start in a path: 0 for the root */
	struct lp_rules *levels[LP_IGNORE_LEVEL_COUNT_];
	struct node **kids;
	size_t n_kids;
};

/* always is NULL, or the rules that nothing outdoes. */
struct lp_ignore {
	struct node root;
	struct lp_rules *always;
};

/* Where the rules of a level stand; only_root: in the root alone, and known by the whole path. */
static const struct {
	const char *file;
	bool only_root;
} level_files[LP_IGNORE_LEVEL_COUNT_] = {
	[LP_IGNORE_EXCLUDE] = {".git/info/exclude", true},
	[LP_IGNORE_GITIGNORE] = {".gitignore", false},
	[LP_IGNORE_CFIGNORE] = {".cfignore", false},
	[LP_IGNORE_LIVEPUSHIGNORE] = {".livepushignore", false},
};

static const char builtin_source[] = "built-in rules";

static const char always_text[] = ".git\n"
				  ".livepush\n";

/* Names that an editor uses for a moment beside the file it saves, and what other tools keep for
 * themselves. Vim's probe file 4913 has a name that a directory may well have. */
static const char builtin_text[] = ".hg/\n"
				   ".svn/\n"
				   ".DS_Store\n"
				   "*~\n"
				   ".*.sw?\n"
				   ".*.sw??\n"
				   "4913\n"
				   "!4913/\n"
				   ".#*\n"
				   "\\#*#\n"
				   ".~lock.*#\n"
				   "~$*\n"
				   ".*.kate-swp\n"
				   ".goutputstream-*\n"
				   "*___jb_tmp___\n"
				   "*___jb_old___\n"
				   ".fuse_hidden*\n"
				   ".nfs[0-9a-f]*\n";

int lp_ignore_level_of(const char *base_name)
{
	for (int i = 0; i < LP_IGNORE_LEVEL_COUNT_; i++) {
		if (level_files[i].file && !level_files[i].only_root &&
		    strcmp(level_files[i].file, base_name) == 0)
			return i;
	}
	return -1;
}

int lp_ignore_level_at(const char *path, size_t *dir_len)
{
	for (int i = 0; i < LP_IGNORE_LEVEL_COUNT_; i++) {
		if (!level_files[i].only_root || strcmp(level_files[i].file, path) != 0)
			continue;
		if (dir_len)
			*dir_len = 0;
		return i;
	}
	if (dir_len)
		*dir_len = lp_path_dir_len(path);
	return lp_ignore_level_of(lp_path_base(path));
}

const char *lp_ignore_file_of(enum lp_ignore_level level, const char *dir)
{
	return level_files[level].only_root && dir[0] ? NULL : level_files[level].file;
}

struct lp_ignore *lp_ignore_create(void)
{
	return calloc(1, sizeof(struct lp_ignore));
}

static void node_finish(struct node *node)
{
	for (size_t i = 0; i < LP_COUNT_OF(node->levels); i++)
		lp_rules_destroy(node->levels[i]);
	free(node->kids);
	free(node->name);
}

/* Frees node, which has no kids left, and takes it from its parent. The root stays. */
static struct node *node_remove(struct node *node)
{
	struct node *parent = node->parent;

	for (size_t i = 0; i < parent->n_kids; i++) {
		if (parent->kids[i] != node)
			continue;
		parent->n_kids--;
		memmove(&parent->kids[i], &parent->kids[i + 1],
			(parent->n_kids - i) * sizeof(struct node *));
		break;
	}
	node_finish(node);
	free(node);
	return parent;
}

void lp_ignore_destroy(struct lp_ignore *ig)
{
	struct node *node;

	if (!ig)
		return;
	/* Down to a last kid, away with it, back to its parent: no recursion, however deep. */
	for (node = &ig->root; node != &ig->root || node->n_kids > 0;)
		node = node->n_kids > 0 ? node->kids[node->n_kids - 1] : node_remove(node);
	node_finish(&ig->root);
	lp_rules_destroy(ig->always);
	free(ig);
}

static int compare_name(const struct node *node, const char *name, size_t len)
{
	size_t both = node->name_len < len ? node->name_len : len;
	int c = memcmp(node->name, name, both);

	return c != 0 ? c : (node->name_len > len) - (node->name_len < len);
}

/* The place of the kid of that name among node->kids; *found tells whether it is there. */
static size_t kid_place(const struct node *node, const char *name, size_t len, bool *found)
{
	size_t low = 0, high = node->n_kids;

	*found = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = compare_name(node->kids[mid], name, len);

		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct node *kid_find(const struct node *node, const char *name, size_t len)
{
	bool found;
	size_t at = kid_place(node, name, len, &found);

	return found ? node->kids[at] : NULL;
}

/* Returns the new kid, or NULL when there is no memory. */
static struct node *kid_add(struct node *node, const char *name, size_t len)
{
	struct node **kids = reallocarray(node->kids, node->n_kids + 1, sizeof(struct node *));
	struct node *kid;
	bool found;
	size_t at;

	if (!kids)
		return NULL;
	node->kids = kids;
	kid = calloc(1, sizeof(*kid));
	if (!kid)
		return NULL;
	kid->name = strndup(name, len);
	if (!kid->name) {
		free(kid);
		return NULL;
	}
	kid->parent = node;
	kid->name_len = len;
	kid->below = node->below + len + 1;
	at = kid_place(node, name, len, &found);
	memmove(&kids[at + 1], &kids[at], (node->n_kids - at) * sizeof(struct node *));
	kids[at] = kid;
	node->n_kids++;
	return kid;
}

/* Removes node and what is above it as long as it holds nothing. */
static void prune(struct node *node)
{
	while (node->parent && node->n_kids == 0) {
		for (size_t i = 0; i < LP_COUNT_OF(node->levels); i++) {
			if (node->levels[i])
				return;
		}
		node = node_remove(node);
	}
}

/* The node of dir. Missing ones are added when `add` is set; NULL otherwise, or without memory. */
static struct node *node_of(struct lp_ignore *ig, const char *dir, bool add)
{
	struct node *node = &ig->root;

	while (*dir) {
		size_t len = strcspn(dir, "/");
		struct node *kid = kid_find(node, dir, len);

		if (!kid && add)
			kid = kid_add(node, dir, len);
		if (!kid) {
			prune(node);
			return NULL;
		}
		node = kid;
		dir += len + (dir[len] == '/');
	}
	return node;
}

int lp_ignore_set(struct lp_ignore *ig, const char *dir, enum lp_ignore_level level,
		  const char *source, const char *text, size_t len)
{
	struct lp_rules *rules = NULL;
	struct node *node;

	if (len > 0) {
		rules = lp_rules_create(source, text, len);
		if (!rules)
			return -ENOMEM;
	}
	node = node_of(ig, dir, rules != NULL);
	if (!node) {
		lp_rules_destroy(rules);
		return rules ? -ENOMEM : 0;
	}
	lp_rules_destroy(node->levels[level]);
	node->levels[level] = rules;
	prune(node);
	return 0;
}

int lp_ignore_add_builtin(struct lp_ignore *ig)
{
	if (!ig->always)
		ig->always = lp_rules_create(builtin_source, always_text, strlen(always_text));
	if (!ig->always)
		return -ENOMEM;
	return lp_ignore_set(ig, "", LP_IGNORE_BUILTIN, builtin_source, builtin_text,
			     strlen(builtin_text));
}

/* What decided, and where it stood. */
struct verdict {
	const struct lp_rules *rules;
	const struct lp_rule *rule;
};

static bool ask(struct verdict *v, const struct lp_rules *rules, const struct lp_pattern_path *at,
		size_t hash, bool is_dir)
{
	if (!rules)
		return false;
	v->rule = lp_rules_find(rules, at, hash, is_dir);
	v->rules = rules;
	return v->rule != NULL;
}

/* Asks the rules of node and of all above it about path[0..len), whose base name starts at
 * `base`. */
static struct verdict decide(const struct lp_ignore *ig, const struct node *node, const char *path,
			     size_t base, size_t len, bool is_dir)
{
	struct lp_pattern_path at = {path, len, path + base, len - base};
	size_t hash = lp_rules_hash(at.base, at.base_len);
	struct verdict v = {0};

	if (ask(&v, ig->always, &at, hash, is_dir))
		return v;
	for (; node; node = node->parent) {
		at.path = path + node->below;
		at.len = len - node->below;
		for (size_t i = LP_COUNT_OF(node->levels); i > 0; i--) {
			if (ask(&v, node->levels[i - 1], &at, hash, is_dir))
				return v;
		}
	}
	return v;
}

static bool report(const struct verdict *v, struct lp_ignore_match *match)
{
	if (match)
		*match = (struct lp_ignore_match){0};
	if (match && v->rule) {
		match->source = v->rules->source;
		match->pattern = v->rule->line_text;
		match->line = v->rule->line;
		match->negated = v->rule->negated;
	}
	return v->rule && !v->rule->negated;
}

/* Goes along path, from directory to directory. With `parents` each is asked about. */
static bool check(const struct lp_ignore *ig, const char *path, bool is_dir, bool parents,
		  struct lp_ignore_match *match)
{
	const struct node *node = &ig->root;
	struct verdict v;
	size_t base = 0;

	for (;;) {
		size_t end = base + strcspn(path + base, "/");
		bool is_last = path[end] == '\0';

		if (is_last || parents) {
			v = decide(ig, node, path, base, end, is_dir || !is_last);
			if (is_last || (v.rule && !v.rule->negated))
				return report(&v, match);
		}
		/* Once a directory has no node, none below it has one. */
		if (node->below == base) {
			const struct node *kid = kid_find(node, path + base, end - base);

			node = kid ? kid : node;
		}
		base = end + 1;
	}
}

bool lp_ignore_check(const struct lp_ignore *ig, const char *path, bool is_dir,
		     struct lp_ignore_match *match)
{
	return check(ig, path, is_dir, true, match);
}

bool lp_ignore_check_leaf(const struct lp_ignore *ig, const char *path, bool is_dir,
			  struct lp_ignore_match *match)
{
	return check(ig, path, is_dir, false, match);
}
