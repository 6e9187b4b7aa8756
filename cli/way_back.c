/* cli/way_back.c: finds the same tree in the histories of several instances. */
#include "cli/way_back.h"

#include "cli/number.h"
#include "common/base/lp_mem.h"
#include "sync/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int lp_way_parse(struct lp_way_wanted *out, const char *text)
{
	*out = (struct lp_way_wanted){0};
	if (text[0] != '@')
		return lp_parse_count(text, INT64_MAX, &out->revision) < 0 || out->revision == 0
			       ? -EINVAL
			       : 0;
	out->n_digits = strspn(++text, "0123456789abcdef");
	if (text[out->n_digits] || out->n_digits < LP_TREE_NAME_MIN ||
	    out->n_digits >= sizeof(out->digits))
		return -EINVAL;
	memcpy(out->digits, text, out->n_digits);
	return 0;
}

void lp_way_take(struct lp_way_place *place, const struct lp_msg_revisions *m)
{
	lp_way_finish(place);
	place->steps = lp_xcalloc(m->n_revisions, sizeof(*place->steps));
	for (size_t i = 0; i < m->n_revisions; i++) {
		const struct lp_wire_revision *w = &m->revisions[i];
		struct lp_way_step *s = &place->steps[place->n];

		if (w->state == LP_REVISION_UNDONE)
			continue;
		*s = (struct lp_way_step){.revision = w->revision,
					  .healthy = w->state == LP_REVISION_HEALTHY,
					  .kept = w->kept};
		memcpy(s->root, w->root, sizeof(s->root));
		place->n++;
	}
}

void lp_way_finish(struct lp_way_place *place)
{
	free(place->steps);
	*place = (struct lp_way_place){0};
}

static bool has_name(const struct lp_way_step *s, const struct lp_way_wanted *wanted)
{
	char hex[LP_DIGEST_HEX_BYTES];
	struct lp_digest root;

	memcpy(root.b, s->root, sizeof(root.b));
	lp_digest_hex(&root, hex);
	return strncmp(hex, wanted->digits, wanted->n_digits) == 0;
}

/* The newest that was asked for by its number or name. */
static const struct lp_way_step *find_wanted(const struct lp_way_place *p,
					     const struct lp_way_wanted *wanted)
{
	for (size_t i = p->n; i-- > 0;) {
		const struct lp_way_step *s = &p->steps[i];

		if (wanted->n_digits ? has_name(s, wanted) : s->revision == wanted->revision)
			return s;
	}
	return NULL;
}

/* Whether the name that was asked for is also that of another tree here. */
static bool is_ambiguous(const struct lp_way_place *p, const struct lp_way_wanted *wanted,
			 const struct lp_way_step *found)
{
	for (size_t i = 0; wanted->n_digits && i < p->n; i++) {
		const struct lp_way_step *s = &p->steps[i];

		if (has_name(s, wanted) && memcmp(s->root, found->root, sizeof(s->root)) != 0)
			return true;
	}
	return false;
}

static const struct lp_way_step *find_root(const struct lp_way_place *p, const uint8_t root[16])
{
	for (size_t i = p->n; i-- > 0;) {
		if (memcmp(p->steps[i].root, root, sizeof(p->steps[i].root)) == 0)
			return &p->steps[i];
	}
	return NULL;
}

static void go(struct lp_way_place *p, const struct lp_way_step *s)
{
	p->goal = s == &p->steps[p->n - 1] ? 0 : s->revision;
}

/* Whether the place can come to hold that. */
static bool reaches(const struct lp_way_place *p, const struct lp_way_step *s)
{
	return s->kept || s == &p->steps[p->n - 1];
}

/* Why a place cannot go to the step that was asked for; NULL: it can. first: of the place before.
 */
static const char *find_fault(const struct lp_way_place *p, const struct lp_way_wanted *wanted,
			      const struct lp_way_step *s, const struct lp_way_step *first)
{
	if (is_ambiguous(p, wanted, s))
		return "names more than one tree; give more digits of it";
	if (first && memcmp(first->root, s->root, sizeof(s->root)) != 0)
		return "is not the same on all instances; name its tree (@…) as 'livepush history' "
		       "shows it";
	if (!reaches(p, s))
		return "cannot be gone back to any more, because what came after it is not kept; "
		       "'livepush history' marks those that can";
	return NULL;
}

static int choose_wanted(struct lp_way_place *places, size_t n, const struct lp_way_wanted *wanted,
			 struct lp_err *err)
{
	const struct lp_way_step *first = NULL;
	const char *fault;
	char name[40];

	if (wanted->n_digits)
		(void)snprintf(name, sizeof(name), "@%s", wanted->digits);
	else
		(void)snprintf(name, sizeof(name), "%" PRIu64, wanted->revision);
	for (size_t i = 0; i < n; i++) {
		const struct lp_way_step *s = find_wanted(&places[i], wanted);

		if (!s)
			return lp_err_say(err, ENOENT,
					  "revision %s is not known %s; 'livepush history' lists "
					  "those that are",
					  name, n > 1 ? "on every instance" : "here");
		fault = find_fault(&places[i], wanted, s, first);
		if (fault)
			return lp_err_say(err, ENOENT, "revision %s %s", name, fault);
		first = s;
		go(&places[i], s);
	}
	return 0;
}

/* Whether every place can come to hold what it says was healthy there. */
static bool all_reach(const struct lp_way_place *places, size_t n, const uint8_t root[16])
{
	for (size_t i = 0; i < n; i++) {
		const struct lp_way_step *s = find_root(&places[i], root);

		if (!s || !s->healthy || !reaches(&places[i], s))
			return false;
	}
	return true;
}

static int choose_healthy(struct lp_way_place *places, size_t n, struct lp_err *err)
{
	const struct lp_way_place *first = &places[0];
	const uint8_t *present = first->n > 0 ? first->steps[first->n - 1].root : NULL;

	for (size_t i = first->n; i-- > 1;) {
		const struct lp_way_step *s = &first->steps[i - 1];

		if (!s->healthy || memcmp(s->root, present, sizeof(s->root)) == 0 ||
		    !all_reach(places, n, s->root))
			continue;
		for (size_t k = 0; k < n; k++)
			go(&places[k], find_root(&places[k], s->root));
		return 0;
	}
	return lp_err_say(err, ENOENT,
			  "no revision before the present one was healthy on every instance; name "
			  "one of 'livepush history'");
}

int lp_way_choose(struct lp_way_place *places, size_t n, const struct lp_way_wanted *wanted,
		  struct lp_err *err)
{
	int r = 0;
	bool any = false;

	if (n > 0)
		r = wanted->revision || wanted->n_digits ? choose_wanted(places, n, wanted, err)
							 : choose_healthy(places, n, err);
	for (size_t i = 0; i < n; i++)
		any |= places[i].goal != 0;
	if (r == 0 && n > 0 && !any)
		return lp_err_say(err, ENOENT, "that is what %s",
				  n > 1 ? "the trees hold" : "the tree holds");
	return r;
}
