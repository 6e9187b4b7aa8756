/* common/loop/http_head.c: what the head of a plain HTTP request says. */
#include "common/loop/http_internal.h"

#include "common/base/lp_mem.h"

#include <string.h>

static const struct {
	enum lws_token_indexes token;
	const char *name;
} methods[] = {
	{WSI_TOKEN_GET_URI, "GET"},         {WSI_TOKEN_HEAD_URI, "HEAD"},
	{WSI_TOKEN_POST_URI, "POST"},       {WSI_TOKEN_PUT_URI, "PUT"},
	{WSI_TOKEN_DELETE_URI, "DELETE"},   {WSI_TOKEN_PATCH_URI, "PATCH"},
	{WSI_TOKEN_OPTIONS_URI, "OPTIONS"},
};

/* name: of those that libwebsockets has no token for. */
static const struct {
	enum lws_token_indexes token;
	const char *name;
} headers[LP_HTTP_HEADER_COUNT_] = {
	[LP_HTTP_HOST] = {WSI_TOKEN_HOST, NULL},
	[LP_HTTP_ORIGIN] = {WSI_TOKEN_ORIGIN, NULL},
	[LP_HTTP_AUTHORIZATION] = {WSI_TOKEN_HTTP_AUTHORIZATION, NULL},
	[LP_HTTP_COOKIE] = {WSI_TOKEN_HTTP_COOKIE, NULL},
	[LP_HTTP_FORWARDED_FOR] = {WSI_TOKEN_X_FORWARDED_FOR, NULL},
	[LP_HTTP_FORWARDED_PROTO] = {WSI_TOKEN_COUNT, "x-forwarded-proto:"},
	[LP_HTTP_AUTH_TOKEN] = {WSI_TOKEN_X_AUTH_TOKEN, NULL},
	[LP_HTTP_IF_NONE_MATCH] = {WSI_TOKEN_HTTP_IF_NONE_MATCH, NULL},
	[LP_HTTP_ACCEPT] = {WSI_TOKEN_HTTP_ACCEPT, NULL},
	[LP_HTTP_SEC_FETCH_SITE] = {WSI_TOKEN_COUNT, "sec-fetch-site:"},
	[LP_HTTP_LAST_EVENT_ID] = {WSI_TOKEN_COUNT, "last-event-id:"},
};

char *lp_http_copy_token(struct lws *wsi, enum lws_token_indexes token, size_t max)
{
	int len = lws_hdr_total_length(wsi, token);
	char *out;

	if (len <= 0)
		return lp_xstrdup("");
	if ((size_t)len > max)
		return NULL;
	/* Room for what is put between several of one name. */
	out = lp_xcalloc((size_t)len + 64, 1);
	if (lws_hdr_copy(wsi, out, len + 63, token) < 0)
		out[0] = '\0';
	return out;
}

/* libwebsockets keeps the query as one fragment for each parameter. */
static char *copy_query(struct lws *wsi)
{
	char *out = lp_xcalloc(LP_HTTP_TARGET_MAX_BYTES + 2, 1);
	size_t len = 0;

	for (int i = 0; len <= LP_HTTP_TARGET_MAX_BYTES; i++) {
		size_t at = len + (i > 0);
		int n = lws_hdr_copy_fragment(wsi, out + at,
					      (int)(LP_HTTP_TARGET_MAX_BYTES + 2 - at),
					      WSI_TOKEN_HTTP_URI_ARGS, i);

		if (n == -1)
			return out; /* no more */
		if (n < 0)
			break;
		if (i > 0)
			out[len] = '&';
		len = at + (size_t)n;
	}
	free(out);
	return NULL;
}

static char *copy_named(struct lws *wsi, const char *name, size_t max)
{
	int name_len = (int)strlen(name), len = lws_hdr_custom_length(wsi, name, name_len);
	char *out;

	if (len <= 0)
		return lp_xstrdup("");
	if ((size_t)len > max)
		return NULL;
	out = lp_xcalloc((size_t)len + 1, 1);
	if (lws_hdr_custom_copy(wsi, out, len + 1, name, name_len) < 0)
		out[0] = '\0';
	return out;
}

int lp_http_read_head(struct lp_http *h, struct lws *wsi, const char *path)
{
	int status = 0;

	for (size_t i = 0; i < LP_COUNT_OF(methods) && !h->method; i++)
		if (lws_hdr_total_length(wsi, methods[i].token) > 0)
			h->method = methods[i].name;
	for (size_t i = 0; i < LP_HTTP_HEADER_COUNT_; i++) {
		h->values[i] = headers[i].name
				       ? copy_named(wsi, headers[i].name, LP_HTTP_VALUE_MAX_BYTES)
				       : lp_http_copy_token(wsi, headers[i].token,
							    LP_HTTP_VALUE_MAX_BYTES);
		if (!h->values[i]) {
			h->values[i] = lp_xstrdup("");
			status = 431;
		}
	}
	h->query = copy_query(wsi);
	if (!h->query || strlen(path) > LP_HTTP_TARGET_MAX_BYTES)
		status = 414;
	if (!h->query)
		h->query = lp_xstrdup("");
	h->path = lp_xstrndup(path, strnlen(path, LP_HTTP_TARGET_MAX_BYTES));
	if (!h->method) {
		h->method = "";
		status = 501;
	}
	return status;
}

const char *lp_http_method(const struct lp_http *h)
{
	return h->method;
}

const char *lp_http_path(const struct lp_http *h)
{
	return h->path;
}

const char *lp_http_header(const struct lp_http *h, enum lp_http_header header)
{
	return h->values[header];
}

const struct lp_buf *lp_http_body(const struct lp_http *h)
{
	return &h->body;
}

/* The value of `name` in text, a list of name=value between separators. */
static bool find_value(const char *text, char separator, const char *name, char *out,
		       size_t out_bytes)
{
	const char ends[] = {separator, '\0'};
	size_t name_len = strlen(name);

	while (*text) {
		size_t len;

		text += strspn(text, " ");
		len = strcspn(text, ends);
		if (len > name_len && text[name_len] == '=' && strncmp(text, name, name_len) == 0) {
			len -= name_len + 1;
			if (len >= out_bytes)
				return false;
			memcpy(out, text + name_len + 1, len);
			out[len] = '\0';
			return true;
		}
		text += len;
		text += *text == separator;
	}
	return false;
}

bool lp_http_parameter(const struct lp_http *h, const char *name, char *out, size_t out_bytes)
{
	return find_value(h->query, '&', name, out, out_bytes);
}

bool lp_http_cookie(const struct lp_http *h, const char *name, char *out, size_t out_bytes)
{
	return find_value(h->values[LP_HTTP_COOKIE], ';', name, out, out_bytes);
}
