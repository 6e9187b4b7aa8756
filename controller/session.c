/* controller/session.c: the connections to the control endpoint: proof of the secret, roles, and
 * who may do what. Applies nothing itself: it hands messages to apply and to the supervisor. */
#include "controller/instance_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/loop/ws.h"
#include "wire/auth.h"

#include <stdio.h>
#include <string.h>

#define OPENING_US 10000000u /* time to prove the secret */
#define LOG_QUEUE_MAX                                                                              \
	((size_t)4 * 1024 * 1024) /* log waiting for a slow session; more is dropped */
#define QUEUE_MAX     ((size_t)64 * 1024 * 1024) /* answers to one who asks and does not read */
#define CREDIT_STEP   ((uint64_t)1024 * 1024)
#define STRANGERS_MAX 32
#define SESSIONS_MAX  64

enum session_state {
	AWAITING_HELLO,
	AWAITING_PROOF,
	READY,
	CLOSING,
};

struct outgoing {
	struct outgoing *next;
	struct lp_buf bytes;
};

struct lp_session {
	struct lp_session *next;
	struct lp_instance *in;
	struct lp_ws *ws;
	enum session_state state;
	struct lp_timer deadline;
	enum lp_role role;
	bool take_over;
	bool follows;
	uint64_t epoch; /* of an owner; 0 otherwise */
	uint8_t workspace[LP_WIRE_ID_BYTES];
	uint8_t nonce[LP_WIRE_NONCE_BYTES];
	uint8_t expected[LP_WIRE_MAC_BYTES];
	uint8_t own_mac[LP_WIRE_MAC_BYTES];
	char holder[LP_WIRE_TEXT_MAX_BYTES];
	struct outgoing *first;
	struct outgoing *last;
	size_t queued_bytes;
	uint64_t held;     /* bytes that apply has not finished with */
	uint64_t consumed; /* bytes of changesets that it has */
	uint64_t credited;
	struct lp_packer *packer;
};

static void push(struct lp_session *s, struct lp_buf *bytes)
{
	struct outgoing *o = lp_xcalloc(1, sizeof(*o));

	o->bytes = *bytes;
	if (s->last)
		s->last->next = o;
	else
		s->first = o;
	s->last = o;
	s->queued_bytes += o->bytes.len;
	lp_ws_want_write(s->ws);
	if (s->queued_bytes > QUEUE_MAX) {
		s->state = CLOSING;
		lp_ws_close(s->ws, 1008, "too much unread");
	}
}

static void send_msg(struct lp_session *s, const struct lp_msg *msg)
{
	struct lp_buf bytes = {0};

	if (s->state == CLOSING && msg->kind != LP_MSG_REFUSED)
		return;
	if (lp_msg_encode(msg, &bytes) < 0)
		lp_log(LP_ERROR, "session", "a %s message does not fit", lp_msg_name(msg->kind));
	else
		push(s, &bytes);
}

/* Says why and closes once that is written. */
static void refuse(struct lp_session *s, enum lp_refusal code, const char *text)
{
	struct lp_msg msg = {.kind = LP_MSG_REFUSED};

	if (s->state == CLOSING)
		return;
	s->state = CLOSING;
	msg.u.refused.code = code;
	msg.u.refused.text = lp_bytes_of(text);
	send_msg(s, &msg);
}

static void on_deadline(struct lp_timer *timer)
{
	refuse(LP_CONTAINER_OF(timer, struct lp_session, deadline), LP_REFUSE_CLOSED,
	       "the secret was not proven in time");
}

const char *lp_sessions_owner(const struct lp_instance *in)
{
	return in->owner ? in->owner->holder : "";
}

static void on_hello(struct lp_session *s, const struct lp_msg_hello *hello)
{
	struct lp_msg msg = {.kind = LP_MSG_CHALLENGE};

	if (hello->version != LP_WIRE_VERSION) {
		char text[128];

		(void)snprintf(text, sizeof(text),
			       "the instance speaks version %d of the protocol, not %llu",
			       LP_WIRE_VERSION, (unsigned long long)hello->version);
		refuse(s, LP_REFUSE_VERSION, text);
		return;
	}
	if (!s->in->opts->secret) {
		refuse(s, LP_REFUSE_CLOSED,
		       "the instance has no secret; start it with LIVEPUSH_SECRET or "
		       "--secret-file");
		return;
	}
	if (hello->role != LP_ROLE_OWNER && hello->role != LP_ROLE_OBSERVER) {
		refuse(s, LP_REFUSE_PROTOCOL, "unknown role");
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
	send_msg(s, &msg);
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
			refuse(s, LP_REFUSE_HELD, text);
			return false;
		}
		(void)snprintf(text, sizeof(text), "taken over by %.400s", s->holder);
		refuse(in->owner, LP_REFUSE_TAKEN, text);
	} else if (in->owner) {
		refuse(in->owner, LP_REFUSE_CLOSED, "replaced by a newer connection");
	}
	in->owner = s;
	s->epoch = ++in->next_epoch;
	return true;
}

static void on_proof(struct lp_session *s, const struct lp_msg_proof *proof)
{
	struct lp_instance *in = s->in;
	struct lp_msg msg = {.kind = LP_MSG_WELCOME};
	struct lp_tree_state tree;
	struct lp_sup_status app;

	if (!lp_auth_equal(proof->mac, s->expected, sizeof(s->expected))) {
		lp_log(LP_WARN, "session", "a client without the secret was refused");
		refuse(s, LP_REFUSE_SECRET, "the secret is not the instance's");
		return;
	}
	lp_timer_clear(&s->deadline);
	if (s->role == LP_ROLE_OWNER && !become_owner(s))
		return;
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
	send_msg(s, &msg);
}

