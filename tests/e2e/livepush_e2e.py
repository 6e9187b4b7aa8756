"""What the end-to-end tests share: running the real binaries, watching them, cleaning up.

The binaries come from LIVEPUSH_BIN and LIVEPUSH_CONTROLLER_BIN. Every test has a directory of its
own that holds its home, runtime, state and temporary directories; at its end nothing may be left of
what it started: no process, no mount, no temporary file, no report of a sanitizer.
"""

import hashlib
import http.client
import json
import os
import pathlib
import pty
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
import uuid

LIVEPUSH = os.environ.get("LIVEPUSH_BIN", "livepush")
CONTROLLER = os.environ.get("LIVEPUSH_CONTROLLER_BIN", "livepush-controller")
ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SECRET = "correct horse battery staple"

# Sanitizers make programs slower; limits on time are stretched by this.
SLOWDOWN = float(os.environ.get("E2E_SLOWDOWN", "1"))
PATIENCE = 15 * SLOWDOWN
SKIP = 77

SANITIZER_MARKS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:")


def wait_for(condition, timeout=PATIENCE, what="the condition"):
    """Returns condition()'s first true result; fails when there is none within the timeout."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise AssertionError(f"not within {timeout:g} s: {text}")
        time.sleep(0.01)


def free_port():
    """A port that nobody listens on, from below those that the kernel hands out by itself: nobody
    who asks for any port, and no connection, gets it before it is used."""
    while True:
        with socket.socket() as sock:
            port = random.randrange(10000, 32000)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def accepts(port):
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def fuse_works():
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return False
    return os.geteuid() == 0 or shutil.which("fusermount3") is not None


# Files and trees

def write(path, content):
    """Writes a file in place, as `cat >` does; makes its directories."""
    path = os.fsencode(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def safe_write(path, content):
    """Writes a file as editors do: a temporary one beside it, renamed over it."""
    temporary = pathlib.Path(f"{path}.tmp~")
    write(temporary, content)
    os.rename(temporary, path)


def replace(path, old, new):
    """Replaces text in a file by a safe write; the text has to be there."""
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path}"
    safe_write(path, text.replace(old, new))


def snapshot(root):
    """path → (kind, executable, content) of everything below root, taken independently of the
    product: by walking and reading. The controller's own directory in a tree is left out."""
    entries = {}
    root = os.fsencode(root)
    stack = [b""]
    while stack:
        folder = stack.pop()
        for entry in os.scandir(os.path.join(root, folder)):
            path = os.path.join(folder, entry.name)
            if path == b".livepush":
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                entries[path] = ("dir", False, b"")
                stack.append(path)
            elif stat.S_ISLNK(mode):
                entries[path] = ("link", False, os.readlink(entry.path))
            else:
                with open(entry.path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").digest()
                entries[path] = ("file", bool(mode & stat.S_IXUSR), digest)
    return entries


def difference(source, target):
    """Text that names what differs between two snapshots; "" when they are equal."""
    out = []
    for path in sorted(set(source) | set(target)):
        if source.get(path) != target.get(path):
            ends = [entry and entry[:2] + (entry[2][:12],) for entry in (source.get(path),
                                                                          target.get(path))]
            out.append(f"{path!r}: source {ends[0]}, target {ends[1]}")
    return "\n".join(out[:20])


def wait_equal(source, target, timeout=PATIENCE, leave_out=()):
    """Waits until target holds what source holds, apart from the names in leave_out."""
    found = ["nothing compared yet"]

    def equal():
        try:
            ours, theirs = snapshot(source), snapshot(target)
        except FileNotFoundError as vanished:  # renamed while it was read: look again
            found[0] = str(vanished)
            return False
        for entries in (ours, theirs):
            for path in leave_out:
                entries.pop(os.fsencode(path), None)
        found[0] = difference(ours, theirs)
        return found[0] == ""

    wait_for(equal, timeout, lambda: f"the trees are equal\n{found[0]}")


# HTTP

def get(url, timeout=10.0, headers=None):
    """GET: (status, body as text). Raises OSError or HTTPException when there is no answer."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/", headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


def body_of(url):
    """The body of a GET that succeeds, None otherwise."""
    try:
        status, body = get(url)
    except (OSError, http.client.HTTPException):
        return None
    return body if status == 200 else None


class Load:
    """Requests a URL in a loop from several threads, with kept and with new connections, and
    collects every failure; with one request at least, as a context manager."""

    def __init__(self, url, threads=3):
        self.parts = urllib.parse.urlsplit(url)
        self.count = 0
        self.failures = []
        self.bodies = set()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(i % 2 == 0,), daemon=True)
                         for i in range(threads)]

    def _run(self, keep):
        connection = None
        while not self._stop.wait(0.002):
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(self.parts.hostname, self.parts.port,
                                                            timeout=20 * SLOWDOWN)
                connection.request("GET", self.parts.path or "/")
                response = connection.getresponse()
                body = response.read()
                fault = None if response.status == 200 else f"{response.status}: {body[:200]!r}"
                if not keep or response.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                fault, body, connection = f"{type(error).__name__}: {error}", b"", None
            with self._lock:
                self.count += 1
                self.bodies.add(body)
                if fault is not None:
                    self.failures.append(fault)
        if connection is not None:
            connection.close()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        wait_for(lambda: self.count or None, what="one request of the load")
        self._stop.set()
        for thread in self._threads:
            thread.join()


# Processes

class Program:
    """A running binary: its events (JSON objects, one a line of stdout), lines and errors."""

    def __init__(self, argv, env, cwd):
        self.argv = [str(arg) for arg in argv]
        self.events = []
        self.lines = []
        self.errors = []
        self._changed = threading.Condition()
        # A session of its own, so that Ctrl-C can be sent to its whole foreground group.
        self.process = subprocess.Popen(self.argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        start_new_session=True)
        self._readers = [threading.Thread(target=self._read, args=arguments, daemon=True)
                         for arguments in ((self.process.stdout, self._take_line),
                                           (self.process.stderr, self.errors.append))]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self):
        return self.process.pid

    def _read(self, stream, take):
        with stream:
            for line in stream:
                with self._changed:
                    take(line.decode(errors="replace").rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _take_line(self, line):
        self.lines.append(line)
        try:
            event = json.loads(line)
        except ValueError:
            return
        if isinstance(event, dict):
            self.events.append(event)

    def stderr(self):
        return "\n".join(self.errors)

    def describe(self):
        return (f"$ {' '.join(self.argv)}\n  exit: {self.process.poll()}\n  stdout (end):\n"
                + "\n".join(f"    {line}" for line in self.lines[-40:])
                + "\n  stderr (end):\n" + "\n".join(f"    {line}" for line in self.errors[-60:]))

    def mark(self):
        """The place in the events from now on, for `since`."""
        with self._changed:
            return len(self.events)

    def wait_event(self, kind, since=0, timeout=PATIENCE, match=lambda event: True):
        """The first event of that kind since a mark for which match() holds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for event in self.events[since:]:
                    if event.get("event") == kind and match(event):
                        return event
                ended = not any(reader.is_alive() for reader in self._readers)
                left = deadline - time.monotonic()
                if left <= 0 or ended:
                    why = "ended before" if ended else f"gave none within {timeout:g} s:"
                    raise AssertionError(f"{why} event '{kind}'\n{self.describe()}")
                self._changed.wait(min(left, 0.2))

    def log_lines(self, since=0):
        with self._changed:
            return [event["line"] for event in self.events[since:] if event.get("event") == "log"]

    def send_signal(self, signo):
        self.process.send_signal(signo)

    def interrupt(self):
        """Ctrl-C: SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, timeout=PATIENCE):
        """Waits for its end; returns the exit status (negative: the signal)."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s\n{self.describe()}") from None
        for reader in self._readers:
            reader.join(2)  # longer only when something that it left holds the other end
        return status

    def stop(self, signo=signal.SIGTERM):
        """Asks it to end and waits; returns the exit status."""
        if self.process.poll() is None:
            self.send_signal(signo)
        return self.wait()


