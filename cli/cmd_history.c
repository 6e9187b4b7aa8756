/* cli/cmd_history.c: livepush history: what an app's instances were given, and what became of it.
 */
#include "cli/command.h"
#include "cli/names.h"
#include "cli/number.h"
#include "cli/observer.h"
#include "cli/output.h"
#include "cli/way_back.h"
#include "common/base/lp_mem.h"
#include "sync/digest.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS    5000u
#define DEFAULT_LINES 20u
#define PATHS_SHOWN   3u

/* answers: one an instance, encoded; empty: none came. They come in any order, and are printed in
 * that of the configuration. */
struct history {
	const struct lp_args *args;
	uint64_t most;
	struct lp_names names;
	struct lp_buf *answers;
	bool failed;
};

static const char *state_name(uint64_t state)
{
	static const char *const names[LP_REVISION_STATE_COUNT_] = {
		[LP_REVISION_PENDING] = "pending", [LP_REVISION_HEALTHY] = "healthy",
		[LP_REVISION_FAILED] = "failed",   [LP_REVISION_SKIPPED] = "skipped",
		[LP_REVISION_UNDONE] = "undone",
	};

	return state < LP_COUNT_OF(names) && names[state] ? names[state] : "unknown";
}

static void on_up(void *ctx, struct lp_link *link, const char *instance)
{
	struct history *h = ctx;
	struct lp_msg msg = {.kind = LP_MSG_HISTORY};

	lp_names_set(&h->names, link, instance);
	msg.u.history.most = h->most;
	if (lp_link_send(link, &msg) < 0)
		return; /* it went down, which is reported */
}

static json_t *json_paths(const struct lp_bytes *paths)
{
	json_t *list = json_array();
	const char *at = (const char *)paths->p;

	for (size_t left = paths->len; left > 0;) {
		size_t len = strnlen(at, left);

		(void)json_array_append_new(list, lp_out_text(at, len));
		len += len < left;
		at += len;
		left -= len;
	}
	return list;
}

/* The name of the tree with that revision: a digest. */
static void name_tree(const struct lp_wire_revision *w, char out[LP_DIGEST_HEX_BYTES])
{
	struct lp_digest root;

	memcpy(root.b, w->root, sizeof(root.b));
	lp_digest_hex(&root, out);
}

static void print_json(const struct history *h, const char *instance,
		       const struct lp_msg_revisions *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_revisions; i++) {
		const struct lp_wire_revision *w = &m->revisions[i];
		char root[LP_DIGEST_HEX_BYTES];

		name_tree(w, root);
		(void)json_array_append_new(
			list,
			json_pack("{s:I, s:I, s:s, s:I, s:I, s:I, s:b, s:s, s:o, s:o}", "revision",
				  (json_int_t)w->revision, "at_ms", (json_int_t)w->at_ms, "state",
				  state_name(w->state), "files", (json_int_t)w->files, "removed",
				  (json_int_t)w->removed, "bytes", (json_int_t)w->bytes, "kept",
				  w->kept, "root", root, "paths", json_paths(&w->paths), "error",
				  lp_out_text(w->error.p, w->error.len)));
	}
	(void)lp_out_json(json_pack("{s:s, s:s, s:I, s:o}", "app", h->args->words[0], "instance",
				    instance, "revision", (json_int_t)m->revision, "revisions",
				    list));
}

/* "a.py b.py … 4 more": the first paths of a revision, control characters replaced. */
static void print_paths(const struct lp_wire_revision *w)
{
	const uint8_t *at = w->paths.p;
	size_t left = w->paths.len;
	uint64_t shown = 0;
	char path[200];

	while (left > 0 && shown < PATHS_SHOWN) {
		size_t len = strnlen((const char *)at, left);

		lp_bytes_text(&(struct lp_bytes){at, len}, path, sizeof(path));
		(void)printf(" %s", path);
		shown++;
		len += len < left;
		at += len;
		left -= len;
	}
	if (w->files > shown)
		(void)printf(" … %llu more", (unsigned long long)(w->files - shown));
}