static void send_log(void *ctx, uint64_t generation, uint64_t stream, const char *data, size_t len)
{
	struct lp_session *s = ctx;
	struct lp_msg msg = {.kind = LP_MSG_LOG};

	while (len > 0 && s->queued_bytes < LOG_QUEUE_MAX) {
		size_t n = len < LP_WIRE_PIECE_BYTES ? len : LP_WIRE_PIECE_BYTES;

		msg.u.log.generation = generation;
		msg.u.log.stream = stream;
		msg.u.log.content = (struct lp_bytes){(const uint8_t *)data, n};
		send_msg(s, &msg);
		data += n;
		len -= n;
	}
}

static void on_tail(struct lp_session *s, const struct lp_msg_tail *tail)
{
	struct lp_msg end = {.kind = LP_MSG_LOG};

	lp_history_last(s->in->history, tail->backlog, send_log, s);
	/* An empty LOG marks the end of the back-log. */
	send_msg(s, &end);
	s->follows = tail->follow;
}

static void on_ask(struct lp_session *s)
{
	struct lp_msg msg = {.kind = LP_MSG_STATUS};

	lp_status_fill(s->in, &msg.u.status);
	send_msg(s, &msg);
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
	case LP_MSG_SKIP:
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
		refuse(s, LP_REFUSE_PROTOCOL, "too large for an opening");
		return;
	}
	if (lp_job_create(&job, data, len, s->packer, &err) < 0)
		refuse(s, LP_REFUSE_PROTOCOL, err.msg);
	else if (!handle(s, &job))
		refuse(s, LP_REFUSE_PROTOCOL, "this message may not come now");
	lp_job_destroy(job);
}

static void on_writable(struct lp_ws *ws)
{
	struct lp_session *s = lp_ws_user(ws);
	struct outgoing *o = s->first;

	if (o) {
		s->first = o->next;
		if (!s->first)
			s->last = NULL;
		s->queued_bytes -= o->bytes.len;
		if (lp_ws_send(ws, o->bytes.data, o->bytes.len) < 0)
			s->state = CLOSING;
		lp_buf_finish(&o->bytes);
		free(o);
	}
	if (s->first)
		lp_ws_want_write(ws);
	else if (s->state == CLOSING)
		lp_ws_close(ws, 1000, "refused");
}

static void on_close(struct lp_ws *ws, const char *reason)
{
	struct lp_session *s = lp_ws_user(ws), **at = &s->in->sessions;

	lp_log(LP_DEBUG, "session", "closed: %s", reason);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (s->in->owner == s)
		s->in->owner = NULL;
	lp_timer_clear(&s->deadline);
	while (s->first) {
		struct outgoing *o = s->first;

		s->first = o->next;
		lp_buf_finish(&o->bytes);
		free(o);
	}
	lp_packer_destroy(s->packer);
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
		if (s->state == READY) {
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
		.on_writable = on_writable,
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

/* GET /_livepush/status for whoever knows the secret. */
static void on_request(void *ctx, struct lp_http_request *req)
{
	struct lp_instance *in = ctx;
	const char *secret = in->opts->secret, *given = req->authorization;
	size_t len = secret ? strlen(secret) : 0;

	if (strncmp(given, "Bearer ", 7) == 0)
		given += 7;
	if (len == 0 || strlen(given) != len ||
	    !lp_auth_equal((const uint8_t *)given, (const uint8_t *)secret, len)) {
		req->status = 401;
		return;
	}
	if (strcmp(req->path, "/_livepush/status") != 0)
		return;
	if (lp_status_json(in, req->body) < 0)
		return;
	req->status = 200;
	req->content_type = "application/json";
}

int lp_sessions_serve(struct lp_instance *in, struct lp_err *err)
{
	const struct lp_ws_serve_opts opts = {
		.abstract_name = in->control_name,
		.on_accept = on_accept,
		.on_request = on_request,
		.ctx = in,
	};

	return lp_ws_serve(in->loop, &opts, err);
}

void lp_sessions_close(struct lp_instance *in, const char *why)
{
	for (struct lp_session *s = in->sessions; s; s = s->next)
		refuse(s, LP_REFUSE_CLOSED, why);
}

void lp_sessions_tell(struct lp_instance *in, const struct lp_msg *msg)
{
	for (struct lp_session *s = in->sessions; s; s = s->next)
		if (s->state == READY)
			send_msg(s, msg);
}

void lp_sessions_log(struct lp_instance *in, uint64_t generation, uint64_t stream, const char *data,
		     size_t len)
{
	for (struct lp_session *s = in->sessions; s; s = s->next)
		if (s->state == READY && s->follows)
			send_log(s, generation, stream, data, len);
}

void lp_sessions_reply(struct lp_instance *in, uint64_t epoch, const struct lp_buf *bytes)
{
	struct lp_buf copy = {0};

	if (!in->owner || in->owner->epoch != epoch || in->owner->state != READY)
		return;
	if (lp_buf_add(&copy, bytes->data, bytes->len) < 0)
		refuse(in->owner, LP_REFUSE_CLOSED, "out of memory");
	else
		push(in->owner, &copy);
}

void lp_sessions_consumed(struct lp_instance *in, uint64_t epoch, size_t bytes, bool content)
{
	struct lp_session *s = in->owner;
	struct lp_msg msg = {.kind = LP_MSG_CREDIT};

	if (!s || s->epoch != epoch || s->state != READY)
		return;
	s->held -= bytes;
	s->consumed += content ? bytes : 0;
	if (s->consumed == s->credited || (s->consumed - s->credited < CREDIT_STEP && s->held > 0))
		return;
	s->credited = s->consumed;
	msg.u.credit.consumed = s->consumed;
	send_msg(s, &msg);
}
