/* tests/unit/proxy/harness_io.c: HTTP on blocking sockets. */
#include "harness_io.h"

#include "harness.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct timespec io_deadline(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += DEADLINE_S;
	return t;
}

void io_set_timeouts(int fd)
{
	struct timeval t = {.tv_sec = DEADLINE_S};

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

bool io_send_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

size_t io_read_head(int fd, char *out, size_t bytes)
{
	size_t n = 0;

	while (n + 1 < bytes && recv(fd, out + n, 1, 0) == 1) {
		out[++n] = '\0';
		if (n >= 4 && memcmp(out + n - 4, "\r\n\r\n", 4) == 0)
			return n;
	}
	out[n] = '\0';
	return 0;
}

bool io_read_exact(int fd, char *out, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = recv(fd, out + got, len - got, 0);

		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

const char *io_find_header(const char *head, const char *name, char *out, size_t bytes)
{
	size_t len = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
		const char *end = strstr(line + 2, "\r\n");

		if (!end || strncasecmp(line + 2, name, len) != 0 || line[2 + len] != ':')
			continue;
		(void)snprintf(out, bytes, "%.*s", (int)(end - (line + 4 + len)), line + 4 + len);
		return out;
	}
	return NULL;
}

bool io_read_chunks(int fd, char **data, size_t *len)
{
	char line[256];
	size_t cap = 0;
	char *grown;

	for (;;) {
		unsigned long size;
		size_t n = 0;

		while (n + 1 < sizeof(line) && recv(fd, line + n, 1, 0) == 1 && line[n++] != '\n')
			;
		line[n] = '\0';
		if (n < 3 || line[n - 1] != '\n')
			return false;
		size = strtoul(line, NULL, 16);
		if (!size)
			break;
		if (*len + size + 3 > cap) {
			cap = 2 * (*len + size + 3);
			grown = realloc(*data, cap);
			if (!grown)
				return false;
			*data = grown;
		}
		if (!io_read_exact(fd, *data + *len, size + 2))
			return false;
		*len += size;
		(*data)[*len] = '\0';
	}
	for (;;) { /* trailers, to the empty line */
		size_t n = 0;

		while (n + 1 < sizeof(line) && recv(fd, line + n, 1, 0) == 1 && line[n++] != '\n')
			;
		if (n < 2)
			return false;
		if (n == 2)
			return true;
	}
}
