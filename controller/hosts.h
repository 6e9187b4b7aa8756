/* controller/hosts.h: the names that an instance is reached by, and whether a request's Host and
 * Origin are of them. A page on a name that an attacker points at us (DNS rebinding), and a page of
 * another site, is told apart by these. Pure text. */
#ifndef LP_CONTROLLER_HOSTS_H
#define LP_CONTROLLER_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

/* Names, without ports, owned. A zeroed struct is empty. */
struct lp_hosts {
	char **names;
	size_t n;
};

/* Adds a name ("app.example.com", also with a port or a path, which are left out). */
void lp_hosts_add(struct lp_hosts *hosts, const char *name);

/* Adds those that Cloud Foundry's VCAP_APPLICATION (JSON) says; NULL and nonsense add none. */
void lp_hosts_add_vcap(struct lp_hosts *hosts, const char *vcap);

/* VCAP_APPLICATION's text at a key, such as application_id; owned, NULL when there is none. */
char *lp_hosts_vcap_text(const char *vcap, const char *key);

void lp_hosts_finish(struct lp_hosts *hosts);

/* Whether a Host header ("name", "name:port", "[::1]:port") may be ours: an IP address, localhost
 * or a name below it, or one of the names, in any case of letters. */
bool lp_hosts_has(const struct lp_hosts *hosts, const char *host);

/* The port that a Host header says, 0 when it says none. */
unsigned lp_hosts_port(const char *host);

/* Whether an Origin ("http://name:port") is the same as the Host of its request, given that each
 * may leave out its scheme's port. */
bool lp_hosts_is_origin(const char *origin, const char *host);

#endif
