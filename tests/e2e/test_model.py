"""The mirror against a model: random operations on a workspace, by `watch` or `mount` (first
argument), while client, controllers, backend and connections die. At check points all instances
have to equal the workspace, by a comparison made here; and a reader that runs all the time may
never see a file half written.

E2E_MODEL_OPS: how many operations; E2E_SEED: the seed of a run to be repeated;
E2E_MODEL_WITHOUT: operations that are left out, separated by commas.
"""

import atexit
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import unittest

import livepush_e2e as e2e
import model_ops
import oracle
import relay

COMMAND = sys.argv.pop(1)
OPS = int(os.environ.get("E2E_MODEL_OPS", "1200"))
SEED = int(os.environ.get("E2E_SEED", random.SystemRandom().randrange(1 << 32)))
CHECK_EVERY = 120
FAULT_EVERY = 25
APP = "copies"
CONFIG = "rules: [{match: '*', action: none}]\nhealth: {kind: process, settle: 20ms}\n"
QUEUE = pathlib.Path("/proc/sys/fs/inotify/max_queued_events")


class Queue:
    """The kernel's limit of queued inotify events, lowered for who starts meanwhile."""

    def __init__(self, length):
        self._length = length

    def __enter__(self):
        self._before = max(int(QUEUE.read_text()), 1024)
        atexit.register(QUEUE.write_text, str(self._before))
        QUEUE.write_text(str(self._length))

    def __exit__(self, *_):
        QUEUE.write_text(str(self._before))
        atexit.unregister(QUEUE.write_text)


def queue_can_be_set():
    try:
        QUEUE.write_text(QUEUE.read_text())
    except OSError:
        return False
    return True


class Instance:
    """A controller behind a relay, on a tree, perhaps with a backend."""

    def __init__(self, case, name, command=(), options=()):
        self.case, self.command, self.options = case, command, options
        self.tree = case.dir / name
        self.tree.mkdir()
        self.port = e2e.free_port()
        self.relay = relay.Relay(self.port)
        case.addCleanup(self.relay.close)
        self.start()

    def start(self):
        self.program, _ = self.case.controller(self.tree, *self.command, port=self.port,
                                               options=self.options)

    def kill(self):
        self.program.stop(signal.SIGKILL)
        self.case.programs.remove(self.program)
        self.program = None

    def kill_backend(self):
        for pid in e2e.children_of(self.program.pid):
            os.kill(pid, signal.SIGKILL)


