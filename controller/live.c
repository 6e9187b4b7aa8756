/* controller/live.c: what browsers are told. */
#include "controller/live.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_utf8.h"
#include "controller/listeners.h"
#include "controller/live_changes.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <string.h>

#define BEAT_US       15000000u /* a word now and then keeps routers from closing the stream */
#define STATUS_US     100000u   /* between two states for pages */
#define LOG_BYTES     ((size_t)24 * 1024) /* of output in one event */
#define ERROR_BYTES   1024
#define EXCERPT_BYTES 16384
#define SHOWN_CHANGES 20

/* What one instance is, as the owner said it. */
struct member {
	char name[64];
	uint64_t state;
	uint64_t applied;
	uint64_t settled;
	uint64_t generation;
};

struct lp_live {
	struct lp_live_opts opts;
	struct lp_ruleset *rules;
	struct lp_changes changes;
	struct lp_live_counts counts;
	struct lp_listeners listeners;
	struct lp_timer beat;
	struct lp_timer status;
	uint64_t settled;
	uint64_t served;
	uint64_t served_us; /* when browsers were told */
	bool shown;         /* and one has done it */
	bool failed;
	struct lp_sup_failure failure; /* its texts are the three below */
	char path[ERROR_BYTES];
	char error[ERROR_BYTES];
	char excerpt[EXCERPT_BYTES];
	bool owned; /* somebody says what all instances serve */
	struct member *members;
	size_t n_members;
};

/* One event: a name and a JSON object (taken) in one line. Returns it, or NULL. */
static char *event_text(const char *name, json_t *data)
{
	char *json = data ? json_dumps(data, JSON_COMPACT) : NULL;
	char *text = json ? lp_xasprintf("event: %s\ndata: %s\n\n", name, json) : NULL;

	json_decref(data);
	free(json);
	return text;
}

static void tell_event(struct lp_live *live, bool pages_only, const char *name, json_t *data)
{
	LP_AUTO_FREE char *text = event_text(name, data);

	if (text)
		lp_listeners_tell(&live->listeners, pages_only, text, strlen(text));
}

static void on_beat(struct lp_timer *timer)
{
	struct lp_live *live = LP_CONTAINER_OF(timer, struct lp_live, beat);

	lp_listeners_tell(&live->listeners, false, ":\n\n", 3);
	if (live->listeners.n > 0)
		lp_timer_set(live->opts.loop, timer, lp_now_us() + BEAT_US);
}

/* The state as one event, or NULL. */
static char *status_text(struct lp_live *live)
{
	struct lp_buf text = {0};
	char *event = NULL;

	if (live->opts.status(live->opts.ctx, &text) == 0)
		event = lp_xasprintf("event: status\ndata: %.*s\n\n",
				     (int)strcspn(lp_buf_text(&text), "\n"), lp_buf_text(&text));
	lp_buf_finish(&text);
	return event;
}

static void on_status(struct lp_timer *timer)
{
	struct lp_live *live = LP_CONTAINER_OF(timer, struct lp_live, status);
	LP_AUTO_FREE char *text = status_text(live);

	if (text)
		lp_listeners_tell(&live->listeners, true, text, strlen(text));
}

/* Something that pages show has changed: they are told soon, of all that changes until then. */
static void touch(struct lp_live *live)
{
	if (live->listeners.n_pages > 0 && !live->status.loop)
		lp_timer_set(live->opts.loop, &live->status, lp_now_us() + STATUS_US);
}

struct lp_live *lp_live_create(const struct lp_live_opts *opts)
{
	struct lp_live *live = lp_xcalloc(1, sizeof(*live));

	live->opts = *opts;
	live->rules = lp_ruleset_create(opts->conf);
	live->beat.on_fire = on_beat;
	live->status.on_fire = on_status;
	return live;
}

void lp_live_destroy(struct lp_live *live)
{
	if (!live)
		return;
	lp_timer_clear(&live->beat);
	lp_timer_clear(&live->status);
	lp_listeners_finish(&live->listeners);
	lp_changes_finish(&live->changes);
	lp_ruleset_destroy(live->rules);
	free(live->members);
	free(live);
}

void lp_live_reconfigure(struct lp_live *live, const struct lp_conf *conf)
{
	lp_ruleset_destroy(live->rules);
	live->opts.conf = conf;
	live->rules = lp_ruleset_create(conf);
}

/* Text of any bytes as JSON; what is no UTF-8 becomes U+FFFD. */
static json_t *text_of(const char *bytes)
{
	struct lp_buf text = {0};
	json_t *s = NULL;

	if (lp_utf8_add(&text, bytes, strlen(bytes)) == 0)
		s = json_stringn(text.len ? (const char *)text.data : "", text.len);
	lp_buf_finish(&text);
	return s;
}

/* Copies a text; when it does not fit, its end goes, at a character's end. */
static void copy_text(char *out, size_t out_bytes, const char *text)
{
	size_t len = strlen(text);

	if (len >= out_bytes)
		len = lp_utf8_whole(text, out_bytes - 1);
	memcpy(out, text, len);
	out[len] = '\0';
}

