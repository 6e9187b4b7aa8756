/* link/link.c: the connection of a link: opening, proof, loss and return. */
#include "link/link_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_secret.h"
#include "common/base/lp_utf8.h"
#include "wire/auth.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define RETRY_FIRST_US 50000u
#define RETRY_MAX_US   5000000u
/* Until the connection is open; longer each time that nobody answers, in case it is only slow. */
#define CONNECT_US     4000000u
#define CONNECT_MAX_US 20000000u
#define WELCOME_US     10000000u
/* The same right after the network came back: what is sent in the first moments is often lost, and
 * TCP would wait for a second. Doubles. */
#define HURRY_US 150000u
/* A try that began within this time before a nudge may well get through. */
#define FRESH_US 100000u

/* Revisions grow by one with each change: an instance that is further says something else. */
#define REVISION_LIKELY_MAX (UINT64_C(1) << 52)

static void connect_now(struct lp_link *link);
static void open_ws(struct lp_link *link);

int lp_link_queue(struct lp_link *link, const struct lp_msg *msg)
{
	struct lp_control *c = lp_xcalloc(1, sizeof(*c));
	int r = lp_msg_encode(msg, &c->bytes);

	if (r < 0) {
		free(c);
		return r;
	}
	if (link->control_last)
		link->control_last->next = c;
	else
		link->control_first = c;
	link->control_last = c;
	lp_ws_want_write(link->ws);
	return 0;
}

void lp_link_fail(struct lp_link *link, const char *why)
{
	(void)snprintf(link->last_error, sizeof(link->last_error), "%.255s", why);
	if (link->ws)
		lp_ws_close(link->ws, 1002, why);
}

static void on_open(struct lp_ws *ws)
{
	struct lp_link *link = lp_ws_user(ws);
	struct lp_msg msg = {.kind = LP_MSG_HELLO};

	link->silences = link->hurry = 0;
	link->addr = link->addrs.n; /* it is there: no other has to be tried */
	lp_timer_set(link->loop, &link->opening, lp_now_us() + WELCOME_US);

	link->hello = (struct lp_msg_hello){
		.version = LP_WIRE_VERSION,
		.features = LP_FEATURE_ZSTD,
		.role = link->opts.role,
		.take_over = link->opts.take_over,
		.app = lp_bytes_of(link->opts.app),
		.holder = lp_bytes_of(link->opts.holder),
	};
	lp_random(link->hello.nonce, sizeof(link->hello.nonce));
	memcpy(link->hello.workspace, link->opts.workspace, LP_WIRE_ID_BYTES);
	msg.u.hello = link->hello;
	if (lp_link_queue(link, &msg) < 0)
		lp_link_fail(link, "cannot greet");
}

static void on_challenge(struct lp_link *link, const struct lp_msg_challenge *challenge)
{
	struct lp_msg msg = {.kind = LP_MSG_PROOF};

	if (challenge->version != LP_WIRE_VERSION) {
		link->final = true;
		lp_link_fail(link, "the instance speaks another version of the protocol");
		return;
	}
	link->features = challenge->features & LP_FEATURE_ZSTD;
	memcpy(link->instance_nonce, challenge->nonce, sizeof(link->instance_nonce));
	lp_auth_mac(link->opts.secret, LP_AUTH_CLIENT, &link->hello, link->instance_nonce,
		    msg.u.proof.mac);
	link->state = LP_LINK_PROVING;
	if (lp_link_queue(link, &msg) < 0)
		lp_link_fail(link, "cannot prove the secret");
}

