/* cli/cmd_why.c: livepush why: what leaves a path out, or what saving it does, and who has it. */
#include "cli/command.h"
#include "cli/control.h"
#include "cli/explain.h"
#include "cli/hex.h"
#include "cli/names.h"
#include "cli/observer.h"
#include "cli/output.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 5000u

/* sessions: the answers of those that mirror the path's workspace. excludes: git's
 * core.excludesFile as it is now, NULL: none. All owned. */
struct why {
	const struct lp_args *args;
	char *absolute;
	char *dir;        /* the workspace */
	const char *path; /* in it; points into absolute */
	json_t *sessions;
	char *excludes;
	bool failed;
};

static json_t *path_json(const char *path)
{
	return lp_out_text(path, strlen(path));
}

/* The part of `absolute` below dir; "" for dir itself, NULL when it is elsewhere. */
static const char *part_below(const char *absolute, const char *dir)
{
	size_t len = strlen(dir);

	if (len == 0 || strncmp(absolute, dir, len) != 0)
		return NULL;
	if (absolute[len] == '\0')
		return absolute + len;
	return absolute[len] == '/' ? absolute + len + 1 : NULL;
}

/* Keeps the session when the path is in its workspace, or in the mount of it. */
static void consider(struct why *w, json_t *session)
{
	const char *below = part_below(w->absolute, lp_json_text(session, "dir"));

	if (!below)
		below = part_below(w->absolute, lp_json_text(session, "at"));
	/* A workspace within another one: the inner one's sessions. */
	if (!below || (w->path && strlen(below) > strlen(w->path)))
		return;
	if (!w->path || strlen(below) < strlen(w->path)) {
		(void)json_array_clear(w->sessions);
		free(w->dir);
		w->dir = lp_xstrdup(lp_json_text(session, "dir"));
		w->path = below;
	}
	(void)json_array_append(w->sessions, session);
}

static void on_session(void *ctx, const struct lp_session_addr *addr)
{
	json_t *answer = NULL;

	if (lp_control_ask_at(&answer, addr, "session", json_pack("{s:s}", "cmd", "endpoints"),
			      TIMEOUT_MS, NULL) < 0)
		return; /* it ended meanwhile */
	consider(ctx, answer);
	json_decref(answer);
}

/* Finds out in which workspace the path is. Returns 0 or -errno. */
static int find_workspace(struct why *w, const char *app, struct lp_err *err)
{
	json_t *answer = NULL;
	bool is_known;
	int r = 0;

	if (app)
		r = lp_control_ask(&answer, app, json_pack("{s:s}", "cmd", "endpoints"), TIMEOUT_MS,
				   err);
	else
		lp_runtime_each(on_session, w);
	if (r == 0 && app)
		consider(w, answer);
	if (r == 0 && app && !w->path)
		r = lp_err_say(err, ENOENT, "%s: is not in %s, the workspace of %s",
			       w->args->words[0], lp_json_text(answer, "dir"), app);
	is_known = answer != NULL;
	json_decref(answer);
	/* Without a session only the rules can be told. */
	if (r < 0 && (r != -ENOENT || is_known))
		return r;
	if (!w->dir) {
		w->dir = lp_explain_workspace(w->absolute);
		w->path = w->dir ? part_below(w->absolute, w->dir) : NULL;
	}
	if (!w->path)
		return lp_err_say(err, ENOENT,
				  "%s: is in no workspace: neither a session nor a livepush.yml or "
				  ".git above it tells of one",
				  w->args->words[0]);
	if (!w->path[0])
		return lp_err_say(err, EINVAL, "%s: is the workspace itself; name what is in it",
				  w->args->words[0]);
	if (!lp_path_is_clean(w->path, strlen(w->path)))
		return lp_err_say(err, EINVAL, "%s: is no path that can be mirrored",
				  w->args->words[0]);
	return 0;
}

/* "restarts the app", and by which rule. */
static void describe_action(const struct lp_explain *e, const struct lp_conf *conf,
			    struct lp_buf *out)
{
	const struct lp_conf_rule *rule = e->number ? &conf->rules[e->number - 1] : NULL;
	int r = 0;

