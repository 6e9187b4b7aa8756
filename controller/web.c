/* controller/web.c: who may ask for what below /_livepush/: Host, Origin, attempts and scope are
 * checked here, for HTTP and for the opening of WebSockets, before anything else looks at a
 * request. */
#include "controller/web.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "controller/fastpush.h"
#include "controller/gate.h"
#include "controller/hosts.h"
#include "controller/web_internal.h"
#include "wire/ticket.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define COOKIE_LIFE_S 43200u /* 12 hours */

/* What a request has shown. */
enum proof {
	PROOF_NONE,
	PROOF_STALE, /* a ticket that is over, for less, or none of ours */
	PROOF_WRONG,
	PROOF_COOKIE,
	PROOF_LINK,
	PROOF_BEARER,
};

struct lp_web {
	struct lp_gate gate;
	struct lp_hosts hosts;       /* of the environment and the command line */
	struct lp_log_limit wrong;   /* lines about wrong secrets */
	struct lp_log_limit foreign; /* about pages of other sites */
};

static const enum lp_ticket_scope ticket_scopes[LP_WEB_SCOPE_COUNT_] = {
	[LP_WEB_ADMIN] = LP_TICKET_ADMIN,
	[LP_WEB_RELOAD] = LP_TICKET_RELOAD,
};

#define COOKIE_NAME_BYTES 32

/* Browsers send a cookie to every port of its host, where other instances may be: each port's has a
 * name of its own, "livepush-admin-8080", or "livepush-admin" where Host says no port. */
static void name_cookie(const struct lp_http *http, enum lp_ticket_scope scope,
			char out[COOKIE_NAME_BYTES])
{
	static const char *const names[LP_TICKET_SCOPE_COUNT_] = {
		[LP_TICKET_ADMIN] = "livepush-admin",
		[LP_TICKET_RELOAD] = "livepush-reload",
	};
	unsigned port = lp_hosts_port(lp_http_header(http, LP_HTTP_HOST));

	if (port > 0)
		(void)snprintf(out, COOKIE_NAME_BYTES, "%s-%u", names[scope], port);
	else
		(void)snprintf(out, COOKIE_NAME_BYTES, "%s", names[scope]);
}

void lp_web_create(struct lp_instance *in)
{
	const char *const *host = in->opts->hosts;

	in->web = lp_xcalloc(1, sizeof(*in->web));
	lp_hosts_add_vcap(&in->web->hosts, getenv("VCAP_APPLICATION"));
	for (; host && *host; host++)
		lp_hosts_add(&in->web->hosts, *host);
}

void lp_web_destroy(struct lp_instance *in)
{
	if (!in->web)
		return;
	lp_hosts_finish(&in->web->hosts);
	free(in->web);
	in->web = NULL;
}

uint64_t lp_web_wait_us(struct lp_instance *in, const char *forwarded_for)
{
	char address[LP_GATE_ADDRESS_BYTES];

	lp_gate_peer(forwarded_for, address);
	return lp_gate_wait_us(&in->web->gate, address, lp_now_us());
}

unsigned lp_web_wait_s(struct lp_instance *in, struct lp_http *http)
{
	uint64_t wait_us = lp_web_wait_us(in, lp_http_header(http, LP_HTTP_FORWARDED_FOR));
	unsigned wait_s = (unsigned)((wait_us + 999999) / 1000000);
	char seconds[24];

	if (wait_s > 0) {
		(void)snprintf(seconds, sizeof(seconds), "%u", wait_s);
		lp_http_set(http, "retry-after", seconds);
	}
	return wait_s;
}

/* " (and 12 more like it)", "" for none. */
static const char *more_text(unsigned left_out, char out[48])
{
	out[0] = '\0';
	if (left_out > 0)
		(void)snprintf(out, 48, " (and %u more such since the last line)", left_out);
	return out;
}

void lp_web_attempt(struct lp_instance *in, const char *forwarded_for, bool passed)
{
	char address[LP_GATE_ADDRESS_BYTES];
	uint64_t now_us = lp_now_us(), wait_us;
	unsigned left_out;
	char more[48], wait[48] = "";

	lp_gate_peer(forwarded_for, address);
	if (passed) {
		lp_gate_passed(&in->web->gate, address);
		return;
	}
	lp_gate_failed(&in->web->gate, address, now_us);
	wait_us = lp_gate_wait_us(&in->web->gate, address, now_us);
	if (wait_us > 0)
		(void)snprintf(wait, sizeof(wait), "; its next attempt counts in %u s",
			       (unsigned)((wait_us + 999999) / 1000000));
	if (lp_log_may(&in->web->wrong, now_us, &left_out))
		lp_log(LP_WARN, "web", "a wrong secret from %s%s%s",
		       address[0] ? address : "nowhere", wait, more_text(left_out, more));
}

