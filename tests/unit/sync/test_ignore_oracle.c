/* test_ignore_oracle.c: compares the ignore rules with `git check-ignore` on random trees and
 * random rule files. The seed is printed; TEST_SEED and TEST_ROUNDS choose others. */
#include "common/base/lp_buf.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"
#include "sync/ignore.h"

#include <inttypes.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define DEFAULT_SEED   20240229
#define DEFAULT_ROUNDS 120
#define LEAST_PATHS    20000 /* with the default number of rounds */
#define MAX_DIRS       40
#define N_FILES        460
#define MAX_DEPTH      5

static const enum lp_ignore_level levels[] = {
	LP_IGNORE_GITIGNORE,
	LP_IGNORE_CFIGNORE,
	LP_IGNORE_LIVEPUSHIGNORE,
};

static const char exclude_name[] = ".git/info/exclude";
#define PERSONAL ".git/personal"

/* What names and noise in rules are made of: few letters, so that things meet. */
static const char name_bytes[] =
	"aaaabbbbccc...---__A1[]*?\\! #^:~\t\v\r\n\x01\x7f\x80\xfe\xff\xc3\xa9";
static const char rule_bytes[] =
	"aaaabbbcc..-A1[]]**??\\\\!!  #^::/-\xff\xfe\x80\xc3\xa9\t\r\x01\x7f\0";

static const char *const classes[] = {
	"[:alpha:]", "[:digit:]", "[:upper:]", "[:lower:]", "[:alnum:]",  "[:space:]", "[:punct:]",
	"[:blank:]", "[:cntrl:]", "[:print:]", "[:graph:]", "[:xdigit:]", "[:none:]",  "[:",
};

/* One round: a repository with directories (dirs[0] is the root, "") and the paths asked about.
 * first_line[d][i] is the line of git's file at which the text of levels[i] starts. */
struct round {
	uint64_t random;
	char root[64];
	char *dirs[MAX_DIRS];
	size_t n_dirs;
	unsigned first_line[MAX_DIRS][LP_COUNT_OF(levels)];
	struct lp_ignore *ignore;
	struct lp_buf questions; /* NUL after each */
	size_t n_decided;
};

/* splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators"). */
static size_t below(struct round *r, size_t n)
{
	uint64_t z = r->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (size_t)((z ^ z >> 31) % n);
}

static bool chance(struct round *r, size_t percent)
{
	return below(r, 100) < percent;
}

static void add(struct lp_buf *b, const char *s)
{
	assert_int_equal(lp_buf_add_str(b, s), 0);
}

static void add_byte(struct lp_buf *b, char c)
{
	assert_int_equal(lp_buf_add(b, &c, 1), 0);
}

static void add_name(struct round *r, struct lp_buf *b)
{
	size_t n = 1 + below(r, 4);

	while (n-- > 0)
		add_byte(b, name_bytes[below(r, sizeof(name_bytes) - 1)]);
}

/* A path that nothing in the tree has yet, in a directory of it. The caller frees it. */
static char *new_path(struct round *r, size_t max_depth)
{
	for (;;) {
		const char *dir = r->dirs[below(r, r->n_dirs)];
		struct lp_buf b = {0};
		size_t depth = 1, known = 0;
		char *path;

		add(&b, dir);
		if (*dir)
			add_byte(&b, '/');
		add_name(r, &b);
		path = lp_xstrndup((const char *)b.data, b.len);
		lp_buf_finish(&b);
		for (const char *p = path; *p; p++)
			depth += *p == '/';
		while (known < r->n_dirs && strcmp(r->dirs[known], path) != 0)
			known++;
		/* A leading ':' is magic to git's command line. */
		if (depth <= max_depth && known == r->n_dirs && path[0] != ':' &&
		    lp_path_is_clean(path, strlen(path)))
			return path;
		free(path);
	}
}

