/* controller/session_out.c: what is said to sessions: their queues, and who gets what. */
#include "controller/session_internal.h"

#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"

#define LOG_QUEUE_MAX                                                                              \
	((size_t)4 * 1024 * 1024)              /* log waiting for a slow session; more is dropped */
#define QUEUE_MAX   ((size_t)64 * 1024 * 1024) /* answers to one who asks and does not read */
#define CREDIT_STEP ((uint64_t)1024 * 1024)

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

void lp_session_send(struct lp_session *s, const struct lp_msg *msg)
{
	struct lp_buf bytes = {0};

	if (s->state == CLOSING && msg->kind != LP_MSG_REFUSED)
		return;
	if (lp_msg_encode(msg, &bytes) == 0) {
		push(s, &bytes);
		return;
	}
	/* Whoever waits for it must not wait for ever. */
	lp_log(LP_ERROR, "session", "a %s message does not fit; closing", lp_msg_name(msg->kind));
	s->state = CLOSING;
	lp_ws_close(s->ws, 1011, "an answer does not fit");
}

void lp_session_refuse(struct lp_session *s, enum lp_refusal code, const char *text)
{
	struct lp_msg msg = {.kind = LP_MSG_REFUSED};

	if (s->state == CLOSING)
		return;
	s->state = CLOSING;
	msg.u.refused.code = code;
	msg.u.refused.text = lp_bytes_of(text);
	lp_session_send(s, &msg);
}

void lp_session_on_writable(struct lp_ws *ws)
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

void lp_session_forget(struct lp_session *s)
{
	while (s->first) {
		struct outgoing *o = s->first;

		s->first = o->next;
		lp_buf_finish(&o->bytes);
		free(o);
	}
	s->last = NULL;
}

void lp_session_log(void *ctx, const struct lp_output *piece)
{
	struct lp_session *s = ctx;
	struct lp_msg msg = {.kind = LP_MSG_LOG};
	const char *data = piece->data;
	size_t len = piece->len;

	msg.u.log.generation = piece->generation;
	msg.u.log.stream = piece->stream;
	msg.u.log.at_ms = piece->at_ms;
	while (len > 0 && s->queued_bytes < LOG_QUEUE_MAX) {
		size_t n = len < LP_WIRE_PIECE_BYTES ? len : LP_WIRE_PIECE_BYTES;

		msg.u.log.content = (struct lp_bytes){(const uint8_t *)data, n};
		lp_session_send(s, &msg);
		data += n;
		len -= n;
	}
}

void lp_sessions_tell(struct lp_instance *in, const struct lp_msg *msg)
{
	for (struct lp_session *s = in->sessions; s; s = s->next)
		if (s->state == READY)
			lp_session_send(s, msg);
}

void lp_sessions_tell_owner(struct lp_instance *in, const struct lp_msg *msg)
{
	if (in->owner && in->owner->state == READY)
		lp_session_send(in->owner, msg);
}

size_t lp_sessions_count(const struct lp_instance *in)
{
	size_t n = 0;

	for (const struct lp_session *s = in->sessions; s; s = s->next)
		n += s->state == READY;
	return n;
}

void lp_sessions_log(struct lp_instance *in, const struct lp_output *piece)
{
	for (struct lp_session *s = in->sessions; s; s = s->next)
		if (s->state == READY && s->follows)
			lp_session_log(s, piece);
}

void lp_sessions_mute(struct lp_instance *in, uint64_t epoch)
{
	if (in->owner && in->owner->epoch == epoch)
		lp_session_refuse(in->owner, LP_REFUSE_CLOSED,
				  "an answer does not fit into a message");
}

void lp_sessions_reply(struct lp_instance *in, uint64_t epoch, const struct lp_buf *bytes)
{
	struct lp_buf copy = {0};

	if (!in->owner || in->owner->epoch != epoch || in->owner->state != READY)
		return;
	if (lp_buf_add(&copy, bytes->data, bytes->len) < 0)
		lp_session_refuse(in->owner, LP_REFUSE_CLOSED, "out of memory");
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
	lp_session_send(s, &msg);
}