static bool is_our_host(const struct lp_instance *in, const char *host)
{
	const struct lp_hosts of_conf = {in->conf->hosts, in->conf->n_hosts};

	return lp_hosts_has(&in->web->hosts, host) || lp_hosts_has(&of_conf, host);
}

static int say_wait(struct lp_http *http, unsigned wait_s)
{
	LP_AUTO_FREE char *text = lp_xasprintf(
		"too many wrong attempts from your address; try again in %u s", wait_s);

	lp_http_say(http, 429, text);
	return 429;
}

int lp_web_on_upgrade(void *ctx, struct lp_http *http)
{
	struct lp_instance *in = ctx;
	const char *origin = lp_http_header(http, LP_HTTP_ORIGIN),
		   *host = lp_http_header(http, LP_HTTP_HOST);
	unsigned wait_s = lp_web_wait_s(in, http), left_out;
	char more[48];

	/* Browsers always say where a page that opens a WebSocket is from; others have no reason.
	 */
	if (origin[0] && (!lp_hosts_is_origin(origin, host) || !is_our_host(in, host))) {
		if (lp_log_may(&in->web->foreign, lp_now_us(), &left_out))
			lp_log(LP_WARN, "web",
			       "refused a WebSocket of a page at %.200s for host %.200s%s", origin,
			       host, more_text(left_out, more));
		return 403;
	}
	return wait_s > 0 ? say_wait(http, wait_s) : 0;
}

/* One that is none of ours is no attempt: browsers keep those of an instance that had another
 * secret, any page can make them ask with one, and nobody guesses 32 bytes. */
static enum proof check_ticket(const char *ticket, const struct lp_instance *in,
			       enum lp_ticket_use use, enum lp_ticket_scope wanted)
{
	enum lp_ticket_scope scope;
	int r = lp_ticket_check(ticket, in->opts->secret, use, lp_wall_us() / 1000000, &scope);

	if (r < 0 || (scope != wanted && scope != LP_TICKET_ADMIN))
		return PROOF_STALE;
	return use == LP_TICKET_LINK ? PROOF_LINK : PROOF_COOKIE;
}

/* A browser says when a page of another site makes it send its cookies. */
static bool may_use_cookie(const struct lp_http *http)
{
	const char *origin = lp_http_header(http, LP_HTTP_ORIGIN),
		   *site = lp_http_header(http, LP_HTTP_SEC_FETCH_SITE),
		   *method = lp_http_method(http);
	bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;

	if (strcmp(site, "cross-site") == 0 || strcmp(site, "same-site") == 0)
		return false;
	if (!origin[0])
		return reads;
	return lp_hosts_is_origin(origin, lp_http_header(http, LP_HTTP_HOST));
}

static enum proof check_cookies(const struct lp_instance *in, const struct lp_http *http,
				enum lp_ticket_scope wanted)
{
	enum proof proof = PROOF_NONE, best = PROOF_NONE;
	char ticket[LP_TICKET_MAX_BYTES], name[COOKIE_NAME_BYTES];

	for (int i = LP_TICKET_ADMIN; i < LP_TICKET_SCOPE_COUNT_ && proof != PROOF_COOKIE; i++) {
		name_cookie(http, (enum lp_ticket_scope)i, name);
		if (!lp_http_cookie(http, name, ticket, sizeof(ticket)))
			continue;
		proof = check_ticket(ticket, in, LP_TICKET_COOKIE, wanted);
		best = proof;
	}
	return best == PROOF_COOKIE && !may_use_cookie(http) ? PROOF_STALE : best;
}

/* Only who tries a secret has to wait after wrong ones: nobody guesses a ticket. */
static bool gives_secret(const struct lp_http *http)
{
	return strncasecmp(lp_http_header(http, LP_HTTP_AUTHORIZATION), "Bearer ", 7) == 0;
}

static enum proof find_proof(const struct lp_instance *in, const struct lp_http *http,
			     enum lp_ticket_scope wanted)
{
	const char *given = lp_http_header(http, LP_HTTP_AUTHORIZATION);
	char ticket[LP_TICKET_MAX_BYTES];
	enum proof link = PROOF_NONE;

	if (!in->opts->secret)
		return PROOF_NONE;
	if (gives_secret(http))
		return lp_ticket_same(given + 7, in->opts->secret) ? PROOF_BEARER : PROOF_WRONG;
	if (lp_http_parameter(http, "t", ticket, sizeof(ticket)))
		link = check_ticket(ticket, in, LP_TICKET_LINK, wanted);
	/* Whoever opens an old link again may have its cookie still. */
	return link == PROOF_LINK ? link : check_cookies(in, http, wanted);
}