class Model(e2e.Case):
    def setUp(self):
        super().setUp()
        self.chance = random.Random(SEED)
        self.source = self.dir / "source"
        outside = self.dir / "outside"
        outside.mkdir()
        backend = ("sh", "-c", "exec sleep 100000")
        config = self.dir / "livepush.yml"
        config.write_text(CONFIG)
        self.instances = [Instance(self, "tree0", backend, ("--config", config)),
                          Instance(self, "tree1")]
        self.make_workspace()
        underneath = None
        if COMMAND == "mount":
            self.below = os.open(self.source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.addCleanup(os.close, self.below)
            underneath = f"/proc/self/fd/{self.below}"
        self.ops = model_ops.Ops(self.source, outside, SEED, underneath,
                                 os.environ.get("E2E_MODEL_WITHOUT", "").split(","))
        self.repairs = []
        self.flushing = 0
        self.client = None
        self.stopped = False
        self.start_client()
        self.reader = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("model_content.py"),
             *(instance.tree for instance in self.instances)], env=self.env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end_reader)

    def make_workspace(self):
        """With enough files that are never touched that nothing removes most of the tree."""
        for number in range(300):
            e2e.write(self.source / f"base/{number % 10}/{number}", model_ops.content.record(
                b"%d" % number))
        (self.source / "underneath").mkdir()
        (self.source / "swap").mkdir()
        urls = json.dumps([f"ws://127.0.0.1:{one.relay.port}" for one in self.instances])
        e2e.write(self.source / "livepush.yml",
                  f"targets:\n  {APP}: {{urls: {urls}}}\n" + CONFIG)
        subprocess.run(["git", "init", "-q", self.source], check=True)

    def end_reader(self):
        if self.reader.poll() is None:
            self.reader.kill()
        self.reader.wait()
        self.reader.stdout.close()
        self.reader.stdin.close()

    # Client

    def start_client(self):
        argv = [e2e.LIVEPUSH, COMMAND, "--json", self.source, APP]
        env = {"LIVEPUSH_SECRET": e2e.SECRET}
        if self.chance.random() < 0.5 and queue_can_be_set():
            with Queue(self.chance.choice((16, 64, 256))):
                self.client = self.start(*argv, env=env)
                self.client.wait_event("ready", timeout=2 * e2e.PATIENCE)
        else:
            self.client = self.start(*argv, env=env)
            self.client.wait_event("ready", timeout=2 * e2e.PATIENCE)

    def kill_client(self):
        self.client.stop(signal.SIGKILL)
        self.programs.remove(self.client)
        self.client = None
        # What it held is given up a moment after it: its mount by the guard.
        e2e.wait_for(lambda: not e2e.mounts_below(self.dir), what="the mount is gone")

    # Faults; each is repaired some operations later

    def fault(self):
        instance = self.chance.choice(self.instances)
        kinds = ["cut", "cut", "cut", "controller", "client", "backend", "away", "slow"]
        if COMMAND == "watch":
            kinds.append("stop")
        kind = self.chance.choice(kinds)
        self.ops.log.append([self.ops.count, f"FAULT {kind}"])
        if kind == "cut":
            instance.relay.cut()
        elif kind == "backend" and self.instances[0].program:
            self.instances[0].kill_backend()
        elif kind == "controller" and instance.program:
            instance.kill()
            self.repairs.append(instance.start)
        elif kind == "client" and self.client and not self.stopped:
            self.kill_client()
            self.repairs.append(self.start_client)
        elif kind == "away":
            instance.relay.refuse(True)
            instance.relay.cut()
            self.repairs.append(lambda: instance.relay.refuse(False))
        elif kind == "slow":
            instance.relay.hold()
            self.repairs.append(instance.relay.flow)
        elif kind == "stop" and self.client:
            self.client.send_signal(signal.SIGSTOP)
            self.stopped = True
            self.repairs.append(self.go_on)

    def go_on(self):
        self.stopped = False
        if self.client:
            self.client.send_signal(signal.SIGCONT)

    def repair(self):
        """Repairs something; whoever starts a client repairs everything else before, for it is
        ready only when it has spoken to everybody."""
        if self.repairs[0] == self.start_client:
            self.repair_all()
        else:
            self.repairs.pop(0)()

    def repair_all(self):
        # What listens comes first, so that a client that starts finds everybody.
        self.repairs.sort(key=lambda repair: repair == self.start_client)
        while self.repairs:
            self.repairs.pop(0)()

    def story(self, text):
        return (f"seed {SEED}, {COMMAND}, after {self.ops.count} operations\n{text}\n"
                f"what was done to it:\n{self.ops.history(text)}\nthe last of all:\n"
                + "\n".join(map(str, self.ops.log[-12:])))

    def flush(self):
        return self.livepush("flush", APP, "--timeout", str(int(2 * e2e.PATIENCE)),
                             timeout=3 * e2e.PATIENCE)

    def check(self):
        self.repair_all()
        began = time.monotonic()
        while (done := self.flush()).returncode != 0:
            # A backend that was just killed is a failure that flush tells at once.
            if "killed by SIGKILL" not in done.stderr or time.monotonic() > began + e2e.PATIENCE:
                self.fail(self.story(f"flush: {done.returncode} {done.stderr}"))
            time.sleep(0.05)
        took = time.monotonic() - began
        self.flushing += took
        faults = [entry[1] for entry in self.ops.log[-CHECK_EVERY:] if "FAULT" in entry[1]]
        print(f"{self.ops.count}: flush took {took:.2f} s after {faults}", flush=True)
        for instance in self.instances:
            text = oracle.difference(self.source, instance.tree)
            if not text:
                continue
            began = time.monotonic()
            late = "and stay so"
            while time.monotonic() - began < 5 * e2e.SLOWDOWN:
                if not oracle.difference(self.source, instance.tree):
                    late = f"flush came {time.monotonic() - began:.2f} s too early"
                    break
                time.sleep(0.05)
            self.fail(self.story(f"{instance.tree.name} differs after flush ({late}):\n{text}"))

    def test_random_operations_end_equal_and_nothing_half_written_is_ever_seen(self):
        print(f"seed {SEED}, {OPS} operations", flush=True)
        while self.ops.count < OPS:
            try:
                self.ops.run()
            except OSError as error:
                self.fail(self.story(f"an operation failed: {error}"))
            if self.ops.count % FAULT_EVERY == 0 and self.chance.random() < 0.8:
                self.fault()
            elif self.repairs and self.chance.random() < 0.05:
                self.repair()
            if self.chance.random() < 0.1:
                time.sleep(self.chance.random() * 0.02)
            if self.ops.count % CHECK_EVERY == 0:
                self.check()
        self.check()
        said, _ = self.reader.communicate("\n", timeout=e2e.PATIENCE)
        *faults, last = said.splitlines()
        if faults:
            self.fail(self.story("\n".join(f"{line}\n{self.ops.around(float(line.split()[0]))}"
                                           for line in faults[:5])))
        print(f"{last} contents; {self.flushing:.1f} s in flush", flush=True)
        self.assertGreater(int(last.removeprefix("read ")), 100)


if __name__ == "__main__":
    if COMMAND == "mount" and not e2e.fuse_works():
        print("FUSE is not available here")
        sys.exit(e2e.SKIP)
    unittest.main(verbosity=2)