static void on_welcome(struct lp_link *link, const struct lp_msg_welcome *welcome)
{
	uint8_t mac[LP_WIRE_MAC_BYTES];
	bool is_owner = link->opts.role == LP_ROLE_OWNER;

	lp_auth_mac(link->opts.secret, LP_AUTH_INSTANCE, &link->hello, link->instance_nonce, mac);
	if (!lp_auth_equal(mac, welcome->mac, sizeof(mac))) {
		link->final = true;
		lp_link_fail(link, "the instance does not know the secret");
		return;
	}
	/* A number that cannot be would leave the other instances none to go on with. */
	if (is_owner && welcome->revision > REVISION_LIKELY_MAX &&
	    welcome->revision > link->source.revision(link->source.ctx)) {
		link->final = true;
		lp_link_fail(link, "the instance claims a revision that nobody can have reached");
		return;
	}
	lp_timer_clear(&link->opening);
	link->opts.take_over = false; /* once is enough; a reconnect must not take over again */
	link->applied = welcome->revision;
	if (link->opts.compress && (link->features & LP_FEATURE_ZSTD) && !link->packer)
		link->packer = lp_packer_create();
	memcpy(link->partial.b, welcome->partial, sizeof(link->partial.b));
	link->partial_have = welcome->partial_have;
	link->state = LP_LINK_READY;
	if (link->ops.on_up)
		link->ops.on_up(link->ops.ctx, link, welcome);
	if (!is_owner)
		return;
	memcpy(link->welcomed_root.b, welcome->root, sizeof(link->welcomed_root.b));
	link->welcomed_revision = welcome->revision;
	link->welcomed_foreign = welcome->foreign;
	lp_link_greet(link);
}

static void on_refused(struct lp_link *link, const struct lp_msg_refused *refused)
{
	lp_bytes_text(&refused->text, link->last_error, sizeof(link->last_error));
	/* An instance that is going down comes back; everything else stays as it is. */
	link->final = refused->code != LP_REFUSE_CLOSED;
	lp_ws_close(link->ws, 1000, "refused");
}

static void dispatch(struct lp_link *link, const struct lp_msg *msg)
{
	if (msg->kind == LP_MSG_REFUSED)
		on_refused(link, &msg->u.refused);
	else if (msg->kind == LP_MSG_CHALLENGE && link->state == LP_LINK_OPENING)
		on_challenge(link, &msg->u.challenge);
	else if (msg->kind == LP_MSG_WELCOME && link->state == LP_LINK_PROVING)
		on_welcome(link, &msg->u.welcome);
	else if (link->state >= LP_LINK_READY)
		lp_stream_message(link, msg);
	else
		lp_link_fail(link, "the instance answers out of order");
}

static void on_bytes(struct lp_ws *ws, const uint8_t *data, size_t len)
{
	struct lp_link *link = lp_ws_user(ws);
	struct lp_msg msg;
	struct lp_err err = {0};
	int r = lp_msg_decode(&msg, data, len, &err);

	if (r == 0 && msg.kind == LP_MSG_PACKED && link->state >= LP_LINK_READY) {
		struct lp_msg inner = {0};

		if (!link->packer)
			link->packer = lp_packer_create();
		r = lp_packer_unpack(link->packer, &msg.u.packed, &link->unpacked, &err);
		if (r == 0)
			r = lp_msg_decode(&inner, link->unpacked.data, link->unpacked.len, &err);
		lp_msg_finish(&msg);
		msg = inner;
	}
	if (r < 0) {
		lp_link_fail(link, err.msg);
		return;
	}
	dispatch(link, &msg);
	lp_msg_finish(&msg);
}

static void on_writable(struct lp_ws *ws)
{
	lp_stream_writable(lp_ws_user(ws));
}

static void on_retry(struct lp_timer *timer)
{
	connect_now(LP_CONTAINER_OF(timer, struct lp_link, retry));
}

/* First at once, then 50 ms doubling to 5 s, each shortened by up to a half so that many clients do
 * not come back in step. */
static void schedule_retry(struct lp_link *link)
{
	uint64_t wait_us = RETRY_FIRST_US;
	uint32_t dice;

	for (unsigned i = 1; i < link->tries && wait_us < RETRY_MAX_US; i++)
		wait_us *= 2;
	if (wait_us > RETRY_MAX_US)
		wait_us = RETRY_MAX_US;
	lp_random(&dice, sizeof(dice));
	wait_us -= wait_us * (dice % 512) / 1024;
	link->retry.on_fire = on_retry;
	lp_timer_set(link->loop, &link->retry,
		     link->tries++ == 0 ? lp_now_us() : lp_now_us() + wait_us);
}

