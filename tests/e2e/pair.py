"""A workspace mirrored into one tree through a relay: what several tests start with."""

import json
import time

import livepush_e2e as e2e
import oracle
import relay

APP = "copy"


class Pair(e2e.Case):
    """source is mirrored into tree once start_pair() was called."""

    def setUp(self):
        super().setUp()
        self.source = self.dir / "source"
        self.tree = self.dir / "tree"
        self.source.mkdir()
        self.tree.mkdir()
        self.env["LIVEPUSH_SECRET"] = e2e.SECRET
        self.port = e2e.free_port()
        self.relay = relay.Relay(self.port)
        self.addCleanup(self.relay.close)

    def start_controller(self):
        self.instance, _ = self.controller(self.tree, port=self.port)
        return self.instance

    def start_client(self, *options, command="watch", prefix=(), wait=True):
        urls = json.dumps([f"ws://127.0.0.1:{self.relay.port}"])
        e2e.write(self.source / "livepush.yml", f"targets: {{{APP}: {{urls: {urls}}}}}\n")
        self.client = self.start(*prefix, e2e.LIVEPUSH, command, "--json", *options, self.source,
                                 APP)
        if wait:
            self.client.wait_event("ready", timeout=3 * e2e.PATIENCE)
        return self.client

    def start_pair(self, *options, **more):
        self.start_controller()
        return self.start_client(*options, **more)

    def forget(self, program):
        """A program that ended and whose end is no fault."""
        self.programs.remove(program)

    def flush(self, seconds=2 * e2e.PATIENCE):
        return self.succeed("flush", APP, "--timeout", str(int(seconds)), timeout=seconds + 10)

    def assert_equal(self):
        """After a flush, at once."""
        self.flush()
        self.assertEqual(oracle.difference(self.source, self.tree), "", self.client.describe())

    def wait_equal(self, timeout=2 * e2e.PATIENCE):
        """Without a flush, at the latest in that time."""
        found = [""]

        def equal():
            try:
                found[0] = oracle.difference(self.source, self.tree)
            except OSError as vanished:
                found[0] = str(vanished)
            return not found[0]

        e2e.wait_for(equal, timeout, lambda: f"the trees are equal\n{found[0]}\n"
                     f"{self.client.describe()}")

    def events(self, kind, since=0):
        return [event for event in self.client.events[since:] if event.get("event") == kind]

    def sent(self, action):
        """Bytes that went to the instance from an action until the flush after it."""
        self.flush()
        before = self.relay.up
        action()
        self.assert_equal()
        return self.relay.up - before


def cpu_seconds(pid):
    """Processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def wait_idle(pid, share=0.2, timeout=e2e.PATIENCE):
    """Waits until a process uses less than that share of a processor for half a second."""
    def idle():
        before, began = cpu_seconds(pid), time.monotonic()
        time.sleep(0.5)
        return cpu_seconds(pid) - before < share * (time.monotonic() - began)
    e2e.wait_for(idle, timeout, f"process {pid} is idle")
