/* cli/timeline.c: the steps of saves, and their percentiles. */
#include "cli/timeline.h"

#include "cli/output.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_util.h"

#include <stdio.h>
#include <string.h>

struct save {
	uint64_t revision; /* 0: none */
	uint64_t at_us[LP_SAVE_STEP_COUNT_];
	uint64_t failed_us; /* 0: it did not */
	char *path;         /* owned */
	size_t files;
};

struct lp_timeline {
	struct save saves[LP_TIMELINE_SAVES]; /* a ring */
	size_t next;
};

const char *lp_save_step_name(enum lp_step_of_save step)
{
	static const char *const names[LP_SAVE_STEP_COUNT_] = {
		[LP_SAVE_WRITTEN] = "written",     [LP_SAVE_READ] = "read",
		[LP_SAVE_SENT] = "sent",           [LP_SAVE_APPLIED] = "applied",
		[LP_SAVE_RESTARTED] = "restarted", [LP_SAVE_HEALTHY] = "healthy",
		[LP_SAVE_SERVED] = "served",       [LP_SAVE_RELOADED] = "reloaded",
	};

	return names[step];
}

struct lp_timeline *lp_timeline_create(void)
{
	return lp_xcalloc(1, sizeof(struct lp_timeline));
}

void lp_timeline_destroy(struct lp_timeline *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < LP_TIMELINE_SAVES; i++)
		free(t->saves[i].path);
	free(t);
}

void lp_timeline_add(struct lp_timeline *t, uint64_t revision, uint64_t written_us,
		     uint64_t read_us, const char *path, size_t files)
{
	struct save *s = &t->saves[t->next];

	t->next = (t->next + 1) % LP_TIMELINE_SAVES;
	free(s->path);
	*s = (struct save){.revision = revision, .path = lp_xstrdup(path), .files = files};
	s->at_us[LP_SAVE_WRITTEN] = written_us && written_us <= read_us ? written_us : read_us;
	s->at_us[LP_SAVE_READ] = read_us;
}

void lp_timeline_step(struct lp_timeline *t, uint64_t revision, enum lp_step_of_save step,
		      uint64_t at_us, bool upto)
{
	for (size_t i = 0; i < LP_TIMELINE_SAVES; i++) {
		struct save *s = &t->saves[i];
		bool served = s->at_us[LP_SAVE_SERVED] > 0;

		if (s->revision == 0 || s->revision > revision || s->failed_us > 0 ||
		    (s->revision < revision && (!upto || (served && step != LP_SAVE_RELOADED))))
			continue;
		/* What comes late belongs to something else: a restart that somebody asked for. */
		if (served && step != LP_SAVE_RELOADED)
			continue;
		/* The first browser counts. */
		if (step == LP_SAVE_RELOADED && (!served || s->at_us[step] > 0))
			continue;
		if (at_us > s->at_us[step])
			s->at_us[step] = at_us;
		/* The instance may be at work before this process comes to note that all is sent.
		 */
		if (step == LP_SAVE_RESTARTED && s->at_us[step] < s->at_us[LP_SAVE_SENT])
			s->at_us[step] = s->at_us[LP_SAVE_SENT];
	}
}

void lp_timeline_fail(struct lp_timeline *t, uint64_t revision, uint64_t at_us)
{
	for (size_t i = 0; i < LP_TIMELINE_SAVES; i++) {
		struct save *s = &t->saves[i];

		if (s->revision > 0 && s->revision <= revision && s->failed_us == 0 &&
		    s->at_us[LP_SAVE_SERVED] == 0)
			s->failed_us = at_us;
	}
}

/* Since it was written; -1: it never was. */
static double after_ms(const struct save *s, uint64_t at_us)
{
	uint64_t written_us = s->at_us[LP_SAVE_WRITTEN];

	if (at_us == 0)
		return -1;
	return at_us <= written_us ? 0 : (double)(at_us - written_us) / 1000;
}

static double since_ms(const struct save *s, enum lp_step_of_save step)
{
	return after_ms(s, s->at_us[step]);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The nearest-rank percentile of n > 0 sorted values. */
static double percentile(const double *sorted, size_t n, size_t percent)
{
	size_t rank = (n * percent + 99) / 100;

	return sorted[rank > 0 ? rank - 1 : 0];
}

static json_t *percentiles_of(const struct lp_timeline *t, enum lp_step_of_save step)
{
	double values[LP_TIMELINE_SAVES];
	size_t n = 0;

	for (size_t i = 0; i < LP_TIMELINE_SAVES; i++) {
		double ms = t->saves[i].revision ? since_ms(&t->saves[i], step) : -1;

		if (ms >= 0)
			values[n++] = ms;
	}
	if (n == 0)
		return NULL;
	qsort(values, n, sizeof(*values), by_size);
	return json_pack("{s:I, s:f, s:f, s:f}", "n", (json_int_t)n, "p50",
			 percentile(values, n, 50), "p90", percentile(values, n, 90), "p99",
			 percentile(values, n, 99));
}

static json_t *save_of(const struct save *s)
{
	json_t *o = json_pack("{s:I, s:o, s:I}", "revision", (json_int_t)s->revision, "path",
			      lp_out_text(s->path, strlen(s->path)), "files", (json_int_t)s->files);
	char key[32];

	for (int i = LP_SAVE_READ; i < LP_SAVE_STEP_COUNT_; i++) {
		double ms = since_ms(s, (enum lp_step_of_save)i);

		(void)snprintf(key, sizeof(key), "%s_ms",
			       lp_save_step_name((enum lp_step_of_save)i));
		if (ms >= 0)
			(void)json_object_set_new(o, key, json_real(ms));
	}
	if (s->failed_us > 0)
		(void)json_object_set_new(o, "failed_ms", json_real(after_ms(s, s->failed_us)));
	return o;
}

json_t *lp_timeline_json(const struct lp_timeline *t)
{
	json_t *saves = json_array(), *percentiles = json_object();

	for (size_t i = 0; i < LP_TIMELINE_SAVES; i++) {
		const struct save *s = &t->saves[(t->next + i) % LP_TIMELINE_SAVES];

		if (s->revision)
			(void)json_array_append_new(saves, save_of(s));
	}
	for (int i = LP_SAVE_READ; i < LP_SAVE_STEP_COUNT_; i++) {
		json_t *o = percentiles_of(t, (enum lp_step_of_save)i);

		if (o)
			(void)json_object_set_new(percentiles,
						  lp_save_step_name((enum lp_step_of_save)i), o);
	}
	return json_pack("{s:o, s:o}", "saves", saves, "percentiles", percentiles);
}
