/* test_supervise_rig.c: what the tests of the supervisor share. */
#include "tests/unit/controller/test_supervise_rig.h"

#include "common/base/lp_clock.h"
#include "common/base/lp_fs.h"
#include "common/loop/loop_internal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define DEADLINE_US 20000000u

/* The first word of the file "mode" says what to do before serving; the rest is its argument. */
static const char app_text[] =
	"import os, signal, socket, subprocess, sys, time\n"
	"mode = open('mode').read().split()\n"
	"what, arg = mode[0], mode[1] if len(mode) > 1 else ''\n"
	"gen = os.environ['LIVEPUSH_GENERATION']\n"
	"def put(name, text):\n"
	"    open(name + '.tmp', 'w').write(text)\n"
	"    os.rename(name + '.tmp', name)\n"
	"def hup(*_):\n"
	"    os.write(1, b'got hup in ' + gen.encode() + b'\\n')\n"
	"signal.signal(signal.SIGHUP, hup)\n"
	"if what == 'exit':\n"
	"    sys.stderr.write('Traceback: boom\\n')\n"
	"    sys.exit(int(arg))\n"
	"if what == 'segv':\n"
	"    os.kill(os.getpid(), signal.SIGSEGV)\n"
	"if what == 'stubborn':\n"
	"    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
	"if what == 'mute':\n"
	"    put('mute.pid', str(os.getpid()))\n"
	"    print('I never listen', flush=True)\n"
	"    time.sleep(600)\n"
	"if what == 'slow':\n"
	"    put('slow.' + gen, str(os.getpid()))\n"
	"    time.sleep(float(arg))\n"
	"if what in ('child', 'stray', 'detached'):\n"
	"    code = 'import os, signal, sys, time\\n'\n"
	"    if what != 'stray':\n"
	"        code += 'signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n'\n"
	"    code += 'open(\"child.tmp\", \"w\").write(str(os.getpid()))\\n'\n"
	"    code += 'os.rename(\"child.tmp\", \"child.pid\")\\n'\n"
	"    code += 'time.sleep(600)\\n'\n"
	"    subprocess.Popen([sys.executable, '-c', code], start_new_session=what != 'child')\n"
	"if what == 'bytes':\n"
	"    os.write(1, bytes(range(256)))\n"
	"    sys.stdout.write('x' * (1 << 20) + '\\n')\n"
	"    sys.stdout.flush()\n"
	"if what == 'env':\n"
	"    for name in ('PORT', 'LIVEPUSH_GENERATION', 'BASE', 'EXTRA'):\n"
	"        print(name + '=' + os.environ.get(name, '-'))\n"
	"    print('fds', sorted(int(f) for f in os.listdir('/proc/self/fd'))[:3])\n"
	"    print('stdin', os.readlink('/proc/self/fd/0'))\n"
	"    print('group', os.getpgid(0) == os.getpid(), flush=True)\n"
	"s = socket.socket()\n"
	"s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
	"s.bind(('127.0.0.1', int(os.environ['PORT'])))\n"
	"s.listen(64)\n"
	"asked = 0\n"
	"while True:\n"
	"    c, _ = s.accept()\n"
	"    try:\n"
	"        if what == 'http':\n"
	"            asked += 1\n"
	"            line = c.recv(4096).split(b'\\r\\n')[0]\n"
	"            status = b'200 OK' if asked > int(arg) else b'503 Warming'\n"
	"            put('asked', str(asked))\n"
	"            print(line.decode(), flush=True)\n"
	"            c.sendall(b'HTTP/1.1 ' + status + b'\\r\\nContent-Length: 0\\r\\n\\r\\n')\n"
	"        else:\n"
	"            c.sendall(gen.encode() + b'\\n')\n"
	"    except OSError:\n"
	"        pass\n"
	"    c.close()\n";

static const char *const stage_names[] = {
	[LP_STAGE_CONFIG] = "CONFIG", [LP_STAGE_RULE] = "RULE",   [LP_STAGE_START] = "START",
	[LP_STAGE_HEALTH] = "HEALTH", [LP_STAGE_CRASH] = "CRASH", [LP_STAGE_LOOP] = "LOOP",
};

static void note(struct rig *rig, const char *fmt, ...) LP_PRINTF(2, 3);

static void note(struct rig *rig, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	assert_int_equal(lp_buf_addf(&rig->log, "%s\n", line), 0);
}

