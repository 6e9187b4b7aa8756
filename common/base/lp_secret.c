/* lp_secret.c: see lp_secret.h. */
#include "common/base/lp_secret.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_mem.h"

#include <string.h>
#include <sys/stat.h>

const char *lp_secret_fault(const char *secret)
{
	size_t len = strlen(secret);

	if (len < LP_SECRET_MIN_BYTES)
		return "it is shorter than 16 bytes";
	if (len > LP_SECRET_MAX_BYTES)
		return "it is longer than 1024 bytes";
	return NULL;
}

int lp_secret_read(char **out, const char *path, const char **warning, struct lp_err *err)
{
	struct lp_buf text;
	struct stat st;
	int r;

	/* Not refused: the only user of a container gets its secrets like that. */
	*warning = stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IRWXO)
			   ? "others on this machine may read or change it; chmod o= it"
			   : NULL;
	lp_buf_init(&text, LP_SECRET_MAX_BYTES + 2); /* with the end of its line */
	r = lp_read_file(AT_FDCWD, path, &text);
	if (r == 0 && !lp_buf_text(&text))
		r = -ENOMEM;
	if (r == 0)
		*out = lp_xstrndup((const char *)text.data,
				   strcspn((const char *)text.data, "\r\n"));
	else
		r = lp_err_set(err, -r, "%s: cannot read the secret", path);
	if (text.data)
		explicit_bzero(text.data, text.len);
	lp_buf_finish(&text);
	return r;
}
