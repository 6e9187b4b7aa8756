/* controller/status.c: how the instance is, as a message and as JSON over HTTP. */
#include "controller/instance_internal.h"

#include "common/base/lp_clock.h"
#include "common/loop/http.h"
#include "controller/live.h"
#include "wire/status.h"

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
	struct lp_status_number numbers[LP_STATUS_NUMBERS];
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
	lp_status_numbers(&s, numbers);
	o = json_pack("{s:s, s:s%, s:s, s:I, s:i}", "instance", in->id, "state", s.state.p,
		      s.state.len, "root", hex, "requests", (json_int_t)front.requests,
		      "connections", (int)front.conns);
	for (size_t i = 0; i < LP_STATUS_NUMBERS; i++)
		(void)json_object_set_new(o, numbers[i].name,
					  json_integer((json_int_t)numbers[i].value));
	text = o && lp_live_describe(in->live, o) == 0 ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (!text)
		return -ENOMEM;
	r = lp_buf_addf(out, "%s\n", text);
	free(text);
	return r;
}

void lp_status_request(struct lp_instance *in, struct lp_http *http)
{
	struct lp_buf text = {0};

	if (lp_status_json(in, &text) < 0)
		lp_http_say(http, 503, "no memory");
	else
		lp_http_answer(http, 200, "application/json", text.data, text.len);
	lp_buf_finish(&text);
}
