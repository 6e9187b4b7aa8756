/* cli/detect.c: rows of marks and commands; the first row whose mark is there wins. */
#include "cli/detect.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <ctype.h>
#include <dirent.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

/* command: what to run when `mark` is there; NULL: make asks the file itself. */
struct row {
	const char *name;
	const char *mark;
	const char *command;
	char *(*make)(int dir_fd);
	const char *rules;
	const char *ignore;
};

static char *from_procfile(int dir_fd);
static char *from_package_json(int dir_fd);
static char *from_go_module(int dir_fd);
static char *from_makefile(int dir_fd);

#define MAKE_NAME     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
#define PYTHON_IGNORE "  - __pycache__/\n  - \"*.pyc\"\n  - .venv/\n"

static const struct row rows[] = {
	{"Procfile", "Procfile", NULL, from_procfile, "", ""},
	{"Python (Django)", "manage.py", "python3 manage.py runserver --noreload 127.0.0.1:$PORT",
	 NULL, "", PYTHON_IGNORE},
	{"Python", "app.py", "python3 app.py", NULL, "", PYTHON_IGNORE},
	{"Python", "main.py", "python3 main.py", NULL, "", PYTHON_IGNORE},
	{"Python", "server.py", "python3 server.py", NULL, "", PYTHON_IGNORE},
	{"Node.js", "package.json", NULL, from_package_json,
	 "  - match: [package.json, package-lock.json]\n    run: npm install\n",
	 "  - node_modules/\n"},
	{"Node.js", "server.js", "node server.js", NULL, "", "  - node_modules/\n"},
	{"Node.js", "index.js", "node index.js", NULL, "", "  - node_modules/\n"},
	{"Node.js", "app.js", "node app.js", NULL, "", "  - node_modules/\n"},
	{"Ruby", "config.ru", "bundle exec rackup --host 127.0.0.1 --port $PORT", NULL,
	 "  - match: [Gemfile, Gemfile.lock]\n    run: bundle install\n", "  - vendor/bundle/\n"},
	{"Ruby", "app.rb", "ruby app.rb", NULL, "", ""},
	{"Go", "go.mod", NULL, from_go_module,
	 "  - match: [\"*.go\", go.mod, go.sum]\n    run: go build -o ./app .\n", "  - /app\n"},
	{"PHP", "public/index.php", "php -S 127.0.0.1:$PORT -t public", NULL,
	 "  - match: \"*.php\"\n    action: browser-reload\n", "  - vendor/\n"},
	{"PHP", "index.php", "php -S 127.0.0.1:$PORT", NULL,
	 "  - match: \"*.php\"\n    action: browser-reload\n", "  - vendor/\n"},
	{"C", "Makefile", NULL, from_makefile,
	 "  - match: [\"*.c\", \"*.h\", Makefile]\n    run: make\n", "  - \"*.o\"\n"},
	{"static site", "index.html", "python3 -m http.server --bind 127.0.0.1 $PORT", NULL,
	 "  - match: \"*\"\n    action: browser-reload\n", ""},
};

static int read_text(int dir_fd, const char *name, struct lp_buf *text)
{
	int r;

	lp_buf_init(text, (size_t)256 * 1024);
	r = lp_read_file(dir_fd, name, text);
	return r < 0 ? r : lp_buf_text(text) ? 0 : -ENOMEM;
}

/* The line "web: COMMAND". */
static char *from_procfile(int dir_fd)
{
	struct lp_buf text;
	char *command = NULL;

	if (read_text(dir_fd, "Procfile", &text) == 0) {
		const char *line = (const char *)text.data;

		while (line && !command) {
			if (strncmp(line, "web:", 4) == 0) {
				line += 4 + strspn(line + 4, " \t");
				command = lp_xstrndup(line, strcspn(line, "\r\n"));
			}
			line = strchr(line, '\n');
			line = line ? line + 1 : NULL;
		}
	}
	lp_buf_finish(&text);
	return command;
}

