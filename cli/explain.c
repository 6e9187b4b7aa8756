/* cli/explain.c: reads the rule files along a path and asks them. */
#include "cli/explain.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"
#include "sync/ignore.h"
#include "watcher/personal.h"
#include "watcher/rules.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CONF_NAME "livepush.yml"

char *lp_explain_absolute(const char *path)
{
	LP_AUTO_FREE char *cwd = path[0] == '/' ? lp_xstrdup("") : realpath(".", NULL);
	LP_AUTO_FREE char *all = cwd ? lp_xasprintf("%s/%s", cwd, path) : NULL;
	size_t len = all ? strlen(all) : 0, cut;

	while (len > 1 && all[len - 1] == '/')
		all[--len] = '\0';
	if (all && (strcmp(lp_path_base(all), ".") == 0 || strcmp(lp_path_base(all), "..") == 0))
		return realpath(all, NULL);
	/* The longest part that is there, without the last component, is resolved. */
	for (cut = len; all && cut > 0;) {
		LP_AUTO_FREE char *real = NULL;

		while (cut > 0 && all[cut] != '/')
			cut--;
		all[cut] = '\0';
		real = realpath(cut > 0 ? all : "/", NULL);
		all[cut] = '/';
		if (real)
			return lp_xasprintf("%s%s", strcmp(real, "/") == 0 ? "" : real, all + cut);
		if (cut > 0)
			cut--;
	}
	return NULL;
}

