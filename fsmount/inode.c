/* fsmount/inode.c: the inode table; see inode.h. */
#include "fsmount/inode.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_mem.h"
#include "fsmount/writing.h"

#include <fcntl.h>

enum {
	FIRST_BUCKETS = 1024,
	/* Younger changes may share their timestamp with a later one: a clock tick is at most
	 * 10 ms, and network file systems are allowed some more. */
	RACY_US = 100 * 1000,
};

static size_t bucket_of(const struct lp_inodes *t, dev_t dev, ino_t ino)
{
	uint64_t h = ((uint64_t)ino ^ ((uint64_t)dev << 32)) * UINT64_C(0x9E3779B97F4A7C15);

	return (size_t)(h >> 32) & (t->n_buckets - 1);
}

/* FNV-1a over the parent's number and the name: equal tags are taken as the same name. */
static uint64_t tag_of(const struct lp_inode *parent, const char *name)
{
	uint64_t h = UINT64_C(0xCBF29CE484222325) ^ (uint64_t)parent->ino;

	for (const char *p = name; *p != '\0'; p++)
		h = (h ^ (uint64_t)(unsigned char)*p) * UINT64_C(0x100000001B3);
	return h;
}

int lp_inodes_init(struct lp_inodes *t, int root_fd)
{
	struct stat st;

	*t = (struct lp_inodes){.n_buckets = FIRST_BUCKETS};
	if (fstat(root_fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	t->buckets = lp_xcalloc(t->n_buckets, sizeof(*t->buckets));
	(void)pthread_mutex_init(&t->lock, NULL);
	t->root.fd = root_fd;
	t->root.dev = st.st_dev;
	t->root.ino = st.st_ino;
	t->root.type = S_IFDIR;
	t->root.refs = 1;
	return 0;
}

static void release(struct lp_inode *inode)
{
	lp_writing_destroy(inode->writing);
	lp_listing_destroy(inode->listing);
	(void)close(inode->fd);
	free(inode);
}

void lp_inodes_finish(struct lp_inodes *t)
{
	if (t->buckets == NULL)
		return;
	for (size_t i = 0; i < t->n_buckets; i++) {
		while (t->buckets[i].first != NULL) {
			struct lp_inode *inode = t->buckets[i].first;

			t->buckets[i].first = inode->next;
			release(inode);
		}
	}
	free(t->buckets);
	t->buckets = NULL;
	lp_writing_destroy(t->root.writing);
	lp_listing_destroy(t->root.listing);
	(void)pthread_mutex_destroy(&t->lock);
}

static struct lp_inode *find_locked(struct lp_inodes *t, dev_t dev, ino_t ino)
{
	struct lp_inode *inode = t->buckets[bucket_of(t, dev, ino)].first;

	while (inode != NULL && (inode->ino != ino || inode->dev != dev))
		inode = inode->next;
	return inode;
}

static void grow_locked(struct lp_inodes *t)
{
	struct lp_bucket *old = t->buckets;
	size_t n_old = t->n_buckets;

	t->n_buckets *= 2;
	t->buckets = lp_xcalloc(t->n_buckets, sizeof(*t->buckets));
	for (size_t i = 0; i < n_old; i++) {
		while (old[i].first != NULL) {
			struct lp_inode *inode = old[i].first;
			size_t b = bucket_of(t, inode->dev, inode->ino);

			old[i].first = inode->next;
			inode->next = t->buckets[b].first;
			t->buckets[b].first = inode;
		}
	}
	free(old);
}

static void insert_locked(struct lp_inodes *t, struct lp_inode *inode)
{
	size_t b;

	if (t->n >= t->n_buckets)
		grow_locked(t);
	b = bucket_of(t, inode->dev, inode->ino);
	inode->next = t->buckets[b].first;
	t->buckets[b].first = inode;
	t->n++;
}

struct lp_inode *lp_inode_find(struct lp_inodes *t, dev_t dev, ino_t ino)
{
	struct lp_inode *inode;

	(void)pthread_mutex_lock(&t->lock);
	inode = find_locked(t, dev, ino);
	if (inode != NULL)
		inode->refs++;
	(void)pthread_mutex_unlock(&t->lock);
	return inode;
}

/* Puts fresh_fd (borrowed) behind the descriptor of an inode that is known by another name. dup3
 * swaps in one step, so that a thread that uses the descriptor sees the same inode before and
 * after. */
static void rename_locked(struct lp_inode *inode, int fresh_fd, uint64_t tag)
{
	if (dup3(fresh_fd, inode->fd, O_CLOEXEC) >= 0)
		inode->name_tag = tag;
}

static struct lp_inode *adopt(struct lp_inodes *t, int path_fd, const struct stat *st, uint64_t tag)
{
	LP_AUTO_CLOSE int fd = path_fd;
	struct lp_inode *inode;

	(void)pthread_mutex_lock(&t->lock);
	inode = find_locked(t, st->st_dev, st->st_ino);
	if (inode != NULL) {
		inode->refs++;
		if (inode->name_tag != tag)
			rename_locked(inode, fd, tag);
		inode->named_us = lp_now_us();
	} else {
		inode = lp_xcalloc(1, sizeof(*inode));
		inode->dev = st->st_dev;
		inode->ino = st->st_ino;
		inode->type = st->st_mode & S_IFMT;
		inode->fd = lp_take_fd(&fd);
		inode->refs = 1;
		inode->name_tag = tag;
		inode->named_us = lp_now_us();
		insert_locked(t, inode);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return inode;
}

struct lp_inode *lp_inode_adopt(struct lp_inodes *t, const struct lp_inode *parent,
				const char *name, int path_fd, const struct stat *st)
{
	return adopt(t, path_fd, st, tag_of(parent, name));
}

int lp_inode_lookup(struct lp_inodes *t, const struct lp_inode *parent, const char *name,
		    struct stat *st, struct lp_inode **out)
{
	LP_AUTO_CLOSE int fd = openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, st) < 0)
		return -errno;
	if (st->st_dev == t->refused_dev)
		return -ELOOP;
	*out = adopt(t, lp_take_fd(&fd), st, tag_of(parent, name));
	return 0;
}

void lp_inode_ref(struct lp_inodes *t, struct lp_inode *inode)
{
	(void)pthread_mutex_lock(&t->lock);
	inode->refs++;
	(void)pthread_mutex_unlock(&t->lock);
}

static void unlink_locked(struct lp_inodes *t, struct lp_inode *inode)
{
	struct lp_inode **at = &t->buckets[bucket_of(t, inode->dev, inode->ino)].first;

	while (*at != inode)
		at = &(*at)->next;
	*at = inode->next;
	t->n--;
}

void lp_inode_put(struct lp_inodes *t, struct lp_inode *inode, uint64_t n)
{
	bool last;

	if (inode == &t->root)
		return;
	(void)pthread_mutex_lock(&t->lock);
	inode->refs -= n < inode->refs ? n : inode->refs;
	last = inode->refs == 0;
	if (last)
		unlink_locked(t, inode);
	(void)pthread_mutex_unlock(&t->lock);
	if (last)
		release(inode);
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

enum lp_inode_change lp_inode_compare(struct lp_inodes *t, struct lp_inode *inode,
				      const struct stat *st)
{
	struct lp_stamp now = {
		.mtime = st->st_mtim, .ctime = st->st_ctim, .size = st->st_size, .valid = true};
	enum lp_inode_change change = LP_INODE_SAME;

	(void)pthread_mutex_lock(&t->lock);
	if (!inode->stamp.valid) /* the kernel has nothing of it */
		change = LP_INODE_SAME;
	else if (!same_time(&inode->stamp.mtime, &now.mtime) || inode->stamp.size != now.size)
		change = LP_INODE_CONTENT;
	else if (!same_time(&inode->stamp.ctime, &now.ctime))
		change = LP_INODE_ATTR;
	inode->stamp = now;
	(void)pthread_mutex_unlock(&t->lock);
	return change;
}

bool lp_inode_is_young(const struct stat *st)
{
	uint64_t changed_us =
		(uint64_t)st->st_ctim.tv_sec * 1000000 + (uint64_t)st->st_ctim.tv_nsec / 1000;

	return changed_us + RACY_US >= lp_wall_us();
}

void lp_inode_missed(struct lp_inodes *t, struct lp_inode *dir)
{
	(void)pthread_mutex_lock(&t->lock);
	dir->missed_us = lp_now_us();
	(void)pthread_mutex_unlock(&t->lock);
}

bool lp_inode_is_known_as(struct lp_inodes *t, const struct lp_inode *parent, const char *name,
			  const struct stat *st)
{
	uint64_t tag = tag_of(parent, name);
	const struct lp_inode *inode;
	bool known;

	(void)pthread_mutex_lock(&t->lock);
	inode = find_locked(t, st->st_dev, st->st_ino);
	known = inode != NULL && inode->name_tag == tag && inode->named_us > parent->missed_us;
	(void)pthread_mutex_unlock(&t->lock);
	return known;
}

static bool only_cached(const struct lp_inode *inode)
{
	return inode->type != S_IFDIR && atomic_load(&inode->handles) == 0;
}

size_t lp_inodes_list(struct lp_inodes *t, size_t *at, struct lp_inode **out, size_t max)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&t->lock);
	while (n == 0 && *at < t->n_buckets) {
		for (struct lp_inode *it = t->buckets[(*at)++].first; it != NULL && n < max;
		     it = it->next) {
			it->refs++;
			out[n++] = it;
		}
	}
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}

