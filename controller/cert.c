/* controller/cert.c: see cert.h. Files are looked at by their names: a renewed certificate comes by
 * rename, through a symlink that turns or by a mount, which no single watch would tell. */
#include "controller/cert.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "controller/instance_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_US UINT64_C(5000000)

/* Below LP_STATE_DIR: what the last good livepush.yml of the tree said, name and name, each with
 * its NUL. */
#define NAMES_FILE      "tls"
#define NAMES_NEW       NAMES_FILE ".new"
#define NAMES_MAX_BYTES ((size_t)2 * LP_CONF_FILE_MAX_BYTES)

/* By what a file is told from the one before; all zero: there is none. */
struct mark {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec written;
	struct timespec changed;
};

struct lp_cert {
	struct lp_instance *in;
	char *cert; /* owned */
	char *key;  /* owned */
	struct mark cert_mark;
	struct mark key_mark;
	struct lp_timer timer;
};

static void take_mark(const char *path, struct mark *mark)
{
	struct stat st;

	memset(mark, 0, sizeof(*mark));
	if (stat(path, &st) < 0)
		return;
	mark->dev = st.st_dev;
	mark->ino = st.st_ino;
	mark->size = st.st_size;
	mark->written = st.st_mtim;
	mark->changed = st.st_ctim;
}

/* Takes the mark of the file. Returns whether it is another one. */
static bool look(const char *path, struct mark *mark)
{
	struct mark before;

	memcpy(&before, mark, sizeof(before));
	take_mark(path, mark);
	return memcmp(&before, mark, sizeof(before)) != 0;
}

static bool look_at_both(struct lp_cert *c)
{
	bool is_new = look(c->cert, &c->cert_mark);

	return look(c->key, &c->key_mark) || is_new;
}

static void warn_of_readers(const char *key)
{
	struct stat st;

	if (stat(key, &st) == 0 && (st.st_mode & S_IROTH))
		lp_log(LP_WARN, "door", "%s: everybody on this machine may read the key; chmod 600",
		       key);
}

static void on_look(struct lp_timer *timer)
{
	struct lp_cert *c = LP_CONTAINER_OF(timer, struct lp_cert, timer);
	struct lp_err err = {0};

	lp_timer_set(c->in->loop, timer, lp_now_us() + LOOK_US);
	if (!look_at_both(c))
		return;
	if (lp_proxy_set_tls(c->in->proxy, c->cert, c->key, &err) < 0) {
		lp_log(LP_ERROR, "door", "%s; the certificate before it stays in force", err.msg);
		/* Nothing of the files changes when there are descriptors again. */
		if (err.code == EMFILE || err.code == ENFILE || err.code == ENOMEM)
			memset(&c->cert_mark, 0, sizeof(c->cert_mark));
		return;
	}
	warn_of_readers(c->key);
	lp_log(LP_INFO, "door", "%s: the renewed certificate is in force", c->cert);
}

static int open_state(const struct lp_instance *in)
{
	return lp_open_beneath(lp_apply_tree_fd(in->apply), LP_STATE_DIR, O_RDONLY | O_DIRECTORY,
			       0);
}

static int write_names(int dir_fd, const struct lp_conf_tls *tls)
{
	const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
	LP_AUTO_CLOSE int fd = openat(dir_fd, NAMES_NEW, flags, 0600);
	int r = fd < 0 ? -errno : 0;

	if (r == 0)
		r = lp_write_all(fd, tls->cert, strlen(tls->cert) + 1);
	if (r == 0)
		r = lp_write_all(fd, tls->key, strlen(tls->key) + 1);
	if (r == 0 && renameat(dir_fd, NAMES_NEW, dir_fd, NAMES_FILE) < 0)
		r = -errno;
	return r;
}

/* A start that finds livepush.yml broken shall not speak in clear to those who ask for TLS: they
 * could not even send a better one. */
static void keep_names(const struct lp_instance *in, const struct lp_conf_tls *tls)
{
	LP_AUTO_CLOSE int dir_fd = in->opts->config || in->opts->tls_cert ? -1 : open_state(in);
	struct lp_err err = {0};
	int r = 0;

	if (dir_fd < 0)
		return;
	if (tls->cert)
		r = write_names(dir_fd, tls);
	else if (unlinkat(dir_fd, NAMES_FILE, 0) < 0 && errno != ENOENT)
		r = -errno;
	if (r == 0)
		return;
	(void)lp_err_set(&err, -r, "%s/%s: cannot be written", LP_STATE_DIR, NAMES_FILE);
	lp_log(LP_WARN, "door", "%s", err.msg);
}

