/* sync/guard.h: how much a changeset takes away: whoever is about to empty an instance by mistake
 * (a disk that is not mounted, an `rm` in the wrong place) is asked first. Pure. */
#ifndef LP_SYNC_GUARD_H
#define LP_SYNC_GUARD_H

#include "sync/changeset.h"

/* That many files may always go. */
#define LP_LOSS_FREE_FILES 20

/* How many files and links (not directories) are deleted, and of how many. */
struct lp_loss {
	size_t files;
	size_t of;
};

/* What is deleted by a changeset that leads from a tree with `before` files and links to one with
 * `after`: before + new ones - after. That counts all that lay below directories which were deleted
 * or replaced, though the changeset does not name it; what was moved or rewritten is not lost,
 * apart from what was in its way. Live: before and after are lp_index_files of the workspace when
 * the last changeset was taken and now. Catching up: before is `files` of WELCOME, after
 * lp_index_files now. What is new has to say so in the operation (is_new, or was_foreign). */
struct lp_loss lp_changeset_loss(const struct lp_changeset *cs, size_t before, size_t after);

/* The same by how many fewer there are: a checkout of another branch, or a directory that was
 * renamed unseen, brings as much as it takes. */
struct lp_loss lp_loss_net(size_t before, size_t after);

/* Whether that is more than half of all and more than LP_LOSS_FREE_FILES: then somebody has to
 * agree before it is sent. */
bool lp_loss_is_mass(const struct lp_loss *loss);

#endif
