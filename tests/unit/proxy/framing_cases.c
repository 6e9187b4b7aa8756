/* tests/unit/proxy/framing_cases.c: raw requests, good and bad, and what has to become of them (RFC
 * 9112). /name answers "one", /upload the length of the body that arrived, /echo the head. */
#include "framing_cases.h"

#include "common/base/lp_util.h"

#define CASE(label, bytes, outcome, ...)                                                           \
	{                                                                                          \
		.name = (label), .text = (bytes), .len = sizeof(bytes) - 1, .want = (outcome),     \
		__VA_ARGS__                                                                        \
	}
#define BAD(label, bytes)     CASE(label, bytes, "400 closed", .has = NULL)
#define GOOD(label, bytes, w) CASE(label, bytes, w, .has = NULL)

#define HOST        "Host: x\r\n"
#define END         "\r\n"
#define GET(path)   "GET " path " HTTP/1.1\r\n" HOST
#define FIELD(text) GET("/name") text "\r\n\r\n"
#define POST        "POST /upload HTTP/1.1\r\n" HOST
#define SIZE(value) POST "Content-Length: " value "\r\n\r\nabc"
#define CODED(v)    POST "Transfer-Encoding: " v "\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
#define CHUNKS(s)   POST "Transfer-Encoding: chunked\r\n\r\n" s
#define NEXT        GET("/name") END

/* A body that is no valid chunks: the head may be on its way already. */
#define BROKEN(label, body) CASE(label, CHUNKS(body), "400 closed", .may_be_begun = true)

