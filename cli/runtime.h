/* cli/runtime.h: the names under which sessions of this user are found: abstract unix sockets
 * (unix(7)), which are lock and address in one and vanish with their process, however it ends. */
#ifndef LP_CLI_RUNTIME_H
#define LP_CLI_RUNTIME_H

#include <sys/socket.h>
#include <sys/un.h>

/* Where a session is reached. */
struct lp_session_addr {
	struct sockaddr_un un;
	socklen_t len;
};

/* The address of an app's session: made of the user, the directory for run-time files
 * ($XDG_RUNTIME_DIR) and the app's name. */
void lp_runtime_address(struct lp_session_addr *addr, const char *app);

/* Calls each with the address of every session of this user that there is now. */
void lp_runtime_each(void (*each)(void *ctx, const struct lp_session_addr *addr), void *ctx);

#endif
