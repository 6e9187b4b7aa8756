/* controller/hosts.c: names, Host and Origin. */
#include "controller/hosts.h"

#include "common/base/lp_mem.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX_BYTES 256

/* The length of the name in "name:port/path". */
static size_t name_len(const char *host)
{
	if (host[0] == '[') {
		size_t len = strcspn(host, "]");

		return host[len] ? len + 1 : len;
	}
	return strcspn(host, ":/");
}

void lp_hosts_add(struct lp_hosts *hosts, const char *name)
{
	size_t len = name_len(name);

	if (len == 0 || len >= HOST_MAX_BYTES)
		return;
	hosts->names = lp_xrealloc(hosts->names, hosts->n + 1, sizeof(char *));
	hosts->names[hosts->n++] = lp_xstrndup(name, len);
}

static json_t *parse_vcap(const char *vcap)
{
	return vcap ? json_loads(vcap, 0, NULL) : NULL;
}

char *lp_hosts_vcap_text(const char *vcap, const char *key)
{
	json_t *o = parse_vcap(vcap);
	const char *text = json_string_value(json_object_get(o, key));
	char *copy = text && text[0] ? lp_xstrdup(text) : NULL;

	json_decref(o);
	return copy;
}

void lp_hosts_add_vcap(struct lp_hosts *hosts, const char *vcap)
{
	static const char *const keys[] = {"application_uris", "uris"};
	json_t *o = parse_vcap(vcap);

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const json_t *uris = json_object_get(o, keys[i]), *uri;
		size_t at;

		json_array_foreach(uris, at, uri)
		{
			if (json_is_string(uri))
				lp_hosts_add(hosts, json_string_value(uri));
		}
	}
	json_decref(o);
}

void lp_hosts_finish(struct lp_hosts *hosts)
{
	for (size_t i = 0; i < hosts->n; i++)
		free(hosts->names[i]);
	free(hosts->names);
	*hosts = (struct lp_hosts){0};
}

static bool is_address(const char *name)
{
	struct in6_addr six;
	struct in_addr four;
	char inner[HOST_MAX_BYTES];
	size_t len = strlen(name);

	if (name[0] != '[')
		return inet_pton(AF_INET, name, &four) == 1;
	if (name[len - 1] != ']')
		return false;
	memcpy(inner, name + 1, len - 2);
	inner[len - 2] = '\0';
	return inet_pton(AF_INET6, inner, &six) == 1;
}

bool lp_hosts_has(const struct lp_hosts *hosts, const char *host)
{
	static const char local[] = "localhost", below[] = ".localhost";
	char name[HOST_MAX_BYTES];
	size_t len = name_len(host);

	if (len == 0 || len >= sizeof(name))
		return false;
	memcpy(name, host, len);
	if (len > 1 && name[len - 1] == '.')
		len--;
	name[len] = '\0';
	if (is_address(name) || strcasecmp(name, local) == 0)
		return true;
	if (len > sizeof(below) - 1 && strcasecmp(name + len - (sizeof(below) - 1), below) == 0)
		return true;
	for (size_t i = 0; i < hosts->n; i++)
		if (strcasecmp(hosts->names[i], name) == 0)
			return true;
	return false;
}

unsigned lp_hosts_port(const char *host)
{
	const char *at = host + name_len(host);
	unsigned port = 0;

	if (*at++ != ':')
		return 0;
	for (; *at >= '0' && *at <= '9' && port <= 65535; at++)
		port = port * 10 + (unsigned)(*at - '0');
	return *at || port > 65535 ? 0 : port;
}

/* The length of "name:port" without the port that the scheme has anyway. */
static size_t bare_len(const char *host, const char *port)
{
	size_t len = strlen(host), port_len = strlen(port);

	return len > port_len && strcmp(host + len - port_len, port) == 0 ? len - port_len : len;
}

bool lp_hosts_is_origin(const char *origin, const char *host)
{
	const char *port = ":80";
	size_t len;

	if (strncasecmp(origin, "https://", 8) == 0) {
		origin += 8;
		port = ":443";
	} else if (strncasecmp(origin, "http://", 7) == 0) {
		origin += 7;
	} else {
		return false;
	}
	len = bare_len(origin, port);
	return len > 0 && len == bare_len(host, port) && strncasecmp(origin, host, len) == 0;
}