const struct framing_case framing_cases[] = {
	/* Request lines. */
	BAD("TLS", "\x16\x03\x01"),
	BAD("method in lower case", "get / HTTP/1.1\r\n" HOST END),
	BAD("unknown method", "FROB / HTTP/1.1\r\n" HOST END),
	BAD("space before the method", " GET / HTTP/1.1\r\n" HOST END),
	BAD("two spaces before the target", "GET  /name HTTP/1.1\r\n" HOST END),
	BAD("two spaces before the version", "GET /name  HTTP/1.1\r\n" HOST END),
	BAD("space behind the version", "GET /name HTTP/1.1 \r\n" HOST END),
	BAD("tab in the request line", "GET\t/name HTTP/1.1\r\n" HOST END),
	GOOD("no version", "GET /name\r\n" HOST END, "505 closed"),
	BAD("half a version", "GET /name HTTP/1\r\n" HOST END),
	BAD("version with more behind it", "GET /name HTTP/1.1x\r\n" HOST END),
	BAD("version of two digits", "GET /name HTTP/11.1\r\n" HOST END),
	BAD("protocol in lower case", "GET /name http/1.1\r\n" HOST END),
	BAD("another protocol", "GET /name ICE/1.0\r\n" HOST END),
	BAD("HTTP/2 preface that is none", "PRI / HTTP/1.1\r\n" HOST END),
	GOOD("HTTP/0.9", "GET /name HTTP/0.9\r\n" HOST END, "505 closed"),
	GOOD("HTTP/2.0 without preface", "GET /name HTTP/2.0\r\n" HOST END, "505 closed"),
	GOOD("HTTP/3.0", "GET /name HTTP/3.0\r\n" HOST END, "505 closed"),
	GOOD("CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "405 closed"),
	/* Targets. */
	BAD("no target", "GET HTTP/1.1\r\n" HOST END),
	BAD("target without slash", GET("name") END),
	BAD("asterisk without OPTIONS", GET("*") END),
	BAD("space in the target", GET("/a b") END),
	BAD("fragment in the target", GET("/name#part") END),
	BAD("NUL in the target", GET("/na\0me") END),
	BAD("DEL in the target", GET("/na\x7fme") END),
	BAD("absolute target without host", GET("http:///name") END),
	BAD("absolute target with user", GET("http://u@x/name") END),
	BAD("absolute target of another scheme", GET("https://x/name") END),
	CASE("absolute target", GET("http://other:1/echo") END, "200=GET open",
	     .has = "Host: other:1\r\n", .lacks = "http:"),
	/* Line ends and folding. */
	BAD("bare LF everywhere", "GET /name HTTP/1.1\nHost: x\n\n"),
	BAD("bare LF behind the request line", "GET /name HTTP/1.1\nHost: x\r\n\r\n"),
	BAD("bare LF behind a field", GET("/name") "A: b\nC: d\r\n\r\n"),
	BAD("bare LF at the end", "GET /name HTTP/1.1\r\nHost: x\r\n\n"),
	BAD("bare CR behind the request line", "GET /name HTTP/1.1\rHost: x\r\n\r\n"),
	BAD("bare CR in a value", FIELD("A: b\rc")),
	BAD("two CRs", FIELD("A: b\r")),
	BAD("folded by a space", FIELD("A: b\r\n c")),
	BAD("folded by a tab", FIELD("A: b\r\n\tc")),
	BAD("folded first field", "GET /name HTTP/1.1\r\n Host: x\r\n\r\n"),
	GOOD("empty lines before it", "\r\n\r\n" NEXT, "200=one open"),
	/* Fields. */
	BAD("space before the colon", FIELD("A : b")),
	BAD("tab before the colon", FIELD("A\t: b")),
	BAD("no colon", FIELD("nonsense")),
	BAD("no name", FIELD(": b")),
	BAD("space in a name", FIELD("A B: c")),
	BAD("bracket in a name", FIELD("A(B): c")),
	BAD("byte beyond ASCII in a name", FIELD("A\xe9: b")),
	BAD("NUL in a name", FIELD("A\0B: c")),
	BAD("NUL in a value", FIELD("A: b\0c")),
	BAD("NUL at the beginning of a value", FIELD("A:\0b")),
	BAD("control character in a value", FIELD("A: b\x01")),
	BAD("DEL in a value", FIELD("A: b\x7f")),
	GOOD("empty value", FIELD("A:"), "200=one open"),
	GOOD("tab in a value", FIELD("A: b\tc"), "200=one open"),
	GOOD("byte beyond ASCII in a value", FIELD("A: b\xe9"), "200=one open"),
	/* Host. */
	BAD("no Host", "GET /name HTTP/1.1\r\n\r\n"),
	BAD("two Hosts", GET("/name") "Host: y\r\n\r\n"),
	BAD("the same Host twice", GET("/name") HOST END),
	BAD("space in Host", "GET /name HTTP/1.1\r\nHost: a b\r\n\r\n"),
	BAD("path in Host", "GET /name HTTP/1.1\r\nHost: a/b\r\n\r\n"),
	BAD("user in Host", "GET /name HTTP/1.1\r\nHost: u@a\r\n\r\n"),
	BAD("list in Host", "GET /name HTTP/1.1\r\nHost: a,b\r\n\r\n"),
	GOOD("empty Host", "GET /name HTTP/1.1\r\nHost:\r\n\r\n", "200=one open"),
	GOOD("no Host in HTTP/1.0", "GET /name HTTP/1.0\r\n\r\n", "200=one closed"),
	/* Content-Length. */
	BAD("length without number", SIZE("")),
	BAD("length in words", SIZE("three")),
	BAD("length with plus", SIZE("+3")),
	BAD("length with minus", SIZE("-3")),
	BAD("length in hexadecimal", SIZE("0x3")),
	BAD("length with a fraction", SIZE("3.0")),
	BAD("length of two numbers", SIZE("3 3")),
	BAD("length as a list", SIZE("3, 3")),
	BAD("length behind a vertical tab", SIZE("\v3")),
	BAD("length beyond all numbers", SIZE("99999999999999999999")),
	BAD("length that wraps to 3", SIZE("18446744073709551619")),
	BAD("two lengths", POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
	BAD("the same length twice", POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
	BAD("length and chunks",
	    POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
	BAD("chunks and length",
	    POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
	GOOD("length", SIZE("3"), "200=3 open"),
	GOOD("length with zeroes", SIZE("0003"), "200=3 open"),
	GOOD("length 0", POST "Content-Length: 0\r\n\r\n" NEXT, "200=0 200=one open"),
	GOOD("more than the length", SIZE("2"), "200=2 400 closed"),
	/* Transfer-Encoding. */
	BAD("coding without chunks", CODED("gzip")),
	BAD("coding behind chunks", CODED("chunked, gzip")),
	BAD("no coding", CODED("")),
	BAD("identity", CODED("identity")),
	BAD("chunks twice", CODED("chunked, chunked")),
	BAD("chunks in two fields", CODED("chunked\r\nTransfer-Encoding: chunked")),
	BAD("coding that ends like chunked", CODED("xchunked")),
	BAD("coding that begins like chunked", CODED("chunkedx")),
	BAD("chunked with parameter", CODED("chunked;a=b")),
	BAD("chunked in quotes", CODED("\"chunked\"")),
	BAD("chunked behind a vertical tab", CODED("\vchunked")),
	BAD("space before the colon of the coding",
	    POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
	BAD("chunks in HTTP/1.0",
	    "POST /upload HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
	GOOD("coding that is not supported", CODED("gzip, chunked"), "501 closed"),
	GOOD("chunked", CODED("chunked"), "200=3 open"),
	GOOD("chunked in capitals", CODED("CHUNKED"), "200=3 open"),
	/* Chunks. */
	BROKEN("chunk without size", "\r\nabc\r\n0\r\n\r\n"),
	BROKEN("chunk size that is none", "x\r\nabc\r\n0\r\n\r\n"),
	BROKEN("chunk size with minus", "-3\r\nabc\r\n0\r\n\r\n"),
	BROKEN("chunk size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
	BROKEN("chunk size behind a space", " 3\r\nabc\r\n0\r\n\r\n"),
	BROKEN("chunk size that wraps", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
	BROKEN("bare LF behind a chunk size", "3\nabc\r\n0\r\n\r\n"),
	BROKEN("bare LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
	BROKEN("NUL in an extension", "3;a\0\r\nabc\r\n0\r\n\r\n"),
	BROKEN("chunk that is longer than its size", "2\r\nabc\r\n0\r\n\r\n"),
	BROKEN("chunk with bare LF behind it", "3\r\nabc\n0\r\n\r\n"),
	BROKEN("chunk with two bytes behind it", "3\r\nabcxx0\r\n\r\n"),
	BROKEN("trailer without colon", "0\r\nnonsense\r\n\r\n"),
	BROKEN("trailer with space before the colon", "0\r\nA : b\r\n\r\n"),
	BROKEN("folded trailer", "0\r\nA: b\r\n c\r\n\r\n"),
	BROKEN("bare LF behind the last chunk", "0\r\n\n"),
	GOOD("extension, capital digits, zeroes, trailer",
	     CHUNKS("00A;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\n\r\n"), "200=10 open"),
	/* Several requests, and attempts to pass one inside another. */
	GOOD("two requests", NEXT NEXT, "200=one 200=one open"),
	GOOD("request behind a body", SIZE("3") NEXT, "200=3 200=one open"),
	GOOD("request behind chunks", CODED("chunked") NEXT, "200=3 200=one open"),
	GOOD("empty line between requests", SIZE("3") "\r\n" NEXT, "200=3 200=one open"),
	GOOD("request inside a body", POST "Content-Length: 31\r\n\r\n" NEXT, "200=31 open"),
	GOOD("request inside a chunk", CHUNKS("24\r\n0\r\n\r\n" NEXT "\r\n0\r\n\r\n"),
	     "200=36 open"),
	GOOD("GET with a body that is a request",
	     "GET /upload HTTP/1.1\r\n" HOST "Content-Length: 31\r\n\r\n" NEXT, "200=31 open"),
	GOOD("bad request behind a good one", NEXT "GET /name HTTP/1.1\r\n\r\n",
	     "200=one 400 closed"),
	GOOD("nothing behind Connection: close", FIELD("Connection: close") NEXT, "200=one closed"),
	GOOD("length named in Connection",
	     POST "Connection: content-length\r\nContent-Length: 31\r\n\r\n" NEXT, "200=31 open"),
	GOOD("coding named in Connection",
	     POST "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "3\r\nabc\r\n0\r\n\r\n",
	     "200=3 open"),
	CASE("Host named in Connection", GET("/echo") "Connection: Host\r\n\r\n", "200=GET open",
	     .has = "Host: x\r\n"),
	CASE("field named in Connection", GET("/echo") "Connection: A\r\nA: b\r\n\r\n",
	     "200=GET open", .lacks = "A: b"),
	CASE("X-Forwarded-For in disguise", GET("/echo") "X_Forwarded_For: 192.0.2.9\r\n\r\n",
	     "200=GET open", .lacks = "192.0.2.9"),
	CASE("length in disguise", GET("/echo") "Content_Length: 9\r\n\r\n", "200=GET open",
	     .lacks = "_"),
	CASE("coding in disguise", GET("/echo") "Transfer_Encoding: chunked\r\n\r\n",
	     "200=GET open", .lacks = "_"),
	CASE("fields for one hop",
	     GET("/echo") "Keep-Alive: 9\r\nTE: trailers\r\nProxy-Connection: a\r\n\r\n",
	     "200=GET open", .lacks = "railers"),
	CASE("h2c is not upgraded to",
	     GET("/echo") "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
			  "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
	     "200=GET open", .lacks = "h2c"),
	GOOD("upgrade with a body",
	     POST "Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 31\r\n\r\n" NEXT,
	     "200=31 open"),
	GOOD("100-continue", POST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" NEXT,
	     "100 200=3 200=one open"),
	GOOD("HEAD", "HEAD /head HTTP/1.1\r\n" HOST END, "200 open"),
	GOOD("HTTP/1.0 that stays", "GET /name HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	     "200=one open"),
};
const size_t n_framing_cases = LP_COUNT_OF(framing_cases);
