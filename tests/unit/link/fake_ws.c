/* fake_ws.c: see fake_ws.h. */
#include "tests/unit/link/fake_ws.h"

#include "common/base/lp_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct lp_ws {
	const struct lp_ws_ops *ops;
	void *user;
	bool open;
	bool closing;
};

static struct lp_ws *conn; /* the present one, or NULL */
static bool wants_write, closed, writing;
static struct lp_buf sent[4096];
static size_t n_sent, next_sent, sent_bytes;
static unsigned probes;
static bool stuck;
static char address[64];
static struct lp_msg current;
static struct lp_buf unpacked;
static struct lp_packer *packer;

int lp_ws_connect(struct lp_loop *loop, struct lp_ws **out, const struct lp_ws_connect_opts *opts,
		  struct lp_err *err)
{
	(void)loop;
	if (strncmp(opts->url, "ws://", 5) != 0)
		return lp_err_say(err, EINVAL, "not a ws:// address");
	assert_null(conn);
	conn = lp_xcalloc(1, sizeof(*conn));
	conn->ops = opts->ops;
	conn->user = opts->user;
	closed = false;
	(void)snprintf(address, sizeof(address), "%s", opts->address ? opts->address : "");
	*out = conn;
	return 0;
}

void *lp_ws_user(const struct lp_ws *ws)
{
	return ws->user;
}

void lp_ws_want_write(struct lp_ws *ws)
{
	if (ws->open)
		wants_write = true;
}

int lp_ws_send(struct lp_ws *ws, const void *data, size_t len)
{
	assert_true(writing);
	writing = false; /* once a callback */
	assert_true(len > 0 && len <= LP_WS_MESSAGE_MAX_BYTES);
	if (ws->closing)
		return -EPIPE;
	assert_true(n_sent < LP_COUNT_OF(sent));
	assert_int_equal(lp_buf_add(&sent[n_sent++], data, len), 0);
	return 0;
}

void lp_ws_close(struct lp_ws *ws, int code, const char *reason)
{
	(void)code;
	(void)reason;
	ws->closing = true;
	closed = true;
}

void lp_ws_probe(struct lp_ws *ws)
{
	assert_ptr_equal(ws, conn);
	probes++;
}

bool lp_ws_is_stuck(const struct lp_ws *ws)
{
	assert_ptr_equal(ws, conn);
	return stuck;
}

void lp_ws_abandon(struct lp_ws *ws)
{
	assert_ptr_equal(ws, conn);
	free(conn);
	conn = NULL;
}

const char *fake_address(void)
{
	return address;
}

void fake_accept(void)
{
	assert_non_null(conn);
	assert_false(conn->open);
	conn->open = true;
	conn->ops->on_open(conn);
}

bool fake_is_open(void)
{
	return conn && conn->open && !conn->closing;
}

unsigned fake_probes(void)
{
	return probes;
}

void fake_stick(bool is_stuck)
{
	stuck = is_stuck;
}

bool fake_was_closed(void)
{
	return closed;
}

size_t fake_pump(size_t max)
{
	size_t n = 0;

	while (conn && wants_write && !conn->closing && n < max) {
		wants_write = false;
		writing = true;
		conn->ops->on_writable(conn);
		n += !writing;
		writing = false;
	}
	return n;
}

const struct lp_msg *fake_sent(void)
{
	const struct lp_buf *b;

	lp_msg_finish(&current);
	if (next_sent == n_sent)
		return NULL;
	b = &sent[next_sent++];
	assert_int_equal(lp_msg_decode(&current, b->data, b->len, NULL), 0);
	sent_bytes = b->len;
	if (current.kind == LP_MSG_PACKED) {
		if (!packer)
			packer = lp_packer_create();
		assert_int_equal(lp_packer_unpack(packer, &current.u.packed, &unpacked, NULL), 0);
		lp_msg_finish(&current);
		assert_int_equal(lp_msg_decode(&current, unpacked.data, unpacked.len, NULL), 0);
		sent_bytes = unpacked.len;
	}
	return &current;
}

size_t fake_sent_bytes(void)
{
	return sent_bytes;
}

void fake_say_bytes(const void *data, size_t len)
{
	if (conn && !conn->closing)
		conn->ops->on_message(conn, data, len);
}

void fake_say(const struct lp_msg *msg)
{
	struct lp_buf out = {0};

	assert_int_equal(lp_msg_encode(msg, &out), 0);
	fake_say_bytes(out.data, out.len);
	lp_buf_finish(&out);
}

void fake_lose(const char *reason)
{
	struct lp_ws *ws = conn;

	assert_non_null(ws);
	conn = NULL;
	wants_write = false;
	ws->ops->on_close(ws, reason);
	free(ws);
}

void fake_reset(void)
{
	lp_msg_finish(&current);
	for (size_t i = 0; i < n_sent; i++)
		lp_buf_finish(&sent[i]);
	memset(sent, 0, sizeof(sent));
	n_sent = next_sent = 0;
	probes = 0;
	stuck = false;
	lp_buf_finish(&unpacked);
	lp_packer_destroy(packer);
	packer = NULL;
	wants_write = closed = false;
	assert_null(conn);
}
