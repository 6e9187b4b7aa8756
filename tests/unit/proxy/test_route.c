/* tests/unit/proxy/test_route.c: the routing table as a value. */
#include "proxy/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static struct lp_px_span span(const char *text)
{
	return (struct lp_px_span){text, strlen(text)};
}

static struct lp_proxy_upstream upstream(uint64_t id, const char *addr, uint32_t weight)
{
	struct lp_proxy_upstream u = {.id = id, .weight = weight};

	assert_int_equal(lp_proxy_addr_parse(&u.addr, addr, NULL), 0);
	return u;
}

/* A refusing route whose status tells which one was found. */
static struct lp_proxy_route mark(const char *host, const char *prefix, int status)
{
	return (struct lp_proxy_route){
		.host = host, .prefix = prefix, .kind = LP_ROUTE_REFUSE, .status = status};
}

static void table_find__prefers_host_then_longest_prefix(void **state)
{
	const struct lp_proxy_route routes[] = {
		mark("", "/", 400),       mark("", "/a", 401),       mark("", "/a/b/", 402),
		mark("x.org", "/a", 403), mark("x.org", "/aa", 404), mark("y.org", "/", 405),
		mark("[::1]", "/", 406),
	};
	static const struct {
		const char *host;
		const char *path;
		int status;
	} cases[] = {
		{"", "/", 400},           {"", "/a", 401},          {"", "/a?q", 401},
		{"", "/a#f", 401},        {"", "/ab", 400},         {"", "/a/", 401},
		{"", "/a/b", 401},        {"", "/a/b/", 402},       {"", "/a/b/c", 402},
		{"x.org", "/a/b/c", 403}, {"x.org", "/aa", 404},    {"x.org", "/other", 400},
		{"x.org:80", "/a", 403},  {"X.Org", "/a", 403},     {"x.org.", "/a", 403},
		{"x.org.:80", "/a", 403}, {"y.org", "/a/b/c", 405}, {"[::1]:80", "/", 406},
		{"[::1]", "/", 406},      {"z.org", "/a", 401},     {"x.or", "/a", 401},
		{"x.orgg", "/a", 401},    {"y.org", "*", 405},
	};
	struct lp_px_table *t;

	(void)state;
	assert_int_equal(lp_px_table_create(&t, routes, LP_COUNT_OF(routes), NULL), 0);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		const struct lp_px_route *r =
			lp_px_table_find(t, span(cases[i].host), span(cases[i].path));

		assert_non_null(r);
		assert_int_equal(r->status, cases[i].status);
	}
	lp_px_table_destroy(t);
}

static void table_find__sees_a_segment_however_it_is_written(void **state)
{
	static const struct {
		const char *path;
		int status;
	} cases[] = {
		{"/.kept", 404},      {"/.kept/", 404},
		{"/.kept/a", 404},    {"/a/.kept", 404},
		{"//.kept", 404},     {"/a/../.kept/b", 404},
		{"/%2ekept", 404},    {"/.k%65pt/x", 404},
		{"/a%2f.kept", 404},  {"/a%2F%2eKEPT", 500},
		{"/.kept?x", 404},    {"/.keptx", 500},
		{"/x.kept", 500},     {"/.kep", 500},
		{"/?a=/.kept", 500},  {"/.kept%", 500},
		{"/.kept%2", 500},    {"/%", 500},
		{"/", 500},           {"/.kept%00", 404},
		{"/a/.kept%2f", 404}, {"/.kept%00x", 404},
		{"/.kep%00t", 500},   {"/%00.kept", 500},
		{"/.kept;x", 404},    {"/.kept;x/a", 404},
		{"/a;x/.kept", 404},  {"/.kept%3b", 404},
		{"/.kep;t", 500},     {"/x;.kept", 500},
	};
	const struct lp_proxy_route routes[] = {mark("", "/**/.kept", 404), mark("", "/", 500)};
	struct lp_px_table *t = NULL;

	(void)state;
	assert_int_equal(lp_px_table_create(&t, routes, LP_COUNT_OF(routes), NULL), 0);
	for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
		const struct lp_px_route *r = lp_px_table_find(t, span("x"), span(cases[i].path));

		assert_non_null(r);
		if (r->status != cases[i].status)
			fail_msg("%s: %d", cases[i].path, r->status);
	}
	lp_px_table_destroy(t);
}