	switch (e->action) {
	case LP_ACTION_RESTART:
		r = lp_buf_addf(out, "restarts the app");
		break;
	case LP_ACTION_BROWSER_RELOAD:
		r = lp_buf_addf(out, "has browsers reload and leaves the app alone");
		break;
	case LP_ACTION_NONE:
		r = lp_buf_addf(out, "is sent and does nothing else");
		break;
	case LP_ACTION_SIGNAL:
		r = lp_buf_addf(out, "sends the app SIG%s", sigabbrev_np(rule ? rule->signo : 0));
		break;
	case LP_ACTION_RUN:
		r = lp_buf_addf(out, "runs '");
		for (size_t i = 0; rule && i < rule->run.n && r == 0; i++)
			r = lp_buf_addf(out, "%s%s", i ? " " : "", rule->run.argv[i]);
		if (r == 0)
			r = lp_buf_addf(out, "' and restarts the app");
		break;
	case LP_ACTION_COUNT_:
		break;
	}
	if (r == 0 && rule)
		r = lp_buf_addf(out, " (rule %zu of livepush.yml, match '%s'%s)", e->number,
				rule->match[0], rule->n_match > 1 ? " and others" : "");
	else if (r == 0)
		r = lp_buf_addf(out, " (no rule of livepush.yml says otherwise)");
	if (r < 0)
		lp_buf_finish(out); /* no memory: nothing is said */
}

static void print_rules(const struct why *w, const struct lp_explain *e, const char *does)
{
	const struct lp_explain_rule *rule = &e->rule;

	if (rule->file && rule->line)
		(void)printf("%s: %s%s%s by %s:%u: %s\n", w->path,
			     rule->negated ? "taken in" : "ignored", rule->above ? ", with " : "",
			     rule->above ? rule->above : "", rule->file, rule->line, rule->pattern);
	else if (rule->file)
		(void)printf("%s: %s%s%s by a built-in rule: %s\n", w->path,
			     rule->negated ? "taken in" : "ignored", rule->above ? ", with " : "",
			     rule->above ? rule->above : "", rule->pattern);
	if (e->ignored)
		return;
	if (e->left_out)
		(void)printf("%s: left out: %s\n", w->path, e->left_out);
	else
		(void)printf("%s: mirrored%s; a save of it %s\n", w->path,
			     e->is_there ? "" : ", but not there now", does);
}

static void print_rules_json(const struct why *w, const struct lp_explain *e, const char *does)
{
	static const char *const actions[LP_ACTION_COUNT_] = {
		[LP_ACTION_RESTART] = "restart",
		[LP_ACTION_NONE] = "none",
		[LP_ACTION_BROWSER_RELOAD] = "browser-reload",
		[LP_ACTION_SIGNAL] = "signal",
		[LP_ACTION_RUN] = "run",
	};
	const struct lp_explain_rule *rule = &e->rule;
	json_t *o = json_pack("{s:s, s:o, s:o, s:b, s:b, s:s*}", "event", "why", "path",
			      path_json(w->path), "dir", path_json(w->dir), "ignored", e->ignored,
			      "there", e->is_there, "left_out", e->left_out);

	if (rule->file)
		(void)json_object_set_new(
			o, "ignore_rule",
			json_pack("{s:o, s:I, s:o, s:b, s:o*}", "file", path_json(rule->file),
				  "line", (json_int_t)rule->line, "pattern",
				  path_json(rule->pattern), "negated", rule->negated, "above",
				  rule->above ? path_json(rule->above) : NULL));
	if (!e->ignored && !e->left_out) {
		(void)json_object_set_new(o, "action", json_string(actions[e->action]));
		(void)json_object_set_new(o, "rule", json_integer((json_int_t)e->number));
		(void)json_object_set_new(o, "does", path_json(does));
	}
	(void)lp_out_json(o);
}