size_t lp_inodes_sweep(struct lp_inodes *t, struct lp_inode **out, size_t max)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n_buckets && n < max; i++) {
		size_t b = t->cursor++ & (t->n_buckets - 1);

		for (struct lp_inode *it = t->buckets[b].first; it != NULL && n < max;
		     it = it->next) {
			if (only_cached(it)) {
				it->refs++;
				out[n++] = it;
			}
		}
	}
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}

struct lp_writing *lp_inode_writing(struct lp_inodes *t, struct lp_inode *inode)
{
	struct lp_writing *writing;

	(void)pthread_mutex_lock(&t->lock);
	if (inode->writing == NULL)
		inode->writing = lp_writing_create();
	writing = inode->writing;
	(void)pthread_mutex_unlock(&t->lock);
	return writing;
}

struct lp_listing *lp_inode_listing(struct lp_inodes *t, struct lp_inode *inode,
				    struct lp_listing *(*create)(void))
{
	struct lp_listing *listing;

	(void)pthread_mutex_lock(&t->lock);
	if (inode->listing == NULL)
		inode->listing = create();
	listing = inode->listing;
	(void)pthread_mutex_unlock(&t->lock);
	return listing;
}

size_t lp_inodes_count(struct lp_inodes *t)
{
	size_t n;

	(void)pthread_mutex_lock(&t->lock);
	n = t->n;
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}
