/* fsmount/finish.c: see finish.h. */
#include "fsmount/finish.h"

#include "fsmount/writing.h"

/* What is left of an episode of writing that has ended. */
struct ended {
	struct lp_written *written;
	bool news;
};

/* The lock of w is held. The file below is closed before it counts as closed here: who is told of
 * that by inotify finds it being written still, and leaves it to the report, which knows what was
 * written. When the report comes nobody has it open. */
static struct ended end_locked(struct lp_inode *inode, struct lp_writing *w)
{
	struct ended e = {.written = lp_writing_take(w, inode->fd)};

	if (w->fd >= 0)
		(void)close(lp_take_fd(&w->fd));
	e.news = atomic_exchange(&inode->dirty, false);
	atomic_store(&inode->writers, 0);
	w->created = false;
	return e;
}

void lp_finish_inode(struct lp_fsmount *m, struct lp_inode *inode, bool rested)
{
	struct lp_writing *w = lp_inode_writing(&m->inodes, inode);
	struct ended e;

	(void)pthread_mutex_lock(&w->lock);
	e = end_locked(inode, w);
	(void)pthread_mutex_unlock(&w->lock);
	if (e.news && rested)
		lp_report_closed(m, inode, e.written, "");
	else if (e.news)
		lp_report_resting(m, inode);
	free(e.written);
}

/* opened_as: another name of the file, by which it was opened; "": none. With ranges it is reported
 * at once: who finds the file changed before that reads all of it. */
static void report_ended(struct lp_fsmount *m, const struct lp_inode *inode, bool rested,
			 const struct ended *e, const char *opened_as, struct lp_held *held)
{
	if (!e->news)
		return;
	if (rested && e->written == NULL && opened_as[0] == '\0') {
		lp_report_hold(m, held, inode);
		return;
	}
	lp_report_held(m, held);
	if (rested)
		lp_report_closed(m, inode, e->written, opened_as);
	else
		lp_report_resting(m, inode);
}

/* The descriptor is closed before anything is reported: it keeps the mount busy. */
enum lp_writers lp_finish_unless_open(struct lp_fsmount *m, struct lp_finish_look *look,
				      struct lp_held *held)
{
	struct lp_writing *w = lp_inode_writing(&m->inodes, look->inode);
	char opened_as[PATH_MAX] = "";
	enum lp_writers found = look->found;
	struct ended e = {0};

	(void)pthread_mutex_lock(&w->lock);
	if (look->fd >= 0)
		found = lp_writers_find(look->fd);
	if (found == LP_WRITERS_SOME)
		w->created = false;
	else if (look->may_be_opening && w->created)
		found = LP_WRITERS_SOME;
	else
		e = end_locked(look->inode, w);
	(void)pthread_mutex_unlock(&w->lock);
	if (look->fd >= 0 && e.news)
		lp_report_opened_as(m, look->inode, look->fd, opened_as);
	lp_auto_close(&look->fd);
	if (found != LP_WRITERS_SOME)
		report_ended(m, look->inode, found == LP_WRITERS_NONE, &e, opened_as, held);
	free(e.written);
	return found;
}