static void table_find__says_when_nothing_matches(void **state)
{
	const struct lp_proxy_route routes[] = {mark("x.org", "/a", 403)};
	struct lp_px_table *t;

	(void)state;
	assert_int_equal(lp_px_table_create(&t, routes, 1, NULL), 0);
	assert_null(lp_px_table_find(t, span("x.org"), span("/")));
	assert_null(lp_px_table_find(t, span(""), span("/a")));
	lp_px_table_destroy(t);
	assert_int_equal(lp_px_table_create(&t, NULL, 0, NULL), 0);
	assert_null(lp_px_table_find(t, span("x"), span("/")));
	lp_px_table_destroy(t);
	lp_px_table_destroy(NULL);
}

static void table_create__refuses_what_makes_no_sense(void **state)
{
	struct lp_proxy_upstream good = upstream(1, "127.0.0.1:1", 1);
	struct lp_proxy_upstream no_id = upstream(0, "127.0.0.1:1", 1);
	struct lp_proxy_upstream no_weight = upstream(1, "127.0.0.1:1", 0);
	struct lp_proxy_upstream no_addr = {.id = 1, .weight = 1};
	struct lp_proxy_upstream two[] = {good, upstream(1, "127.0.0.1:2", 1)};
	const struct lp_proxy_route routes[] = {
		{"", "", &good, 1, NULL, NULL, LP_ROUTE_FORWARD, 0, false},
		{"", "a", &good, 1, NULL, NULL, LP_ROUTE_FORWARD, 0, false},
		{"", NULL, &good, 1, NULL, NULL, LP_ROUTE_FORWARD, 0, false},
		{NULL, "/", &good, 1, NULL, NULL, LP_ROUTE_FORWARD, 0, false},
		{"", "/", NULL, 0, NULL, NULL, LP_ROUTE_FORWARD, 0, false},
		{"", "/", &no_id, 1, NULL, NULL, LP_ROUTE_FORWARD, 0, false},
		{"", "/", &no_weight, 1, NULL, NULL, LP_ROUTE_FORWARD, 0, false},
		{"", "/", &no_addr, 1, NULL, NULL, LP_ROUTE_FORWARD, 0, false},
		{"", "/", two, 2, NULL, NULL, LP_ROUTE_FORWARD, 0, false},
		{"", "/", NULL, 0, NULL, NULL, LP_ROUTE_REFUSE, 200, false},
		{"", "/", NULL, 0, NULL, NULL, LP_ROUTE_KIND_COUNT_, 0, false},
	};
	const struct lp_proxy_route twins[] = {mark("A", "/", 400), mark("a", "/", 401)};
	struct lp_px_table *t;

	(void)state;
	for (size_t i = 0; i < LP_COUNT_OF(routes); i++) {
		struct lp_err err = {0};

		assert_int_equal(lp_px_table_create(&t, &routes[i], 1, &err), -EINVAL);
		assert_true(err.msg[0]);
	}
	assert_int_equal(lp_px_table_create(&t, twins, 2, NULL), -EINVAL);
}

static void route_pick__spreads_by_weight_without_bursts(void **state)
{
	struct lp_proxy_upstream ups[] = {upstream(1, "127.0.0.1:1", 5),
					  upstream(2, "127.0.0.1:2", 1),
					  upstream(3, "127.0.0.1:3", 1)};
	static const uint64_t want[] = {1, 1, 2, 1, 3, 1, 1};
	const struct lp_proxy_route route = {.host = "",
					     .prefix = "/",
					     .upstreams = ups,
					     .n_upstreams = 3,
					     .kind = LP_ROUTE_FORWARD};
	struct lp_px_table *t;

	(void)state;
	assert_int_equal(lp_px_table_create(&t, &route, 1, NULL), 0);
	for (size_t i = 0; i < 10 * LP_COUNT_OF(want); i++)
		assert_int_equal(lp_px_route_pick(&t->routes[0])->id, want[i % LP_COUNT_OF(want)]);
	lp_px_table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_find__prefers_host_then_longest_prefix),
		cmocka_unit_test(table_find__sees_a_segment_however_it_is_written),
		cmocka_unit_test(table_find__says_when_nothing_matches),
		cmocka_unit_test(table_create__refuses_what_makes_no_sense),
		cmocka_unit_test(route_pick__spreads_by_weight_without_bursts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
