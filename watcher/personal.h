/* watcher/personal.h: the ignore rules of a person, for all their workspaces: git's
 * core.excludesFile (gitignore(5)). Which file that is, git itself is asked. */
#ifndef LP_WATCHER_PERSONAL_H
#define LP_WATCHER_PERSONAL_H

#include "common/base/lp_buf.h"
#include "sync/stat_sig.h"

#include <sys/types.h>

struct lp_workspace;

/* Zeroed: nobody was asked. path: the file, whether it is there or not; NULL: there is none. seen:
 * how it looked when it was read; zeroed: it was not there. */
struct lp_personal {
	pid_t pid;  /* of git, until it was answered */
	int fd;     /* its answer */
	char *path; /* owned */
	struct lp_stat_sig seen;
};

/* Begins to ask git which file it is for the working tree at root_path. Without git it is the
 * default one. */
void lp_personal_ask(struct lp_personal *p, const char *root_path);

/* Waits for the answer, for two seconds at most: afterwards p->path is known. */
void lp_personal_wait(struct lp_personal *p, const char *root_path);

/* Reads the file into text, which must be empty. One that is not there, or is none, has no rules.
 * Returns 0 or -errno. */
int lp_personal_read(struct lp_personal *p, struct lp_buf *text) LP_MUST_USE;

void lp_personal_finish(struct lp_personal *p);

/* Takes the rules up into those of the workspace, and has the file watched. */
void lp_personal_load(struct lp_workspace *ws);

/* The same again if the file looks otherwise by now; then the whole tree is noted. */
void lp_personal_check(struct lp_workspace *ws);

/* Under this path the file is watched. */
#define LP_PERSONAL_AT ".git/\001personal"

#endif