/* Says what the rules make of it. Returns whether it is mirrored, or -errno. */
static int explain_rules(struct why *w, struct lp_err *err)
{
	LP_AUTO_CLOSE int root = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct lp_buf yml, does = {0};
	struct lp_explain e;
	struct lp_conf conf;
	int r;

	if (root < 0)
		return lp_err_set(err, errno, "%s", w->dir);
	r = lp_conf_load(&conf, root, "livepush.yml", err);
	if (r == -ENOENT)
		lp_conf_init(&conf);
	else if (r < 0)
		return lp_err_wrap(err, r, "%s", w->dir);
	lp_buf_init(&yml, LP_CONF_FILE_MAX_BYTES);
	if (r == 0 && lp_read_file(root, "livepush.yml", &yml) < 0)
		yml.len = 0; /* it went away; its lines are not known */
	r = lp_explain_path(&e, root, w->path, &conf, yml.len > 0 ? lp_buf_text(&yml) : "", err);
	if (r == 0) {
		describe_action(&e, &conf, &does);
		if (w->args->json)
			print_rules_json(w, &e, does.data ? lp_buf_text(&does) : "");
		else
			print_rules(w, &e, does.data ? lp_buf_text(&does) : "");
		r = !e.ignored && !e.left_out;
		w->excludes = lp_take_ptr(&e.excludes);
		lp_explain_finish(&e);
	}
	lp_buf_finish(&does);
	lp_buf_finish(&yml);
	lp_conf_finish(&conf);
	return r;
}

/* What one session knows; asked is its answer, instances the states of its instances. */
struct holders {
	const struct why *w;
	const char *app;
	const json_t *asked;
	struct lp_names names;
};

static void on_up(void *ctx, struct lp_link *link, const char *instance)
{
	const struct lp_msg msg = {.kind = LP_MSG_ASK};
	struct holders *h = ctx;

	lp_names_set(&h->names, link, instance);
	if (lp_link_send(link, &msg) < 0)
		return; /* it went down, which is reported */
}

static void print_holder(const struct holders *h, const char *instance, const char *digest,
			 const char *state, uint64_t revision)
{
	if (h->w->args->json)
		(void)lp_out_json(json_pack(
			"{s:s, s:o, s:o, s:s, s:s, s:I, s:s?}", "event", "holds", "app",
			path_json(h->app), "path", path_json(h->w->path), "instance", instance,
			"state", state, "revision", (json_int_t)revision, "digest", digest));
	else
		(void)printf("  %s: revision %llu, %s\n", instance, (unsigned long long)revision,
			     digest ? digest : state);
}

/* Trees with the same root digest are the same in everything, so this instance has of the path what
 * the workspace has. With another one a change is on its way, or was withheld. */
static bool on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	const struct holders *h = ctx;
	const json_t *entry = json_object_get(h->asked, "entry");
	const char *instance = lp_names_of(&h->names, link);
	char hex[LP_DIGEST_HEX_BYTES];
	struct lp_digest root;

	if (msg->kind != LP_MSG_STATUS)
		return false;
	memcpy(root.b, msg->u.status.root, sizeof(root.b));
	lp_digest_hex(&root, hex);
	if (strcmp(hex, lp_json_text(h->asked, "root")) != 0)
		print_holder(h, instance, NULL, "behind: its tree is not the workspace's now",
			     msg->u.status.revision);
	else if (entry)
		print_holder(h, instance, lp_json_text(entry, "digest"), "equal",
			     msg->u.status.revision);
	else
		print_holder(h, instance, NULL, "does not have it", msg->u.status.revision);
	return true;
}

static void on_down(void *ctx, struct lp_link *link, const char *reason)
{
	const struct holders *h = ctx;

	(void)lp_out_fail(h->w->args->json, "%s: %s: %s", h->app, lp_names_of(&h->names, link),
			  reason);
}

/* The file whose rules of a person the session goes by, when that is another one than git names
 * now;
 * "" when it has none. NULL: it is the same. Owned. */
static char *other_excludes(const struct why *w, const json_t *asked)
{
	const char *hex = json_string_value(json_object_get(asked, "excludes"));
	char *used = hex ? lp_hex_decode(hex) : lp_xstrdup("");

	if (used && strcmp(used, w->excludes ? w->excludes : "") != 0)
		return used;
	free(used);
	return NULL;
}

static void say_excludes(const struct why *w, const char *app, const char *used)
{
	LP_AUTO_FREE char *now = lp_out_printable(w->excludes ? w->excludes : "no file");
	LP_AUTO_FREE char *then = lp_out_printable(used[0] ? used : "no file");

	(void)printf(
		"%s: goes by %s, which was core.excludesFile when it began; now that is %s: start "
		"it anew\n",
		app, then, now);
}

