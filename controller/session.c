/* controller/session.c: the connections to the control endpoint: proof of the secret, roles, and
 * who may do what. Applies nothing itself: it hands messages to apply and to the supervisor. */
#include "controller/session_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "controller/live.h"
#include "controller/past.h"
#include "controller/web.h"
#include "controller/web_internal.h"
#include "wire/auth.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#define OPENING_US    10000000u /* time to prove the secret */
#define STRANGERS_MAX 32
#define SESSIONS_MAX  64

static void on_deadline(struct lp_timer *timer)
{
	lp_session_refuse(LP_CONTAINER_OF(timer, struct lp_session, deadline), LP_REFUSE_CLOSED,
			  "the secret was not proven in time");
}

const char *lp_sessions_owner(const struct lp_instance *in)
{
	return in->owner ? in->owner->holder : "";
}

/* Refuses it when its address has given wrong secrets. */
static bool must_wait(struct lp_session *s)
{
	uint64_t wait_us = lp_web_wait_us(s->in, lp_ws_forwarded_for(s->ws));
	char text[96];

	if (wait_us == 0)
		return false;
	(void)snprintf(text, sizeof(text),
		       "too many wrong secrets from your address; try again in %u s",
		       (unsigned)((wait_us + 999999) / 1000000));
	lp_session_refuse(s, LP_REFUSE_CLOSED, text);
	return true;
}

static void on_hello(struct lp_session *s, const struct lp_msg_hello *hello)
{
	struct lp_msg msg = {.kind = LP_MSG_CHALLENGE};

	if (hello->version != LP_WIRE_VERSION) {
		char text[128];

		(void)snprintf(text, sizeof(text),
			       "the instance speaks version %d of the protocol, not %llu",
			       LP_WIRE_VERSION, (unsigned long long)hello->version);
		lp_session_refuse(s, LP_REFUSE_VERSION, text);
		return;
	}
	if (!s->in->opts->secret) {
		lp_session_refuse(s, LP_REFUSE_CLOSED,
				  "the instance has no secret; start it with LIVEPUSH_SECRET or "
				  "--secret-file");
		return;
	}
	if (must_wait(s))
		return;
	if (hello->role != LP_ROLE_OWNER && hello->role != LP_ROLE_OBSERVER) {
		lp_session_refuse(s, LP_REFUSE_PROTOCOL, "unknown role");
		return;
	}
	s->role = (enum lp_role)hello->role;
	s->take_over = hello->take_over;
	memcpy(s->workspace, hello->workspace, sizeof(s->workspace));
	lp_bytes_text(&hello->holder, s->holder, sizeof(s->holder));
	lp_random(s->nonce, sizeof(s->nonce));
	lp_auth_mac(s->in->opts->secret, LP_AUTH_CLIENT, hello, s->nonce, s->expected);
	lp_auth_mac(s->in->opts->secret, LP_AUTH_INSTANCE, hello, s->nonce, s->own_mac);
	s->state = AWAITING_PROOF;
	msg.u.challenge.version = LP_WIRE_VERSION;
	msg.u.challenge.features = LP_FEATURE_ZSTD & hello->features;
	memcpy(msg.u.challenge.nonce, s->nonce, sizeof(s->nonce));
	lp_session_send(s, &msg);
}

/* One owner at a time. The same workspace session coming back replaces its own lost connection. */
static bool become_owner(struct lp_session *s)
{
	struct lp_instance *in = s->in;
	char text[LP_WIRE_TEXT_MAX_BYTES];

	if (in->owner && memcmp(in->owner->workspace, s->workspace, LP_WIRE_ID_BYTES) != 0) {
		if (!s->take_over) {
			(void)snprintf(text, sizeof(text), "held by %.400s; --take-over takes it",
				       in->owner->holder);
			lp_session_refuse(s, LP_REFUSE_HELD, text);
			return false;
		}
		(void)snprintf(text, sizeof(text), "taken over by %.400s", s->holder);
		lp_session_refuse(in->owner, LP_REFUSE_TAKEN, text);
	} else if (in->owner) {
		lp_session_refuse(in->owner, LP_REFUSE_CLOSED, "replaced by a newer connection");
	}
	in->owner = s;
	s->epoch = ++in->next_epoch;
	return true;
}