class Terminal:
    """A pseudo-terminal: `slave` is for a program, what it prints there is read all the time. Where
    there are none the constructor raises OSError."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self._said = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        try:
            while data := os.read(self.master, 4096):
                self._said.append(data)
        except OSError:  # the other end is closed
            pass

    def said(self):
        return b"".join(self._said).decode(errors="replace")

    def hand_over(self):
        """The program has its end by now: ours is closed, so that its end is seen."""
        os.close(self.slave)

    def end(self):
        """After the program has ended: all that it printed."""
        self._reader.join(PATIENCE)
        os.close(self.master)
        return self.said()


def processes_of(token, folder):
    """pid → command line of every process that carries the token in its environment or works in
    the folder."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            environ = pathlib.Path("/proc", pid, "environ").read_bytes()
            place = os.readlink(f"/proc/{pid}/cwd")
            ours = token.encode() in environ or place.startswith(str(folder))
            if not ours or int(pid) == os.getpid():
                continue
            state = pathlib.Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
            command = pathlib.Path("/proc", pid, "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if state not in "ZX":
            found[int(pid)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def children_of(pid):
    """The pids of the direct children of a process."""
    found = []
    for task in pathlib.Path("/proc", str(pid), "task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def mounts_below(folder):
    """Mount points below a folder."""
    folder = str(folder)
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if line.split()[4].startswith(folder)]


class Case(unittest.TestCase):
    """A test with a directory, an environment and programs of its own."""

    maxDiff = None

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="lpe2e-"))
        self.token = f"E2E_TOKEN={uuid.uuid4().hex}"
        self.programs = []
        self.allow_left = False  # a test that makes litter on purpose cleans it up by itself
        for name in ("home", "run", "state", "cache", "tmp", "reports"):
            (self.dir / name).mkdir(mode=0o700)
        self.env = {key: value for key, value in os.environ.items()
                    if not key.startswith(("LIVEPUSH", "XDG_", "CF_")) and key != "PORT"}
        name, value = self.token.split("=")
        self.env.update({
            name: value,
            "HOME": str(self.dir / "home"),
            "XDG_RUNTIME_DIR": str(self.dir / "run"),
            "XDG_STATE_HOME": str(self.dir / "state"),
            "XDG_CACHE_HOME": str(self.dir / "cache"),
            "TMPDIR": str(self.dir / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LIVEPUSH_CONTROLLER": CONTROLLER,
            "LIVEPUSH_ALLOW_ROOT": "1",
        })
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
            options = self.env.get(name)
            self.env[name] = f"{options + ':' if options else ''}log_path={self.dir}/reports/san"
        self.addCleanup(self._clean_up)

    def _clean_up(self):
        """Ends what the test left running, then fails it when anything outlives that."""
        problems = []
        for program in reversed(self.programs):
            try:
                program.stop()
            except AssertionError as error:
                problems.append(str(error))
                program.process.kill()
                program.wait()
        problems += self._leftovers()
        for pid in processes_of(self.token, self.dir):
            os.kill(pid, signal.SIGKILL)
        for mount in mounts_below(self.dir):
            subprocess.run(["umount", "-l", mount], check=False)
        for program in self.programs:
            if any(mark in program.stderr() for mark in SANITIZER_MARKS):
                problems.append(f"a sanitizer reports\n{program.describe()}")
        for report in (self.dir / "reports").iterdir():
            problems.append(report.read_text(errors="replace")[:8000])
        if problems or not self._outcome.success:
            for program in self.programs:
                print(program.describe(), file=sys.stderr)
        shutil.rmtree(self.dir, ignore_errors=True)
        if problems:
            self.fail("\n".join(problems))

    def _leftovers(self):
        """Waits a few seconds until nothing is left; what still is, as text."""
        left = {}

        def nothing():
            left["processes"] = processes_of(self.token, self.dir)
            left["mounts"] = mounts_below(self.dir)
            left["files"] = [str(path) for name in ("run", "tmp")
                             for path in (self.dir / name).rglob("*")]
            return not any(left.values())

        try:
            wait_for(nothing, 8 * SLOWDOWN)
        except AssertionError:
            return [f"left {kind}: {what}" for kind, what in left.items() if what]
        return []

    def assert_nothing_left(self):
        """No process, mount or temporary file of this test is left, at the latest in seconds."""
        problems = self._leftovers()
        if problems:
            self.fail("\n".join(problems))

    # Running things

    def start(self, *argv, env=None, cwd=None):
        """Starts a program that goes on running."""
        program = Program(argv, {**self.env, **(env or {})}, cwd or self.dir)
        self.programs.append(program)
        return program

    def livepush(self, *args, env=None, cwd=None, timeout=PATIENCE):
        """Runs `livepush ARGS` to its end: the finished process with stdout and stderr."""
        program = self.start(LIVEPUSH, *args, env=env, cwd=cwd)
        status = program.wait(timeout)
        self.programs.remove(program)
        self.assertGreaterEqual(status, 0, f"died by a signal\n{program.describe()}")
        self.assertFalse([m for m in SANITIZER_MARKS if m in program.stderr()], program.describe())
        return subprocess.CompletedProcess(program.argv, status, "\n".join(program.lines),
                                           program.stderr())

    def succeed(self, *args, **options):
        done = self.livepush(*args, **options)
        self.assertEqual(done.returncode, 0, f"{done.args}\n{done.stdout}\n{done.stderr}")
        return done

    def refused(self, *args, saying=(), status=None, **options):
        """Runs `livepush ARGS`, which has to fail, with a message that holds each of `saying`."""
        done = self.livepush(*args, **options)
        text = f"{done.args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        self.assertNotEqual(done.returncode, 0, text)
        if status is not None:
            self.assertEqual(done.returncode, status, text)
        self.assertNotEqual(done.stderr.strip(), "", text)
        for word in saying:
            self.assertIn(word.lower(), done.stderr.lower(), text)
        return done

    def example(self, name):
        """A copy of an example as the workspace of this test."""
        workspace = self.dir / name
        shutil.copytree(EXAMPLES / name, workspace, ignore=shutil.ignore_patterns("server"))
        return workspace

    def workspace(self, files):
        """A workspace with these files: name → content."""
        folder = self.dir / "workspace"
        folder.mkdir()
        for name, content in files.items():
            write(folder / name, content)
        return folder

    def session(self, command, workspace, app, *args, timeout=PATIENCE, **options):
        """`livepush watch|mount --json`, ready: (program, URL)."""
        program = self.start(LIVEPUSH, command, *args, "--json", workspace, app, **options)
        ready = program.wait_event("ready", timeout=timeout)
        return program, ready.get("url")

    def controller(self, tree, *command, port=None, secret=SECRET, options=()):
        """`livepush-controller`, listening: (program, port)."""
        argv = [CONTROLLER, "--tree", tree, "--listen", f"127.0.0.1:{port or 0}", *options]
        if command:
            argv += ["--", *command]
        program = self.start(*argv, env={} if secret is None else {"LIVEPUSH_SECRET": secret})
        address = program.wait_event("listening")["address"]
        return program, int(address.rpartition(":")[2])

    def mirror(self, source, port, **options):
        """`livepush watch SOURCE ws://…`, ready."""
        env = {"LIVEPUSH_SECRET": SECRET}
        program = self.start(LIVEPUSH, "watch", "--json", source, f"ws://127.0.0.1:{port}",
                             env=env, **options)
        program.wait_event("ready")
        return program


class CuttingProxy:
    """A TCP proxy that can cut every connection that runs through it."""

    def __init__(self, target_port):
        self._target_port = target_port
        self._sockets = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target_port))
            except ConnectionRefusedError:
                client.close()
                continue
            except OSError:
                return
            with self._lock:
                self.accepted += 1
                self._sockets |= {client, server}
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        self._end((source, target))

    def _end(self, sockets):
        with self._lock:
            for sock in sockets:
                if sock in self._sockets:
                    self._sockets.discard(sock)
                    try:
                        sock.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
                    sock.close()

    def cut(self):
        """Cuts what runs through it now; new connections are taken."""
        with self._lock:
            sockets = list(self._sockets)
        self._end(sockets)

    def close(self):
        self._listener.close()
        self.cut()


