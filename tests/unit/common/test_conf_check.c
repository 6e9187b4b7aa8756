/* test_conf_check.c: what a text must look like to be a duration or the name of a host. */
#include "common/conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void conf_is_host__takes_names_and_ports_alone(void **state)
{
	static const struct {
		const char *text;
		bool is;
	} cases[] = {
		{"app.example.com", true},
		{"App-1.example.com.", true},
		{"app.example.com:8080", true},
		{"my_app", true},
		{"192.0.2.1", true},
		{"[::1]", true},
		{"[2001:db8::1]:80", true},
		{"m\xc3\xbcnchen.example", true},
		{"", false},
		{"http://app.example.com", false},
		{"app.example.com/path", false},
		{"*.example.com", false},
		{"me@app.example.com", false},
		{"app.example.com:port", false},
		{":80", false},
		{"[::1", false},
		{"[::1]abc", false},
		{"[::1]abc:80", false},
		{"[::1]]", false},
		{"[::1]:", false},
		{"[::1]:80:80", false},
		{"[[::1]]", false},
		{"[::1]:65536", false},
		{"app.example.com:", false},
		{"app.example.com:80:80", false},
		{"app.example.com:0", false},
		{"[]", false},
		{"a b", false},
		{"a?b", false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		assert_int_equal(lp_conf_is_host(cases[i].text), cases[i].is);
}

static void lp_conf_duration__takes_a_number_and_a_unit(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: refused */
	} cases[] = {
		{"0s", 0},
		{"1ms", 1},
		{"250ms", 250},
		{"10s", 10000},
		{"2m", 120000},
		{"1h", 3600000},
		{"24h", 86400000},
		{"1440m", 86400000},
		{"86400000ms", 86400000},
		{"86400001ms", -1},
		{"86401s", -1},
		{"25h", -1},
		{"4294967296ms", -1},
		{"99999999999999999999s", -1},
		{"", -1},
		{"s", -1},
		{"10", -1},
		{"10 s", -1},
		{" 10s", -1},
		{"10s ", -1},
		{"-1s", -1},
		{"+1s", -1},
		{"1.5s", -1},
		{"1S", -1},
		{"1d", -1},
		{"1h30m", -1},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		uint32_t ms = 77;
		int r = lp_conf_duration(cases[i].text, &ms);

		if (r != (cases[i].ms < 0 ? -EINVAL : 0) ||
		    ms != (cases[i].ms < 0 ? 77 : cases[i].ms))
			fail_msg("'%s': %d, %u", cases[i].text, r, ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lp_conf_duration__takes_a_number_and_a_unit),
		cmocka_unit_test(conf_is_host__takes_names_and_ports_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
