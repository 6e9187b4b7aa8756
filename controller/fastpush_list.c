/* controller/fastpush_list.c: the files of a tree with their SHA-256, as JSON. */
#include "controller/fastpush_work.h"

#include "common/base/lp_fs.h"
#include "common/base/lp_hex.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_path.h"
#include "controller/tree.h"

#include <dirent.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX   64
#define PIECE_BYTES ((size_t)64 * 1024)

struct walk {
	int tree_fd;
	const atomic_bool *stop;
	json_t *files;
	EVP_MD_CTX *hash;
	uint8_t *piece;
	struct lp_err *err;
};

/* Hashes the rest of fd. Returns 0 or -errno. */
static int hash_file(struct walk *w, int fd, char hex[65])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	ssize_t n;

	if (EVP_DigestInit_ex(w->hash, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	while ((n = read(fd, w->piece, PIECE_BYTES)) != 0) {
		if (atomic_load(w->stop))
			return -ECANCELED;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || EVP_DigestUpdate(w->hash, w->piece, (size_t)n) != 1)
			return n < 0 ? -errno : -ENOMEM;
	}
	if (EVP_DigestFinal_ex(w->hash, digest, &len) != 1 || len != 32)
		return -ENOMEM;
	lp_hex(hex, digest, 32);
	return 0;
}

static int add_file(struct walk *w, const char *path)
{
	LP_AUTO_CLOSE int fd = lp_open_beneath(w->tree_fd, path, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	char hex[65];
	json_t *entry;
	int r;

	/* It may be gone by now; what cannot be read is nothing to compare with. */
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	r = hash_file(w, fd, hex);
	if (r < 0)
		return r == -ECANCELED || r == -ENOMEM ? r : 0;
	if (json_object_size(w->files) >= LP_FP_FILES_MAX)
		return lp_err_say(w->err, EMSGSIZE, "more than %d files", LP_FP_FILES_MAX);
	entry = json_pack("{s:s, s:I, s:n}", "Checksum", hex, "Modification",
			  (json_int_t)st.st_mtime, "Content");
	/* A name that is not UTF-8 has no way to be written in JSON. */
	(void)json_object_set_new(w->files, path, entry);
	return 0;
}

static int walk_dir(struct walk *w, const char *path, unsigned depth);

/* path: of the entry in the directory open as dir_fd. */
static int add_entry(struct walk *w, int dir_fd, const struct dirent *entry, const char *path,
		     unsigned depth)
{
	unsigned char type = entry->d_type;
	struct stat st;

	/* Not every file system says it here. */
	if (type == DT_UNKNOWN && fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		type = (unsigned char)IFTODT(st.st_mode);
	if (type == DT_DIR && depth < DEPTH_MAX)
		return walk_dir(w, path, depth + 1);
	return type == DT_REG ? add_file(w, path) : 0;
}

static int walk_dir(struct walk *w, const char *path, unsigned depth)
{
	int fd = lp_open_beneath(w->tree_fd, path[0] ? path : ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	int r = 0;

	if (!dir) {
		lp_auto_close(&fd);
		return 0;
	}
	while (r == 0 && (entry = readdir(dir))) {
		char *below = lp_xcalloc(LP_PATH_MAX_BYTES + 1, 1);

		if (atomic_load(w->stop))
			r = -ECANCELED;
		else if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			 strcmp(entry->d_name, LP_STATE_DIR) == 0 ||
			 lp_path_join(below, LP_PATH_MAX_BYTES + 1, path, entry->d_name) < 0)
			r = 0;
		else
			r = add_entry(w, fd, entry, below, depth);
		free(below);
	}
	(void)closedir(dir);
	return r;
}

/* One word of dirs as a path of ours. Returns false when it leads elsewhere. */
static bool clean_dir(const char *word, size_t len, char *out, size_t out_bytes)
{
	while (len >= 2 && word[0] == '.' && word[1] == '/') {
		word += 2;
		len -= 2;
	}
	while (len > 0 && word[len - 1] == '/')
		len--;
	if (len == 1 && word[0] == '.')
		len = 0;
	if (len >= out_bytes || (len > 0 && !lp_path_is_clean(word, len)))
		return false;
	memcpy(out, word, len);
	out[len] = '\0';
	return true;
}

static int walk_all(struct walk *w, const char *dirs)
{
	char *path = lp_xcalloc(LP_PATH_MAX_BYTES + 1, 1);
	int r = 0;

	while (r == 0 && *(dirs += strspn(dirs, " \t"))) {
		size_t len = strcspn(dirs, " \t");

		if (clean_dir(dirs, len, path, LP_PATH_MAX_BYTES + 1))
			r = walk_dir(w, path, 0);
		else
			r = lp_err_say(w->err, EINVAL, "backend_dirs: '%.*s' is not below the tree",
				       (int)len, dirs);
		dirs += len;
	}
	free(path);
	return r;
}

int lp_fastpush_list(int tree_fd, const char *dirs, const atomic_bool *stop, struct lp_buf *out,
		     struct lp_err *err)
{
	struct walk w = {.tree_fd = tree_fd, .stop = stop, .err = err};
	char *text = NULL;
	int r = -ENOMEM;

	w.files = json_object();
	w.hash = EVP_MD_CTX_new();
	w.piece = lp_xcalloc(1, PIECE_BYTES);
	if (w.files && w.hash)
		r = walk_all(&w, dirs);
	if (r == 0)
		text = json_dumps(w.files, JSON_COMPACT | JSON_SORT_KEYS);
	if (r == 0)
		r = text ? lp_buf_addf(out, "%s\n", text) : -ENOMEM;
	if (r == -ENOMEM)
		lp_err_set(err, ENOMEM, "list the files");
	free(text);
	free(w.piece);
	EVP_MD_CTX_free(w.hash);
	json_decref(w.files);
	return r;
}
