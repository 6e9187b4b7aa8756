/* cli/mirror_control.c: what other commands ask a session. */
#include "cli/mirror_internal.h"

#include "cli/hex.h"
#include "cli/output.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"

#include <stdio.h>
#include <string.h>

static void unlink_wait(struct lp_flush_wait *w)
{
	struct lp_flush_wait **at = &w->mirror->waits;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	lp_timer_clear(&w->deadline);
	free(w);
}

static void answer_wait(struct lp_flush_wait *w, const char *error)
{
	struct lp_control_client *client = w->client;
	uint64_t revision = w->revision;

	unlink_wait(w);
	lp_control_answer(
		client, error ? json_pack("{s:b, s:s}", "ok", 0, "error", error)
			      : json_pack("{s:b, s:I}", "ok", 1, "revision", (json_int_t)revision));
}

/* Returns 1 when w can be answered well, 0 when it must wait (why says for what), -1 when it
 * failed. */
static int outcome(struct lp_mirror *m, struct lp_flush_wait *w, char *why, size_t why_bytes)
{
	if (!m->fleet) {
		(void)snprintf(why, why_bytes, "the app's instance is not up yet");
		return 0;
	}
	if (m->guard.deletes > 0) {
		(void)snprintf(why, why_bytes,
			       "held back: %llu of %llu files would be deleted on the instances; "
			       "bring them back, or start again with --allow-mass-delete",
			       (unsigned long long)m->guard.deletes,
			       (unsigned long long)m->guard.of);
		return -1;
	}
	/* What was noted gets its revision with the next take; FUSE and inotify were drained when
	 * the flush was asked. */
	if (w->untaken && lp_workspace_has_notes(m->ws)) {
		const char *held = lp_workspace_held(m->ws);

		if (held)
			(void)snprintf(why, why_bytes, "changes are held by %.200s", held);
		else
			(void)snprintf(why, why_bytes,
				       "an instance has not applied what was saved before");
		if (held)
			return 0;
		/* Whatever failed so far is older than that. */
		return lp_report_outcome(m->report, lp_workspace_revision(m->ws) + 1, why,
					 why_bytes) < 0
			       ? -1
			       : 0;
	}
	if (w->untaken) {
		w->untaken = false;
		w->revision = lp_workspace_revision(m->ws);
	}
	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++) {
		const struct lp_link *link = lp_fleet_link(m->fleet, i);

		if (!lp_link_is_streaming(link)) {
			int r = lp_report_outcome(m->report, w->revision, why, why_bytes);

			return r < 0 && (lp_link_keeps_failing(link) || lp_link_is_held(link)) ? r
											       : 0;
		}
		if (lp_link_is_in_doubt(link)) {
			(void)snprintf(why, why_bytes,
				       "a file changed while it was sent, and is sent again");
			return 0;
		}
	}
	return lp_report_outcome(m->report, w->revision, why, why_bytes);
}

void lp_mirror_check_waits(struct lp_mirror *m)
{
	struct lp_flush_wait *w, *next;

	lp_mirror_check_syncs(m);

	for (w = m->waits; w; w = next) {
		char why[640] = "";
		int r = outcome(m, w, why, sizeof(why));

		next = w->next;
		if (r != 0)
			answer_wait(w, r < 0 ? why : NULL);
	}
}

static void on_deadline(struct lp_timer *timer)
{
	struct lp_flush_wait *w = LP_CONTAINER_OF(timer, struct lp_flush_wait, deadline);
	char why[640] = "", text[768];

	(void)outcome(w->mirror, w, why, sizeof(why));
	(void)snprintf(text, sizeof(text), "not everything was live in time: %s", why);
	answer_wait(w, text);
}

static void on_flush(struct lp_mirror *m, struct lp_control_client *client, const json_t *request)
{
	struct lp_flush_wait *w = lp_xcalloc(1, sizeof(*w));
	json_int_t timeout_ms = json_integer_value(json_object_get(request, "timeout_ms"));

	w->mirror = m;
	w->client = client;
	w->untaken = true;
	w->next = m->waits;
	m->waits = w;
	w->deadline.on_fire = on_deadline;
	lp_timer_set(m->loop, &w->deadline,
		     lp_now_us() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000);
	lp_mirror_drain(m);
	lp_mirror_pump(m); /* checks the waits as well */
}

static json_t *endpoints(const struct lp_mirror *m)
{
	const char *dir = m->ws ? lp_workspace_path(m->ws) : m->dir;
	const char *held = m->ws ? lp_workspace_held(m->ws) : NULL;
	json_t *urls = json_array(), *answer;

	for (size_t i = 0; m->fleet && i < lp_fleet_size(m->fleet); i++)
		(void)json_array_append_new(urls,
					    json_string(lp_link_url(lp_fleet_link(m->fleet, i))));
	answer = json_pack("{s:b, s:o, s:o, s:I, s:s, s:I, s:o, s:s, s:s?, s:s?}", "ok", 1, "app",
			   lp_out_text(m->app, strlen(m->app)), "dir",
			   lp_out_text(dir, strlen(dir)), "pid", (json_int_t)getpid(), "mode",
			   m->mode == LP_MIRROR_PUSH     ? "push"
			   : m->mode == LP_MIRROR_VERIFY ? "verify"
			   : m->mount                    ? "mount"
							 : "watch",
			   "revision", (json_int_t)(m->ws ? lp_workspace_revision(m->ws) : 0),
			   "urls", urls, "secret", m->target.secret, "ca_file", m->target.ca_file,
			   "pins", m->target.pins);
	if (m->mount && lp_arg(m->args, "at"))
		(void)json_object_set_new(
			answer, "at",
			m->mount_at ? lp_out_text(m->mount_at, strlen(m->mount_at)) : json_null());
	if (held)
		(void)json_object_set_new(answer, "held", lp_out_text(held, strlen(held)));
	if (m->holds)
		(void)json_object_set_new(answer, "holds", lp_mirror_holds(m));
	if (m->guard.deletes > 0)
		(void)json_object_set_new(answer, "withheld",
					  json_pack("{s:I, s:I}", "deletes",
						    (json_int_t)m->guard.deletes, "of",
						    (json_int_t)m->guard.of));
	return answer;
}

