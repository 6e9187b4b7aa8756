/* tests/unit/proxy/framing_cases.h: the table of raw requests of test_framing.c. */
#ifndef LP_TESTS_UNIT_PROXY_FRAMING_CASES_H
#define LP_TESTS_UNIT_PROXY_FRAMING_CASES_H

#include <stdbool.h>
#include <stddef.h>

/* want: the statuses that come, each with "=TEXT" for the beginning of its body, then "open" or
 * "closed". has and lacks: text in what the upstream got, as /echo shows it. may_be_begun: the
 * upstream may have seen the head before the body turned out bad. */
struct framing_case {
	const char *name;
	const char *text;
	size_t len;
	const char *want;
	const char *has;
	const char *lacks;
	bool may_be_begun;
};

extern const struct framing_case framing_cases[];
extern const size_t n_framing_cases;

#endif
