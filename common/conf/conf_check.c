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

/* Whether text[0..len) is a port. */
static bool is_port(const char *text, size_t len)
{
	unsigned long port = 0;

	if (len == 0 || len > 5 || strspn(text, DIGITS) < len)
		return false;
	for (size_t i = 0; i < len; i++)
		port = port * 10 + (unsigned long)(text[i] - '0');
	return port >= 1 && port <= 65535;
}

/* What stands between the scheme and the path: a host, or one in brackets, and perhaps a port. */
static const char *authority_fault(const char *text, size_t len)
{
	const char *bracket = text[0] == '[' ? memchr(text, ']', len) : NULL;
	size_t host = bracket ? (size_t)(bracket + 1 - text) : strcspn(text, ":/?#");

	if (memchr(text, '@', len))
		return "it has a user or password in it; the secret is said in another way "
		       "(secret_file, secret_env, --secret-file)";
	if (host == 0 || (text[0] == '[' && (!bracket || host < 3)))
		return LP_CONF_NO_URL;
	if (host == len)
		return NULL;
	if (text[host] != ':' || (!bracket && memchr(text + host + 1, ':', len - host - 1)))
		return "the host must be a name, an IPv4 address, or an IPv6 address in brackets";
	if (!is_port(text + host + 1, len - host - 1))
		return "a port is a number from 1 to 65535";
	return NULL;
}

const char *lp_conf_url_fault(const char *text)
{
	const char *rest = NULL, *fault;

	if (strncmp(text, "ws://", 5) == 0)
		rest = text + 5;
	else if (strncmp(text, "wss://", 6) == 0)
		rest = text + 6;
	if (!rest)
		return LP_CONF_NO_URL;
	if (strlen(text) > URL_MAX_BYTES)
		return "it is longer than 2048 bytes";
	fault = authority_fault(rest, strcspn(rest, "/?#"));
	for (const char *p = text; *p && !fault; p++)
		if (*p <= ' ' || *p == '\x7f')
			fault = "it has a character in it that no URL has; write it as %XX";
	return fault;
}

int conf_check_url(struct conf_reader *r, const char *text)
{
	const char *fault = lp_conf_url_fault(text);
	char shown[CONF_SHOWN_BYTES];

	if (!fault)
		return 0;
	return conf_fail(r, conf_here(r), "'%s' cannot be '%s': %s", r->what,
			 conf_shown(shown, text), fault);
}

bool lp_conf_is_host(const char *text)
{
	static const char other[] = LETTERS DIGITS ".-_:";
	size_t len = strlen(text), name_len = strcspn(text, ":");

	if (text[0] == '[') {
		size_t inner = strspn(text + 1, ":." DIGITS "abcdefABCDEF");

		if (inner == 0 || text[1 + inner] != ']')
			return false;
		name_len = inner + 2;
	}
	for (size_t i = 0; i < len && text[0] != '['; i++)
		if ((unsigned char)text[i] < 0x80 && !strchr(other, text[i]))
			return false;
	if (name_len == 0 || name_len == len)
		return name_len > 0;
	return text[name_len] == ':' && is_port(text + name_len + 1, len - name_len - 1);
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
