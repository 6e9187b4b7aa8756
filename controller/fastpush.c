/* controller/fastpush.c: cf-fastpush's REST calls. One thing at a time: a listing or an upload runs
 * in a thread of its own, then an upload's messages go to apply like a workspace's. */
#include "controller/fastpush_internal.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_thread.h"
#include "common/loop/http.h"
#include "controller/fastpush_work.h"
#include "controller/hosts.h"
#include "controller/web_internal.h"
#include "wire/ticket.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define BASE_PATH LP_FP_BASE_PATH_DEFAULT
#define ANSWER_MS 60000u /* in which an upload is answered */

/* What runs. http: NULL once the caller has gone. body: of an upload. epoch: of its messages, 0
 * until they are on their way. */
struct fp_task {
	struct lp_instance *in;
	struct lp_http *http;
	bool is_upload;
	pthread_t thread;
	bool joined;
	char *dirs;
	struct lp_buf body;
	uint64_t revision;
	struct lp_post post;
	int result;
	struct lp_err err;
	struct lp_buf text;
	struct lp_fastpush_upload upload;
	uint64_t epoch;
	bool is_applied; /* APPLIED came; what it changed follows */
	bool is_late;    /* it was answered before it was passed on */
	struct lp_timer patience;
};

void lp_fastpush_create(struct lp_instance *in)
{
	in->fastpush = lp_xcalloc(1, sizeof(*in->fastpush));
	in->fastpush->token = lp_hosts_vcap_text(getenv("VCAP_APPLICATION"), "application_id");
}

const char *lp_fastpush_listen(const struct lp_instance *in)
{
	return in->fastpush->calls ? in->fastpush->calls->listen : NULL;
}

const char *lp_fastpush_path(const struct lp_instance *in)
{
	return in->fastpush->calls ? in->fastpush->calls->path : NULL;
}

const char *lp_fastpush_canonical(const struct lp_instance *in, const char *path)
{
	static const char *const calls[] = {BASE_PATH "/files", BASE_PATH "/restart",
					    BASE_PATH "/status"};
	const char *base = lp_fastpush_path(in);
	size_t len = base ? strlen(base) : 0;

	if (len == 0 || strncmp(path, base, len) != 0)
		return path;
	for (size_t i = 0; i < LP_COUNT_OF(calls); i++)
		if (strcmp(path + len, calls[i] + sizeof(BASE_PATH) - 1) == 0)
			return calls[i];
	return path;
}

/* {"Health": text}, which is all that fastpush ever says. */
static void answer(struct lp_http *http, int status, const char *text)
{
	json_t *o = json_pack("{s:s+}", "Health", text, "");
	char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;

	if (line)
		lp_http_answer(http, status, "application/json", line, strlen(line));
	else
		lp_http_say(http, 500, "no answer");
	free(line);
	json_decref(o);
}

bool lp_fastpush_allow(struct lp_instance *in, struct lp_http *http)
{
	const struct lp_fastpush *fp = in->fastpush;
	const char *given = lp_http_header(http, LP_HTTP_AUTH_TOKEN),
		   *from = lp_http_header(http, LP_HTTP_FORWARDED_FOR);
	unsigned wait_s;

	if (!fp->calls) {
		lp_http_say(http, 404, "there is no such page");
		return false;
	}
	wait_s = lp_web_wait_s(in, http);
	if (wait_s > 0) {
		LP_AUTO_FREE char *text = lp_xasprintf(
			"Too many wrong tokens from your address; try again in %u s", wait_s);

		answer(http, 429, text);
		return false;
	}
	/* The token is no secret: whoever has it is not forgiven wrong attempts at that. */
	if (fp->token && lp_ticket_same(given, fp->token))
		return true;
	if (given[0])
		lp_web_attempt(in, from, false);
	answer(http, 401, "The x-auth-token is not the app's");
	return false;
}

static void on_gone(struct lp_http *http, void *user)
{
	struct fp_task *task = user;

	(void)http;
	task->http = NULL;
}

static void join(struct fp_task *task)
{
	if (!task->joined)
		(void)pthread_join(task->thread, NULL);
	task->joined = true;
}

static void task_free(struct fp_task *task)
{
	if (task->http)
		lp_http_on_gone(task->http, NULL, NULL);
	lp_timer_clear(&task->patience);
	lp_buf_finish(&task->body);
	lp_buf_finish(&task->text);
	lp_fastpush_upload_finish(&task->upload);
	free(task->dirs);
	free(task);
}

/* Answers whoever called, if there is anybody still. */
static void tell_caller(struct fp_task *task, int status, const char *text)
{
	if (task->http) {
		lp_http_on_gone(task->http, NULL, NULL);
		answer(task->http, status, text);
	}
	task->http = NULL;
}

