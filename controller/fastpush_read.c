/* controller/fastpush_read.c: an upload of fastpush's as a changeset. */
#include "controller/fastpush_work.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_hex.h"
#include "common/base/lp_map.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"
#include "controller/tree.h"
#include "sync/changeset.h"
#include "sync/digest.h"
#include "wire/msg.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define OPS_MAX      1024
#define MESSAGE_FILL ((size_t)256 * 1024) /* of contents and paths in one message, about */

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The changeset as it grows. ops point into contents[], which belong to the message that is being
 * filled. dirs: those that are in the changeset already. */
struct builder {
	struct lp_fastpush_upload *out;
	struct lp_err *err;
	int tree_fd;
	uint64_t revision;
	json_t *files; /* borrowed */
	struct lp_wire_op ops[OPS_MAX];
	void *owned[OPS_MAX];
	size_t n_ops;
	size_t fill;
	bool begun;
	struct lp_map dirs;
};

static int add_message(struct builder *b, const struct lp_msg *msg)
{
	struct lp_fastpush_upload *u = b->out;
	int r;

	lp_grow(&u->messages, &u->cap, u->n + 1, sizeof(*u->messages));
	u->messages[u->n] = (struct lp_buf){0};
	r = lp_msg_encode(msg, &u->messages[u->n]);
	if (r < 0)
		return lp_err_set(b->err, -r, "the upload cannot be passed on");
	u->n++;
	return 0;
}

static int flush(struct builder *b, bool last)
{
	struct lp_msg msg = {.kind = LP_MSG_CHANGE};
	int r;

	if (b->n_ops == 0 && !last)
		return 0;
	msg.u.change = (struct lp_msg_change){.revision = b->revision,
					      .flags = (b->begun ? 0 : LP_CHANGE_FIRST) |
						       (last ? LP_CHANGE_LAST : 0),
					      .ops = b->ops,
					      .n_ops = b->n_ops};
	r = add_message(b, &msg);
	b->begun = true;
	for (size_t i = 0; i < b->n_ops; i++)
		free(b->owned[i]);
	b->n_ops = b->fill = 0;
	return r;
}

/* owned: freed with the message. */
static int add_op(struct builder *b, const struct lp_wire_op *op, void *owned)
{
	size_t len = op->path.len + (op->has_content ? op->content.len : 0) + 64;

	if (b->n_ops == OPS_MAX || (b->n_ops > 0 && b->fill + len > MESSAGE_FILL)) {
		int r = flush(b, false);

		if (r < 0) {
			free(owned);
			return r;
		}
	}
	b->ops[b->n_ops] = *op;
	b->owned[b->n_ops++] = owned;
	b->fill += len;
	return 0;
}

static int refuse(struct builder *b, const char *path, const char *why)
{
	return lp_err_say(b->err, EBADMSG, "%.300s: %s", path, why);
}

/* Looks at what is there. *mode is left alone when nothing is. */
static int look(struct builder *b, const char *path, mode_t kind, uint32_t *mode)
{
	struct stat st;
	LP_AUTO_CLOSE int fd = lp_open_beneath_link(b->tree_fd, path);

	if (fd == -ENOENT)
		return 0;
	if (fd == -ELOOP || fd == -ENOTDIR || fd == -EXDEV)
		return refuse(b, path, "leads over a symbolic link or a file");
	if (fd < 0 || fstat(fd, &st) < 0)
		return lp_err_set(b->err, fd < 0 ? -fd : errno, "%.300s", path);
	if ((st.st_mode & S_IFMT) != kind)
		return refuse(b, path,
			      S_ISLNK(st.st_mode) ? "is a symbolic link"
						  : "is something else than a file there");
	*mode = st.st_mode & 0777;
	return 0;
}