static void welcome(struct lp_session *s)
{
	struct lp_instance *in = s->in;
	struct lp_msg msg = {.kind = LP_MSG_WELCOME};
	struct lp_tree_state tree;
	struct lp_sup_status app;

	s->state = READY;
	lp_apply_state(in->apply, &tree);
	lp_sup_status(in->sup, &app);
	memcpy(msg.u.welcome.mac, s->own_mac, sizeof(s->own_mac));
	msg.u.welcome.instance = lp_bytes_of(in->id);
	memcpy(msg.u.welcome.boot, in->boot, sizeof(in->boot));
	msg.u.welcome.revision = tree.revision;
	memcpy(msg.u.welcome.root, tree.root.b, 16);
	msg.u.welcome.foreign = tree.foreign;
	msg.u.welcome.has_app = in->conf->command.n > 0;
	msg.u.welcome.generation = app.generation;
	memcpy(msg.u.welcome.partial, tree.partial.b, 16);
	msg.u.welcome.partial_have = tree.partial_have;
	msg.u.welcome.files = tree.contents;
	lp_session_send(s, &msg);
}

static void on_proof(struct lp_session *s, const struct lp_msg_proof *proof)
{
	struct lp_instance *in = s->in;

	/* Others of its address may have failed since it said hello. */
	if (must_wait(s))
		return;
	if (!lp_auth_equal(proof->mac, s->expected, sizeof(s->expected))) {
		lp_web_attempt(in, lp_ws_forwarded_for(s->ws), false);
		lp_session_refuse(s, LP_REFUSE_SECRET, "the secret is not the instance's");
		return;
	}
	lp_web_attempt(in, lp_ws_forwarded_for(s->ws), true);
	lp_timer_clear(&s->deadline);
	if (s->role != LP_ROLE_OWNER) {
		welcome(s);
	} else if (become_owner(s)) {
		/* What it is told of the tree shall be how the connection before left it. */
		s->state = AWAITING_TURN;
		lp_apply_greet(in->apply, s->epoch);
	}
}

static void on_tail(struct lp_session *s, const struct lp_msg_tail *tail)
{
	struct lp_msg end = {.kind = LP_MSG_LOG};

	lp_history_last(s->in->history, tail->backlog, lp_session_log, s);
	/* An empty LOG marks the end of the back-log. */
	lp_session_send(s, &end);
	s->follows = tail->follow;
}

static void on_ask(struct lp_session *s)
{
	struct lp_msg msg = {.kind = LP_MSG_STATUS};

	lp_status_fill(s->in, &msg.u.status);
	lp_session_send(s, &msg);
}

static void on_history(struct lp_session *s, const struct lp_msg_history *history)
{
	struct lp_msg msg = {.kind = LP_MSG_REVISIONS};

	lp_past_list(s->in, history->most, &msg.u.revisions);
	lp_session_send(s, &msg);
	free(msg.u.revisions.revisions);
}

/* ROLLED follows when it was done, or now when that is out of the question. */
static void on_rollback(struct lp_session *s, const struct lp_msg_rollback *rollback)
{
	struct lp_msg msg = {.kind = LP_MSG_ROLLED};
	struct lp_tree_state tree;
	struct lp_err err = {0};

	if (lp_past_rollback(s->in, rollback, &err) == 0)
		return;
	lp_apply_state(s->in->apply, &tree);
	msg.u.rolled.asked = true;
	msg.u.rolled.revision = msg.u.rolled.from = tree.revision;
	msg.u.rolled.text = lp_bytes_of(err.msg);
	lp_session_send(s, &msg);
}

/* A message of a session that has proven the secret. Returns false when it may not send this one.
 */
static bool dispatch(struct lp_session *s, struct lp_job **job)
{
	const struct lp_msg *msg = &(*job)->msg;
	size_t len = (*job)->bytes.len;

	switch (msg->kind) {
	case LP_MSG_LIST:
	case LP_MSG_CHANGE:
	case LP_MSG_DATA:
	case LP_MSG_PATCH:
	case LP_MSG_SKIP:
	case LP_MSG_VERIFY:
		if (s->role != LP_ROLE_OWNER)
			return false;
		if (s->held + len > LP_WIRE_WINDOW_BYTES + LP_WIRE_MSG_MAX_BYTES)
			return false;
		s->held += len;
		lp_apply_submit(s->in->apply, *job, s->epoch);
		*job = NULL;
		return true;
	case LP_MSG_RESTART: {
		struct lp_tree_state tree;

		lp_apply_state(s->in->apply, &tree);
		lp_sup_restart(s->in->sup, tree.revision);
		return true;
	}
	case LP_MSG_ASK:
		on_ask(s);
		return true;
	case LP_MSG_TAIL:
		on_tail(s, &msg->u.tail);
		return true;
	case LP_MSG_FLEET:
		if (s->role != LP_ROLE_OWNER)
			return false;
		if (s == s->in->owner)
			lp_live_fleet(s->in->live, &msg->u.fleet);
		return true;
	case LP_MSG_HISTORY:
		on_history(s, &msg->u.history);
		return true;
	case LP_MSG_ROLLBACK:
		on_rollback(s, &msg->u.rollback);
		return true;
	default:
		return false;
	}
}

