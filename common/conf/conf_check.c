/* common/conf/conf_check.c: what a string must look like to be a name, a URL or a pattern. */
#include "common/conf/conf_value.h"
#include "common/conf/conf_word.h"

#include <string.h>

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS  "0123456789"

#define NAME_MAX_BYTES 63
#define URL_MAX_BYTES  2048

int conf_check_name(struct conf_reader *r, const char *text)
{
	size_t len = strlen(text);
	char shown[CONF_SHOWN_BYTES];

	if (len <= NAME_MAX_BYTES && strspn(text, LETTERS DIGITS) > 0 &&
	    strspn(text, LETTERS DIGITS "._-") == len)
		return 0;
	return conf_fail(r, conf_here(r),
			 "'%s' cannot be '%s': a name has at most %d letters, digits, dots, "
			 "dashes and underscores and starts with a letter or digit",
			 r->what, conf_shown(shown, text), NAME_MAX_BYTES);
}

int conf_check_env_name(struct conf_reader *r, const char *text)
{
	char shown[CONF_SHOWN_BYTES];

	if (strspn(text, LETTERS "_") > 0 && strspn(text, LETTERS DIGITS "_") == strlen(text))
		return 0;
	return conf_fail(r, conf_here(r),
			 "'%s' cannot be '%s': the name of a variable has letters, digits and "
			 "underscores and does not start with a digit",
			 r->what, conf_shown(shown, text));
}

int conf_check_url(struct conf_reader *r, const char *text)
{
	const char *rest = NULL;
	char shown[CONF_SHOWN_BYTES];
	size_t host_len;

	if (strncmp(text, "ws://", 5) == 0)
		rest = text + 5;
	else if (strncmp(text, "wss://", 6) == 0)
		rest = text + 6;
	host_len = rest ? strcspn(rest, "/?#") : 0;
	if (host_len == 0 || rest[0] == ':' || strlen(text) > URL_MAX_BYTES)
		return conf_fail(r, conf_here(r),
				 "'%s' takes URLs such as wss://host/path or ws://host:port, "
				 "not '%s'",
				 r->what, conf_shown(shown, text));
	if (memchr(rest, '@', host_len))
		return conf_fail(r, conf_here(r),
				 "'%s' has a user or password in it; use 'secret_file' or "
				 "'secret_env' instead",
				 r->what);
	for (const char *p = text; *p; p++) {
		if (*p <= ' ' || *p == '\x7f')
			return conf_fail(r, conf_here(r),
					 "'%s' has a character in it that no URL has; write it "
					 "as %%XX",
					 r->what);
	}
	return 0;
}

bool lp_conf_is_host(const char *text)
{
	static const char other[] = LETTERS DIGITS ".-_:";
	size_t len = strlen(text), name_len = strcspn(text, ":");

	if (text[0] == '[')
		return len > 2 && strspn(text, "[]:." DIGITS "abcdefABCDEF") == len &&
		       strchr(text, ']') != NULL;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x80 && !strchr(other, text[i]))
			return false;
	return name_len > 0 && strspn(text + name_len, ":" DIGITS) == len - name_len;
}

int conf_check_host(struct conf_reader *r, const char *text)
{
	char shown[CONF_SHOWN_BYTES];

	if (lp_conf_is_host(text))
		return 0;
	return conf_fail(r, conf_here(r),
			 "'%s' takes names such as app.example.com, without http:// and path, not "
			 "'%s'",
			 r->what, conf_shown(shown, text));
}

int conf_check_line(struct conf_reader *r, const char *text)
{
	if (!strpbrk(text, "\r\n"))
		return 0;
	return conf_fail(r, conf_here(r),
			 "a pattern in '%s' has a line break in it; make each line an element of "
			 "the list",
			 r->what);
}

int conf_check_glob(struct conf_reader *r, const char *text)
{
	if (text[0] == '!')
		return conf_fail(r, conf_here(r),
				 "a pattern in '%s' starts with '!', but the first rule that "
				 "matches decides: put a rule for the exception before this one, "
				 "or write '\\!' for a name",
				 r->what);
	return conf_check_line(r, text);
}
