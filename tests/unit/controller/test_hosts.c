/* test_hosts.c: names that are ours, and origins that are the same as their host; and the rows of
 * the table of requests. */
#include "common/base/lp_util.h"
#include "controller/hosts.h"
#include "controller/web.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void hosts_has__knows_addresses_localhost_and_names(void **state)
{
	static const struct {
		const char *host;
		bool ours;
	} cases[] = {
		{"127.0.0.1", true},
		{"127.0.0.1:80", true},
		{"8.8.8.8", true},
		{"[::1]", true},
		{"[::1]:8080", true},
		{"localhost", true},
		{"LOCALHOST:1", true},
		{"a.localhost", true},
		{"app.example.com", true},
		{"App.Example.Com:443", true},
		{"app.example.com.", true},
		{"path.example", true},
		{"first.example", true},
		{"", false},
		{":80", false},
		{".", false},
		{".localhost", false},
		{"[::1", false},
		{"[]", false},
		{"[::1]x", true}, /* what stands behind the bracket is a port at best */
		{"127.0.0.1.example", false},
		{"127.1", false},
		{"0x7f000001", false},
		{"alocalhost", false},
		{"localhost.example", false},
		{"xapp.example.com", false},
		{"example.com", false},
		{"app.example.com.evil", false},
	};
	struct lp_hosts hosts = {0};

	(void)state;
	lp_hosts_add(&hosts, "app.example.com:8080");
	lp_hosts_add(&hosts, "path.example/below");
	lp_hosts_add(&hosts, "");
	lp_hosts_add_vcap(&hosts, NULL);
	lp_hosts_add_vcap(&hosts, "{");
	lp_hosts_add_vcap(&hosts, "{\"application_uris\": 3, \"uris\": [3, null]}");
	lp_hosts_add_vcap(&hosts, "{\"application_uris\": [\"first.example\"]}");
	assert_int_equal(hosts.n, 3);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		if (lp_hosts_has(&hosts, cases[i].host) != cases[i].ours)
			fail_msg("'%s'", cases[i].host);
	lp_hosts_finish(&hosts);
}

static void hosts_is_origin__compares_scheme_ports(void **state)
{
	static const struct {
		const char *origin, *host;
		bool same;
	} cases[] = {
		{"http://a", "a", true},
		{"http://a", "a:80", true},
		{"http://a:80", "a", true},
		{"https://a", "a:443", true},
		{"https://A:443", "a", true},
		{"http://a:8080", "a:8080", true},
		{"http://[::1]:8080", "[::1]:8080", true},
		{"http://a", "a:443", false},
		{"https://a", "a:80", false},
		{"http://a:8080", "a", false},
		{"http://a", "b", false},
		{"http://ab", "a", false},
		{"http://a", "ab", false},
		{"null", "null", false},
		{"", "", false},
		{"http://", "", false},
		{"file://a", "a", false},
	};

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++)
		if (lp_hosts_is_origin(cases[i].origin, cases[i].host) != cases[i].same)
			fail_msg("'%s' at '%s'", cases[i].origin, cases[i].host);
}

static void web_routes__are_whole(void **state)
{
	(void)state;
	for (const struct lp_web_route *r = lp_web_routes; r->method; r++) {
		assert_true(strcmp(r->method, "GET") == 0 || strcmp(r->method, "POST") == 0 ||
			    strcmp(r->method, "PUT") == 0);
		assert_true(r->path && (strncmp(r->path, "/_livepush/", 11) == 0 ||
					strncmp(r->path, "/_fastpush/", 11) == 0));
		assert_true(r->scope > 0 && r->scope < LP_WEB_SCOPE_COUNT_);
		assert_int_equal(r->scope == LP_WEB_OWN, r->allow != NULL);
		assert_non_null(r->handle);
		assert_true(r->body_max_bytes <= LP_HTTP_BODY_ANY);
		for (const struct lp_web_route *o = lp_web_routes; o < r; o++)
			assert_false(strcmp(o->method, r->method) == 0 &&
				     strcmp(o->path, r->path) == 0);
	}
}

static void web_find__tells_the_method_from_the_path(void **state)
{
	static const struct lp_web_route rows[] = {
		{.method = "GET", .path = "/a"},
		{.method = "PUT", .path = "/a"},
		{.method = "POST", .path = "/b/", .is_prefix = true},
		{.method = NULL},
	};
	const struct lp_web_route *other;

	(void)state;
	assert_ptr_equal(lp_web_find(rows, "GET", "/a", &other), &rows[0]);
	assert_ptr_equal(lp_web_find(rows, "HEAD", "/a", &other), &rows[0]);
	assert_ptr_equal(lp_web_find(rows, "PUT", "/a", &other), &rows[1]);
	assert_ptr_equal(lp_web_find(rows, "POST", "/b/c", &other), &rows[2]);
	assert_null(lp_web_find(rows, "POST", "/a", &other));
	assert_non_null(other);
	assert_null(lp_web_find(rows, "POST", "/b", &other));
	assert_null(other);
	assert_null(lp_web_find(rows, "GET", "/ab", &other));
	assert_null(other);
}

static void hosts_port__is_what_host_says(void **state)
{
	static const struct {
		const char *host;
		unsigned port;
	} cases[] = {
		{"", 0},
		{"app.example", 0},
		{"app.example:8080", 8080},
		{"app.example:", 0},
		{"app.example:65535", 65535},
		{"app.example:65536", 0},
		{"app.example:99999999999", 0},
		{"app.example:80x", 0},
		{"app.example:-1", 0},
		{"[::1]:81", 81},
		{"[::1]", 0},
		{"[::1", 0},
		{"127.0.0.1:1", 1},
		{"127.0.0.1:1:2", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(lp_hosts_port(cases[i].host), cases[i].port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_port__is_what_host_says),
		cmocka_unit_test(hosts_has__knows_addresses_localhost_and_names),
		cmocka_unit_test(hosts_is_origin__compares_scheme_ports),
		cmocka_unit_test(web_routes__are_whole),
		cmocka_unit_test(web_find__tells_the_method_from_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