static void add_bracket(struct round *r, struct lp_buf *b)
{
	static const char *const opening[] = {"[", "[", "[!", "[^", "[]", "[!]", "[-", "[\\"};
	size_t n = below(r, 4);

	add(b, opening[below(r, LP_COUNT_OF(opening))]);
	while (n-- > 0) {
		size_t what = below(r, 6);

		if (what == 0)
			add(b, classes[below(r, LP_COUNT_OF(classes))]);
		else if (what < 3)
			add(b, what == 1 ? "a-c" : "--1");
		else
			add_byte(b, rule_bytes[below(r, sizeof(rule_bytes) - 1)]);
	}
	if (!chance(r, 5))
		add_byte(b, ']');
}

/* A name with backslashes before what is special, or without. */
static void add_escaped(struct round *r, struct lp_buf *b, const char *name)
{
	for (; *name; name++) {
		if (strchr("*?[\\ #!", *name) && chance(r, 40))
			add_byte(b, '\\');
		add_byte(b, *name);
	}
}

static void add_noise(struct round *r, struct lp_buf *b)
{
	for (size_t n = 1 + below(r, 5); n > 0; n--)
		add_byte(b, rule_bytes[below(r, sizeof(rule_bytes) - 1)]);
}

/* One component of a rule, mostly made from a name that exists. */
static void add_component(struct round *r, struct lp_buf *b)
{
	const char *name = lp_path_base(r->dirs[below(r, r->n_dirs)]);
	size_t len = strlen(name), cut = below(r, len + 1), what = below(r, 16);
	const char *stars = chance(r, 70) ? "*" : "**";

	if (what < 4) {
		add_escaped(r, b, name);
	} else if (what < 6) {
		assert_int_equal(lp_buf_add(b, name, cut), 0);
		add(b, stars);
	} else if (what < 8) {
		add(b, stars);
		add(b, name + cut);
	} else if (what < 10) {
		for (size_t i = 0; i < len; i++)
			add_byte(b, chance(r, 40) ? '?' : name[i]);
	} else if (what < 12) {
		assert_int_equal(lp_buf_add(b, name, cut), 0);
		add_bracket(r, b);
		add(b, name + (cut < len ? cut + 1 : cut));
	} else if (what < 14) {
		add(b, chance(r, 60) ? "**" : "*");
	} else {
		add_noise(r, b);
	}
}

static void add_rule(struct round *r, struct lp_buf *b)
{
	static const char *const endings[] = {" ", "  ", "\\ ", "\\  ", "\r", "\r\r", " \r", "\\"};
	size_t n = 1 + below(r, chance(r, 50) ? 1 : 4);

	if (chance(r, 4))
		return;
	if (chance(r, 25))
		add_byte(b, '!');
	if (chance(r, 3))
		add_byte(b, '#');
	if (chance(r, 20))
		add_byte(b, '/');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			add(b, chance(r, 88) ? "/" : "\\/");
		add_component(r, b);
	}
	if (chance(r, 20))
		add_byte(b, '/');
	if (chance(r, 8))
		add(b, endings[below(r, LP_COUNT_OF(endings))]);
}

static void write_file(const char *path, const struct lp_buf *b)
{
	LP_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, b->data, b->len), 0);
}

/* Appends up to seven lines. The last one of a file need not end. */
static void add_rules(struct round *r, struct lp_buf *text, bool is_first, bool is_last)
{
	size_t n = 1 + below(r, 7);

	if (is_first && chance(r, 10))
		add(text, "\xef\xbb\xbf");
	for (size_t k = 0; k < n; k++) {
		add_rule(r, text);
		if (k + 1 < n || !is_last || !chance(r, 20))
			add_byte(text, '\n');
	}
}

/* The rules of the repository, or of the person, that stand in no directory of it. */
static void make_exclude(struct round *r, const char *name, enum lp_ignore_level level)
{
	LP_AUTO_FREE char *path = lp_xasprintf("%s/%s", r->root, name);
	LP_AUTO_FREE char *source = lp_xasprintf("0%s", name);
	struct lp_buf text = {0};

	if (chance(r, 80))
		add_rules(r, &text, true, true);
	assert_int_equal(
		lp_ignore_set(r->ignore, "", level, source, (const char *)text.data, text.len), 0);
	write_file(path, &text);
	lp_buf_finish(&text);
}

