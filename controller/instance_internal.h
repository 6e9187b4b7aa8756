/* controller/instance_internal.h: the state of an instance, shared by instance.c (life), door.c
 * (front door), session.c (connections) and status.c. */
#ifndef LP_CONTROLLER_INSTANCE_INTERNAL_H
#define LP_CONTROLLER_INSTANCE_INTERNAL_H

#include "common/conf/conf.h"
#include "common/loop/loop.h"
#include "controller/apply.h"
#include "controller/history.h"
#include "controller/instance.h"
#include "controller/supervise.h"
#include "proxy/proxy.h"
#include "wire/msg.h"

struct lp_revisions;
struct lp_session;
struct lp_http;
struct lp_web;
struct lp_fastpush;
struct lp_door;
struct lp_live;
struct lp_cert;
struct lp_echo;

/* The last broken livepush.yml of the tree: it came with revision `from`, and is there before
 * `until`. error: "" when there was none. */
struct lp_past_conf {
	uint64_t from;
	uint64_t until;
	char error[512];
};

struct lp_instance {
	const struct lp_instance_opts *opts;
	struct lp_loop *loop;
	struct lp_conf *conf;
	struct lp_apply *apply;
	struct lp_sup *sup;
	struct lp_proxy *proxy;
	struct lp_door *door;         /* owned by door.c */
	struct lp_cert *cert;         /* owned by cert.c; NULL: the door speaks plain HTTP */
	struct lp_web *web;           /* owned by web.c */
	struct lp_fastpush *fastpush; /* owned by fastpush.c */
	char *listen;                 /* owned; as lp_proxy_addr_parse takes it */
	struct lp_history *history;
	struct lp_echo *echo;           /* NULL: what the app writes is not repeated */
	struct lp_live *live;           /* owned by page.c */
	struct lp_timer retag;          /* of the tag that pages get */
	struct lp_revisions *revisions; /* past.c's */
	struct lp_past_conf bad_conf;   /* past.c's */
	struct lp_session *sessions;    /* all connections */
	struct lp_session *owner;       /* the one that mirrors its workspace here, or NULL */
	uint64_t next_epoch;
	char id[64];
	uint8_t boot[LP_WIRE_ID_BYTES];
	char control_name[64]; /* abstract socket of the control endpoint */
	uint64_t started_us;
	uint64_t nofile;
	const char **envp; /* the app's environment, without our secrets */
	struct lp_fd_src parent_src;
	bool stopping;
};

/* session.c: the control endpoint. */
int lp_sessions_serve(struct lp_instance *in, struct lp_err *err) LP_MUST_USE;
void lp_sessions_close(struct lp_instance *in, const char *why);
/* To everyone who should know: FAILED, RESTARTED, SETTLED. */
void lp_sessions_tell(struct lp_instance *in, const struct lp_msg *msg);
/* To the owner, when one is ready. */
void lp_sessions_tell_owner(struct lp_instance *in, const struct lp_msg *msg);
size_t lp_sessions_count(const struct lp_instance *in);
/* To those who follow the log. */
void lp_sessions_log(struct lp_instance *in, const struct lp_output *piece);
/* For the owner whose connection is `epoch`. */
void lp_sessions_reply(struct lp_instance *in, uint64_t epoch, const struct lp_buf *bytes);
void lp_sessions_consumed(struct lp_instance *in, uint64_t epoch, size_t bytes, bool content);
/* The apply thread is ready for that owner; it could not answer that owner. */
void lp_sessions_greeted(struct lp_instance *in, uint64_t epoch);
void lp_sessions_mute(struct lp_instance *in, uint64_t epoch);
/* Who mirrors here, "" when nobody does. Borrowed. */
const char *lp_sessions_owner(const struct lp_instance *in);

/* door.c: routes of the front door. */
int lp_door_open(struct lp_instance *in, struct lp_err *err) LP_MUST_USE;
/* Ends the proxy and its thread, which post to the loop. */
void lp_door_stop(struct lp_instance *in);
/* Releases what was posted; the loop is gone by then. */
void lp_door_close(struct lp_instance *in);
struct lp_sup_door lp_door_of(struct lp_instance *in);
/* The limits of the configuration in force. */
void lp_door_configure(struct lp_instance *in);
/* What is put into pages has changed (page.h, lp_page_tag). */
void lp_door_retag(struct lp_instance *in);
/* No command: there is no app to forward to. */
void lp_door_mirror(struct lp_instance *in);

/* status.c: the state for STATUS messages and for /_livepush/status. */
void lp_status_fill(struct lp_instance *in, struct lp_msg_status *out);
int lp_status_json(struct lp_instance *in, struct lp_buf *out) LP_MUST_USE;
/* GET /_livepush/status, a row of web_routes.c. */
void lp_status_request(struct lp_instance *in, struct lp_http *http);

#endif