/* The connection is gone: forgets what it was about. */
static void reset(struct lp_link *link)
{
	lp_resolve_cancel(link->resolve);
	link->resolve = NULL;
	link->ws = NULL;
	link->state = LP_LINK_DOWN;
	lp_stream_reset(link);
	lp_walk_reset(link);
	lp_timer_clear(&link->resync_timer);
	lp_timer_clear(&link->opening);
}

/* The connection is gone, or did not come about. */
static void lost(struct lp_link *link, const char *reason)
{
	reset(link);
	if (!link->last_error[0])
		(void)snprintf(link->last_error, sizeof(link->last_error), "%s", reason);
	lp_utf8_plain(link->last_error); /* the reason may be the peer's */
	if (!link->opts.reconnect)
		link->final = true;
	if (!link->final)
		schedule_retry(link);
	link->ops.on_down(link->ops.ctx, link, link->last_error, link->final);
}

static void on_next_address(struct lp_timer *timer)
{
	open_ws(LP_CONTAINER_OF(timer, struct lp_link, retry));
}

static void on_close(struct lp_ws *ws, const char *reason)
{
	struct lp_link *link = lp_ws_user(ws);

	if (!link)
		return;
	/* A host may have more addresses than it listens at; the time is for all of them. */
	if (link->addr + 1 < link->addrs.n && !link->last_error[0]) {
		link->ws = NULL;
		link->addr++;
		link->retry.on_fire = on_next_address;
		lp_timer_set(link->loop, &link->retry, lp_now_us());
		return;
	}
	lost(link, reason);
}

/* Nobody answers: what was sent into a dead network is not waited for any longer. */
static void on_opening(struct lp_timer *timer)
{
	struct lp_link *link = LP_CONTAINER_OF(timer, struct lp_link, opening);

	if (link->hurry > 0)
		link->hurry++;
	else
		link->silences++;
	if (link->ws)
		lp_link_fail(link, "it does not answer");
	else
		lost(link, link->resolve ? "no name server answers" : "it does not answer");
}

void lp_link_nudge(struct lp_link *link)
{
	bool up = link->state > LP_LINK_OPENING;
	uint64_t now_us = lp_now_us();

	if (link->final || !link->opts.reconnect)
		return;
	if (up && !lp_ws_is_stuck(link->ws)) {
		lp_ws_probe(link->ws);
		return;
	}
	/* What follows a failure soon after this one is tried soon, too. */
	link->tries = 1;
	link->silences = 0;
	link->hurry = 1;
	if (now_us - link->connect_us < FRESH_US) {
		if (!link->ws) {
			link->retry.on_fire = on_retry;
			lp_timer_set(link->loop, &link->retry, link->connect_us + FRESH_US);
		}
		return;
	}
	if (link->ws) {
		lp_ws_abandon(link->ws);
		reset(link);
	}
	lp_timer_clear(&link->retry);
	connect_now(link);
	if (up)
		link->ops.on_down(link->ops.ctx, link, "the network was away", false);
}

static const struct lp_ws_ops ws_ops = {
	.on_open = on_open,
	.on_message = on_bytes,
	.on_writable = on_writable,
	.on_close = on_close,
};

/* How long this try may take until the connection is open. */
static uint64_t patience_us(struct lp_link *link)
{
	uint64_t wait_us = CONNECT_US * (1 + (uint64_t)link->silences);

	if (link->hurry > 5)
		link->hurry = 0;
	if (link->hurry > 0)
		return (uint64_t)HURRY_US << (link->hurry - 1);
	return wait_us < CONNECT_MAX_US ? wait_us : CONNECT_MAX_US;
}

/* Connects to the present address. */
static void open_ws(struct lp_link *link)
{
	const struct lp_ws_connect_opts opts = {
		.url = link->opts.url,
		.ca_file = link->opts.ca_file,
		.pins = link->opts.pins,
		.address = link->addr < link->addrs.n ? link->addrs.at[link->addr] : NULL,
		.ops = &ws_ops,
		.user = link,
	};
	struct lp_err err = {0};

	if (lp_ws_connect(link->loop, &link->ws, &opts, &err) == 0)
		return;
	lp_timer_clear(&link->opening);
	link->ws = NULL;
	link->state = LP_LINK_DOWN;
	link->final = true;
	link->ops.on_down(link->ops.ctx, link, err.msg, true);
}

