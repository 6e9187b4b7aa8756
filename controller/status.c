/* controller/status.c: how the instance is, as a message and as JSON over HTTP. */
#include "controller/instance_internal.h"

#include "common/base/lp_clock.h"
#include "common/loop/ws.h"
#include "wire/auth.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void lp_status_fill(struct lp_instance *in, struct lp_msg_status *out)
{
	struct lp_tree_state tree;
	struct lp_sup_status app;

	lp_apply_state(in->apply, &tree);
	lp_sup_status(in->sup, &app);
	*out = (struct lp_msg_status){
		.state = lp_bytes_of(in->conf->command.n > 0 ? lp_sup_state_name(app.state)
							     : "mirror"),
		.revision = tree.revision,
		.generation = app.generation,
		.settled = app.settled,
		.pid = (uint64_t)app.pid,
		.crashes = app.crashes,
		.files = tree.files,
		.bytes = tree.bytes,
		.uptime_us = lp_now_us() - in->started_us,
		.owner = lp_bytes_of(lp_sessions_owner(in)),
	};
	memcpy(out->root, tree.root.b, sizeof(out->root));
}

int lp_status_json(struct lp_instance *in, struct lp_buf *out)
{
	struct lp_msg_status s;
	struct lp_digest root;
	char hex[LP_DIGEST_HEX_BYTES];
	struct lp_proxy_stats front = {0};
	json_t *o;
	char *text;
	int r;

	lp_status_fill(in, &s);
	lp_proxy_stats(in->proxy, &front);
	memcpy(root.b, s.root, sizeof(root.b));
	lp_digest_hex(&root, hex);
	o = json_pack("{s:s, s:s%, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:i}",
		      "instance", in->id, "state", s.state.p, s.state.len, "revision",
		      (json_int_t)s.revision, "generation", (json_int_t)s.generation, "settled",
		      (json_int_t)s.settled, "pid", (json_int_t)s.pid, "crashes",
		      (json_int_t)s.crashes, "files", (json_int_t)s.files, "bytes",
		      (json_int_t)s.bytes, "root", hex, "uptime_ms",
		      (json_int_t)(s.uptime_us / 1000), "requests", (json_int_t)front.requests,
		      "connections", (int)front.conns);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (!text)
		return -ENOMEM;
	r = lp_buf_addf(out, "%s\n", text);
	free(text);
	return r;
}

void lp_status_request(void *ctx, struct lp_http_request *req)
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
