/* controller/page.c: answers to browsers. */
#include "controller/page.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "controller/echo.h"
#include "controller/live.h"
#include "controller/page_internal.h"
#include "wire/ticket.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define METRICS_MAX_BYTES ((size_t)64 * 1024)
#define BACKLOG_LINES     500
#define TAG_LIFE_S        604800u /* a page may stay open for long */
#define TAG_NEW_US        (UINT64_C(86400) * 1000000)

/* Nothing from anywhere else, nothing inline, in no frame. */
static const char policy[] =
	"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src "
	"data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

void lp_page_file(struct lp_instance *in, struct lp_http *http)
{
	const char *path = lp_http_path(http), *name = strrchr(path, '/') + 1;

	(void)in;
	if (!*name)
		name = "index.html";
	for (const struct lp_page_file *f = lp_page_files; f->name; f++) {
		if (strcmp(f->name, name) != 0)
			continue;
		lp_http_set(http, "content-security-policy", policy);
		lp_http_answer(http, 200, f->type, f->data, f->len);
		return;
	}
	lp_http_say(http, 404, "there is no such file");
}

void lp_page_events(struct lp_instance *in, struct lp_http *http)
{
	lp_live_listen(in->live, http, true);
}

void lp_page_reload_events(struct lp_instance *in, struct lp_http *http)
{
	lp_live_listen(in->live, http, false);
}

void lp_page_shown(struct lp_instance *in, struct lp_http *http)
{
	char text[24], *end = text;
	uint64_t revision = 0;

	if (lp_http_parameter(http, "revision", text, sizeof(text)) && text[0] >= '0' &&
	    text[0] <= '9')
		revision = strtoull(text, &end, 10);
	if (end == text || *end) {
		lp_http_say(http, 400, "revision= is no number");
		return;
	}
	lp_live_shown(in->live, revision);
	lp_http_answer(http, 204, "text/plain", NULL, 0);
}

void lp_page_metrics(struct lp_instance *in, struct lp_http *http)
{
	struct lp_metrics m = {.instance = in->id,
			       .uptime_us = lp_now_us() - in->started_us,
			       .served = lp_live_served(in->live),
			       .sessions = lp_sessions_count(in),
			       .listeners = lp_live_listeners(in->live),
			       .owned = in->owner != NULL,
			       .echo_dropped = in->echo ? lp_echo_dropped(in->echo) : 0,
			       .counts = lp_live_counts(in->live)};
	struct lp_tree_state tree;
	struct lp_buf text;

	lp_apply_state(in->apply, &tree);
	lp_sup_status(in->sup, &m.app);
	lp_proxy_stats(in->proxy, &m.front);
	m.revision = tree.revision;
	m.settled = m.app.settled;
	m.files = tree.files;
	m.bytes = tree.bytes;
	lp_buf_init(&text, METRICS_MAX_BYTES);
	if (lp_metrics_write(&text, &m) < 0)
		lp_http_say(http, 500, "the metrics do not fit");
	else
		lp_http_answer(http, 200, "text/plain; version=0.0.4; charset=utf-8", text.data,
			       text.len);
	lp_buf_finish(&text);
}

static int on_status(void *ctx, struct lp_buf *out)
{
	return lp_status_json(ctx, out);
}

static void on_backlog(void *ctx, struct lp_http *http)
{
	const struct lp_instance *in = ctx;

	lp_history_last(in->history, BACKLOG_LINES, lp_live_log_to, http);
}

static void on_announced(void *ctx, uint64_t revision)
{
	(void)revision;
	lp_door_retag(ctx);
}

static void on_shown(void *ctx, uint64_t revision, uint64_t took_us)
{
	struct lp_msg msg = {.kind = LP_MSG_RELOADED};

	msg.u.reloaded = (struct lp_msg_reloaded){.revision = revision, .took_us = took_us};
	lp_sessions_tell_owner(ctx, &msg);
}

char *lp_page_tag(struct lp_instance *in)
{
	char ticket[LP_TICKET_MAX_BYTES];

	if (!in->conf->inject || !in->opts->secret || !in->live)
		return NULL;
	/* Good for nothing but the script and its events. */
	lp_ticket_make(ticket, in->opts->secret, LP_TICKET_LINK, LP_TICKET_RELOAD,
		       lp_wall_us() / 1000000 + TAG_LIFE_S);
	return lp_xasprintf("<script async src=\"/_livepush/reload.js?t=%s\" "
			    "data-revision=\"%" PRIu64 "\"></script>",
			    ticket, lp_live_served(in->live));
}

/* A page that is asked for long after the last change gets a ticket that is good as long. */
static void on_retag(struct lp_timer *timer)
{
	struct lp_instance *in = LP_CONTAINER_OF(timer, struct lp_instance, retag);

	lp_timer_set(in->loop, timer, lp_now_us() + TAG_NEW_US);
	lp_door_retag(in);
}

void lp_page_create(struct lp_instance *in)
{
	const struct lp_live_opts opts = {.loop = in->loop,
					  .conf = in->conf,
					  .status = on_status,
					  .backlog = on_backlog,
					  .on_announced = on_announced,
					  .on_shown = on_shown,
					  .ctx = in};

	in->live = lp_live_create(&opts);
	in->retag.on_fire = on_retag;
	lp_timer_set(in->loop, &in->retag, lp_now_us() + TAG_NEW_US);
}

void lp_page_destroy(struct lp_instance *in)
{
	lp_timer_clear(&in->retag);
	lp_live_destroy(in->live);
	in->live = NULL;
}
