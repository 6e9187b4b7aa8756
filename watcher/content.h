/* watcher/content.h: one look at one file: its entry, its chunks when it is large, and its content
 * when it is small. Never takes a content that a writer is half through with. Any thread. */
#ifndef LP_WATCHER_CONTENT_H
#define LP_WATCHER_CONTENT_H

#include "sync/changeset.h"
#include "sync/event.h"
#include "sync/stat_sig.h"
#include "watcher/ticks.h"

#include <stdatomic.h>
#include <sys/stat.h>

enum lp_look_state {
	LP_LOOK_SAME,    /* stat says that nothing changed since `known` was taken */
	LP_LOOK_READ,    /* entry, sig and perhaps blob or chunks are filled */
	LP_LOOK_GONE,    /* there is nothing (any more) */
	LP_LOOK_BUSY,    /* a writer has it open; its closing will say when to look again */
	LP_LOOK_SPECIAL, /* socket, fifo, device */
	LP_LOOK_LARGE,   /* more would have to be read than is wanted now; sig is filled */
	LP_LOOK_STATE_COUNT_,
};

/* All of it is borrowed.
 * known: the signature that the index has for a file of that name, or NULL. chunks: those of the
 * file as it is known. written: what a source of events says was written since; with all three the
 * rest of a large file need not be read. max_bytes: a larger file is not read (0: any is).
 * stop: give up reading when it is set (NULL: never). scratch: LP_LOOK_SCRATCH_BYTES to read into
 * (NULL: they are allocated). ticks: see there.
 * is_file: the directory says that it is a regular file, and nobody reported a change: spares
 * system calls. may_leave: a small file that has rested and that this process may read is not read:
 * the entry has no digest. want_blob: keep the content of files up to LP_INLINE_MAX_BYTES.
 * even_if_busy: take what is there although somebody has it open for writing. just_closed: a writer
 * has closed it this moment: wait up to 2 ms for the kernel to let go of it. created: it was
 * created this moment: unless it is a second name of another file it is about to be written, and is
 * left until it is closed. is_being_written: whether somebody writes it whom no lease shows: then
 * it is busy, whatever else is said; asked with ctx and path after it was read (NULL: nobody can).
 */
struct lp_look_opts {
	const struct lp_stat_sig *known;
	const struct lp_chunks *chunks;
	const struct lp_written *written;
	uint64_t max_bytes;
	const atomic_bool *stop;
	void *scratch;
	struct lp_ticks ticks;
	bool is_file;
	bool may_leave;
	bool want_blob;
	bool even_if_busy;
	bool just_closed;
	bool created;
	bool (*is_being_written)(void *ctx, const char *path);
	void *ctx;
	const char *path;
};

#define LP_LOOK_SCRATCH_BYTES ((size_t)256 * 1024)

/* A file with holes can be of any size without taking room; its list of chunks does. */
#define LP_LOOK_MAX_BYTES ((off_t)1 << 40)

/* blob is the caller's, NULL when it was not wanted or the file is large. A link's blob is its
 * target, always there. chunks: of a large file, one reference. is_racy: the file may change again
 * without its times showing it: the signature must not be remembered. is_growing: it changed
 * while it was read, and what it began with was taken (even_if_busy only): it has to be looked at
 * again. is_cut: there was more of it already than was taken (held.c). is_sole: the file has no
 * other name. by_ranges: only what was written was read. error: what lp_look_at returned. */
struct lp_look {
	enum lp_look_state state;
	int error;
	struct lp_entry e;
	struct lp_stat_sig sig;
	struct lp_blob *blob;
	struct lp_chunks *chunks;
	bool is_racy;
	bool is_growing;
	bool is_cut;
	bool is_sole;
	bool by_ranges;
};

/* Looks at `name` (one component) in the directory dir_fd, without following a link. A regular file
 * that is small is read under a read lease (fcntl(2), F_SETLEASE), which is only given when nobody
 * has it open for writing and which makes a writer's open wait; for a large one the lease only says
 * whether there is a writer, and size and times before and after the reading are compared, as on
 * file systems without leases. What has rested for two seconds is read without asking for one
 * (is_file only). Returns 0 or -errno (-EACCES, -EIO, -ENOMEM, -ECANCELED, -EFBIG: more than
 * LP_LOOK_MAX_BYTES). */
int lp_look_at(int dir_fd, const char *name, const struct lp_look_opts *opts, struct lp_look *out);

/* Reads exactly len bytes at `at` of the open file *ctx (an int): for lp_chunks_rewrite. Returns 0
 * or -errno, -ESTALE when it is too short. */
int lp_look_read_at(void *ctx, uint64_t at, void *out, size_t len);

/* Opens `name` in dir_fd for reading, following no link and without touching its access time where
 * that is allowed. Returns an owned descriptor or -errno. */
int lp_look_open(int dir_fd, const char *name) LP_MUST_USE;

/* Gives up what the look owns. */
void lp_look_finish(struct lp_look *look);

/* Whether the file changed so long ago (two seconds, by its change time) that nobody is half
 * through with writing it. */
bool lp_look_has_rested(const struct stat *st);

/* Lease breaks raise SIGIO, whose default is to end the process: ignores it. Call once. */
void lp_look_setup(void);

#endif
