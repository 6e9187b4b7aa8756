/* proxy/settings.c: the limits and the certificate: what they are, and taking over others. */
#include "proxy/server.h"

#include <string.h>

void lp_px_settings_limits(struct lp_proxy *p, const struct lp_proxy_limits *limits)
{
	static const struct {
		size_t offset;
		uint32_t standard;
		int wait; /* the queue whose length it is; -1: none */
	} rows[] = {
#define ROW(member, standard, wait) {offsetof(struct lp_proxy_limits, member), standard, wait}
		ROW(hold_ms, 30000, LP_PX_WAIT_HOLD),
		ROW(next_ms, 500, LP_PX_WAIT_NEXT),
		ROW(max_held, 1024, -1),
		ROW(max_conns, 10000, -1),
		ROW(max_header_bytes, 65536, -1),
		ROW(header_timeout_ms, 30000, LP_PX_WAIT_HEAD),
		ROW(idle_timeout_ms, 90000, LP_PX_WAIT_IDLE),
		ROW(body_timeout_ms, 60000, LP_PX_WAIT_BODY),
		ROW(write_timeout_ms, 60000, LP_PX_WAIT_WRITE),
		ROW(connect_timeout_ms, 5000, LP_PX_WAIT_CONNECT),
		ROW(response_timeout_ms, 900000, LP_PX_WAIT_RESPONSE),
		ROW(max_idle_upstream, 64, -1),
#undef ROW
	};

	p->opts.limits = *limits;
	for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
		char *at = (char *)&p->opts.limits + rows[i].offset;
		uint32_t value;

		memcpy(&value, at, sizeof(value));
		if (!value)
			value = rows[i].standard;
		memcpy(at, &value, sizeof(value));
		if (rows[i].wait >= 0)
			lp_px_timeq_change(&p->waits[rows[i].wait], value, p->now_ms);
	}
}

/* Takes over limits that another thread has posted. */
static void take_limits(struct lp_proxy *p)
{
	struct lp_proxy_limits limits;
	bool is_new;

	(void)pthread_mutex_lock(&p->lock);
	is_new = p->has_new_limits;
	limits = p->new_limits;
	p->has_new_limits = false;
	(void)pthread_mutex_unlock(&p->lock);
	if (!is_new)
		return;
	lp_px_settings_limits(p, &limits);
	lp_px_listen_resume(p);
}

/* The same for a certificate. */
static void take_tls(struct lp_proxy *p)
{
	struct ssl_ctx_st *tls;

	(void)pthread_mutex_lock(&p->lock);
	tls = p->new_tls;
	p->new_tls = NULL;
	(void)pthread_mutex_unlock(&p->lock);
	if (!tls)
		return;
	lp_px_tls_unload(p->tls);
	p->tls = tls;
}

void lp_px_settings_take(struct lp_proxy *p)
{
	take_limits(p);
	take_tls(p);
}

void lp_proxy_set_limits(struct lp_proxy *p, const struct lp_proxy_limits *limits)
{
	(void)pthread_mutex_lock(&p->lock);
	p->new_limits = *limits;
	p->has_new_limits = true;
	(void)pthread_mutex_unlock(&p->lock);
	lp_px_wake(p);
}

int lp_proxy_set_tls(struct lp_proxy *p, const char *cert, const char *key, struct lp_err *err)
{
	struct ssl_ctx_st *tls, *skipped;
	int r = lp_px_tls_load(&tls, cert, key, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&p->lock);
	skipped = p->new_tls;
	p->new_tls = tls;
	(void)pthread_mutex_unlock(&p->lock);
	lp_px_tls_unload(skipped);
	lp_px_wake(p);
	return 0;
}