static void print_line(const struct lp_wire_revision *w, bool is_present)
{
	const time_t at = (time_t)(w->at_ms / 1000u);
	char when[32] = "?", error[200], root[LP_DIGEST_HEX_BYTES];
	struct tm tm;

	if (localtime_r(&at, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	name_tree(w, root);
	(void)printf("%s%6llu  %s  @%.*s  %-7s  %llu file%s",
		     is_present ? "*"
		     : w->kept  ? " "
				: "-",
		     (unsigned long long)w->revision, when, (int)LP_TREE_NAME_LEN, root,
		     state_name(w->state), (unsigned long long)w->files, w->files == 1 ? "" : "s");
	if (w->removed > 0)
		(void)printf(" (%llu removed)", (unsigned long long)w->removed);
	(void)printf(": ");
	print_paths(w);
	lp_bytes_text(&w->error, error, sizeof(error));
	(void)printf("%s%s\n", error[0] ? "; " : "", error);
}

static void print_people(const struct history *h, const char *instance,
			 const struct lp_msg_revisions *m)
{
	size_t present = m->n_revisions;

	if (h->names.n > 1)
		(void)printf("%s\n", instance);
	if (m->n_revisions == 0)
		(void)printf("nothing was applied here yet\n");
	for (size_t i = m->n_revisions; i-- > 0;) {
		if (m->revisions[i].state != LP_REVISION_UNDONE) {
			present = i;
			break;
		}
	}
	for (size_t i = 0; i < m->n_revisions; i++)
		print_line(&m->revisions[i], i == present);
}

static bool on_message(void *ctx, struct lp_link *link, const struct lp_msg *msg)
{
	struct history *h = ctx;

	if (msg->kind != LP_MSG_REVISIONS)
		return false;
	if (lp_msg_encode(msg, &h->answers[lp_link_index(link)]) < 0) {
		(void)lp_out_fail(h->args->json, "%s: its history does not fit into memory",
				  h->args->words[0]);
		h->failed = true;
	}
	return true;
}

static void print_all(struct history *h)
{
	for (size_t i = 0; i < h->names.n; i++) {
		const struct lp_buf *answer = &h->answers[i];
		struct lp_msg msg;

		if (answer->len == 0 || lp_msg_decode(&msg, answer->data, answer->len, NULL) < 0)
			continue;
		if (h->args->json)
			print_json(h, h->names.list[i], &msg.u.revisions);
		else
			print_people(h, h->names.list[i], &msg.u.revisions);
		lp_msg_finish(&msg);
	}
}

static void on_down(void *ctx, struct lp_link *link, const char *reason)
{
	struct history *h = ctx;
	char suffix[LP_NAMES_SUFFIX_BYTES];

	(void)lp_out_fail(h->args->json, "%s%s: %s", h->args->words[0],
			  lp_names_suffix(&h->names, link, suffix), reason);
	h->failed = true;
}

int lp_cmd_history(const struct lp_args *args)
{
	struct history h = {.args = args, .most = DEFAULT_LINES};
	const struct lp_observer_ops ops = {
		.on_up = on_up, .on_message = on_message, .on_down = on_down, .ctx = &h};
	const char *lines = lp_arg(args, "lines");
	struct lp_target target;
	struct lp_err err = {0};
	bool interrupted = false;
	json_t *session;
	int missing;

	if (lines && (lp_parse_count(lines, LP_WIRE_REVISIONS_MAX, &h.most) < 0 || h.most == 0))
		return lp_out_misuse(args, "lines", "number from 1 to %d", LP_WIRE_REVISIONS_MAX);
	if (lp_observer_find(&target, &session, args->words[0], lp_arg(args, "secret-file"), &err) <
	    0)
		return lp_out_err(args->json, &err);
	json_decref(session);
	lp_names_init(&h.names, target.n_urls);
	h.answers = lp_xcalloc(target.n_urls, sizeof(*h.answers));
	missing = lp_observer_run(&target, TIMEOUT_MS, &ops, &interrupted, &err);
	print_all(&h);
	for (size_t i = 0; i < target.n_urls; i++)
		lp_buf_finish(&h.answers[i]);
	free(h.answers);
	lp_names_finish(&h.names);
	lp_target_finish(&target);
	if (missing < 0)
		return lp_out_fail(args->json, "%s", err.msg);
	if (interrupted)
		return LP_EXIT_INTERRUPTED;
	if (missing > 0 && !h.failed)
		return lp_out_fail(args->json, "%s: no answer within %u s", args->words[0],
				   TIMEOUT_MS / 1000);
	return h.failed ? LP_EXIT_FAILED : LP_EXIT_OK;
}
