/* cli/cmd_init.c: livepush init: a livepush.yml that fits, with its keys explained. */
#include "cli/command.h"
#include "cli/detect.h"
#include "cli/output.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"
#include "common/conf/conf.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define NAME "livepush.yml"

/* The directory's name as an app's name: [A-Za-z0-9][A-Za-z0-9._-]{0,62}. Owned by the caller. */
static char *app_name(const char *dir)
{
	LP_AUTO_FREE char *real = realpath(dir, NULL);
	char *name = lp_xstrndup(lp_path_base(real ? real : dir), 63);

	for (char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && (!strchr("._-", *p) || p == name))
			*p = p == name ? 'a' : '-';
	if (!name[0]) {
		free(name);
		name = lp_xstrdup("app");
	}
	return name;
}

static int write_text(struct lp_buf *out, const char *app, const struct lp_detected *d)
{
	LP_AUTO_FREE char *command = lp_yaml_quote(d->command);

	return lp_buf_addf(
		out,
		"# What livepush runs and how. 'livepush mount . %s' starts it.\n"
		"app: %s\n"
		"\n"
		"# The app itself. It must listen on 127.0.0.1, port $PORT.\n"
		"command: %s\n"
		"\n"
		"# Its environment, beside yours.\n"
		"#env:\n"
		"#  DEBUG: \"1\"\n"
		"\n"
		"# Left out of the mirror, as in .gitignore (which is honoured, too).\n"
		"%signore:\n%s"
		"\n"
		"# What a change does; the first match counts. Without a match: restart.\n"
		"# action: restart, none, browser-reload, signal (with signal: HUP), run (with "
		"run:\n"
		"# COMMAND).\n"
		"%srules:\n%s"
		"\n"
		"# When a new generation may take over: tcp (it listens), http, process (it still\n"
		"# runs after a second), or command (a command of yours ends with status 0).\n"
		"#health:\n"
		"#  kind: http\n"
		"#  path: /\n"
		"#  timeout: 30s\n"
		"\n"
		"# swap: the new one starts beside the old. stop-start: one at a time.\n"
		"#restart:\n"
		"#  strategy: swap\n"
		"#  grace: 10s\n"
		"\n"
		"# Instances elsewhere: 'livepush watch . staging'.\n"
		"#targets:\n"
		"#  staging:\n"
		"#    url: wss://%s.example.org\n"
		"#    secret_env: STAGING_SECRET\n",
		app, app, command, d->ignore[0] ? "" : "#",
		d->ignore[0] ? d->ignore : "#  - tmp/\n", d->rules[0] ? "" : "#",
		d->rules[0] ? d->rules : "#  - match: \"*.css\"\n#    action: browser-reload\n",
		app);
}

/* Written beside and renamed, so that a watch never reads half of it. */
static int store(int dir_fd, const struct lp_buf *text, bool force, struct lp_err *err)
{
	const char *temporary = "." NAME ".new";
	LP_AUTO_CLOSE int fd = openat(dir_fd, temporary,
				      O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
	int r;

	if (fd < 0)
		return lp_err_set(err, errno, "cannot write " NAME);
	r = lp_write_all(fd, text->data, text->len);
	/* link refuses an existing name, rename replaces it. */
	if (r == 0 && force && renameat(dir_fd, temporary, dir_fd, NAME) < 0)
		r = -errno;
	if (r == 0 && !force && linkat(dir_fd, temporary, dir_fd, NAME, 0) < 0)
		r = -errno;
	(void)unlinkat(dir_fd, temporary, 0);
	if (r == -EEXIST)
		return lp_err_say(err, EEXIST, "there is a " NAME " already; --force replaces it");
	return r < 0 ? lp_err_set(err, -r, "cannot write " NAME) : 0;
}

/* What is written has to be readable by ourselves. */
static int check(const struct lp_buf *text, struct lp_err *err)
{
	struct lp_conf conf;
	int r = lp_conf_parse(&conf, (const char *)text->data, text->len, NAME, err);

	if (r == 0)
		lp_conf_finish(&conf);
	return r;
}

int lp_cmd_init(const struct lp_args *args)
{
	const char *dir = args->n_words > 0 ? args->words[0] : ".";
	LP_AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	LP_AUTO_FREE char *app = NULL;
	struct lp_detected d;
	struct lp_buf text = {0};
	struct lp_err err = {0};
	bool known;
	int r;

	if (fd < 0)
		return lp_out_fail(args->json, "%s: %s", dir, strerror(errno));
	app = app_name(dir);
	known = lp_detect(&d, fd) == 0;
	r = write_text(&text, app, &d);
	if (r == 0)
		r = check(&text, &err);
	if (r == 0)
		r = store(fd, &text, lp_arg(args, "force") != NULL, &err);
	lp_buf_finish(&text);
	if (r < 0) {
		lp_detected_finish(&d);
		return lp_out_fail(args->json, "%s: %s", dir, err.msg);
	}
	if (args->json)
		(void)lp_out_json(json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", "written", "file",
					    NAME, "app", app, "kind", d.name, "command",
					    d.command));
	else if (known)
		lp_out_say("%s/%s: %s (%s); start it with 'livepush mount %s %s'", dir, NAME,
			   d.name, d.why, dir, app);
	else
		lp_out_say("%s/%s: written, but the kind of project is unknown: set its command",
			   dir, NAME);
	lp_detected_finish(&d);
	return LP_EXIT_OK;
}