/* The directories above a path, from the top. */
static int add_dirs(struct builder *b, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		struct lp_wire_op op = {.op = LP_OP_PUT, .kind = LP_KIND_DIR};
		uint32_t mode = 0755;
		char *dir = lp_xstrndup(path, (size_t)(slash - path));
		int r = 0;

		if (lp_map_get(&b->dirs, dir)) {
			free(dir);
			continue;
		}
		(void)lp_map_put(&b->dirs, dir, dir);
		if (json_object_get(b->files, dir))
			return refuse(b, path, "is below what shall be a file");
		r = look(b, dir, S_IFDIR, &mode);
		op.mode = mode;
		op.path = lp_bytes_of(dir);
		if (r == 0)
			r = add_op(b, &op, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The content of an entry. Owned; NULL: refused. */
static uint8_t *decode(struct builder *b, const char *path, const json_t *entry, size_t *len)
{
	const json_t *content = json_object_get(entry, "Content");
	const char *text = json_string_value(content);
	size_t text_len = json_string_length(content), pad = 0;
	uint8_t *out;

	if (!text) {
		refuse(b, path, "has no 'Content'");
		return NULL;
	}
	while (pad < 2 && pad < text_len && text[text_len - 1 - pad] == '=')
		pad++;
	if (text_len % 4 != 0 || strspn(text, base64) != text_len - pad) {
		refuse(b, path, "its 'Content' is not base64");
		return NULL;
	}
	out = malloc(text_len / 4 * 3 + 1);
	if (!out ||
	    EVP_DecodeBlock(out, (const uint8_t *)text, (int)text_len) != (int)(text_len / 4 * 3)) {
		free(out);
		lp_err_set(b->err, ENOMEM, "%.300s", path);
		return NULL;
	}
	*len = text_len / 4 * 3 - pad;
	return out;
}

/* A checksum may be left out. */
static int check_sum(struct builder *b, const char *path, const json_t *entry, const uint8_t *data,
		     size_t len)
{
	const char *want = json_string_value(json_object_get(entry, "Checksum"));
	uint8_t digest[32];
	unsigned digest_len = sizeof(digest);
	char hex[65];

	if (!want || !want[0])
		return 0;
	if (EVP_Digest(data, len, digest, &digest_len, EVP_sha256(), NULL) != 1)
		return lp_err_set(b->err, ENOMEM, "%.300s", path);
	lp_hex(hex, digest, 32);
	return strcasecmp(hex, want) == 0
		       ? 0
		       : refuse(b, path, "its 'Checksum' is not the SHA-256 of its content");
}

/* A content that is too large to travel with its operation. */
static int add_pieces(struct builder *b, const uint8_t *data, size_t len)
{
	struct lp_msg msg = {.kind = LP_MSG_DATA};
	int r = flush(b, false);

	for (size_t at = 0; at < len && r == 0; at += LP_WIRE_PIECE_BYTES) {
		msg.u.data.at = at;
		msg.u.data.content.p = data + at;
		msg.u.data.content.len =
			len - at < LP_WIRE_PIECE_BYTES ? len - at : LP_WIRE_PIECE_BYTES;
		r = add_message(b, &msg);
	}
	return r;
}

static int add_content(struct builder *b, const char *path, uint32_t mode, uint8_t *data,
		       size_t len)
{
	struct lp_wire_op op = {.op = LP_OP_PUT, .kind = LP_KIND_FILE, .mode = mode, .size = len};
	struct lp_hasher *hasher = lp_hasher_create();
	struct lp_digest digest;
	int r;

	lp_hasher_add(hasher, data, len);
	digest = lp_hasher_get(hasher);
	lp_hasher_destroy(hasher);
	op.path = lp_bytes_of(path);
	memcpy(op.digest, digest.b, sizeof(op.digest));
	op.has_content = len <= LP_INLINE_MAX_BYTES;
	if (op.has_content) {
		op.content = (struct lp_bytes){data, len};
		return add_op(b, &op, data);
	}
	r = add_op(b, &op, NULL);
	if (r == 0)
		r = add_pieces(b, data, len);
	free(data);
	return r;
}

static bool is_ours(const char *path)
{
	const size_t len = sizeof(LP_STATE_DIR) - 1;

	for (const char *at = path; at; at = strchr(at, '/')) {
		at += *at == '/';
		if (strncmp(at, LP_STATE_DIR, len) == 0 && (at[len] == '/' || !at[len]))
			return true;
	}
	return false;
}

static int add_file(struct builder *b, const char *path, const json_t *entry)
{
	uint32_t mode = 0644;
	uint8_t *data;
	size_t len;
	int r;

	while (path[0] == '.' && path[1] == '/')
		path += 2;
	if (!lp_path_is_clean(path, strlen(path)))
		return refuse(b, path, "is no path below the tree");
	if (is_ours(path))
		return refuse(b, path, "is livepush's own");
	r = add_dirs(b, path);
	if (r == 0)
		r = look(b, path, S_IFREG, &mode);
	if (r < 0)
		return r;
	data = decode(b, path, entry, &len);
	if (!data)
		return -b->err->code;
	r = check_sum(b, path, entry, data, len);
	if (r < 0) {
		free(data);
		return r;
	}
	return add_content(b, path, mode, data, len);
}

static int build(struct builder *b, json_t *files)
{
	const char *path;
	json_t *entry;
	int r = 0;

	if (!json_is_object(files))
		return lp_err_say(b->err, EBADMSG, "the upload is not a JSON object of files");
	if (json_object_size(files) > LP_FP_FILES_MAX)
		return lp_err_say(b->err, EBADMSG, "more than %d files", LP_FP_FILES_MAX);
	b->files = files;
	json_object_foreach(files, path, entry)
	{
		r = add_file(b, path, entry);
		if (r < 0)
			return r;
	}
	b->out->files = json_object_size(files);
	return flush(b, true);
}

void lp_fastpush_upload_finish(struct lp_fastpush_upload *u)
{
	for (size_t i = 0; i < u->n; i++)
		lp_buf_finish(&u->messages[i]);
	free(u->messages);
	*u = (struct lp_fastpush_upload){0};
}

int lp_fastpush_read(int tree_fd, const struct lp_buf *body, uint64_t revision,
		     struct lp_fastpush_upload *out, struct lp_err *err)
{
	struct builder *b = lp_xcalloc(1, sizeof(*b));
	json_error_t error;
	json_t *files = json_loadb(body->len ? (const char *)body->data : "", body->len,
				   JSON_REJECT_DUPLICATES, &error);
	char *dir;
	size_t at = 0;
	int r;

	*out = (struct lp_fastpush_upload){0};
	b->out = out;
	b->err = err;
	b->tree_fd = tree_fd;
	b->revision = revision;
	r = files ? build(b, files)
		  : lp_err_say(err, EBADMSG, "the upload is not JSON: %s", error.text);
	for (size_t i = 0; i < b->n_ops; i++)
		free(b->owned[i]);
	while ((dir = lp_map_next(&b->dirs, &at)))
		free(dir);
	lp_map_finish(&b->dirs);
	free(b);
	json_decref(files);
	if (r < 0)
		lp_fastpush_upload_finish(out);
	return r;
}