static void on_output(void *ctx, uint64_t generation, enum lp_sup_stream stream, const char *data,
		      size_t len)
{
	struct rig *rig = ctx;
	struct lp_buf *to = stream == LP_STREAM_STDOUT   ? &rig->out
			    : stream == LP_STREAM_STDERR ? &rig->err
							 : &rig->own;

	(void)generation;
	assert_int_equal(lp_buf_add(to, data, len), 0);
}

static void on_restarted(void *ctx, uint64_t revision, uint64_t generation, uint64_t took_us)
{
	struct rig *rig = ctx;

	rig->took_us = took_us;
	note(rig, "restarted %" PRIu64 " %" PRIu64, revision, generation);
}

static void on_settled(void *ctx, uint64_t revision)
{
	note(ctx, "settled %" PRIu64, revision);
}

static void on_failed(void *ctx, const struct lp_sup_failure *failure)
{
	struct rig *rig = ctx;

	(void)snprintf(rig->excerpt, sizeof(rig->excerpt), "%s", failure->excerpt);
	(void)snprintf(rig->path, sizeof(rig->path), "%s", failure->path ? failure->path : "");
	rig->n_paths = failure->n_paths;
	note(rig, "failed %s %" PRIu64 " %" PRIu64 " %s", stage_names[failure->stage],
	     failure->revision, failure->generation, failure->error);
}

static void on_stopped(void *ctx)
{
	note(ctx, "stopped");
}

static void retire(struct rig *rig)
{
	if (rig->drain && rig->serving)
		lp_sup_drained(rig->sup, rig->serving);
	rig->serving = 0;
}

static void door_forward(void *ctx, uint64_t generation, uint16_t port)
{
	struct rig *rig = ctx;

	retire(rig);
	rig->serving = generation;
	rig->port = port;
	note(rig, "forward %" PRIu64, generation);
}

static void door_hold(void *ctx)
{
	retire(ctx);
	note(ctx, "hold");
}

static void door_refuse(void *ctx, const char *text)
{
	retire(ctx);
	note(ctx, "refuse %s", text);
}

static void door_cut(void *ctx, uint64_t generation)
{
	note(ctx, "cut %" PRIu64, generation);
}

static void door_cut_requests(void *ctx, uint64_t generation)
{
	note(ctx, "cut requests %" PRIu64, generation);
}

static void door_end_streams(void *ctx, uint64_t generation)
{
	note(ctx, "end streams %" PRIu64, generation);
}

static char *app_argv[] = {(char[]){"python3"}, (char[]){"-S"}, (char[]){"-u"}, (char[]){"app.py"},
			   NULL};

int rig_setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct lp_err err;

	assert_non_null(rig);
	(void)snprintf(rig->dir, sizeof(rig->dir), "/tmp/lp-sup-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	rig->dir_fd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(rig->dir_fd >= 0);
	rig_write(rig, "app.py", app_text);
	rig_mode(rig, "serve");
	rig->drain = true;
	rig->conf.command = (struct lp_conf_command){.argv = app_argv, .n = 4};
	rig->conf.rules = rig->rules;
	rig->conf.health = (struct lp_conf_health){.kind = LP_HEALTH_TCP,
						   .status_min = 200,
						   .status_max = 399,
						   .timeout_ms = 15000,
						   .probe_ms = 10000,
						   .interval_ms = 100,
						   .settle_ms = 200};
	rig->conf.restart = (struct lp_conf_restart){.strategy = LP_STRATEGY_SWAP,
						     .grace_ms = 5000,
						     .drain_ms = 5000,
						     .streams_ms = 5000};
	assert_int_equal(lp_loop_create(&rig->loop, &err), 0);
	*state = rig;
	return 0;
}

void rig_create(struct rig *rig)
{
	static const char *envp[4];
	static char path[4096];
	struct lp_sup_opts opts = {
		.loop = rig->loop,
		.conf = &rig->conf,
		.tree_fd = rig->dir_fd,
		.envp = envp,
		.nofile = 256,
		.ops = {on_output, on_restarted, on_settled, on_failed, on_stopped},
		.ctx = rig,
		.door = {rig, door_forward, door_hold, door_refuse, door_cut, door_cut_requests,
			 door_end_streams},
	};
	struct lp_err err;

	(void)snprintf(path, sizeof(path), "PATH=%s", getenv("PATH"));
	envp[0] = path;
	envp[1] = "BASE=one";
	envp[2] = "PORT=1";
	assert_int_equal(lp_sup_create(&rig->sup, &opts, &err), 0);
}

