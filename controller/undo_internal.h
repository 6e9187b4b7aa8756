/* controller/undo_internal.h: the state of taking back, shared by undo.c (the operations of a
 * commit) and undo_back.c (the single things that go back). */
#ifndef LP_CONTROLLER_UNDO_INTERNAL_H
#define LP_CONTROLLER_UNDO_INTERNAL_H

#include "controller/commit.h"

/* make: the second time: directories that the app removed meanwhile are made again. orphans:
 * something may wait for that. home: where what the operation under way replaced belongs. first:
 * the first error, whose text is in err. */
struct undoing {
	struct lp_tree *t;
	struct lp_staged *ops;
	bool make;
	bool orphans;
	char home[LP_PATH_MAX_BYTES + 1];
	int first;
	struct lp_err *err;
};

/* Notes that a path could not be put back. */
void lp_undo_cannot(struct undoing *u, const char *path, int r);

/* What says that the app has put something in the way, which stays. */
bool lp_undo_is_of_the_app(int r);

/* 1: there is something of that name; 0; or -errno. */
int lp_undo_stat(int dir_fd, const char *name, struct stat *st);

/* What is at u->home: 1, 0 (nothing, or the app has something in the place of a directory above)
 * or -errno. fd: the directory, borrowed. */
int lp_undo_stat_home(struct undoing *u, int *fd, struct stat *st);

/* Puts what was taken from a path back there; what was taken from a directory that stayed goes back
 * into it. */
void lp_undo_put_back(struct undoing *u, const char *from, const char *path);

/* Removes what the operation put at u->home, where nothing was. */
void lp_undo_remove_new(struct undoing *u, struct lp_staged *s);

/* Puts a file back over the one that the operation put at u->home. was: what is kept under the name
 * `old`. */
void lp_undo_put_file_back(struct undoing *u, struct lp_staged *s, const char *old,
			   const struct stat *was);

/* Lets what is at u->home change places again with what it changed places with. */
void lp_undo_change_back(struct undoing *u, struct lp_staged *s, const char *staged);

#endif
