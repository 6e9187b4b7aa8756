/* controller/job.c: a decoded message with the bytes that it points into. */
#include "common/base/lp_mem.h"
#include "controller/apply.h"

int lp_job_create(struct lp_job **out, const void *data, size_t len, struct lp_packer *packer,
		  struct lp_err *err)
{
	struct lp_job *job = lp_xcalloc(1, sizeof(*job));
	struct lp_buf inner = {0};
	int r = lp_buf_add(&job->bytes, data, len);

	if (r == 0)
		r = lp_msg_decode(&job->msg, job->bytes.data, job->bytes.len, err);
	if (r == 0 && job->msg.kind == LP_MSG_PACKED && !packer)
		r = lp_err_say(err, EBADMSG, "PACKED may not come yet");
	if (r == 0 && job->msg.kind == LP_MSG_PACKED) {
		r = lp_packer_unpack(packer, &job->msg.u.packed, &inner, err);
		lp_msg_finish(&job->msg);
		lp_buf_finish(&job->bytes);
		job->bytes = inner;
		if (r == 0)
			r = lp_msg_decode(&job->msg, job->bytes.data, job->bytes.len, err);
		if (r == 0 && job->msg.kind == LP_MSG_PACKED)
			r = lp_err_say(err, EBADMSG, "PACKED inside PACKED");
	}
	if (r < 0) {
		lp_job_destroy(job);
		return -EBADMSG;
	}
	*out = job;
	return 0;
}

void lp_job_destroy(struct lp_job *job)
{
	if (!job)
		return;
	lp_msg_finish(&job->msg);
	lp_buf_finish(&job->bytes);
	free(job);
}