static void on_resolved(void *ctx, const struct lp_addrs *addrs, const char *fault)
{
	struct lp_link *link = ctx;

	link->resolve = NULL;
	if (fault) {
		lost(link, fault);
		return;
	}
	/* One that was silent the last time is not the first to be tried again. */
	link->addrs.n = addrs->n;
	for (size_t i = 0; i < addrs->n; i++)
		memcpy(link->addrs.at[i], addrs->at[(i + link->silences + link->hurry) % addrs->n],
		       LP_ADDR_BYTES);
	open_ws(link);
}

/* The host of a URL when it has to be looked up: not when it is a numeric address, nor of what is
 * no URL at all. */
static bool needs_resolve(const char *url, char out[LP_HOST_MAX_BYTES + 1])
{
	const char *host = strstr(url, "://");
	struct in_addr v4;
	size_t len;

	if (!host)
		return false;
	host += 3;
	len = strcspn(host, ":/?#[");
	if (len == 0 || len > LP_HOST_MAX_BYTES)
		return false; /* nothing, or an IPv6 address in brackets */
	memcpy(out, host, len);
	out[len] = '\0';
	return inet_pton(AF_INET, out, &v4) != 1;
}

static void connect_now(struct lp_link *link)
{
	char host[LP_HOST_MAX_BYTES + 1];
	struct lp_err err = {0};

	reset(link);
	link->state = LP_LINK_OPENING;
	link->last_error[0] = '\0';
	link->connect_us = lp_now_us();
	link->opening.on_fire = on_opening;
	lp_timer_set(link->loop, &link->opening, link->connect_us + patience_us(link));
	link->addrs.n = link->addr = 0;
	if (!needs_resolve(link->opts.url, host))
		open_ws(link);
	else if (lp_resolve_start(&link->resolve, link->loop, host, on_resolved, link, &err) < 0)
		lost(link, err.msg);
}

int lp_link_create(struct lp_link **out, struct lp_loop *loop, const struct lp_link_opts *opts,
		   const struct lp_link_ops *ops, const struct lp_source *source,
		   struct lp_err *err)
{
	const char *fault = lp_secret_fault(opts->secret);
	struct lp_link *link;

	if (fault)
		return lp_err_say(err, EINVAL, "the secret cannot be used: %s", fault);
	link = lp_xcalloc(1, sizeof(*link));
	link->loop = loop;
	link->opts = *opts;
	link->ops = *ops;
	if (source)
		link->source = *source;
	lp_buf_init(&link->unpacked, LP_WIRE_MSG_MAX_BYTES);
	link->retry.on_fire = on_retry;
	lp_timer_set(loop, &link->retry, lp_now_us());
	*out = link;
	return 0;
}

void lp_link_destroy(struct lp_link *link)
{
	if (!link)
		return;
	lp_resolve_cancel(link->resolve);
	lp_timer_clear(&link->retry);
	lp_timer_clear(&link->opening);
	lp_timer_clear(&link->resync_timer);
	lp_stream_reset(link);
	lp_old_forget(link);
	lp_walk_reset(link);
	if (link->ws)
		lp_ws_abandon(link->ws);
	lp_packer_destroy(link->packer);
	lp_buf_finish(&link->unpacked);
	lp_buf_finish(&link->scratch);
	free(link->todo);
	free(link->touched);
	free(link->listed);
	free(link->old);
	free(link);
}

int lp_link_send(struct lp_link *link, const struct lp_msg *msg)
{
	return link->state >= LP_LINK_READY ? lp_link_queue(link, msg) : -ENOTCONN;
}

bool lp_link_has_ended(const struct lp_link *link)
{
	return link->final && !link->ws;
}

uint64_t lp_link_applied(const struct lp_link *link)
{
	return link->applied;
}

unsigned lp_link_index(const struct lp_link *link)
{
	return link->opts.index;
}

const char *lp_link_url(const struct lp_link *link)
{
	return link->opts.url;
}
