/* tests/unit/proxy/test_addr.c: addresses from and to text. */
#include "proxy/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static void addr_parse__takes_what_it_writes(void **state)
{
	static const char *const texts[] = {"127.0.0.1:8080", "[::1]:8080", "[::]:0",
					    "0.0.0.0:65535", "unix:/run/x.sock"};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
		struct lp_proxy_addr a;
		char back[LP_PX_ADDR_TEXT_BYTES];

		assert_int_equal(lp_proxy_addr_parse(&a, texts[i], NULL), 0);
		lp_px_addr_text(&a, back);
		assert_string_equal(back, texts[i]);
	}
}

static void addr_parse__reads_a_lone_port_as_all_addresses(void **state)
{
	struct lp_proxy_addr a;
	char back[LP_PX_ADDR_TEXT_BYTES];

	(void)state;
	assert_int_equal(lp_proxy_addr_parse(&a, ":8080", NULL), 0);
	lp_px_addr_text(&a, back);
	assert_string_equal(back, "[::]:8080");
}

static void addr_parse__refuses_nonsense_with_a_reason(void **state)
{
	static const char *const texts[] = {
		"",          "8080",         "127.0.0.1",     "127.0.0.1:",   "127.0.0.1:65536",
		"1.2.3:80",  "localhost:80", "127.0.0.1:80x", "[::1:80",      "::1:80",
		"[]:80",     "[1.2.3.4]:80", "unix:",         "127.0.0.1:-1", "127.0.0.1:123456",
		"[::1]x:80", "a:b:c",
	};
	char long_path[200] = "unix:/";

	(void)state;
	memset(long_path + 6, 'x', sizeof(long_path) - 7);
	long_path[sizeof(long_path) - 1] = '\0';
	for (size_t i = 0; i <= LP_COUNT_OF(texts); i++) {
		const char *text = i < LP_COUNT_OF(texts) ? texts[i] : long_path;
		struct lp_proxy_addr a;
		struct lp_err err = {0};

		assert_int_equal(lp_proxy_addr_parse(&a, text, &err), -EINVAL);
		assert_true(err.msg[0]);
	}
}

static void addr_same__compares_the_endpoint(void **state)
{
	static const struct {
		const char *a;
		const char *b;
		bool same;
	} cases[] = {
		{"1.2.3.4:5", "1.2.3.4:5", true},  {"1.2.3.4:5", "1.2.3.4:6", false},
		{"1.2.3.4:5", "1.2.3.5:5", false}, {"[::1]:5", "[::1]:5", true},
		{"[::1]:5", "[::2]:5", false},     {"[::1]:5", "1.2.3.4:5", false},
		{"unix:/a", "unix:/a", true},      {"unix:/a", "unix:/b", false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		struct lp_proxy_addr a;
		struct lp_proxy_addr b;

		assert_int_equal(lp_proxy_addr_parse(&a, cases[i].a, NULL), 0);
		assert_int_equal(lp_proxy_addr_parse(&b, cases[i].b, NULL), 0);
		assert_int_equal(lp_px_addr_same(&a, &b), cases[i].same);
	}
}

static void addr_ip_text__writes_mapped_addresses_as_ipv4(void **state)
{
	struct lp_proxy_addr a;
	char text[INET6_ADDRSTRLEN];

	(void)state;
	assert_int_equal(lp_proxy_addr_parse(&a, "[::ffff:10.1.2.3]:80", NULL), 0);
	lp_px_addr_ip_text(&a.u.any, text);
	assert_string_equal(text, "10.1.2.3");
	assert_int_equal(lp_proxy_addr_parse(&a, "unix:/x", NULL), 0);
	lp_px_addr_ip_text(&a.u.any, text);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addr_parse__takes_what_it_writes),
		cmocka_unit_test(addr_parse__reads_a_lone_port_as_all_addresses),
		cmocka_unit_test(addr_parse__refuses_nonsense_with_a_reason),
		cmocka_unit_test(addr_same__compares_the_endpoint),
		cmocka_unit_test(addr_ip_text__writes_mapped_addresses_as_ipv4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