int rig_teardown(void **state)
{
	struct rig *rig = *state;

	lp_sup_destroy(rig->sup);
	lp_loop_destroy(rig->loop);
	(void)close(rig->dir_fd);
	assert_int_equal(lp_remove_tree(AT_FDCWD, rig->dir), 0);
	lp_buf_finish(&rig->log);
	lp_buf_finish(&rig->out);
	lp_buf_finish(&rig->err);
	lp_buf_finish(&rig->own);
	free(rig);
	return 0;
}

void rig_write(const struct rig *rig, const char *name, const char *text)
{
	int fd = openat(rig->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

	assert_true(fd >= 0);
	assert_int_equal(lp_write_all(fd, text, strlen(text)), 0);
	(void)close(fd);
}

void rig_mode(const struct rig *rig, const char *mode)
{
	rig_write(rig, "mode", mode);
}

void rig_until(struct rig *rig, bool (*check)(struct rig *rig, const void *arg), const void *arg)
{
	uint64_t deadline_us = lp_now_us() + DEADLINE_US;

	while (!check(rig, arg)) {
		if (lp_now_us() > deadline_us)
			fail_msg("nothing came; the log:\n%s\nerr: %s\nown: %s",
				 lp_buf_text(&rig->log), lp_buf_text(&rig->err),
				 lp_buf_text(&rig->own));
		assert_int_equal(lp_loop_dispatch(rig->loop, 5), 0);
	}
}

static char found[2048];

static bool take_line(struct rig *rig, const void *arg)
{
	const char *prefix = arg;
	const char *line = lp_buf_text(&rig->log) + rig->seen;

	while (*line) {
		size_t len = strcspn(line, "\n");
		bool match = strncmp(line, prefix, strlen(prefix)) == 0;

		rig->seen += len + 1;
		if (match) {
			(void)snprintf(found, sizeof(found), "%.*s", (int)len, line);
			return true;
		}
		line += len + 1;
	}
	return false;
}

const char *rig_wait(struct rig *rig, const char *prefix)
{
	rig_until(rig, take_line, prefix);
	return found;
}

static bool file_exists(struct rig *rig, const void *name)
{
	return faccessat(rig->dir_fd, name, F_OK, 0) == 0;
}

long rig_wait_number(struct rig *rig, const char *name)
{
	struct lp_buf text = {0};
	long number;

	rig_until(rig, file_exists, name);
	assert_int_equal(lp_read_file(rig->dir_fd, name, &text), 0);
	number = strtol(lp_buf_text(&text), NULL, 10);
	lp_buf_finish(&text);
	return number;
}

size_t rig_count(struct rig *rig, const char *prefix)
{
	const char *line = lp_buf_text(&rig->log);
	size_t n = 0;

	while (*line) {
		n += strncmp(line, prefix, strlen(prefix)) == 0;
		line += strcspn(line, "\n") + 1;
	}
	return n;
}

void rig_applied(struct rig *rig, uint64_t revision, const char *path)
{
	lp_sup_applied(rig->sup, revision, &path, 1);
}

uint64_t rig_ask(const struct rig *rig)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons(rig->port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct lp_buf answer = {0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t generation;

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(lp_read_all(fd, &answer), 0);
	(void)close(fd);
	generation = strtoull(lp_buf_text(&answer), NULL, 10);
	lp_buf_finish(&answer);
	return generation;
}

static size_t count_children(void)
{
	struct lp_buf text = {0};
	char path[64];
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	assert_int_equal(lp_read_file(AT_FDCWD, path, &text), 0);
	for (size_t i = 0; i < text.len; i++)
		n += text.data[i] == ' ';
	lp_buf_finish(&text);
	return n;
}

void rig_stop(struct rig *rig)
{
	lp_sup_stop(rig->sup);
	(void)rig_wait(rig, "stopped");
	assert_int_equal(count_children(), 0);
}

bool rig_alive(long pid)
{
	struct lp_buf text = {0};
	char path[64];
	const char *state;
	bool alive = false;

	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (lp_read_file(AT_FDCWD, path, &text) == 0) {
		state = strrchr(lp_buf_text(&text), ')');
		alive = state && state[2] != 'Z' && state[2] != 'X';
	}
	lp_buf_finish(&text);
	return alive;
}