static bool handle(struct lp_session *s, struct lp_job **job)
{
	const struct lp_msg *msg = &(*job)->msg;

	switch (s->state) {
	case AWAITING_HELLO:
		if (msg->kind != LP_MSG_HELLO)
			return false;
		on_hello(s, &msg->u.hello);
		return true;
	case AWAITING_PROOF:
		if (msg->kind != LP_MSG_PROOF)
			return false;
		on_proof(s, &msg->u.proof);
		return true;
	case AWAITING_TURN:
		return false;
	case READY:
		return dispatch(s, job);
	case CLOSING:
		break;
	}
	return true;
}

static void on_message(struct lp_ws *ws, const uint8_t *data, size_t len)
{
	struct lp_session *s = lp_ws_user(ws);
	struct lp_job *job = NULL;
	struct lp_err err = {0};

	if (s->state == CLOSING)
		return;
	/* Nobody unpacks for a stranger. */
	if (s->state == READY && !s->packer)
		s->packer = lp_packer_create();
	if (s->state != READY && len > 4096) {
		lp_session_refuse(s, LP_REFUSE_PROTOCOL, "too large for an opening");
		return;
	}
	if (lp_job_create(&job, data, len, s->packer, &err) < 0)
		lp_session_refuse(s, LP_REFUSE_PROTOCOL, err.msg);
	else if (!handle(s, &job))
		lp_session_refuse(s, LP_REFUSE_PROTOCOL, "this message may not come now");
	lp_job_destroy(job);
}

static void on_close(struct lp_ws *ws, const char *reason)
{
	struct lp_session *s = lp_ws_user(ws), **at = &s->in->sessions;

	lp_log(LP_DEBUG, "session", "closed: %s", reason);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (s->epoch)
		lp_apply_lost(s->in->apply, s->epoch);
	if (s->in->owner == s) {
		s->in->owner = NULL;
		if (s->in->live)
			lp_live_orphaned(s->in->live);
	}
	lp_timer_clear(&s->deadline);
	lp_session_forget(s);
	lp_packer_destroy(s->packer);
	/* What an owner's messages took goes back to the system. */
	if (s->epoch)
		(void)malloc_trim(0);
	free(s);
}

static void on_open(struct lp_ws *ws)
{
	(void)ws;
}

/* Whoever has not proven the secret yet may be anybody: there are few places for strangers, the
 * oldest of them goes for the next, and they take no place from those who have. */
static bool make_room(struct lp_instance *in)
{
	struct lp_session *oldest_stranger = NULL;
	size_t strangers = 0, known = 0;

	/* Newest first. */
	for (struct lp_session *s = in->sessions; s; s = s->next) {
		if (s->state == READY || s->state == AWAITING_TURN) {
			known++;
		} else if (s->state != CLOSING) {
			strangers++;
			oldest_stranger = s;
		}
	}
	if (oldest_stranger && strangers >= STRANGERS_MAX) {
		oldest_stranger->state = CLOSING;
		lp_ws_close(oldest_stranger->ws, 1013, "too many wait");
	}
	return known < SESSIONS_MAX;
}

static const struct lp_ws_ops *on_accept(void *ctx, struct lp_ws *ws, void **user)
{
	static const struct lp_ws_ops ops = {
		.on_open = on_open,
		.on_message = on_message,
		.on_writable = lp_session_on_writable,
		.on_close = on_close,
	};
	struct lp_instance *in = ctx;
	struct lp_session *s;

	if (in->stopping || !make_room(in))
		return NULL;
	s = lp_xcalloc(1, sizeof(*s));
	s->in = in;
	s->ws = ws;
	s->next = in->sessions;
	in->sessions = s;
	s->deadline.on_fire = on_deadline;
	lp_timer_set(in->loop, &s->deadline, lp_now_us() + OPENING_US);
	*user = s;
	return &ops;
}

int lp_sessions_serve(struct lp_instance *in, struct lp_err *err)
{
	const struct lp_ws_serve_opts opts = {
		.abstract_name = in->control_name,
		.on_accept = on_accept,
		.on_upgrade = lp_web_on_upgrade,
		.on_head = lp_web_on_head,
		.on_request = lp_web_on_request,
		.ctx = in,
	};

	return lp_ws_serve(in->loop, &opts, err);
}

void lp_sessions_close(struct lp_instance *in, const char *why)
{
	for (struct lp_session *s = in->sessions; s; s = s->next)
		lp_session_refuse(s, LP_REFUSE_CLOSED, why);
}

void lp_sessions_greeted(struct lp_instance *in, uint64_t epoch)
{
	struct lp_session *s = in->owner;

	if (s && s->epoch == epoch && s->state == AWAITING_TURN)
		welcome(s);
}
