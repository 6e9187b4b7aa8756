/* cli/runtime.c: locks and paths per app. */
#include "cli/runtime.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"
#include "sync/digest.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

int lp_runtime_dir(char *out, size_t out_bytes, struct lp_err *err)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	struct stat st;
	int n, r;

	if (base && base[0] == '/')
		n = snprintf(out, out_bytes, "%s/livepush", base);
	else
		n = snprintf(out, out_bytes, "/tmp/livepush-%u", (unsigned)geteuid());
	if (n < 0 || (size_t)n >= out_bytes)
		return lp_err_say(err, ENAMETOOLONG, "XDG_RUNTIME_DIR is too long");
	r = lp_mkdir_p(out, 0700);
	if (r < 0)
		return lp_err_set(err, -r, "%s: cannot be made", out);
	/* In /tmp somebody else may have been first. */
	if (lstat(out, &st) < 0)
		return lp_err_set(err, errno, "%s", out);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return lp_err_say(
			err, EPERM,
			"%s: must be a directory of yours with mode 0700; remove it or set "
			"XDG_RUNTIME_DIR",
			out);
	return 0;
}

int lp_runtime_path(char *out, size_t out_bytes, const char *app, const char *ending,
		    struct lp_err *err)
{
	char dir[256], hex[LP_DIGEST_HEX_BYTES];
	struct lp_digest d = lp_digest_of(app, strlen(app));
	bool plain = app[0] && app[0] != '.' && strlen(app) <= 63;
	int n, r = lp_runtime_dir(dir, sizeof(dir), err);

	if (r < 0)
		return r;
	for (const char *p = app; *p; p++)
		plain = plain && (isalnum((unsigned char)*p) || strchr("._-", *p));
	lp_digest_hex(&d, hex);
	n = snprintf(out, out_bytes, "%s/%s.%s", dir, plain ? app : hex, ending);
	return n < 0 || (size_t)n >= out_bytes
		       ? lp_err_say(err, ENAMETOOLONG, "%s: path too long; set XDG_RUNTIME_DIR",
				    dir)
		       : 0;
}

int lp_runtime_lock(const char *app, const char *dir, struct lp_err *err)
{
	char path[512];
	struct lp_buf holder;
	int r = lp_runtime_path(path, sizeof(path), app, "lock", err);
	LP_AUTO_CLOSE int fd = -1;
	LP_AUTO_FREE char *text = NULL;

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return lp_err_set(err, errno, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return lp_err_set(err, errno, "%s: cannot be locked", path);
		lp_buf_init(&holder, 4400);
		(void)lp_err_say(err, EBUSY, "%s: already mirrored by %s; --take-over ends it", app,
				 lp_read_all(fd, &holder) == 0 && holder.len && lp_buf_text(&holder)
					 ? lp_buf_text(&holder)
					 : "another livepush");
		lp_buf_finish(&holder);
		return -EBUSY;
	}
	text = lp_xasprintf("pid %d from %s", (int)getpid(), dir);
	if (ftruncate(fd, 0) < 0 || lp_write_all(fd, text, strlen(text)) < 0)
		return lp_err_set(err, errno, "%s: cannot be written", path);
	return lp_take_fd(&fd);
}