static json_t *failure_of(const struct lp_live *live)
{
	if (!live->failed)
		return json_null();
	return json_pack("{s:I, s:I, s:s, s:o, s:o, s:o, s:I}", "revision",
			 (json_int_t)live->failure.revision, "generation",
			 (json_int_t)live->failure.generation, "stage",
			 lp_wire_stage_name(live->failure.stage), "error", text_of(live->error),
			 "excerpt", text_of(live->excerpt), "path", text_of(live->path), "n_paths",
			 (json_int_t)live->failure.n_paths);
}

static json_t *hello_of(const struct lp_live *live)
{
	return json_pack("{s:I, s:o}", "served", (json_int_t)live->served, "failure",
			 failure_of(live));
}

/* Browsers are told of what is served up to that revision. */
static void announce(struct lp_live *live, uint64_t revision)
{
	struct lp_reload what;
	json_t *data;
	bool any;

	if (revision <= live->served)
		return;
	any = lp_changes_take(&live->changes, revision, &what);
	live->served = revision;
	touch(live);
	if (!any)
		return;
	live->served_us = lp_now_us();
	live->shown = false;
	data = json_pack("{s:I, s:b}", "revision", (json_int_t)revision, "reload", what.whole);
	if (data && !what.whole) {
		json_t *css = json_array();

		for (size_t i = 0; i < what.n_css; i++)
			(void)json_array_append_new(css, text_of(what.css[i]));
		(void)json_object_set_new(data, "css", css);
	}
	lp_reload_finish(&what);
	live->opts.on_announced(live->opts.ctx, revision);
	tell_event(live, false, "served", data);
}

void lp_live_applied(struct lp_live *live, uint64_t revision, const char *const *paths, size_t n)
{
	/* The tree went back: what was told of later revisions is not true any more. */
	if (revision <= live->served && n > 0)
		live->served = revision - (revision > 0);
	lp_changes_add(&live->changes, live->rules, revision, lp_wall_us(), paths, n);
	live->counts.applied++;
	live->counts.paths += n;
	touch(live);
}

static void fixed(struct lp_live *live)
{
	if (!live->failed)
		return;
	live->failed = false;
	tell_event(live, false, "fixed", json_object());
}

void lp_live_restarted(struct lp_live *live, uint64_t took_us)
{
	lp_times_add(&live->counts.restarted, took_us);
	if (live->failure.stage == LP_STAGE_CRASH)
		fixed(live);
	touch(live);
}

void lp_live_settled(struct lp_live *live, uint64_t revision)
{
	const struct lp_sup_failure *f = &live->failure;

	live->settled = revision;
	lp_changes_settle(&live->changes, revision);
	/* With a broken configuration the app settles as it was before. */
	if (f->stage == LP_STAGE_CONFIG ? revision > f->revision : revision >= f->revision)
		fixed(live);
	if (!live->owned)
		announce(live, revision);
	touch(live);
}

void lp_live_failed(struct lp_live *live, const struct lp_sup_failure *failure)
{
	live->failed = true;
	live->failure = *failure;
	copy_text(live->error, sizeof(live->error), failure->error);
	copy_text(live->excerpt, sizeof(live->excerpt), failure->excerpt);
	copy_text(live->path, sizeof(live->path), failure->path ? failure->path : "");
	live->failure.path = live->path;
	live->failure.error = live->error;
	live->failure.excerpt = live->excerpt;
	if ((size_t)failure->stage < LP_STAGES_MAX)
		live->counts.failures[failure->stage]++;
	lp_changes_fail(&live->changes, failure->revision);
	tell_event(live, false, "failed", failure_of(live));
	touch(live);
}

void lp_live_fleet(struct lp_live *live, const struct lp_msg_fleet *fleet)
{
	free(live->members);
	live->owned = true;
	live->n_members = fleet->n_members;
	live->members = lp_xcalloc(fleet->n_members, sizeof(*live->members));
	for (size_t i = 0; i < fleet->n_members; i++) {
		const struct lp_wire_member *from = &fleet->members[i];

		live->members[i] = (struct member){.state = from->state,
						   .applied = from->applied,
						   .settled = from->settled,
						   .generation = from->generation};
		lp_bytes_text(&from->name, live->members[i].name, sizeof(live->members[i].name));
	}
	/* What is not settled here is not served by all, whatever was said. */
	announce(live, fleet->served < live->settled ? fleet->served : live->settled);
	touch(live);
}

void lp_live_orphaned(struct lp_live *live)
{
	free(live->members);
	live->members = NULL;
	live->n_members = 0;
	live->owned = false;
	announce(live, live->settled);
	touch(live);
}

