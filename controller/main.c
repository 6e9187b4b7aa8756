/* controller/main.c: the command line of livepush-controller. */
#include "common/base/lp_env.h"
#include "common/base/lp_log.h"
#include "common/base/lp_mem.h"
#include "common/base/lp_secret.h"
#include "common/conf/conf.h"
#include "controller/instance.h"
#include "controller/privilege.h"
#include "proxy/proxy.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

#define HOSTS_MAX 32

static const char usage[] =
	"usage: livepush-controller [OPTION…] [-- COMMAND…]\n"
	"Applies what livepush sends to a tree, runs the app in it and serves it.\n"
	"\n"
	"  --tree DIR          the tree (default: the current directory)\n"
	"  --listen ADDR:PORT  where the app is reached (default: port $PORT on all addresses)\n"
	"  --config FILE       a livepush.yml elsewhere (default: the tree's own)\n"
	"  --secret-file FILE  the shared secret (default: $LIVEPUSH_SECRET)\n"
	"  --tls-cert FILE     serve HTTPS with this certificate chain (PEM), and\n"
	"  --tls-key FILE      its private key; renewed files are taken as they come\n"
	"  --host NAME         a name that browsers reach it by; any number of times\n"
	"  --allow-root        run as root, which it refuses otherwise (LIVEPUSH_ALLOW_ROOT=1)\n"
	"  --wait              do not start the app before the first changeset\n"
	"  --parent-fd N       end when this descriptor reaches its end\n"
	"  --quiet             do not repeat the app's output on standard output\n"
	"  --ephemeral         remove the tree at the end\n"
	"  --log-level LEVEL   trace, debug, info, warn (default) or error\n"
	"  --version, --help\n"
	"\n"
	"An option with a value can be given as a variable, too: LIVEPUSH_TREE for --tree.\n"
	"Without a command, here, in LIVEPUSH_COMMAND or in livepush.yml, it only keeps the tree\n"
	"in step.\n";

enum option_id {
	OPT_TREE = 1,
	OPT_LISTEN,
	OPT_CONFIG,
	OPT_SECRET_FILE,
	OPT_TLS_CERT,
	OPT_TLS_KEY,
	OPT_HOST,
	OPT_ALLOW_ROOT,
	OPT_WAIT,
	OPT_PARENT_FD,
	OPT_QUIET,
	OPT_EPHEMERAL,
	OPT_LOG_LEVEL,
	OPT_VERSION,
	OPT_HELP,
};