/* Gives directory d rules at every level: to git as one file, to us as one source each. */
static void make_rules(struct round *r, size_t d)
{
	LP_AUTO_FREE char *path = lp_xasprintf("%s/%s/.gitignore", r->root, r->dirs[d]);
	struct lp_buf all = {0};
	unsigned line = 0;

	for (size_t i = 0; i < LP_COUNT_OF(levels); i++) {
		LP_AUTO_FREE char *source =
			lp_xasprintf("%zu%s%s.gitignore", i, r->dirs[d], r->dirs[d][0] ? "/" : "");
		struct lp_buf text = {0};
		bool is_last = i + 1 == LP_COUNT_OF(levels);

		r->first_line[d][i] = line;
		if (chance(r, i == 0 ? 90 : 40))
			add_rules(r, &text, i == 0, is_last);
		/* Names have newlines in them, too. */
		for (size_t k = 0; k < text.len; k++)
			line += text.data[k] == '\n';
		assert_int_equal(lp_ignore_set(r->ignore, r->dirs[d], levels[i], source,
					       (const char *)text.data, text.len),
				 0);
		assert_int_equal(lp_buf_add(&all, text.data, text.len), 0);
		lp_buf_finish(&text);
	}
	write_file(path, &all);
	lp_buf_finish(&all);
}

static void make_tree(struct round *r)
{
	r->dirs[r->n_dirs++] = lp_xstrdup("");
	while (r->n_dirs < MAX_DIRS) {
		char *dir = new_path(r, MAX_DEPTH);
		LP_AUTO_FREE char *path = lp_xasprintf("%s/%s", r->root, dir);

		assert_int_equal(mkdir(path, 0700), 0);
		r->dirs[r->n_dirs++] = dir;
	}
	for (size_t d = 0; d < r->n_dirs; d++) {
		if (d == 0 || chance(r, 15))
			make_rules(r, d);
	}
	for (size_t d = 1; d < r->n_dirs; d++)
		assert_int_equal(lp_buf_add(&r->questions, r->dirs[d], strlen(r->dirs[d]) + 1), 0);
	for (size_t i = 0; i < N_FILES; i++) {
		LP_AUTO_FREE char *path = new_path(r, MAX_DEPTH + 1);

		assert_int_equal(lp_buf_add(&r->questions, path, strlen(path) + 1), 0);
	}
}