static void print_session(const struct why *w, const char *app, const json_t *asked)
{
	const json_t *entry = json_object_get(asked, "entry");
	json_int_t carried = json_integer_value(json_object_get(asked, "carried"));
	LP_AUTO_FREE char *other = other_excludes(w, asked);

	if (w->args->json) {
		(void)lp_out_json(json_pack(
			"{s:s, s:o, s:o, s:I, s:I, s:O*, s:o*}", "event", "carried", "app",
			path_json(app), "path", path_json(w->path), "revision", carried, "newest",
			json_integer_value(json_object_get(asked, "revision")), "entry",
			(json_t *)(uintptr_t)entry, "excludes", other ? path_json(other) : NULL));
		return;
	}
	if (other)
		say_excludes(w, app, other);
	if (carried > 0)
		(void)printf("%s: carried last by revision %lld", app, (long long)carried);
	else
		(void)printf("%s: not sent since the session began", app);
	if (entry)
		(void)printf("; %s of %lld bytes, digest %s\n", lp_json_text(entry, "kind"),
			     (long long)json_integer_value(json_object_get(entry, "size")),
			     lp_json_text(entry, "digest"));
	else
		(void)printf("; the session knows of nothing there\n");
}

/* Asks one session, then its instances. */
static void ask_session(struct why *w, const char *app)
{
	struct holders h = {.w = w, .app = app};
	const struct lp_observer_ops ops = {
		.on_up = on_up, .on_message = on_message, .on_down = on_down, .ctx = &h};
	LP_AUTO_FREE char *hex = lp_hex_encode(w->path);
	json_t *answer = NULL, *session = NULL;
	struct lp_target target;
	struct lp_err err = {0};
	int missing = -1;

	if (lp_control_ask(&answer, app, json_pack("{s:s, s:s}", "cmd", "path", "path", hex),
			   TIMEOUT_MS, &err) < 0 ||
	    !lp_control_is_ok(answer, app, &err) ||
	    lp_observer_find(&target, &session, app, NULL, &err) < 0) {
		(void)lp_out_fail(w->args->json, "%s", err.msg);
		json_decref(answer);
		w->failed = true;
		return;
	}
	print_session(w, app, answer);
	h.asked = answer;
	lp_names_init(&h.names, target.n_urls);
	missing = lp_observer_run(&target, TIMEOUT_MS, &ops, NULL, &err);
	if (missing < 0)
		(void)lp_out_fail(w->args->json, "%s", err.msg);
	else if (missing > 0)
		(void)lp_out_fail(w->args->json, "%s: %d of its %zu instances gave no answer", app,
				  missing, target.n_urls);
	w->failed |= missing != 0;
	lp_names_finish(&h.names);
	lp_target_finish(&target);
	json_decref(session);
	json_decref(answer);
}

static int run(struct why *w, struct lp_err *err)
{
	const char *app = w->args->n_words > 1 ? w->args->words[1] : NULL;
	size_t i;
	int r;

	w->absolute = lp_explain_absolute(w->args->words[0]);
	if (!w->absolute)
		return lp_err_set(err, ENOENT, "%s", w->args->words[0]);
	r = find_workspace(w, app, err);
	if (r == 0)
		r = explain_rules(w, err);
	if (r < 0)
		return r;
	for (i = 0; i < json_array_size(w->sessions); i++)
		ask_session(w, lp_json_text(json_array_get(w->sessions, i), "app"));
	if (json_array_size(w->sessions) == 0 && !w->args->json)
		lp_out_say(
			"livepush: no mount or watch of %s runs here, so no instance can be asked",
			w->dir);
	return 0;
}

int lp_cmd_why(const struct lp_args *args)
{
	struct why w = {.args = args, .sessions = json_array()};
	struct lp_err err = {0};

	if (run(&w, &err) < 0) {
		(void)lp_out_fail(args->json, "%s", err.msg);
		w.failed = true;
	}
	json_decref(w.sessions);
	free(w.absolute);
	free(w.dir);
	free(w.excludes);
	return w.failed ? LP_EXIT_FAILED : LP_EXIT_OK;
}
