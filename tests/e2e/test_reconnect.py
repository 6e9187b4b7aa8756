"""Connections that are cut, held up or held in vain: the trees end equal, nothing is sent twice that
need not be, and a peer that says nothing is noticed in time."""

import os
import shutil
import subprocess
import time
import unittest

import livepush_e2e as e2e
from relay import Relay

MIB = 1 << 20
NOTICED_WITHIN = 10  # seconds, whatever else the machine does


class Line(e2e.Case):
    def setUp(self):
        super().setUp()
        self.source = self.dir / "source"
        self.tree = self.dir / "tree"
        self.source.mkdir()
        self.tree.mkdir()

    def relayed(self, *options):
        """A controller on the tree behind a relay."""
        controller, port = self.controller(self.tree, options=options)
        relay = Relay(port)
        self.addCleanup(relay.close)
        return controller, relay

    def wait_equal(self):
        e2e.wait_equal(self.source, self.tree)

    def wait_state(self, client, state, since, timeout=e2e.PATIENCE):
        return client.wait_event("state", since, timeout,
                                 match=lambda event: event["state"] == state)


class Reconnect(Line):
    def test_what_is_saved_between_cuts_arrives(self):
        e2e.write(self.source / "a", "1")
        _, relay = self.relayed()
        client = self.mirror(self.source, relay.port)
        for number in range(10):
            since = client.mark()
            relay.cut()
            e2e.write(self.source / f"d{number}/f", f"{number}\n" * 1000)
            e2e.write(self.source / "a", f"{number}")
            self.wait_state(client, "connected", since)
            self.wait_equal()

    def test_a_large_file_that_was_sent_in_part_is_not_begun_again(self):
        size = 50 * MIB
        e2e.write(self.source / "large", os.urandom(size))
        _, relay = self.relayed()
        relay.cut_after(size // 2)
        self.mirror(self.source, relay.port)
        self.wait_equal()
        self.assertGreaterEqual(relay.accepted, 2)
        # What was in the window, or in buffers on the way, may be sent once more.
        self.assertLess(relay.up, size + 12 * MIB)

    def test_a_large_file_changed_in_a_few_places_while_the_line_was_cut(self):
        size = 50 * MIB
        e2e.write(self.source / "large", os.urandom(size))
        _, relay = self.relayed()
        client = self.mirror(self.source, relay.port)
        self.wait_equal()
        since = client.mark()
        relay.refuse(True)
        relay.cut()
        self.wait_state(client, "disconnected", since)
        before = relay.up
        with open(self.source / "large", "r+b") as file:
            file.seek(20 * MIB)
            file.write(os.urandom(4096))
        time.sleep(0.5)  # it is a change of its own, not part of the catch-up
        relay.refuse(False)
        self.wait_equal()
        self.assertLess(relay.up - before, 2 * MIB)

    def test_a_peer_that_says_nothing_is_noticed_on_both_sides(self):
        e2e.write(self.source / "a", "1")
        controller, relay = self.relayed("--log-level", "debug")
        client = self.mirror(self.source, relay.port)
        self.wait_equal()
        since, began = client.mark(), time.monotonic()
        relay.hold()
        self.wait_state(client, "disconnected", since, NOTICED_WITHIN)
        left = NOTICED_WITHIN - (time.monotonic() - began)
        e2e.wait_for(lambda: "does not answer" in controller.stderr(), left,
                     what=controller.describe)
        e2e.write(self.source / "a", "22")
        relay.flow()
        self.wait_equal()

    def test_an_instance_that_stops_reading_holds_up_nobody(self):
        other = self.dir / "other"
        other.mkdir()
        _, port = self.controller(other)
        _, relay = self.relayed()
        e2e.write(self.dir / "livepush.yml", "targets:\n  two:\n    urls:\n"
                  f"      - ws://127.0.0.1:{port}\n      - ws://127.0.0.1:{relay.port}\n")
        shutil.copy(self.dir / "livepush.yml", self.source / "livepush.yml")
        client = self.start(e2e.LIVEPUSH, "watch", "--json", self.source, "two",
                            env={"LIVEPUSH_SECRET": e2e.SECRET})
        client.wait_event("ready")
        relay.hold()
        content = os.urandom(MIB)
        for number in range(64):
            e2e.write(self.source / f"f{number}", content)
        e2e.wait_equal(self.source, other, 5 * e2e.SLOWDOWN)
        with open(f"/proc/{client.pid}/status", encoding="ascii") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        if e2e.SLOWDOWN == 1:
            self.assertLess(resident, 64 * 1024)
        relay.flow()
        self.wait_equal()

    def test_nothing_changed_costs_next_to_nothing_on_the_wire(self):
        for number in range(2000):
            e2e.write(self.source / f"d{number % 50}/f{number}", f"{number}")
        _, relay = self.relayed()
        self.mirror(self.source, relay.port).stop()
        self.wait_equal()
        before = relay.up + relay.down
        self.mirror(self.source, relay.port).stop()
        self.assertLess(relay.up + relay.down - before, 2048)


def namespaces_work():
    """Whether a network of one's own can be made here."""
    return shutil.which("ip") and subprocess.run(
        ["ip", "netns", "add", f"lp-probe-{os.getpid()}"], capture_output=True,
        check=False).returncode == 0


class NetworkIsBack(Line):
    """The client in a network namespace of its own, on a line that is pulled out."""

    def setUp(self):
        super().setUp()
        self.space = f"lp{os.getpid()}"
        probe = f"lp-probe-{os.getpid()}"
        if not namespaces_work():
            self.skipTest("no network namespaces here")
        self.ip("netns", "del", probe)
        self.ip("netns", "add", self.space)
        self.addCleanup(self.ip, "netns", "del", self.space)
        self.ip("link", "add", f"{self.space}a", "type", "veth", "peer", "name", "eth0",
                "netns", self.space)
        self.ip("addr", "add", "198.51.100.1/30", "dev", f"{self.space}a")
        self.ip("link", "set", f"{self.space}a", "up")
        self.address("add")
        self.ip("-n", self.space, "link", "set", "eth0", "up")

    def address(self, verb):
        """The client's address comes or goes, and the route with it. (A link that is set up waits up
        to a second for the kernel to notice the carrier on its other end.)"""
        self.ip("-n", self.space, "addr", verb, "198.51.100.2/30", "dev", "eth0")

    @staticmethod
    def ip(*args):
        subprocess.run(["ip", *args], check=True)

    def test_it_tries_at_once_when_the_line_is_back(self):
        for number in range(200):
            e2e.write(self.source / f"f{number}", f"{number}")
        _, port = self.controller(self.tree, options=("--listen", "198.51.100.1:0"))
        client = self.start("ip", "netns", "exec", self.space, e2e.LIVEPUSH, "watch", "--json",
                            self.source, f"ws://198.51.100.1:{port}",
                            env={"LIVEPUSH_SECRET": e2e.SECRET})
        client.wait_event("ready")
        worst = 0
        for number in range(2):
            since = client.mark()
            self.address("del")
            # It takes its time to notice, and then waits up to seconds between tries.
            self.wait_state(client, "disconnected", since, NOTICED_WITHIN + 5)
            time.sleep(3)
            e2e.write(self.source / "f0", f"saved while it was away {number}")
            since = client.mark()
            self.address("add")
            began = time.monotonic()
            client.wait_event("applied", since)
            worst = max(worst, time.monotonic() - began)
            self.wait_equal()
        self.assertLess(worst, 0.2 * e2e.SLOWDOWN)


if __name__ == "__main__":
    unittest.main(verbosity=2)