static char *from_package_json(int dir_fd)
{
	struct lp_buf text;
	json_t *o = NULL;
	const char *main_file;
	char *command;

	if (read_text(dir_fd, "package.json", &text) == 0)
		o = json_loads((const char *)text.data, 0, NULL);
	main_file = json_string_value(json_object_get(o, "main"));
	if (json_is_string(json_object_get(json_object_get(o, "scripts"), "start")))
		command = lp_xstrdup("npm start");
	else
		command = lp_xasprintf("node %s", main_file ? main_file
						  : faccessat(dir_fd, "server.js", F_OK, 0) == 0
							  ? "server.js"
							  : "index.js");
	json_decref(o);
	lp_buf_finish(&text);
	return command;
}

static char *from_go_module(int dir_fd)
{
	(void)dir_fd;
	return lp_xstrdup("./app");
}

static bool has_c_sources(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	bool found = false;

	if (!dir) {
		lp_auto_close(&fd);
		return false;
	}
	while (!found && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		found = len > 2 && strcmp(entry->d_name + len - 2, ".c") == 0;
	}
	(void)closedir(dir);
	return found;
}

/* The program that the rule in `line` is about, "NAME: …" with a name of len bytes; for "all: NAME
 * …" the first that it needs. Owned; NULL when that is no plain name. */
static char *program_of(const char *line, size_t len)
{
	if (len == 3 && strncmp(line, "all", len) == 0) {
		line += len + 1;
		line += strspn(line, " \t");
		len = strspn(line, MAKE_NAME);
		if (len == 0 || (line[len] && !strchr(" \t\r\n", line[len])))
			return NULL;
	}
	return lp_xasprintf("./%.*s", (int)len, line);
}

/* Of its first rule, which is what make builds, when there is C to build it of. */
static char *from_makefile(int dir_fd)
{
	struct lp_buf text;
	char *command = NULL;
	bool found = false;

	if (read_text(dir_fd, "Makefile", &text) == 0 && has_c_sources(dir_fd)) {
		const char *line = (const char *)text.data;

		while (line && !found) {
			size_t len = strspn(line, MAKE_NAME);

			found = len > 0 && line[len] == ':' && line[len + 1] != '=';
			if (found)
				command = program_of(line, len);
			line = strchr(line, '\n');
			line = line ? line + 1 : NULL;
		}
	}
	lp_buf_finish(&text);
	return command;
}

int lp_detect(struct lp_detected *out, int dir_fd)
{
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
		const struct row *row = &rows[i];
		char *command;

		if (faccessat(dir_fd, row->mark, F_OK, 0) < 0)
			continue;
		command = row->make ? row->make(dir_fd) : lp_xstrdup(row->command);
		if (!command)
			continue;
		*out = (struct lp_detected){.name = row->name,
					    .why = row->mark,
					    .command = command,
					    .rules = row->rules,
					    .ignore = row->ignore};
		return 0;
	}
	*out = (struct lp_detected){.name = "unknown",
				    .why = "",
				    .rules = "",
				    .ignore = "",
				    .command = lp_xstrdup("./start.sh")};
	return -ENOENT;
}

void lp_detected_finish(struct lp_detected *d)
{
	free(d->command);
	*d = (struct lp_detected){0};
}

char *lp_yaml_quote(const char *text)
{
	struct lp_buf out = {0};
	char *quoted;
	int r = lp_buf_add(&out, "\"", 1);

	for (const char *p = text; *p && r == 0; p++) {
		if (*p == '"' || *p == '\\')
			r = lp_buf_addf(&out, "\\%c", *p);
		else if ((unsigned char)*p < 0x20)
			r = lp_buf_addf(&out, "\\x%02x", (unsigned char)*p);
		else
			r = lp_buf_add(&out, p, 1);
	}
	if (r < 0 || lp_buf_add(&out, "\"", 1) < 0 || !lp_buf_text(&out))
		abort();
	quoted = lp_xstrdup((const char *)out.data);
	lp_buf_finish(&out);
	return quoted;
}