/* The end of a task: answers and forgets it. */
static void finish(struct lp_instance *in, int status, const char *text)
{
	struct fp_task *task = in->fastpush->task;

	in->fastpush->task = NULL;
	if (task->epoch)
		lp_apply_lost(in->apply, task->epoch);
	if (!task->http && task->epoch && status >= 400)
		lp_log(LP_WARN, "fastpush", "an upload whose caller has gone: %s", text);
	tell_caller(task, status, text);
	task_free(task);
}

/* What was not passed on yet never will be; what was goes its way, whoever is there to hear of it.
 */
static void on_patience(struct lp_timer *timer)
{
	struct fp_task *task = LP_CONTAINER_OF(timer, struct fp_task, patience);

	task->is_late = task->epoch == 0;
	if (task->is_late)
		tell_caller(task, 503, "Failed: it took too long, nothing was changed");
	else
		tell_caller(task, 202, "Accepted: the files will be put in place");
}

/* Before the front door answers in our place. */
static void begin_patience(struct fp_task *task)
{
	uint32_t door_ms = task->in->conf->front.response_ms;
	uint32_t wait_ms = door_ms > 0 && door_ms / 2 < ANSWER_MS ? door_ms / 2 : ANSWER_MS;

	task->patience.on_fire = on_patience;
	lp_timer_set(task->in->loop, &task->patience, lp_now_us() + (uint64_t)wait_ms * 1000);
}

static void submit(struct lp_instance *in, struct fp_task *task)
{
	struct lp_msg list = {.kind = LP_MSG_LIST};
	struct lp_bytes root = lp_bytes_of("");
	struct lp_buf first = {0};
	struct lp_job *job = NULL;
	struct lp_err err = {0};
	int r;

	if (in->owner) {
		finish(in, 409, "Failed: a livepush session mirrors its workspace here");
		return;
	}
	task->epoch = ++in->next_epoch;
	lp_apply_greet(in->apply, task->epoch);
	/* As a sender does after it lost sight of the tree, which a rollback may have moved. */
	list.u.list.paths = &root;
	list.u.list.n_paths = 1;
	r = lp_msg_encode(&list, &first);
	if (r == 0)
		r = lp_job_create(&job, first.data, first.len, NULL, &err);
	lp_buf_finish(&first);
	if (r == 0)
		lp_apply_submit(in->apply, job, task->epoch);
	for (size_t i = 0; i < task->upload.n && r == 0; i++) {
		const struct lp_buf *m = &task->upload.messages[i];

		r = lp_job_create(&job, m->data, m->len, NULL, &err);
		if (r == 0)
			lp_apply_submit(in->apply, job, task->epoch);
	}
	if (r < 0)
		finish(in, 400, err.msg);
	else
		task->revision = 0;
}

static void on_worked(struct lp_post *post)
{
	struct fp_task *task = LP_CONTAINER_OF(post, struct fp_task, post);
	struct lp_instance *in = task->in;

	join(task);
	lp_buf_finish(&task->body);
	if (task->is_upload && (task->is_late || !task->http)) {
		finish(in, 503, "nobody waits for it");
	} else if (task->result < 0) {
		LP_AUTO_FREE char *text = lp_xasprintf("Failed: %s", task->err.msg);

		finish(in, task->result == -EBADMSG ? 400 : 500, text);
	} else if (task->is_upload) {
		submit(in, task);
	} else {
		if (task->http)
			lp_http_answer(task->http, 200, "application/json", task->text.data,
				       task->text.len);
		in->fastpush->task = NULL;
		task_free(task);
	}
}

static void *work(void *arg)
{
	struct fp_task *task = arg;
	const struct lp_fastpush *fp = task->in->fastpush;
	int tree_fd = lp_apply_tree_fd(task->in->apply);

	task->result = task->is_upload ? lp_fastpush_read(tree_fd, &task->body, task->revision,
							  &task->upload, &task->err)
				       : lp_fastpush_list(tree_fd, task->dirs, &fp->stop,
							  &task->text, &task->err);
	lp_loop_post(task->in->loop, &task->post);
	return NULL;
}

static struct fp_task *begin(struct lp_instance *in, struct lp_http *http)
{
	struct fp_task *task;

	if (in->fastpush->task || in->stopping) {
		lp_http_set(http, "retry-after", "1");
		answer(http, 503, "Failed: another call is under way");
		return NULL;
	}
	task = lp_xcalloc(1, sizeof(*task));
	task->in = in;
	task->http = http;
	task->post.run = on_worked;
	lp_http_on_gone(http, on_gone, task);
	in->fastpush->task = task;
	return task;
}

