/* proxy/text.c: characters, spans and lists of HTTP. */
#include "proxy/text.h"

#include <string.h>
#include <strings.h>

bool lp_px_is_token(char c)
{
	/* One bit per byte: digits, letters and !#$%&'*+-.^_`|~ */
	static const uint32_t token[8] = {0, 0x03ff6cfau, 0xc7fffffeu, 0x57ffffffu, 0, 0, 0, 0};
	unsigned char byte = (unsigned char)c;

	return token[byte >> 5] >> (byte & 31) & 1;
}

bool lp_px_is_text(char c)
{
	return c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7f);
}

bool lp_px_span_is(struct lp_px_span span, const char *text)
{
	return strlen(text) == span.len && strncasecmp(span.at, text, span.len) == 0;
}

bool lp_px_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct lp_px_span lp_px_span_trim(struct lp_px_span s)
{
	while (s.len && lp_px_is_blank(s.at[0])) {
		s.at++;
		s.len--;
	}
	while (s.len && lp_px_is_blank(s.at[s.len - 1]))
		s.len--;
	return s;
}

bool lp_px_list_next(struct lp_px_span *list, struct lp_px_span *element)
{
	const char *comma;

	if (!list->at)
		return false;
	comma = list->len ? memchr(list->at, ',', list->len) : NULL;
	element->at = list->at;
	element->len = comma ? (size_t)(comma - list->at) : list->len;
	list->at = comma ? comma + 1 : NULL;
	list->len = comma ? list->len - element->len - 1 : 0;
	*element = lp_px_span_trim(*element);
	return true;
}
