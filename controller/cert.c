/* controller/cert.c: see cert.h. Files are looked at by their names: a renewed certificate comes by
 * rename, through a symlink that turns or by a mount, which no single watch would tell. */
#include "controller/cert.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "controller/instance_internal.h"

#include <string.h>
#include <sys/stat.h>

#define LOOK_US UINT64_C(5000000)

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

/* Takes the mark of the file. Returns whether it is another one. */
static bool look(const char *path, struct mark *mark)
{
	struct mark now;
	struct stat st;
	bool is_new;

	memset(&now, 0, sizeof(now));
	if (stat(path, &st) == 0) {
		now.dev = st.st_dev;
		now.ino = st.st_ino;
		now.size = st.st_size;
		now.written = st.st_mtim;
		now.changed = st.st_ctim;
	}
	is_new = memcmp(&now, mark, sizeof(now)) != 0;
	*mark = now;
	return is_new;
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
		return;
	}
	warn_of_readers(c->key);
	lp_log(LP_INFO, "door", "%s: the renewed certificate is in force", c->cert);
}

/* The two names: cert and key NULL where nothing was said. */
static int name_files(const struct lp_instance *in, const struct lp_conf *conf, char **cert,
		      char **key, struct lp_err *err)
{
	const struct lp_instance_opts *opts = in->opts;
	const struct lp_conf_tls *tls = &conf->tls;

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
	struct lp_cert *c;
	char *cert, *key;
	int r = name_files(in, in->conf, &cert, &key, err);

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
	int r = name_files(in, conf, &cert, &key, err);

	if (r < 0)
		return r;
	if (!c != !cert) {
		lp_log(LP_WARN, "door",
		       "whether the door speaks TLS is settled when the controller starts: 'tls' "
		       "in "
		       "livepush.yml counts from then on");
	} else if (c && (strcmp(c->cert, cert) != 0 || strcmp(c->key, key) != 0)) {
		r = lp_proxy_set_tls(in->proxy, cert, key, err);
		if (r == 0) {
			free(c->cert);
			free(c->key);
			c->cert = lp_take_ptr(&cert);
			c->key = lp_take_ptr(&key);
			(void)look_at_both(c);
			warn_of_readers(c->key);
		}
	}
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
