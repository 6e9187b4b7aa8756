/* controller/fastpush.h: the REST calls of cf-fastpush-controller, so that the cf CLI's fast-push
 * plugin works with an instance: GET and PUT /files, POST /restart, GET /status below its base
 * path. Off unless `compat: fastpush` or LIVEPUSH_COMPAT=fastpush asks for it, because its token,
 * the app's GUID, is no secret. What is put goes through the same staged, verified apply as a
 * workspace's. */
#ifndef LP_CONTROLLER_FASTPUSH_H
#define LP_CONTROLLER_FASTPUSH_H

#include "controller/instance_internal.h"

struct lp_http;

void lp_fastpush_create(struct lp_instance *in);

/* Takes what cf-fastpush-controller.yml and the variables say into conf, where it says nothing
 * itself: command, port. Called for each configuration. The calls stay as they are until it is
 * adopted. Returns 0 or -EINVAL (names the key). */
int lp_fastpush_configure(struct lp_instance *in, struct lp_conf *conf,
			  struct lp_err *err) LP_MUST_USE;

/* Turns the calls on or off by the configuration that was read last and is in force now. */
void lp_fastpush_adopt(struct lp_instance *in);

/* Ends its thread, which posts to the loop; then, without the loop, releases the rest. */
void lp_fastpush_stop(struct lp_instance *in);
void lp_fastpush_destroy(struct lp_instance *in);

/* "address:port" that fastpush's configuration says, or NULL. Borrowed. */
const char *lp_fastpush_listen(const struct lp_instance *in);

/* Where the calls are ("/_fastpush"), or NULL when they are off. Borrowed. */
const char *lp_fastpush_path(const struct lp_instance *in);

/* A path below that as the table of web_routes.c has it; any other path as it is. */
const char *lp_fastpush_canonical(const struct lp_instance *in, const char *path);

/* What the apply thread says. reply returns whether it was for here. applied: whether a changeset
 * of here was applied and none of its files asks for a restart. */
bool lp_fastpush_reply(struct lp_instance *in, uint64_t epoch, const struct lp_buf *bytes);
bool lp_fastpush_applied(struct lp_instance *in, const struct lp_applied *applied);

/* The apply thread could not word an answer. Returns whether it was for here. */
bool lp_fastpush_mute(struct lp_instance *in, uint64_t epoch);

/* Rows of web_routes.c. */
bool lp_fastpush_allow(struct lp_instance *in, struct lp_http *http);
void lp_fastpush_on_list(struct lp_instance *in, struct lp_http *http);
void lp_fastpush_on_put(struct lp_instance *in, struct lp_http *http);
void lp_fastpush_on_restart(struct lp_instance *in, struct lp_http *http);
void lp_fastpush_on_status(struct lp_instance *in, struct lp_http *http);

#endif