/* The names that were kept. Returns whether there are some; they point into text. */
static bool find_names(const struct lp_instance *in, struct lp_buf *text, struct lp_conf_tls *tls)
{
	LP_AUTO_CLOSE int dir_fd = open_state(in);
	char *names;

	lp_buf_init(text, NAMES_MAX_BYTES);
	if (dir_fd < 0 || lp_read_file(dir_fd, NAMES_FILE, text) < 0 || text->len == 0 ||
	    text->data[text->len - 1] != '\0')
		return false;
	names = (char *)text->data;
	*tls = (struct lp_conf_tls){.cert = names, .key = names + strlen(names) + 1};
	return tls->cert[0] && (size_t)(tls->key - names) < text->len && tls->key[0];
}

/* The two names: cert and key NULL where nothing was said. */
static int name_files(const struct lp_instance *in, const struct lp_conf_tls *tls, char **cert,
		      char **key, struct lp_err *err)
{
	const struct lp_instance_opts *opts = in->opts;

	*cert = *key = NULL;
	if (!opts->tls_cert != !opts->tls_key)
		return lp_err_say(err, EINVAL, "--tls-cert and --tls-key go together: give both");
	if (opts->tls_cert) {
		*cert = lp_xstrdup(opts->tls_cert);
		*key = lp_xstrdup(opts->tls_key);
	} else if (tls->cert) {
		*cert = tls->cert[0] == '/' ? lp_xstrdup(tls->cert)
					    : lp_xasprintf("%s/%s", opts->tree, tls->cert);
		*key = tls->key[0] == '/' ? lp_xstrdup(tls->key)
					  : lp_xasprintf("%s/%s", opts->tree, tls->key);
	}
	return 0;
}

int lp_cert_open(struct lp_instance *in, struct lp_proxy_opts *opts, struct lp_err *err)
{
	struct lp_conf_tls tls = in->conf->tls;
	struct lp_cert *c;
	struct lp_buf text;
	char *cert, *key;
	int r;

	lp_buf_init(&text, NAMES_MAX_BYTES);
	if (!in->bad_conf.error[0])
		keep_names(in, &tls);
	else if (!in->opts->tls_cert && !find_names(in, &text, &tls))
		tls = (struct lp_conf_tls){0};
	r = name_files(in, &tls, &cert, &key, err);
	lp_buf_finish(&text);
	if (r < 0 || !cert)
		return r;
	c = in->cert = lp_xcalloc(1, sizeof(*c));
	c->in = in;
	c->cert = cert;
	c->key = key;
	c->timer.on_fire = on_look;
	(void)look_at_both(c);
	warn_of_readers(key);
	opts->tls_cert = cert;
	opts->tls_key = key;
	return 0;
}

void lp_cert_watch(struct lp_instance *in)
{
	if (in->cert)
		lp_timer_set(in->loop, &in->cert->timer, lp_now_us() + LOOK_US);
}

int lp_cert_reconfigure(struct lp_instance *in, const struct lp_conf *conf, struct lp_err *err)
{
	struct lp_cert *c = in->cert;
	char *cert, *key;
	int r = name_files(in, &conf->tls, &cert, &key, err);

	if (r < 0)
		return r;
	if (!c && cert) {
		lp_log(LP_WARN, "door",
		       "'tls' is new in livepush.yml: this goes on without TLS until the "
		       "controller is started again");
	} else if (c && !cert) {
		lp_log(LP_WARN, "door",
		       "'tls' is gone from livepush.yml: this goes on with TLS, and the "
		       "certificate from before, until the controller is started again");
	} else if (c && (strcmp(c->cert, cert) != 0 || strcmp(c->key, key) != 0)) {
		struct mark marks[2];

		/* What comes after that is seen at the next look. */
		take_mark(cert, &marks[0]);
		take_mark(key, &marks[1]);
		r = lp_proxy_set_tls(in->proxy, cert, key, err);
		if (r == 0) {
			free(c->cert);
			free(c->key);
			c->cert = lp_take_ptr(&cert);
			c->key = lp_take_ptr(&key);
			memcpy(&c->cert_mark, &marks[0], sizeof(marks[0]));
			memcpy(&c->key_mark, &marks[1], sizeof(marks[1]));
			warn_of_readers(c->key);
		}
	}
	if (r == 0)
		keep_names(in, &conf->tls);
	free(cert);
	free(key);
	return r;
}

void lp_cert_close(struct lp_instance *in)
{
	struct lp_cert *c = in->cert;

	if (!c)
		return;
	lp_timer_clear(&c->timer);
	free(c->cert);
	free(c->key);
	free(c);
	in->cert = NULL;
}