static const struct option options[] = {
	{"tree", required_argument, NULL, OPT_TREE},
	{"listen", required_argument, NULL, OPT_LISTEN},
	{"config", required_argument, NULL, OPT_CONFIG},
	{"secret-file", required_argument, NULL, OPT_SECRET_FILE},
	{"tls-cert", required_argument, NULL, OPT_TLS_CERT},
	{"tls-key", required_argument, NULL, OPT_TLS_KEY},
	{"host", required_argument, NULL, OPT_HOST},
	{"allow-root", no_argument, NULL, OPT_ALLOW_ROOT},
	{"wait", no_argument, NULL, OPT_WAIT},
	{"parent-fd", required_argument, NULL, OPT_PARENT_FD},
	{"quiet", no_argument, NULL, OPT_QUIET},
	{"ephemeral", no_argument, NULL, OPT_EPHEMERAL},
	{"log-level", required_argument, NULL, OPT_LOG_LEVEL},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

/* What the command line and the environment say, with the memory behind it. */
struct args {
	struct lp_instance_opts opts;
	const char *secret_file;
	const char *hosts[HOSTS_MAX + 1];
	size_t n_hosts;
	bool allow_root;
	char *secret;    /* owned */
	char *tree;      /* owned */
	int exit_status; /* when parse() says to end */
};

static int complain(struct args *a, const char *text, const char *what)
{
	(void)fprintf(stderr, "livepush-controller: %s%s\n", what, text);
	a->exit_status = EXIT_USAGE;
	return -1;
}

/* Where the option's text goes that is taken as it is; NULL for the others. */
static const char **text_of(struct args *a, int id)
{
	switch ((enum option_id)id) {
	case OPT_TREE:
		return &a->opts.tree;
	case OPT_LISTEN:
		return &a->opts.listen;
	case OPT_CONFIG:
		return &a->opts.config;
	case OPT_SECRET_FILE:
		return &a->secret_file;
	case OPT_TLS_CERT:
		return &a->opts.tls_cert;
	case OPT_TLS_KEY:
		return &a->opts.tls_key;
	default:
		return NULL;
	}
}

static int take_option(struct args *a, int id)
{
	const char **text = text_of(a, id);
	char *end;
	long number;
	int level;

	if (text) {
		*text = optarg;
		return 0;
	}
	switch (id) {
	case OPT_HOST:
		if (a->n_hosts == HOSTS_MAX)
			return complain(a, ": too many names with --host", optarg);
		if (!lp_conf_is_host(optarg))
			return complain(a,
					": no name for --host; it takes one such as "
					"app.example.com, without http:// and path",
					optarg);
		a->hosts[a->n_hosts++] = optarg;
		a->opts.hosts = a->hosts;
		return 0;
	case OPT_ALLOW_ROOT:
		a->allow_root = true;
		return 0;
	case OPT_WAIT:
		a->opts.wait = true;
		return 0;
	case OPT_PARENT_FD:
		number = strtol(optarg, &end, 10);
		if (*end || end == optarg || number < 3 || number > 65535 ||
		    fcntl((int)number, F_GETFD) < 0)
			return complain(a, ": no open descriptor for --parent-fd", optarg);
		a->opts.parent_fd = (int)number;
		return 0;
	case OPT_QUIET:
		a->opts.echo = false;
		return 0;
	case OPT_EPHEMERAL:
		a->opts.ephemeral = true;
		return 0;
	case OPT_LOG_LEVEL:
		level = lp_log_level_by_name(optarg);
		if (level < 0)
			return complain(a, ": not a log level; try info", optarg);
		lp_log_set_level((enum lp_log_level)level);
		return 0;
	case OPT_VERSION:
		(void)printf("livepush-controller %s\n", LP_VERSION);
		return -1;
	case OPT_HELP:
		(void)fputs(usage, stdout);
		return -1;
	}
	a->exit_status = EXIT_USAGE;
	(void)fprintf(stderr, "livepush-controller: try --help\n");
	return -1;
}

/* Options that take a value have one in the environment, too: LIVEPUSH_TREE for --tree. What the
 * command line says comes after and so wins. */
static int take_environment(struct args *a)
{
	const char *root = getenv("LIVEPUSH_ALLOW_ROOT");

	a->allow_root = root && root[0] && strcmp(root, "0") != 0;
	for (const struct option *o = options; o->name; o++) {
		if (o->has_arg == no_argument || o->val == OPT_PARENT_FD)
			continue;
		optarg = lp_env_option(o->name);
		if (optarg && take_option(a, o->val) < 0)
			return -1;
	}
	return 0;
}

/* Returns 0 to go on, -1 to end with a->exit_status. */
static int parse(struct args *a, int argc, char **argv)
{
	int id;

	while ((id = getopt_long(argc, argv, "+", options, NULL)) != -1)
		if (take_option(a, id) < 0)
			return -1;
	if (optind < argc) {
		if (strcmp(argv[optind - 1], "--") != 0)
			return complain(a, ": unexpected; put the command behind --", argv[optind]);
		a->opts.command = argv + optind;
	}
	return 0;
}

/* What can be told of the values before anything is done. */
static int check_values(struct args *a)
{
	const char *port = getenv("PORT");
	LP_AUTO_FREE char *from_port = port && port[0] ? lp_xasprintf(":%s", port) : NULL;
	struct lp_proxy_addr addr;
	struct lp_err err = {0};

	if (!a->opts.tls_cert != !a->opts.tls_key)
		return complain(a, "", "--tls-cert and --tls-key go together: give both");
	if (a->opts.listen && lp_proxy_addr_parse(&addr, a->opts.listen, &err) < 0)
		return complain(a, "", err.msg);
	if (!a->opts.listen && from_port && lp_proxy_addr_parse(&addr, from_port, &err) < 0)
		return complain(a, ": no port in PORT; it is a number from 0 to 65535", port);
	return 0;
}

static int read_secret(struct args *a)
{
	char *env = getenv("LIVEPUSH_SECRET");
	const char *fault, *warning;
	struct lp_err err = {0};

	if (a->secret_file) {
		if (lp_secret_read(&a->secret, a->secret_file, &warning, &err) < 0) {
			(void)fprintf(stderr, "livepush-controller: %s\n", err.msg);
			return -1;
		}
		if (warning)
			lp_log(LP_WARN, "secret", "%s: %s", a->secret_file, warning);
	} else if (env) {
		a->secret = lp_xstrdup(env);
	}
	/* /proc/PID/environ shows the memory that the process was started with, so that is wiped:
	 * the app runs as the same user. */
	if (env)
		explicit_bzero(env, strlen(env));
	(void)unsetenv("LIVEPUSH_SECRET");
	fault = a->secret ? lp_secret_fault(a->secret) : NULL;
	if (fault) {
		(void)fprintf(stderr, "livepush-controller: the secret in %s cannot be used: %s\n",
			      a->secret_file ? a->secret_file : "LIVEPUSH_SECRET", fault);
		a->exit_status = EXIT_USAGE;
		return -1;
	}
	a->opts.secret = a->secret;
	return 0;
}

static int settle_paths(struct args *a)
{
	const char *tree = a->opts.tree ? a->opts.tree : ".";

	a->tree = realpath(tree, NULL);
	if (!a->tree) {
		(void)fprintf(stderr, "livepush-controller: %s: no such tree: %s\n", tree,
			      strerror(errno));
		return -1;
	}
	a->opts.tree = a->tree;
	return 0;
}

/* What is pushed here runs here: as root that is the whole machine. */
static int settle_privilege(const struct args *a)
{
	struct lp_err err = {0};

	if (geteuid() == 0 && !a->allow_root) {
		(void)fprintf(stderr,
			      "livepush-controller: not as root, because whoever may push could do "
			      "anything here: start it as another user, or with --allow-root "
			      "(LIVEPUSH_ALLOW_ROOT=1) where that is meant\n");
		return -1;
	}
	if (lp_privilege_drop(&err) == 0)
		return 0;
	(void)fprintf(stderr, "livepush-controller: %s\n", err.msg);
	return -1;
}

static void print_listening(const char *address)
{
	(void)printf("{\"event\":\"listening\",\"address\":\"%s\"}\n", address);
	(void)fflush(stdout);
}

/* What is opened must not become the standard output of somebody who closed that; and whoever reads
 * it may go away. */
static void settle_standard(void)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	lp_auto_close(&fd);
	(void)sigaction(SIGPIPE, &ignore, NULL);
}

int main(int argc, char **argv)
{
	struct args a = {.opts = {.parent_fd = -1, .echo = true, .on_listening = print_listening}};
	struct lp_err err = {0};

	settle_standard();
	if (take_environment(&a) == 0 && parse(&a, argc, argv) == 0 && check_values(&a) == 0) {
		a.exit_status = EXIT_FAILED;
		if (settle_privilege(&a) == 0 && read_secret(&a) == 0 && settle_paths(&a) == 0) {
			a.exit_status = 0;
			if (lp_instance_run(&a.opts, &err) < 0) {
				(void)fprintf(stderr, "livepush-controller: %s\n", err.msg);
				a.exit_status = err.code == EDESTADDRREQ ? EXIT_USAGE : EXIT_FAILED;
			}
		}
	}
	free(a.secret);
	free(a.tree);
	return a.exit_status;
}
