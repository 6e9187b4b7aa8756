/* watcher/names.c: see names.h. */
#include "watcher/names.h"

#include "common/base/lp_util.h"

#include <ctype.h>
#include <string.h>

/* '*': something; '?': one letter or digit of mkstemp(3) and its like; the rest is itself. What
 * editors write is ignored unless the user wants it (sync/ignore.c); it is here for those who do.
 * mixed: the characters at '?' must not be small letters alone, so that a word of that length is
 * not taken for one. */
static const struct {
	const char *pattern;
	bool mixed;
} names[] = {
	{"sed??????", true},          /* GNU sed -i */
	{".*.??????", true},          /* rsync */
	{"tmp????????", false},       /* Python: tempfile, atomicwrites */
	{".tmp????????", false},      /* Python: with a dot in front */
	{"*.tmp", false},             /* many */
	{"*.vsctmp", false},          /* Visual Studio Code */
	{"*___jb_tmp___", false},     /* JetBrains */
	{"*___jb_old___", false},     /* JetBrains */
	{".goutputstream-*", false},  /* GLib */
	{".subl*.tmp", false},        /* Sublime Text */
	{"*.??????", true},           /* Qt's QSaveFile: x.AbCdEf */
	{"4913", false},              /* Vim tries whether it may write here */
	{".*.sw?", false},            /* Vim: swap file */
	{".merge_file_??????", true}, /* git merge-file */
};

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static bool matches(const char *pattern, const char *name, bool *mixed);

/* '*' stands for at least one character. It is greedy and occurs at most twice in a pattern, so the
 * recursion is as deep as that. */
static bool matches_any(const char *pattern, const char *name, bool *mixed)
{
	for (size_t i = strlen(name); i > 0; i--) {
		bool here = *mixed;

		if (matches(pattern, name + i, &here)) {
			*mixed = here;
			return true;
		}
	}
	return false;
}

static bool matches(const char *pattern, const char *name, bool *mixed)
{
	for (; *pattern; pattern++, name++) {
		if (*pattern == '*')
			return matches_any(pattern + 1, name, mixed);
		if (*pattern == '?' ? !is_word(*name) : *pattern != *name)
			return false;
		if (*pattern == '?')
			*mixed |= isdigit((unsigned char)*name) || isupper((unsigned char)*name);
	}
	return *name == '\0';
}

bool lp_name_is_transient(const char *name)
{
	for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
		bool mixed = false;

		if (matches(names[i].pattern, name, &mixed) && (mixed || !names[i].mixed))
			return true;
	}
	return false;
}

/* With up to two marks in front left out, cut before each mark from the end on. */
size_t lp_name_origin(const char *name, size_t at, char *out)
{
	static const char before[] = ".#~_$", behind[] = ".~#_-,+@$ ";

	for (size_t skip = 0; skip <= 2; skip++) {
		size_t len;

		if (skip > 0 && (!name[skip - 1] || !strchr(before, name[skip - 1])))
			break;
		len = strlen(name + skip);
		if (skip > 0 && len > 0 && at-- == 0) {
			memcpy(out, name + skip, len + 1);
			return len;
		}
		while (len > 1) {
			len--;
			if (!strchr(behind, name[skip + len]))
				continue;
			if (at-- > 0)
				continue;
			memcpy(out, name + skip, len);
			out[len] = '\0';
			return len;
		}
	}
	return 0;
}

bool lp_name_is_made_of(const char *name, const char *origin)
{
	size_t len = strlen(origin);
	const char *in = len > 0 ? strstr(name, origin) : NULL;

	return in && in - name <= 2 && strlen(name) > len;
}
