/* server.c: a small web server in C. Edit MESSAGE, save, reload the page: a rule in livepush.yml
 * runs make before the new version starts. */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE "Hello from C!\n"

static int listen_on(unsigned short port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons(port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, SOMAXCONN) < 0) {
		perror("listen");
		exit(1);
	}
	return fd;
}

/* Reads the request up to the empty line that ends its headers, answers, closes. */
static void answer(int conn)
{
	const struct timeval patience = {.tv_sec = 5};
	char request[8192];
	size_t len = 0;

	(void)setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (len < sizeof(request) - 1) {
		ssize_t n = recv(conn, request + len, sizeof(request) - 1 - len, 0);

		if (n <= 0)
			break;
		len += (size_t)n;
		request[len] = '\0';
		if (strstr(request, "\r\n\r\n") == NULL)
			continue;
		dprintf(conn,
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
			"Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
			sizeof(MESSAGE) - 1, MESSAGE);
		break;
	}
	close(conn);
}

int main(void)
{
	const char *port = getenv("PORT");
	sigset_t stop;

	if (port == NULL) {
		fprintf(stderr, "PORT is not set\n");
		return 1;
	}
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);

	struct pollfd fds[] = {
		{.fd = listen_on((unsigned short)strtoul(port, NULL, 10)), .events = POLLIN},
		{.fd = signalfd(-1, &stop, SFD_CLOEXEC), .events = POLLIN}};

	printf("listening on port %s\n", port);
	fflush(stdout);
	while (poll(fds, 2, -1) >= 0) {
		int conn = accept4(fds[0].fd, NULL, NULL, SOCK_CLOEXEC);

		if (conn >= 0)
			answer(conn);
		else if (fds[1].revents != 0)
			break; /* asked to stop, and nobody is waiting for an answer */
	}
	return 0;
}