static void on_endpoints(struct lp_mirror *m, struct lp_control_client *client,
			 const json_t *request)
{
	(void)request;
	lp_control_answer(client, endpoints(m));
}

static void on_stop(struct lp_mirror *m, struct lp_control_client *client, const json_t *request)
{
	(void)request;
	lp_control_answer(client, json_pack("{s:b}", "ok", 1));
	lp_mirror_end(m, lp_out_fail(m->json, "%s: taken over by another session", m->app));
}

static void on_release(struct lp_mirror *m, struct lp_control_client *client, const json_t *request)
{
	(void)request;
	lp_mirror_on_release(m, client);
}

static const char *kind_name(enum lp_kind kind)
{
	static const char *const names[LP_KIND_COUNT_] = {
		[LP_KIND_NONE] = "nothing",
		[LP_KIND_FILE] = "file",
		[LP_KIND_DIR] = "directory",
		[LP_KIND_LINK] = "link",
	};

	return names[kind];
}

/* What the session knows of a path: what it is, and which revision had it last. */
static void on_path(struct lp_mirror *m, struct lp_control_client *client, const json_t *request)
{
	const char *path = json_string_value(json_object_get(request, "path"));
	LP_AUTO_FREE char *bytes = path ? lp_hex_decode(path) : NULL;
	const char *excludes = lp_workspace_excludes(m->ws);
	LP_AUTO_FREE char *excludes_hex = excludes ? lp_hex_encode(excludes) : NULL;
	char root[LP_DIGEST_HEX_BYTES], digest[LP_DIGEST_HEX_BYTES];
	const struct lp_node *node;
	struct lp_digest top;
	struct lp_entry e;
	json_t *answer;

	if (!bytes || !lp_path_is_clean(bytes, strlen(bytes))) {
		lp_control_answer(client, json_pack("{s:b, s:s}", "ok", 0, "error",
						    "the path is none of the workspace"));
		return;
	}
	lp_mirror_drain(m);
	lp_mirror_pump(m);
	top = lp_index_root(lp_workspace_index(m->ws));
	lp_digest_hex(&top, root);
	node = lp_index_get(lp_workspace_index(m->ws), bytes);
	answer =
		json_pack("{s:b, s:s, s:I, s:I, s:s*}", "ok", 1, "root", root, "revision",
			  (json_int_t)lp_workspace_revision(m->ws), "carried",
			  (json_int_t)lp_carried_find(m->carried, bytes), "excludes", excludes_hex);
	if (node) {
		e = lp_node_entry(node);
		lp_digest_hex(&e.digest, digest);
		(void)json_object_set_new(answer, "entry",
					  json_pack("{s:s, s:I, s:I, s:s}", "kind",
						    kind_name(e.kind), "mode", (json_int_t)e.mode,
						    "size", (json_int_t)e.size, "digest", digest));
	}
	lp_control_answer(client, answer);
}

/* What can be asked of a session. */
static const struct {
	const char *name;
	void (*run)(struct lp_mirror *m, struct lp_control_client *client, const json_t *request);
} requests[] = {
	{"endpoints", on_endpoints},         /* what it mirrors, and to where */
	{"flush", on_flush},                 /* timeout_ms: wait until all is live */
	{"hold", lp_mirror_on_hold},         /* who, for_ms, attached */
	{"release", on_release},             /* ends all holds */
	{"verify", lp_mirror_on_verify},     /* timeout_ms: the instances read their trees again */
	{"timeline", lp_mirror_on_timeline}, /* the steps of the newest saves */
	{"path", on_path},                   /* path, in hexadecimal */
	{"stop", on_stop},                   /* end, for another session */
};

static void on_request(void *ctx, struct lp_control_client *client, const json_t *request)
{
	struct lp_mirror *m = ctx;
	const char *cmd = json_string_value(json_object_get(request, "cmd"));

	for (size_t i = 0; cmd && m->ws && i < LP_COUNT_OF(requests); i++) {
		if (strcmp(requests[i].name, cmd) == 0) {
			requests[i].run(m, client, request);
			return;
		}
	}
	lp_control_answer(client, json_pack("{s:b, s:s}", "ok", 0, "error", "no such request"));
}

static void on_gone(void *ctx, struct lp_control_client *client)
{
	struct lp_mirror *m = ctx;

	if (lp_mirror_hold_gone(m, client) || lp_mirror_verify_gone(m, client))
		return;
	for (struct lp_flush_wait *w = m->waits; w; w = w->next) {
		if (w->client != client)
			continue;
		unlink_wait(w);
		return;
	}
}

int lp_mirror_serve_control(struct lp_mirror *m, struct lp_err *err)
{
	const struct lp_control_ops ops = {.on_request = on_request, .on_gone = on_gone, .ctx = m};

	return lp_control_serve(&m->control, m->loop, m->app, &ops, err);
}

void lp_mirror_close_control(struct lp_mirror *m)
{
	for (struct lp_flush_wait *w = m->waits, *next; w; w = next) {
		next = w->next;
		answer_wait(w, "the session ended");
	}
	lp_mirror_end_verify(m, "the session ended");
	if (m->ws)
		lp_mirror_end_holds(m);
	lp_control_close(m->control);
	m->control = NULL;
}