/* A link that a person opened becomes a cookie, so that it does not stay in the address bar. */
static void exchange(struct lp_instance *in, struct lp_http *http, enum lp_ticket_scope scope)
{
	LP_AUTO_FREE char *cookie = NULL;
	char ticket[LP_TICKET_MAX_BYTES], name[COOKIE_NAME_BYTES];
	const char *proto = strrchr(lp_http_header(http, LP_HTTP_FORWARDED_PROTO), ',');

	proto = proto ? proto + 1 : lp_http_header(http, LP_HTTP_FORWARDED_PROTO);
	proto += strspn(proto, " ");
	lp_ticket_make(ticket, in->opts->secret, LP_TICKET_COOKIE, scope,
		       lp_wall_us() / 1000000 + COOKIE_LIFE_S);
	name_cookie(http, scope, name);
	cookie = lp_xasprintf("%s=%s; Path=/_livepush/; Max-Age=%u; HttpOnly; SameSite=Strict%s",
			      name, ticket, COOKIE_LIFE_S,
			      strcmp(proto, "https") == 0 ? "; Secure" : "");
	lp_http_set(http, "set-cookie", cookie);
	/* Relative to where it was asked for, which need not be where we think that we are. */
	lp_http_set(http, "location", lp_http_path(http));
	lp_http_say(http, 303, "");
}

static void refuse(struct lp_http *http, int status, const char *text)
{
	if (status == 401)
		lp_http_set(http, "www-authenticate", "Bearer realm=\"livepush\"");
	lp_http_say(http, status, text);
}

/* Whether the request may have what the row gives; answers it otherwise. */
static bool admit(struct lp_instance *in, struct lp_http *http, const struct lp_web_route *row)
{
	const char *from = lp_http_header(http, LP_HTTP_FORWARDED_FOR);
	enum lp_ticket_scope scope = ticket_scopes[row->scope];
	unsigned wait_s = gives_secret(http) ? lp_web_wait_s(in, http) : 0;
	enum proof proof;

	if (wait_s > 0) {
		(void)say_wait(http, wait_s);
		return false;
	}
	proof = find_proof(in, http, scope);
	if (proof == PROOF_WRONG)
		lp_web_attempt(in, from, false);
	if (proof >= PROOF_COOKIE) {
		if (proof == PROOF_BEARER)
			lp_web_attempt(in, from, true);
		if (proof != PROOF_LINK ||
		    !strstr(lp_http_header(http, LP_HTTP_ACCEPT), "text/html") ||
		    strncmp(lp_http_path(http), "/_livepush/", 11) != 0)
			return true;
		exchange(in, http, scope);
	} else if (!is_our_host(in, lp_http_header(http, LP_HTTP_HOST))) {
		refuse(http, 421,
		       "this instance does not know that host; name it with --host or "
		       "'hosts' in livepush.yml");
	} else if (!in->opts->secret) {
		refuse(http, 401,
		       "this instance has no secret; start it with LIVEPUSH_SECRET or "
		       "--secret-file");
	} else {
		refuse(http, 401,
		       "this needs the secret as a bearer token, or a link from "
		       "'livepush open APP'");
	}
	return false;
}

const struct lp_web_route *lp_web_find(const struct lp_web_route *routes, const char *method,
				       const char *path, const struct lp_web_route **other)
{
	*other = NULL;
	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (const struct lp_web_route *r = routes; r->method; r++) {
		if (r->is_prefix ? strncmp(path, r->path, strlen(r->path)) != 0
				 : strcmp(path, r->path) != 0)
			continue;
		if (strcmp(method, r->method) == 0)
			return r;
		*other = r;
	}
	return NULL;
}

static const struct lp_web_route *find(const struct lp_instance *in, const struct lp_http *http,
				       const struct lp_web_route **other)
{
	return lp_web_find(lp_web_routes, lp_http_method(http),
			   lp_fastpush_canonical(in, lp_http_path(http)), other);
}

/* What every answer of ours says, whatever it is. */
static void set_common(struct lp_http *http)
{
	lp_http_set(http, "cache-control", "no-store");
	lp_http_set(http, "referrer-policy", "no-referrer");
	lp_http_set(http, "x-content-type-options", "nosniff");
	lp_http_set(http, "x-frame-options", "DENY");
	lp_http_set(http, "cross-origin-resource-policy", "same-origin");
}

size_t lp_web_on_head(void *ctx, struct lp_http *http)
{
	static const struct lp_web_route unknown = {.scope = LP_WEB_ADMIN};
	struct lp_instance *in = ctx;
	const struct lp_web_route *other, *row = find(in, http, &other), *check = row;

	set_common(http);
	/* Strangers are not told what there is, either. */
	if (!check)
		check = other ? other : &unknown;
	if (check->scope == LP_WEB_OWN ? !check->allow(in, http) : !admit(in, http, check))
		return 0;
	if (row)
		return row->body_max_bytes;
	lp_http_say(http, other ? 405 : 404,
		    other ? "not with this method" : "there is no such page");
	return 0;
}

void lp_web_on_request(void *ctx, struct lp_http *http)
{
	const struct lp_web_route *other, *row = find(ctx, http, &other);

	if (row)
		row->handle(ctx, http);
}
