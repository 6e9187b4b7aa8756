/* sync/wildmatch.c: compiles wildcards to steps and walks them with two places to go back to. What
 * counts as malformed and where "**" is special follows wildmatch of git 2.39. */
#include "sync/wildmatch.h"

#include <string.h>

enum {
	STEP_BYTE,
	STEP_ANY,       /* one byte, not '/' */
	STEP_SET,       /* one byte of a set */
	STEP_STAR,      /* any bytes, not '/' */
	STEP_WIDE,      /* any bytes */
	STEP_WIDE_DIRS, /* nothing, or any bytes and then '/' */
};

/* A POSIX class by git's own tables, which hold whatever the locale: only ASCII, and white space
 * without the vertical tab and the form feed. */
struct class
{
	const char *name;
	struct {
		uint8_t from, to;
	} ranges[4];
};

static const struct class classes[] = {
	{"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
	{"alpha", {{'A', 'Z'}, {'a', 'z'}}},
	{"blank", {{' ', ' '}, {'\t', '\t'}}},
	{"cntrl", {{1, 31}, {127, 127}}},
	{"digit", {{'0', '9'}}},
	{"graph", {{'!', '~'}}},
	{"lower", {{'a', 'z'}}},
	{"print", {{' ', '~'}}},
	{"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
	{"space", {{'\t', '\n'}, {'\r', '\r'}, {' ', ' '}}},
	{"upper", {{'A', 'Z'}}},
	{"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
};

/* The text being compiled; pos is the next byte. */
struct cursor {
	const uint8_t *text;
	size_t len;
	size_t pos;
};

static void set_add(struct lp_wild_set *set, unsigned from, unsigned to)
{
	for (unsigned b = from; b <= to; b++)
		set->bits[b / 64] |= UINT64_C(1) << (b % 64);
}

static bool set_has(const struct lp_wild_set *set, uint8_t b)
{
	return set->bits[b / 64] >> (b % 64) & 1;
}

/* The byte `ahead` places further, or -1 past the end. */
static int peek(const struct cursor *c, size_t ahead)
{
	return ahead < c->len - c->pos ? c->text[c->pos + ahead] : -1;
}

static int take(struct cursor *c)
{
	return c->pos < c->len ? c->text[c->pos++] : -1;
}

/* The next byte of a bracket, a backslash before it removed; -1 past the end. */
static int take_unescaped(struct cursor *c)
{
	int b = take(c);

	return b == '\\' ? take(c) : b;
}

/* Reads "[:name:]" at the cursor. Returns 1 when it was one, 0 when the '[' is an ordinary byte
 * (nothing taken) and -1 when it is malformed. */
static int take_class(struct cursor *c, struct lp_wild_set *set)
{
	const uint8_t *name, *end;
	size_t len;

	if (peek(c, 0) != '[' || peek(c, 1) != ':')
		return 0;
	name = c->text + c->pos + 2;
	end = memchr(name, ']', c->len - c->pos - 2);
	if (!end)
		return -1;
	if (end == name || end[-1] != ':')
		return 0;
	len = (size_t)(end - name) - 1;
	for (size_t i = 0; i < LP_COUNT_OF(classes); i++) {
		const struct class *k = &classes[i];

		if (strlen(k->name) != len || memcmp(k->name, name, len) != 0)
			continue;
		for (size_t r = 0; r < LP_COUNT_OF(k->ranges) && k->ranges[r].to; r++)
			set_add(set, k->ranges[r].from, k->ranges[r].to);
		c->pos += len + 4;
		return 1;
	}
	return -1;
}

/* Reads one member of a bracket: a class, a range that starts at *before, or a byte. *before
 * becomes the byte that a range may start from, or 0. Returns 0 or -1 (malformed). */
static int take_member(struct cursor *c, struct lp_wild_set *set, int *before)
{
	int b, r = take_class(c, set);

	if (r != 0) {
		*before = 0;
		return r < 0 ? -1 : 0;
	}
	if (*before > 0 && peek(c, 0) == '-' && peek(c, 1) >= 0 && peek(c, 1) != ']') {
		c->pos++;
		b = take_unescaped(c);
		if (b < 0)
			return -1;
		set_add(set, (unsigned)*before, (unsigned)b);
		*before = 0;
		return 0;
	}
	b = take_unescaped(c);
	if (b < 0)
		return -1;
	set_add(set, (unsigned)b, (unsigned)b);
	*before = b;
	return 0;
}

/* Reads a bracket expression behind its '['. Returns 0 or -1 (malformed). */
static int take_bracket(struct cursor *c, struct lp_wild_set *set)
{
	bool negated = peek(c, 0) == '!' || peek(c, 0) == '^';
	int before = 0;

	*set = (struct lp_wild_set){{0}};
	if (negated)
		c->pos++;
	/* A ']' in the first place is a member. */
	do {
		if (take_member(c, set, &before) < 0)
			return -1;
	} while (peek(c, 0) != ']');
	c->pos++;
	for (size_t i = 0; negated && i < LP_COUNT_OF(set->bits); i++)
		set->bits[i] = ~set->bits[i];
	set->bits['/' / 64] &= ~(UINT64_C(1) << ('/' % 64));
	return 0;
}

/* Reads the stars at the cursor. start is where they begin. */
static uint8_t take_stars(struct cursor *c, size_t start, bool is_path)
{
	size_t n = 0;
	bool opens = start == 0 || c->text[start - 1] == '/';

	while (peek(c, 0) == '*') {
		c->pos++;
		n++;
	}
	if (!is_path || n == 1 || !opens)
		return STEP_STAR;
	if (peek(c, 0) == '/') {
		c->pos++;
		return STEP_WIDE_DIRS;
	}
	/* git also lets an escaped slash end the run, but then asks for that slash. */
	if (peek(c, 0) < 0 || (peek(c, 0) == '\\' && peek(c, 1) == '/'))
		return STEP_WIDE;
	return STEP_STAR;
}

static int add_set(struct lp_wild *w, const struct lp_wild_set *set)
{
	size_t n = w->n_sets;

	/* Full at each power of two. */
	if ((n & (n - 1)) == 0) {
		struct lp_wild_set *sets = reallocarray(w->sets, n ? n * 2 : 1, sizeof(*sets));

		if (!sets)
			return -ENOMEM;
		w->sets = sets;
	}
	w->sets[w->n_sets++] = *set;
	return 0;
}

/* Compiles what is at the cursor to one step. Returns 0, -ENOMEM or 1 (malformed). */
static int take_step(struct lp_wild *w, struct cursor *c, bool is_path)
{
	struct lp_wild_step *step = &w->steps[w->n_steps++];
	size_t start = c->pos;
	struct lp_wild_set set;
	int b = peek(c, 0);

	*step = (struct lp_wild_step){.op = STEP_BYTE};
	switch (b) {
	case '*':
		step->op = take_stars(c, start, is_path);
		return 0;
	case '?':
		c->pos++;
		step->op = STEP_ANY;
		return 0;
	case '[':
		c->pos++;
		if (take_bracket(c, &set) < 0)
			return 1;
		step->op = STEP_SET;
		step->set = (uint16_t)w->n_sets;
		return add_set(w, &set);
	default:
		b = take_unescaped(c);
		step->byte = (uint8_t)b;
		return b < 0;
	}
}

size_t lp_wild_literal_len(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len && text[i] != '*' && text[i] != '?' && text[i] != '[' && text[i] != '\\')
		i++;
	return i;
}

int lp_wild_compile(struct lp_wild *w, const char *pattern, size_t len, bool is_path)
{
	struct cursor c = {.text = (const uint8_t *)pattern, .len = len};
	int r = 0;

	*w = (struct lp_wild){0};
	if (len == 0)
		return 0;
	if (len > UINT16_MAX) {
		w->never = true;
		return 0;
	}
	w->steps = calloc(len, sizeof(*w->steps));
	if (!w->steps)
		return -ENOMEM;
	while (r == 0 && c.pos < c.len)
		r = take_step(w, &c, is_path);
	if (r != 0)
		lp_wild_finish(w);
	w->never = r > 0;
	return r < 0 ? r : 0;
}

void lp_wild_finish(struct lp_wild *w)
{
	free(w->steps);
	free(w->sets);
	*w = (struct lp_wild){0};
}

int lp_wild_last_byte(const struct lp_wild *w)
{
	const struct lp_wild_step *last = w->n_steps > 0 ? &w->steps[w->n_steps - 1] : NULL;

	return last && last->op == STEP_BYTE ? last->byte : -1;
}

static bool step_takes(const struct lp_wild *w, const struct lp_wild_step *step, uint8_t b)
{
	switch (step->op) {
	case STEP_BYTE:
		return b == step->byte;
	case STEP_ANY:
		return b != '/';
	case STEP_SET:
		return set_has(&w->sets[step->set], b);
	default:
		return false;
	}
}

/* Where a walk is, and the last star of each sort: the step behind it and where the text goes on.
 * A star that matches as little as possible leaves the most for the rest, so going back further
 * than to the last of each sort finds nothing new. */
struct walk {
	const char *text;
	size_t len;
	size_t step, pos;
	size_t star_step, star_pos; /* star_step 0: none, there is always a star before it */
	size_t wide_step, wide_pos;
	bool wide_dirs;
};

/* Lets the last star take a little more. Returns whether there was a way. */
static bool go_back(struct walk *k)
{
	if (k->star_step > 0 && k->text[k->star_pos] != '/') {
		k->pos = ++k->star_pos;
		k->step = k->star_step;
		return true;
	}
	k->star_step = 0;
	if (k->wide_step == 0)
		return false;
	if (k->wide_dirs) {
		const char *slash = memchr(k->text + k->wide_pos, '/', k->len - k->wide_pos);

		if (!slash)
			return false;
		k->wide_pos = (size_t)(slash - k->text) + 1;
	} else {
		k->wide_pos++;
	}
	k->pos = k->wide_pos;
	k->step = k->wide_step;
	return true;
}

/* Notes the star at the current step and goes behind it. */
static void enter_star(struct walk *k, uint8_t op)
{
	k->step++;
	if (op == STEP_STAR) {
		k->star_step = k->step;
		k->star_pos = k->pos;
		return;
	}
	k->star_step = 0;
	k->wide_step = k->step;
	k->wide_pos = k->pos;
	k->wide_dirs = op == STEP_WIDE_DIRS;
}

bool lp_wild_match(const struct lp_wild *w, const char *text, size_t len)
{
	struct walk k = {.text = text, .len = len};

	if (w->never)
		return false;
	for (;;) {
		const struct lp_wild_step *step = &w->steps[k.step];

		if (k.step == w->n_steps) {
			if (k.pos == len)
				return true;
		} else if (step->op >= STEP_STAR) {
			bool is_last = k.step + 1 == w->n_steps;

			if (is_last && step->op == STEP_WIDE)
				return true;
			if (!is_last || step->op != STEP_STAR) {
				enter_star(&k, step->op);
				continue;
			}
			if (!memchr(text + k.pos, '/', len - k.pos))
				return true;
		} else if (k.pos == len) {
			/* A star that took more would leave even less text for the rest. */
			return false;
		} else if (step_takes(w, step, (uint8_t)text[k.pos])) {
			k.step++;
			k.pos++;
			continue;
		}
		if (!go_back(&k))
			return false;
	}
}