/* Runs git in the round's repository; files may be NULL. */
static void run_git(struct round *r, const char *const argv[], const char *in, const char *out)
{
	posix_spawn_file_actions_t actions;
	int status = -1;
	pid_t pid;

	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_addchdir_np(&actions, r->root), 0);
	if (in)
		posix_spawn_file_actions_addopen(&actions, 0, in, O_RDONLY, 0);
	if (out)
		posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(
		posix_spawnp(&pid, "git", &actions, NULL, (char **)(uintptr_t)argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* check-ignore says 1 when nothing is ignored. */
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
}

static bool is_dir_of(const struct round *r, const char *path)
{
	for (size_t d = 0; d < r->n_dirs; d++) {
		if (strcmp(r->dirs[d], path) == 0)
			return true;
	}
	return false;
}

/* The line of git's file that our match stands for. */
static unsigned line_of(const struct round *r, const struct lp_ignore_match *m)
{
	size_t level = (size_t)(m->source[0] - '0');

	if (strcmp(m->source + 1, exclude_name) == 0 || strcmp(m->source + 1, PERSONAL) == 0)
		return m->line;
	for (size_t d = 0; d < r->n_dirs; d++) {
		size_t len = strlen(r->dirs[d]);

		if (lp_path_dir_len(m->source + 1) == len &&
		    strncmp(m->source + 1, r->dirs[d], len) == 0)
			return m->line + r->first_line[d][level];
	}
	fail_msg("a match from nowhere: %s", m->source);
	return 0;
}

/* Compares one record of git (source, line, pattern, path) with what we say. */
static void compare(struct round *r, const char *const git[4])
{
	const char *path = git[3];
	bool is_dir = is_dir_of(r, path);
	struct lp_ignore_match m, leaf;
	bool ignored = lp_ignore_check(r->ignore, path, is_dir, &m);
	bool leaf_ignored = lp_ignore_check_leaf(r->ignore, path, is_dir, &leaf);
	bool git_ignored = git[0][0] && git[2][0] != '!';
	char line[16] = "";

	if (m.source)
		(void)snprintf(line, sizeof(line), "%u", line_of(r, &m));
	if (ignored != git_ignored || strcmp(git[0], m.source ? m.source + 1 : "") != 0 ||
	    strcmp(git[1], line) != 0 || strcmp(git[2], m.pattern ? m.pattern : "") != 0)
		fail_msg("'%s' (%s): git says %d by '%s' line %s '%s', we say %d by '%s' line %s "
			 "'%s'",
			 path, is_dir ? "directory" : "file", git_ignored, git[0], git[1], git[2],
			 ignored, m.source ? m.source : "", line, m.pattern ? m.pattern : "");
	r->n_decided += m.source != NULL;
	/* Then no parent is ignored either, and the leaf alone must say the same. */
	if (!ignored) {
		assert_false(leaf_ignored);
		assert_ptr_equal(leaf.pattern, m.pattern);
	}
}

static size_t compare_all(struct round *r, const char *answers_path)
{
	const char *record[4];
	struct lp_buf b = {0};
	size_t n = 0, at = 0;

	assert_int_equal(lp_read_file(AT_FDCWD, answers_path, &b), 0);
	while (at < b.len) {
		for (size_t i = 0; i < LP_COUNT_OF(record); i++) {
			assert_true(at < b.len);
			record[i] = (const char *)b.data + at;
			at += strnlen(record[i], b.len - at) + 1;
		}
		compare(r, record);
		n++;
	}
	lp_buf_finish(&b);
	return n;
}

static size_t run_round(struct round *r)
{
	static const char *const init[] = {"git", "init", "-q", NULL};
	static const char setting[] = "core.excludesFile=" PERSONAL;
	static const char *const check[] = {
		"git",     "-c", setting, "check-ignore", "--no-index",
		"--stdin", "-z", "-v",    "-n",           NULL,
	};
	const char *tmp = getenv("TMPDIR");
	LP_AUTO_FREE char *in = NULL, *out = NULL;
	size_t n;

	(void)snprintf(r->root, sizeof(r->root), "%.40s/lp-ignore-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(r->root));
	r->ignore = lp_ignore_create();
	assert_non_null(r->ignore);
	run_git(r, init, NULL, NULL);
	in = lp_xasprintf("%s/.git/questions", r->root);
	out = lp_xasprintf("%s/.git/answers", r->root);
	make_tree(r);
	make_exclude(r, exclude_name, LP_IGNORE_EXCLUDE);
	make_exclude(r, PERSONAL, LP_IGNORE_PERSONAL);
	write_file(in, &r->questions);
	run_git(r, check, in, out);
	n = compare_all(r, out);
	assert_int_equal(n, N_FILES + MAX_DIRS - 1);
	lp_buf_finish(&r->questions);
	lp_ignore_destroy(r->ignore);
	for (size_t d = 0; d < r->n_dirs; d++)
		free(r->dirs[d]);
	assert_int_equal(lp_remove_tree(AT_FDCWD, r->root), 0);
	return n;
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void lp_ignore_check__agrees_with_git(void **state)
{
	uint64_t seed = from_env("TEST_SEED", DEFAULT_SEED);
	uint64_t rounds = from_env("TEST_ROUNDS", DEFAULT_ROUNDS);
	size_t n = 0, n_decided = 0;

	(void)state;
	(void)setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
	(void)setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
	(void)unsetenv("GIT_DIR");
	for (uint64_t i = 0; i < rounds; i++) {
		struct round r = {.random = seed + i};

		print_message("seed %" PRIu64 "\n", seed + i);
		n += run_round(&r);
		n_decided += r.n_decided;
	}
	print_message("%zu paths, %zu of them decided by a rule\n", n, n_decided);
	/* Were the rules to miss everything, agreeing would mean little. */
	assert_true(n_decided * 5 > n);
	assert_true(rounds != DEFAULT_ROUNDS || n >= LEAST_PATHS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lp_ignore_check__agrees_with_git),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