/* Takes an event with the next of the piece's bytes, at most LOG_BYTES. Owned. */
static char *take_log(struct lp_output *piece)
{
	/* Base64: the bytes need be no text, and may be cut within a character. */
	static const size_t base64_bytes = (LOG_BYTES + 2) / 3 * 4 + 1;
	size_t n = piece->len < LOG_BYTES ? piece->len : LOG_BYTES;
	LP_AUTO_FREE char *text = lp_xcalloc(1, base64_bytes);

	(void)EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)piece->data, (int)n);
	piece->data += n;
	piece->len -= n;
	return lp_xasprintf("event: log\ndata: %llu %llu %s\n\n",
			    (unsigned long long)piece->generation,
			    (unsigned long long)piece->stream, text);
}

void lp_live_log_to(void *http, const struct lp_output *piece)
{
	struct lp_output rest = *piece;

	while (rest.len > 0) {
		LP_AUTO_FREE char *event = take_log(&rest);

		if (lp_http_send(http, event, strlen(event)) < 0)
			return;
	}
}

void lp_live_log(struct lp_live *live, const struct lp_output *piece)
{
	struct lp_output rest = *piece;

	live->counts.log_bytes += piece->len;
	while (rest.len > 0 && live->listeners.n_pages > 0) {
		LP_AUTO_FREE char *event = take_log(&rest);

		lp_listeners_tell(&live->listeners, true, event, strlen(event));
	}
}

void lp_live_listen(struct lp_live *live, struct lp_http *http, bool page)
{
	LP_AUTO_FREE char *hello = event_text("hello", hello_of(live));
	LP_AUTO_FREE char *status = page ? status_text(live) : NULL;

	if (!hello || !lp_listeners_add(&live->listeners, http, page)) {
		lp_http_set(http, "retry-after", "5");
		lp_http_say(http, 503, "too many browsers listen");
		return;
	}
	lp_http_set(http, "x-accel-buffering", "no");
	lp_http_stream(http, 200, "text/event-stream");
	if (!live->beat.loop)
		lp_timer_set(live->opts.loop, &live->beat, lp_now_us() + BEAT_US);
	if (lp_http_send(http, "retry: 500\n\n", 12) < 0 ||
	    lp_http_send(http, hello, strlen(hello)) < 0 ||
	    (status && lp_http_send(http, status, strlen(status)) < 0))
		return;
	if (page)
		live->opts.backlog(live->opts.ctx, http);
}

void lp_live_shown(struct lp_live *live, uint64_t revision)
{
	uint64_t took_us = lp_now_us() - live->served_us;

	if (live->shown || live->served_us == 0 || revision != live->served)
		return;
	live->shown = true;
	lp_times_add(&live->counts.shown, took_us);
	live->opts.on_shown(live->opts.ctx, revision, took_us);
}

uint64_t lp_live_served(const struct lp_live *live)
{
	return live->served;
}

size_t lp_live_listeners(const struct lp_live *live)
{
	return live->listeners.n;
}

const struct lp_live_counts *lp_live_counts(const struct lp_live *live)
{
	return &live->counts;
}

static json_t *change_of(const struct lp_change *c)
{
	static const char *const states[LP_CHANGE_STATE_COUNT_] = {"applied", "settled", "failed"};
	json_t *paths = json_array();

	for (size_t i = 0; i < LP_CHANGE_PATHS && c->paths[i]; i++)
		(void)json_array_append_new(paths, text_of(c->paths[i]));
	return json_pack("{s:I, s:I, s:s, s:I, s:o}", "revision", (json_int_t)c->revision,
			 "time_ms", (json_int_t)(c->wall_us / 1000), "state", states[c->state],
			 "n_paths", (json_int_t)c->n_paths, "paths", paths);
}

static json_t *member_of(const struct member *m)
{
	static const char *const states[LP_MEMBER_STATE_COUNT_] = {
		[LP_MEMBER_AWAY] = "away",
		[LP_MEMBER_BEHIND] = "behind",
		[LP_MEMBER_SERVING] = "serving",
		[LP_MEMBER_FAILED] = "failed",
	};
	const char *state = m->state < LP_COUNT_OF(states) ? states[m->state] : NULL;

	return json_pack("{s:o, s:s, s:I, s:I, s:I}", "instance", text_of(m->name), "state",
			 state ? state : "unknown", "applied", (json_int_t)m->applied, "settled",
			 (json_int_t)m->settled, "generation", (json_int_t)m->generation);
}

int lp_live_describe(const struct lp_live *live, json_t *o)
{
	json_t *changes = json_array(), *members = json_array();
	const struct lp_change *c;
	int r = 0;

	for (size_t i = 0; i < SHOWN_CHANGES && (c = lp_changes_at(&live->changes, i)); i++)
		r |= json_array_append_new(changes, change_of(c));
	for (size_t i = 0; i < live->n_members; i++)
		r |= json_array_append_new(members, member_of(&live->members[i]));
	r |= json_object_set_new(o, "served", json_integer((json_int_t)live->served));
	r |= json_object_set_new(o, "failure", failure_of(live));
	r |= json_object_set_new(o, "changes", changes);
	r |= json_object_set_new(o, "instances", members);
	r |= json_object_set_new(o, "browsers", json_integer((json_int_t)live->listeners.n));
	return r == 0 ? 0 : -ENOMEM;
}
