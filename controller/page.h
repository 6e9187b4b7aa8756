/* controller/page.h: what browsers ask the instance for: its page with events and metrics, and the
 * reload script. The handlers are rows of web_routes.c; who may ask is decided there. */
#ifndef LP_CONTROLLER_PAGE_H
#define LP_CONTROLLER_PAGE_H

#include "common/loop/http.h"
#include "controller/instance_internal.h"

/* index.html at the folder, page.js, page.css, reload.js by name. */
void lp_page_file(struct lp_instance *in, struct lp_http *http);

/* The event stream of the page; that of reload.js. */
void lp_page_events(struct lp_instance *in, struct lp_http *http);
void lp_page_reload_events(struct lp_instance *in, struct lp_http *http);

/* A browser shows the revision in the query. */
void lp_page_shown(struct lp_instance *in, struct lp_http *http);

/* Prometheus' text format. */
void lp_page_metrics(struct lp_instance *in, struct lp_http *http);

/* Makes in->live; releases it. */
void lp_page_create(struct lp_instance *in);
void lp_page_destroy(struct lp_instance *in);

/* The script element for pages that go through the front door, with a link of its own (owned);
 * NULL when nothing is to be put in. */
char *lp_page_tag(struct lp_instance *in);

#endif