static bool has(const char *dir, const char *name)
{
	LP_AUTO_FREE char *path = lp_xasprintf("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

char *lp_explain_workspace(const char *absolute_path)
{
	LP_AUTO_FREE char *dir = lp_xstrdup(absolute_path);
	char *slash;

	while ((slash = strrchr(dir, '/')) && slash > dir) {
		*slash = '\0';
		if (has(dir, CONF_NAME) || has(dir, ".git"))
			return lp_take_ptr(&dir);
	}
	return realpath(".", NULL);
}

static int load_dir(struct lp_ignore *ig, int root_fd, const char *dir, struct lp_err *err)
{
	LP_AUTO_CLOSE int fd =
		lp_open_beneath(root_fd, dir[0] ? dir : ".", O_RDONLY | O_DIRECTORY, 0);
	char path[LP_PATH_MAX_BYTES + 1];
	int r = 0;

	if (fd < 0) /* below nothing there are no rules */
		return fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR
			       ? 0
			       : lp_err_set(err, -fd, "%s: cannot be read", dir);
	for (int level = 0; level < LP_IGNORE_LEVEL_COUNT_ && r == 0; level++) {
		const char *name = lp_ignore_file_of((enum lp_ignore_level)level, dir);
		struct lp_buf text;

		if (!name || lp_path_join(path, sizeof(path), dir, name) < 0)
			continue;
		lp_buf_init(&text, LP_RULES_MAX_BYTES);
		r = lp_rules_read(fd, dir, (enum lp_ignore_level)level, &text);
		if (r < 0)
			r = lp_err_set(err, -r, "%s: cannot be read", path);
		else if (text.len > 0 && lp_ignore_set(ig, dir, (enum lp_ignore_level)level, path,
						       (const char *)text.data, text.len) < 0)
			r = lp_err_set(err, ENOMEM, "%s", path);
		lp_buf_finish(&text);
	}
	return r;
}

/* The lines of `ignore` as one text, one a line. */
static int load_conf(struct lp_ignore *ig, const struct lp_conf *conf)
{
	struct lp_buf text = {0};
	int r = 0;

	for (size_t i = 0; i < conf->n_ignore && r == 0; i++)
		r = lp_buf_addf(&text, "%s\n", conf->ignore[i]);
	if (r == 0 && text.len > 0)
		r = lp_ignore_set(ig, "", LP_IGNORE_CONFIG, CONF_NAME, (const char *)text.data,
				  text.len);
	lp_buf_finish(&text);
	return r;
}

/* git's core.excludesFile, whose name goes into *excludes. */
static int load_personal(struct lp_ignore *ig, int root_fd, char **excludes, struct lp_err *err)
{
	LP_AUTO_FREE char *root_path = lp_xasprintf("/proc/self/fd/%d", root_fd);
	LP_AUTO_FREE char *real = realpath(root_path, NULL);
	struct lp_personal personal = {0};
	struct lp_buf text;
	int r = 0;

	if (!real)
		return lp_err_set(err, errno, "the workspace cannot be found");
	lp_personal_ask(&personal, real);
	lp_personal_wait(&personal, real);
	lp_buf_init(&text, LP_RULES_MAX_BYTES);
	r = lp_personal_read(&personal, &text);
	if (r < 0)
		r = lp_err_set(err, -r, "%s: cannot be read", personal.path);
	else if (text.len > 0 && lp_ignore_set(ig, "", LP_IGNORE_PERSONAL, personal.path,
					       (const char *)text.data, text.len) < 0)
		r = lp_err_set(err, ENOMEM, "%s", personal.path);
	lp_buf_finish(&text);
	*excludes = personal.path ? lp_xstrdup(personal.path) : NULL;
	lp_personal_finish(&personal);
	return r;
}

/* The files of the directories along the path. */
static int load_dirs(struct lp_ignore *ig, int root_fd, const char *path, struct lp_err *err)
{
	LP_AUTO_FREE char *dir = lp_xstrdup(path);
	int r = load_dir(ig, root_fd, "", err);

	for (size_t i = 0; dir[i] && r == 0; i++) {
		if (dir[i] != '/')
			continue;
		dir[i] = '\0';
		r = load_dir(ig, root_fd, dir, err);
		dir[i] = '/';
	}
	return r;
}

unsigned lp_explain_line(const char *yml, const char *pattern)
{
	unsigned number = 1, at = 0;

	for (const char *line = yml; *line; number++) {
		size_t len = strcspn(line, "\n");

		if (strncmp(line, "ignore:", 7) == 0)
			at = number;
		else if (at > 0 && strchr("abcdefghijklmnopqrstuvwxyz", line[0]))
			break; /* the next key */
		if (at > 0 && memmem(line, len, pattern, strlen(pattern)))
			return number;
		line += len + (line[len] == '\n');
	}
	return at;
}

static void take_rule(struct lp_explain_rule *out, const struct lp_ignore_match *match,
		      const char *above, const char *yml)
{
	bool built_in = strcmp(match->source, "built-in rules") == 0;
	bool from_conf = strcmp(match->source, CONF_NAME) == 0;

	*out = (struct lp_explain_rule){
		.file = lp_xstrdup(match->source),
		.line = built_in    ? 0
			: from_conf ? lp_explain_line(yml, match->pattern)
				    : match->line,
		.pattern = lp_xstrdup(match->pattern),
		.above = above ? lp_xstrdup(above) : NULL,
		.negated = match->negated,
	};
}

/* Asks from the top down, so that a directory that is ignored is named. */
static void ask(struct lp_explain *out, const struct lp_ignore *ig, const char *path, bool is_dir,
		const char *yml)
{
	LP_AUTO_FREE char *prefix = lp_xstrdup(path);
	struct lp_ignore_match match;

	for (size_t i = 0; path[i] && !out->ignored; i++) {
		if (path[i] != '/')
			continue;
		prefix[i] = '\0';
		out->ignored = lp_ignore_check_leaf(ig, prefix, true, &match);
		if (out->ignored)
			take_rule(&out->rule, &match, prefix, yml);
		prefix[i] = '/';
	}
	if (out->ignored)
		return;
	out->ignored = lp_ignore_check_leaf(ig, path, is_dir, &match);
	if (match.source)
		take_rule(&out->rule, &match, NULL, yml);
}

/* What is there, and whether it is of a kind that is mirrored. */
static void look(struct lp_explain *out, int root_fd, const char *path, bool *is_dir)
{
	LP_AUTO_CLOSE int fd = lp_open_beneath_link(root_fd, path);
	char target[PATH_MAX];
	struct stat st;
	ssize_t n;

	*is_dir = false;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	out->is_there = true;
	*is_dir = S_ISDIR(st.st_mode);
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(fd, "", target, sizeof(target));
		if (n < 0 || !lp_path_link_is_inside(path, target, (size_t)n))
			out->left_out = "it is a link that leads out of the workspace";
	} else if (!S_ISREG(st.st_mode) && !*is_dir) {
		out->left_out = "it is a socket, fifo or device";
	}
}

static void find_action(struct lp_explain *out, const struct lp_conf *conf, const char *path)
{
	out->action = LP_ACTION_RESTART;
	for (size_t i = 0; i < conf->n_rules && out->number == 0; i++) {
		struct lp_globs *globs = lp_globs_create((const char *const *)conf->rules[i].match,
							 conf->rules[i].n_match);

		if (globs && lp_globs_match(globs, path)) {
			out->action = conf->rules[i].action;
			out->number = i + 1;
		}
		lp_globs_destroy(globs);
	}
}

int lp_explain_path(struct lp_explain *out, int root_fd, const char *path,
		    const struct lp_conf *conf, const char *yml, struct lp_err *err)
{
	struct lp_ignore *ig = lp_ignore_create();
	bool is_dir;
	int r;

	*out = (struct lp_explain){0};
	if (!ig)
		return lp_err_set(err, ENOMEM, "%s", path);
	r = load_personal(ig, root_fd, &out->excludes, err);
	if (r == 0)
		r = load_dirs(ig, root_fd, path, err);
	if (r == 0 && (lp_ignore_add_builtin(ig) < 0 || load_conf(ig, conf) < 0))
		r = lp_err_set(err, ENOMEM, "%s", path);
	if (r == 0) {
		look(out, root_fd, path, &is_dir);
		ask(out, ig, path, is_dir, yml);
		find_action(out, conf, path);
	}
	lp_ignore_destroy(ig);
	if (r < 0)
		lp_explain_finish(out);
	return r;
}

void lp_explain_finish(struct lp_explain *e)
{
	free(e->rule.file);
	free(e->rule.pattern);
	free(e->rule.above);
	free(e->excludes);
	*e = (struct lp_explain){0};
}
