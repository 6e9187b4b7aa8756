/* proxy/field.c: the header fields that a proxy knows, and those that only pass for one of them. */
#include "proxy/http.h"

#include <string.h>
#include <strings.h>

#define LITERAL(text)                                                                              \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}

static const struct {
	struct lp_px_span name;
	enum lp_px_field_id id;
	bool hop;
} known_fields[] = {
	{LITERAL("connection"), LP_PX_F_CONNECTION, true},
	{LITERAL("content-length"), LP_PX_F_CONTENT_LENGTH, false},
	{LITERAL("content-type"), LP_PX_F_CONTENT_TYPE, false},
	{LITERAL("expect"), LP_PX_F_EXPECT, false},
	{LITERAL("host"), LP_PX_F_HOST, false},
	{LITERAL("http2-settings"), LP_PX_F_HOP, true},
	{LITERAL("keep-alive"), LP_PX_F_HOP, true},
	{LITERAL("proxy"), LP_PX_F_HOP, true},
	{LITERAL("te"), LP_PX_F_HOP, true},
	{LITERAL("trailer"), LP_PX_F_HOP, true},
	{LITERAL("transfer-encoding"), LP_PX_F_TRANSFER_ENCODING, true},
	{LITERAL("upgrade"), LP_PX_F_UPGRADE, true},
	{LITERAL("x-forwarded-for"), LP_PX_F_FORWARDED_FOR, false},
	{LITERAL("x-forwarded-host"), LP_PX_F_FORWARDED_HOST, false},
	{LITERAL("x-forwarded-proto"), LP_PX_F_FORWARDED_PROTO, false},
};

/* Whether the name is `known` once '_' is read as '-'. */
static bool passes_for(struct lp_px_span name, struct lp_px_span known)
{
	if (name.len != known.len)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i] == '_' ? '-' : name.at[i];

		if ((c | 0x20) != (known.at[i] | 0x20))
			return false;
	}
	return true;
}

/* Apps behind CGI's conventions (RFC 3875 section 4.1.18) cannot tell X_Forwarded_For from
 * X-Forwarded-For: what passes for a field that a proxy sets or checks is not passed on. */
static bool is_disguised(struct lp_px_span name)
{
	if (!memchr(name.at, '_', name.len))
		return false;
	for (size_t i = 0; i < LP_COUNT_OF(known_fields); i++) {
		if (passes_for(name, known_fields[i].name))
			return true;
	}
	return false;
}

void lp_px_field_identify(struct lp_px_field *f)
{
	f->id = LP_PX_F_OTHER;
	f->hop = (f->name.len > 6 && strncasecmp(f->name.at, "proxy-", 6) == 0) ||
		 is_disguised(f->name);
	for (size_t i = 0; i < LP_COUNT_OF(known_fields); i++) {
		if (known_fields[i].name.len != f->name.len ||
		    strncasecmp(known_fields[i].name.at, f->name.at, f->name.len) != 0)
			continue;
		f->id = known_fields[i].id;
		f->hop = known_fields[i].hop;
		return;
	}
}

bool lp_px_field_may_trail(struct lp_px_span name)
{
	/* A name that ends in '-' stands for all that begin so. */
	static const struct lp_px_span barred[] = {
		LITERAL("accept"),
		LITERAL("accept-"),
		LITERAL("age"),
		LITERAL("alt-svc"),
		LITERAL("authorization"),
		LITERAL("cache-control"),
		LITERAL("content-"),
		LITERAL("cookie"),
		LITERAL("date"),
		LITERAL("expires"),
		LITERAL("forwarded"),
		LITERAL("if-"),
		LITERAL("location"),
		LITERAL("max-forwards"),
		LITERAL("origin"),
		LITERAL("pragma"),
		LITERAL("range"),
		LITERAL("retry-after"),
		LITERAL("set-cookie"),
		LITERAL("vary"),
		LITERAL("via"),
		LITERAL("warning"),
		LITERAL("www-authenticate"),
		LITERAL("x-forwarded-"),
		LITERAL("x-livepush-"),
	};
	struct lp_px_field f = {.name = name};

	lp_px_field_identify(&f);
	if (f.hop || f.id != LP_PX_F_OTHER)
		return false;
	for (size_t i = 0; i < LP_COUNT_OF(barred); i++) {
		size_t len = barred[i].len;
		struct lp_px_span start = name;

		if (barred[i].at[len - 1] == '-' && start.len > len)
			start.len = len;
		if (passes_for(start, barred[i]))
			return false;
	}
	return true;
}
