/* link/frame.c: a changeset encoded once, sent to many. */
#include "link/link_internal.h"

#include "common/base/lp_mem.h"
#include "link/feed.h"

struct lp_frame *lp_frame_create(struct lp_changeset *cs)
{
	static const struct lp_source nothing = {0};
	struct lp_frame *frame;
	struct lp_feed *feed;
	int r;

	if (!lp_feed_is_single(cs))
		return NULL;
	frame = lp_xcalloc(1, sizeof(*frame));
	frame->refs = 1;
	/* With all contents at hand the feed asks the source for nothing. */
	feed = lp_feed_create(cs, &nothing);
	r = lp_feed_next(feed, &frame->raw);
	if (r != 1 || !lp_feed_done(feed)) {
		lp_frame_unref(frame);
		frame = NULL;
	}
	lp_feed_destroy(feed);
	return frame;
}

void lp_frame_unref(struct lp_frame *frame)
{
	if (!frame || --frame->refs > 0)
		return;
	lp_buf_finish(&frame->raw);
	lp_buf_finish(&frame->packed);
	free(frame);
}

const struct lp_buf *lp_frame_bytes(struct lp_frame *frame, struct lp_packer *packer)
{
	if (!packer)
		return &frame->raw;
	if (frame->packed.len == 0 &&
	    (lp_buf_add(&frame->packed, frame->raw.data, frame->raw.len) < 0 ||
	     lp_packer_pack(packer, &frame->packed) < 0))
		return &frame->raw;
	return &frame->packed;
}
