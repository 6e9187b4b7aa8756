/* cli/mirror_control.c: what other commands ask a session. */
#include "cli/mirror_internal.h"

#include "cli/output.h"
#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"

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
	/* What was noted gets its revision with the next take; FUSE and inotify were drained when
	 * the flush was asked. */
	if (w->untaken && lp_workspace_has_notes(m->ws)) {
		(void)snprintf(why, why_bytes, "an instance has not applied what was saved before");
		return lp_report_outcome(m->report, w->revision, why, why_bytes) < 0 ? -1 : 0;
	}
	if (w->untaken) {
		w->untaken = false;
		w->revision = lp_workspace_revision(m->ws);
	}
	for (size_t i = 0; i < lp_fleet_size(m->fleet); i++) {
		const struct lp_link *link = lp_fleet_link(m->fleet, i);

		if (!lp_link_is_streaming(link)) {
			int r = lp_report_outcome(m->report, w->revision, why, why_bytes);

			return r < 0 && lp_link_is_resting(link) ? r : 0;
		}
	}
	return lp_report_outcome(m->report, w->revision, why, why_bytes);
}

void lp_mirror_check_waits(struct lp_mirror *m)
{
	struct lp_flush_wait *w, *next;

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
	json_t *urls = json_array();

	for (size_t i = 0; m->fleet && i < lp_fleet_size(m->fleet); i++)
		(void)json_array_append_new(urls,
					    json_string(lp_link_url(lp_fleet_link(m->fleet, i))));
	return json_pack("{s:b, s:o, s:o, s:I, s:s, s:I, s:o, s:s, s:s?}", "ok", 1, "app",
			 lp_out_text(m->app, strlen(m->app)), "dir", lp_out_text(dir, strlen(dir)),
			 "pid", (json_int_t)getpid(), "mode",
			 m->mode == LP_MIRROR_PUSH ? "push"
			 : m->mount                ? "mount"
						   : "watch",
			 "revision", (json_int_t)(m->ws ? lp_workspace_revision(m->ws) : 0), "urls",
			 urls, "secret", m->target.secret, "ca_file", m->target.ca_file);
}

static void on_request(void *ctx, struct lp_control_client *client, const json_t *request)
{
	struct lp_mirror *m = ctx;
	const char *cmd = json_string_value(json_object_get(request, "cmd"));

	if (cmd && strcmp(cmd, "flush") == 0) {
		on_flush(m, client, request);
	} else if (cmd && strcmp(cmd, "endpoints") == 0) {
		lp_control_answer(client, endpoints(m));
	} else if (cmd && strcmp(cmd, "stop") == 0) {
		lp_control_answer(client, json_pack("{s:b}", "ok", 1));
		lp_mirror_end(m, lp_out_fail(m->json, "%s: taken over by another session", m->app));
	} else {
		lp_control_answer(client,
				  json_pack("{s:b, s:s}", "ok", 0, "error", "no such request"));
	}
}

static void on_gone(void *ctx, struct lp_control_client *client)
{
	struct lp_mirror *m = ctx;

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
	lp_control_close(m->control);
	m->control = NULL;
}
