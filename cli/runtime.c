/* cli/runtime.c: names of sessions. */
#include "cli/runtime.h"

#include "common/base/lp_util.h"
#include "sync/digest.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* "livepush-UID-RUNTIME-", the same for all sessions that see each other. */
static void prefix(char out[64])
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	struct lp_digest d = lp_digest_of(dir ? dir : "", dir ? strlen(dir) : 0);
	char hex[LP_DIGEST_HEX_BYTES];

	lp_digest_hex(&d, hex);
	(void)snprintf(out, 64, "livepush-%u-%.8s-", (unsigned)geteuid(), hex);
}

static void set_name(struct lp_session_addr *addr, const char *name)
{
	size_t n = strnlen(name, sizeof(addr->un.sun_path) - 1);

	*addr = (struct lp_session_addr){.un.sun_family = AF_UNIX};
	memcpy(addr->un.sun_path + 1, name, n);
	addr->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

void lp_runtime_address(struct lp_session_addr *addr, const char *app)
{
	struct lp_digest d = lp_digest_of(app, strlen(app));
	char hex[LP_DIGEST_HEX_BYTES], start[64], name[128];

	/* By digest: an app's name may be an address of any length. */
	lp_digest_hex(&d, hex);
	prefix(start);
	(void)snprintf(name, sizeof(name), "%s%s", start, hex);
	set_name(addr, name);
}

void lp_runtime_each(void (*each)(void *ctx, const struct lp_session_addr *addr), void *ctx)
{
	FILE *f = fopen("/proc/net/unix", "re");
	char start[64], line[512];

	if (!f)
		return;
	prefix(start);
	while (fgets(line, sizeof(line), f)) {
		char *at = strrchr(line, '@');
		struct lp_session_addr addr;

		/* The flag 00010000 marks listening sockets; connections to them bear the name,
		 * too. */
		if (!at || strncmp(at + 1, start, strlen(start)) != 0 ||
		    !strstr(line, " 00010000 "))
			continue;
		at[1 + strcspn(at + 1, "\n")] = '\0';
		set_name(&addr, at + 1);
		each(ctx, &addr);
	}
	(void)fclose(f);
}