static void start(struct lp_instance *in, struct fp_task *task)
{
	if (lp_thread_start(&task->thread, work, task) == 0)
		return;
	task->joined = true;
	finish(in, 503, "Failed: no thread for it");
}

void lp_fastpush_on_list(struct lp_instance *in, struct lp_http *http)
{
	const char *dirs = in->fastpush->calls->conf.values[LP_FP_BACKEND_DIRS];
	struct fp_task *task = begin(in, http);

	if (!task)
		return;
	task->dirs = lp_xstrdup(dirs ? dirs : "./");
	start(in, task);
}

void lp_fastpush_on_put(struct lp_instance *in, struct lp_http *http)
{
	const struct lp_buf *body = lp_http_body(http);
	struct lp_tree_state tree;
	struct fp_task *task = begin(in, http);

	if (!task)
		return;
	task->is_upload = true;
	begin_patience(task);
	lp_apply_state(in->apply, &tree);
	task->revision = tree.revision + 1;
	if (lp_buf_add(&task->body, body->data, body->len) < 0) {
		task->joined = true;
		finish(in, 503, "Failed: no memory");
		return;
	}
	start(in, task);
}

void lp_fastpush_on_restart(struct lp_instance *in, struct lp_http *http)
{
	struct lp_tree_state tree;

	lp_apply_state(in->apply, &tree);
	lp_sup_restart(in->sup, tree.revision);
	answer(http, 200, "Restarting");
}

void lp_fastpush_on_status(struct lp_instance *in, struct lp_http *http)
{
	struct lp_sup_status app;

	lp_sup_status(in->sup, &app);
	answer(http, 200, app.generation > 0 ? "Running" : "Not-Running");
}

bool lp_fastpush_reply(struct lp_instance *in, uint64_t epoch, const struct lp_buf *bytes)
{
	struct fp_task *task = in->fastpush->task;
	struct lp_err err = {0};
	struct lp_msg msg;
	char text[LP_WIRE_TEXT_MAX_BYTES + 16];

	if (!task || task->epoch == 0 || task->epoch != epoch)
		return false;
	if (lp_msg_decode(&msg, bytes->data, bytes->len, &err) < 0)
		return true;
	if (msg.kind == LP_MSG_APPLIED) {
		task->is_applied = true;
	} else if (msg.kind == LP_MSG_FAILED) {
		(void)snprintf(text, sizeof(text), "Failed: %.*s", (int)msg.u.failed.error.len,
			       (const char *)msg.u.failed.error.p);
		finish(in, 500, text);
	}
	lp_msg_finish(&msg);
	return true;
}

static bool asks_for_restart(const struct fp_calls *calls, const char *path)
{
	if (!calls || (calls->has_ignored && regexec(&calls->ignored, path, 0, NULL, 0) == 0))
		return false;
	return calls->has_restarts && regexec(&calls->restarts, path, 0, NULL, 0) == 0;
}

bool lp_fastpush_applied(struct lp_instance *in, const struct lp_applied *applied)
{
	struct lp_fastpush *fp = in->fastpush;
	bool restarts = false;
	char text[96];

	if (!fp->task || !fp->task->is_applied)
		return false;
	for (size_t i = 0; i < applied->n_paths && !restarts; i++)
		restarts = asks_for_restart(fp->calls, applied->paths[i]);
	(void)snprintf(text, sizeof(text), "%s %zu files",
		       restarts ? "Restarting after updating" : "Updated", fp->task->upload.files);
	finish(in, 200, text);
	return !restarts;
}

bool lp_fastpush_mute(struct lp_instance *in, uint64_t epoch)
{
	const struct fp_task *task = in->fastpush->task;

	if (!task || task->epoch == 0 || task->epoch != epoch)
		return false;
	finish(in, 500, "Failed: the outcome is not known");
	return true;
}

void lp_fastpush_stop(struct lp_instance *in)
{
	if (!in->fastpush || !in->fastpush->task)
		return;
	atomic_store(&in->fastpush->stop, true);
	join(in->fastpush->task);
}

void lp_fastpush_destroy(struct lp_instance *in)
{
	struct lp_fastpush *fp = in->fastpush;

	if (!fp)
		return;
	if (fp->task) {
		/* What belonged to the loop is gone with it. */
		fp->task->http = NULL;
		fp->task->patience.loop = NULL;
		task_free(fp->task);
	}
	lp_fastpush_calls_destroy(fp->calls);
	lp_fastpush_calls_destroy(fp->next);
	free(fp->token);
	free(fp);
	in->fastpush = NULL;
}
