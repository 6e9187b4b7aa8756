"""The tools that are measured, all behind the same few calls."""

import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import workload

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests/e2e"))

import relay  # noqa: E402 (it lives with the tests)

LIVEPUSH = os.environ.get("LIVEPUSH_BIN", str(ROOT / "build/cli/livepush"))
CONTROLLER = os.environ.get("LIVEPUSH_CONTROLLER_BIN",
                            str(ROOT / "build/controller/livepush-controller"))
SECRET = "a secret for the bench only"
PATIENCE = 60


class BenchError(Exception):
    """A tool did not do what the bench needs of it."""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(condition, what, seconds=PATIENCE, interval=0.05):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise BenchError(f"not within {seconds} s: {what}")
        time.sleep(interval)
    return result


def wait_for_quiet_disks(seconds=5, quiet=0.5):
    """Writes out what is dirty and waits until the disks have had nothing to do for a moment, so
    that a run does not pay for what happened before it; not longer than `seconds`."""
    os.sync()
    deadline = time.monotonic() + seconds
    before = None
    while (now := pathlib.Path("/proc/diskstats").read_text()) != before:
        if time.monotonic() > deadline:
            return
        before = now
        time.sleep(quiet)


def touch_memory(folder, count):
    """Has so many bytes written to a file and removed: a machine may have to get the memory of a
    tmpfs from its host first, which takes the first one who needs it as long as the writing."""
    piece = bytes(1 << 20)
    path = pathlib.Path(folder) / "touched"
    with path.open("wb") as file:
        for _ in range(count // len(piece) + 1):
            file.write(piece)
    path.unlink()


class Place:
    """A private directory with the processes that work in it; ends them and removes it."""

    def __init__(self, parent):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="livepush-bench-", dir=parent))
        self._processes = []
        self._relays = []
        self.env = {**os.environ, "HOME": str(self.dir / "home"),
                    "XDG_STATE_HOME": str(self.dir / "state"),
                    "XDG_CACHE_HOME": str(self.dir / "cache"),
                    "XDG_RUNTIME_DIR": str(self.dir / "run"),
                    "MUTAGEN_DATA_DIRECTORY": str(self.dir / "mutagen"),
                    "LIVEPUSH_SECRET": SECRET, "LIVEPUSH_ALLOW_ROOT": "1"}
        for name in ("home", "state", "cache", "run"):
            (self.dir / name).mkdir(mode=0o700)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_all()
        shutil.rmtree(self.dir, ignore_errors=True)

    def spawn(self, *argv, **options):
        """Starts a process; its stdout is read line by line into `process.lines`."""
        process = subprocess.Popen([str(arg) for arg in argv], env=self.env,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace",
                                   **options)
        process.lines = queue.SimpleQueue()

        def read():
            for line in process.stdout:
                process.lines.put(line)
            process.lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        self._processes.append(process)
        return process

    def relay(self, port):
        """A relay to that port, which counts and cuts."""
        self._relays.append(relay.Relay(port))
        return self._relays[-1]

    def stop_all(self):
        """Ends its processes, the last one first, and its relays."""
        while self._processes:
            self.stop(self._processes[-1])
        while self._relays:
            self._relays.pop().close()

    def stop(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.remove(process)

    def run(self, *argv):
        """Runs a command to its successful end; returns the seconds that it took."""
        began = time.perf_counter()
        done = subprocess.run([str(arg) for arg in argv], env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", check=False)
        took = time.perf_counter() - began
        if done.returncode != 0:
            raise BenchError(f"{argv[0]} ended with {done.returncode}: {done.stdout[-2000:]}")
        return took


def line_with(process, matches, what):
    """Waits for a line of the process for which matches(line) holds; returns it."""
    said = []
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            line = process.lines.get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            line = None
        if line is None:
            raise BenchError(f"{what}; it said: {''.join(said[-20:])}")
        if matches(line):
            return line
        said.append(line)


def event(process, *kinds):
    """Waits for one of these events in a --json output; returns it."""
    def matches(line):
        try:
            return json.loads(line).get("event") in kinds
        except (ValueError, AttributeError):
            return False
    return json.loads(line_with(process, matches, f"no event {' or '.join(kinds)}"))


def spawn_controller(place, tree, port=0):
    """A controller that mirrors into tree: its process and port."""
    controller = place.spawn(CONTROLLER, "--tree", tree, "--listen", f"127.0.0.1:{port}")
    return controller, int(event(controller, "listening")["address"].rpartition(":")[2])


def start_controller(place, tree):
    """A controller that mirrors into tree; returns its port."""
    return spawn_controller(place, tree)[1]


def start_rsync_daemon(place, tree):
    """An rsync daemon that writes into tree; returns the URL of its module."""
    port = free_port()
    identity = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""
    config = place.dir / "rsyncd.conf"
    config.write_text(f"use chroot = no\n{identity}[tree]\npath = {tree}\nread only = no\n")
    place.spawn("rsync", "--daemon", "--no-detach", f"--config={config}", f"--port={port}",
                "--address=127.0.0.1")

    def accepts():
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    wait_for(accepts, "the rsync daemon listens")
    return f"rsync://127.0.0.1:{port}/tree/"


class Livepush:
    """`livepush watch` or `livepush mount` into a mirroring controller on loopback."""

    removes = True

    def __init__(self, command="watch", through_relay=False):
        self.name = f"livepush {command}"
        self.command = command
        self._through_relay = through_relay

    @staticmethod
    def version():
        return subprocess.run([LIVEPUSH, "--version"], capture_output=True, text=True,
                              check=False).stdout.strip()

    def available(self):
        return self.command == "watch" or (os.access("/dev/fuse", os.R_OK | os.W_OK)
                                           and (os.geteuid() == 0 or shutil.which("fusermount3")))

    def start(self, place, source, tree):
        """The processes are `client` and `controller`; what runs between them is in `relay`, when
        it was asked for: it costs each change two more wake-ups."""
        self.controller, port = spawn_controller(place, tree)
        if self._through_relay:
            self.relay = place.relay(port)
            port = self.relay.port
        self.client = place.spawn(LIVEPUSH, self.command, "--json", source,
                                  f"ws://127.0.0.1:{port}")
        event(self.client, "ready")

    def after_save(self):
        """Nothing to do: it notices by itself."""


class Lsyncd:
    """lsyncd with a delay of 0, through an rsync daemon on loopback."""

    removes = True

    def __init__(self, whole=True):
        self.name = "lsyncd, delay 0"
        self._whole = "true" if whole else "false"

    @staticmethod
    def version():
        text = subprocess.run(["lsyncd", "--version"], capture_output=True, text=True, check=False)
        return f"lsyncd {text.stdout.strip()}"

    @staticmethod
    def available():
        return shutil.which("lsyncd") is not None

    def start(self, place, source, tree):
        url = start_rsync_daemon(place, tree)
        config = place.dir / "lsyncd.lua"
        config.write_text(f'''settings {{ nodaemon = true }}
sync {{ default.rsync, source = "{source}", target = "{url}", delay = 0,
        rsync = {{ archive = true, whole_file = {self._whole}, compress = false }} }}
''')
        program = place.spawn("lsyncd", "-nodaemon", "-log", "Normal", config)
        line_with(program, lambda line: "finished" in line, "lsyncd does not finish its start")

    def after_save(self):
        """Nothing to do: it notices by itself."""


class Rsync:
    """rsync, run for the whole tree right after each save."""

    removes = False

    def __init__(self, whole=True):
        self.name = "rsync after each save"
        self._option = "--whole-file" if whole else "--no-whole-file"

    @staticmethod
    def version():
        text = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=False)
        return text.stdout.partition("\n")[0].strip()

    @staticmethod
    def available():
        return shutil.which("rsync") is not None

    def start(self, place, source, tree):
        self._run = lambda: place.run("rsync", "-a", self._option, f"{source}/", url)
        url = start_rsync_daemon(place, tree)
        self._run()

    def after_save(self):
        self._run()


class Bindfs:
    """A directory shown at another place by FUSE: the same work without livepush's part of it."""

    name = "bindfs"

    @staticmethod
    def version():
        text = subprocess.run(["bindfs", "--version"], capture_output=True, text=True, check=False)
        return text.stdout.strip()

    @staticmethod
    def available():
        return shutil.which("bindfs") is not None and os.access("/dev/fuse", os.W_OK)

    @staticmethod
    def start(place, source, mountpoint):
        place.spawn("bindfs", "-f", "--multithreaded", source, mountpoint)
        wait_for(lambda: os.path.ismount(mountpoint), "bindfs is mounted")


class Mutagen:
    """Mutagen, one way, both ends local."""

    name = "mutagen"

    @staticmethod
    def version():
        text = subprocess.run(["mutagen", "version"], capture_output=True, text=True, check=False)
        return f"mutagen {text.stdout.strip()}"

    @staticmethod
    def available():
        return shutil.which("mutagen") is not None

    @staticmethod
    def start(place, source, tree):
        # The daemon in the foreground, so that it ends with the place.
        place.spawn("mutagen", "daemon", "run")
        time.sleep(1)  # it offers no other sign that it is up than taking a command
        place.run("mutagen", "sync", "create", "--name=bench", "--mode=one-way-replica", source,
                  tree)
        place.run("mutagen", "sync", "flush", "bench")
        wait_for(lambda: workload.same_trees(source, tree), "mutagen's first sync")

    def after_save(self):
        """Nothing to do: it notices by itself."""
