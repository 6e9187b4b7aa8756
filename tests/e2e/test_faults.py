"""Faults by name: disks, permissions, crashes, cuts and hostile peers. The seed of what is random
is printed; E2E_SEED repeats it."""

import ctypes
import errno
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import threading
import time
import unittest

import livepush_e2e as e2e
import pair
import wire_client as wire

SEED = int(os.environ.get("E2E_SEED", random.SystemRandom().randrange(1 << 32)))
RENAME_EXCHANGE = 2
# A sanitizer keeps what was freed for a while.
MEMORY = (64 if e2e.SLOWDOWN == 1 else 640) << 20


def mount(*args):
    """mount(8); False where that may not be done."""
    return subprocess.run(["mount", *map(str, args)], capture_output=True,
                          check=False).returncode == 0


class Disk(pair.Pair):
    """The tree cannot take what comes, is mended, and goes on."""

    def memory_tree(self, size):
        if not mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.tree):
            self.skipTest("no file system can be mounted here")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", self.tree], check=False))

    def prepare(self):
        e2e.write(self.source / "dir/file", "old")
        e2e.write(self.source / "other", "1")
        self.start_pair()
        self.assert_equal()

    def failure_of(self, save, path, cause):
        """What failed says about a save; everything else is as it was."""
        before = e2e.snapshot(self.tree)
        since = self.client.mark()
        save()
        failed = self.client.wait_event("failed", since)
        self.assertEqual(failed["stage"], "apply", failed)
        self.assertIn(path, failed["error"])
        self.assertIn(cause.lower(), failed["error"].lower())
        after = e2e.snapshot(self.tree)
        after.pop(b"beside", None)
        self.assertEqual(e2e.difference(before, after), "", "the old state is not kept")

    def test_a_full_disk(self):
        self.memory_tree("4m")
        self.prepare()
        self.failure_of(lambda: e2e.write(self.source / "dir/file", os.urandom(6 << 20)),
                        "dir/file", "no space left")
        self.refused("flush", pair.APP, "--timeout", "2", saying=["no space left"])
        self.assertTrue(mount("-o", "remount,size=64m", self.tree))
        self.wait_equal(4 * e2e.PATIENCE)
        e2e.write(self.source / "other", "2")
        self.assert_equal()

    def test_a_full_disk_that_the_workspace_itself_mends(self):
        self.memory_tree("4m")
        self.prepare()
        self.failure_of(lambda: e2e.write(self.source / "dir/file", os.urandom(6 << 20)),
                        "dir/file", "no space left")
        e2e.write(self.source / "dir/file", "small again")
        self.wait_equal(4 * e2e.PATIENCE)
        self.assert_equal()

    def test_a_start_on_a_full_disk(self):
        """The app that is there runs, and what cannot be written is, later."""
        self.memory_tree("4m")
        self.prepare()
        self.instance.stop()
        self.forget(self.instance)
        # What is kept for taking back would be given up first.
        shutil.rmtree(self.tree / ".livepush/undo")
        with open(self.tree / "fill", "wb", buffering=0) as fill:
            try:
                while True:
                    fill.write(bytes(4096))
            except OSError as full:
                self.assertEqual(full.errno, errno.ENOSPC)
        self.start_controller()
        e2e.wait_for(lambda: ".livepush/owned cannot be written anew" in self.instance.stderr(),
                     e2e.PATIENCE, self.instance.describe)
        self.failure_of(lambda: e2e.write(self.source / "other", "2"), "other", "no space left")
        os.unlink(self.tree / "fill")
        self.wait_equal(4 * e2e.PATIENCE)
        self.assert_equal()

    def test_a_directory_that_cannot_be_changed(self):
        self.prepare()
        folder = self.tree / "dir"
        if subprocess.run(["chattr", "+i", folder], capture_output=True, check=False).returncode:
            self.skipTest("nothing can be made immutable here")
        self.addCleanup(lambda: subprocess.run(["chattr", "-i", folder], capture_output=True,
                                               check=False))
        self.failure_of(lambda: e2e.write(self.source / "dir/file", "new"), "dir/file",
                        "not permitted")
        subprocess.run(["chattr", "-i", folder], check=True)
        self.wait_equal(4 * e2e.PATIENCE)
        self.assert_equal()

    def test_a_tree_that_is_read_only_from_the_start(self):
        self.memory_tree("16m")
        self.assertTrue(mount("-o", "remount,ro", self.tree))
        controller = self.start(e2e.CONTROLLER, "--tree", self.tree, "--listen", "127.0.0.1:0")
        self.assertEqual(controller.wait(), 1)
        self.assertIn("read-only", controller.stderr().lower())
        self.assertIn(str(self.tree), controller.stderr())

    def test_permission_denied(self):
        if os.geteuid() != 0:
            self.skipTest("needs another user")
        nobody = 65534
        os.chmod(self.dir, 0o755)
        for folder in (self.tree, self.dir / "reports", self.dir / "tmp"):
            os.chown(folder, nobody, nobody)
        for folder in (self.source, self.tree):
            (folder / "locked").mkdir(mode=0o755)
        self.instance = self.start(
            "setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups", e2e.CONTROLLER,
            "--tree", self.tree, "--listen", f"127.0.0.1:{self.port}")
        self.instance.wait_event("listening")
        e2e.write(self.source / "other", "1")
        self.start_client()
        self.assert_equal()
        self.failure_of(lambda: e2e.write(self.source / "locked/file", "new"), "locked",
                        "permission denied")
        os.chown(self.tree / "locked", nobody, nobody)
        self.wait_equal(4 * e2e.PATIENCE)
        self.assert_equal()


class Instances(pair.Pair):
    def fill(self):
        for number in range(400):
            e2e.write(self.source / f"d{number % 20}/f{number}", f"{number}\n" * 50)

    def test_an_empty_one_in_its_place_is_caught_up_before_it_counts(self):
        self.fill()
        self.start_pair()
        self.assert_equal()
        for turn in range(3):
            self.forget_controller()
            self.tree = self.dir / f"tree{turn}"
            self.tree.mkdir()
            e2e.write(self.source / f"d{turn}/new", str(turn))
            self.start_controller()
            self.assert_equal()

    def forget_controller(self):
        self.instance.stop(signal.SIGKILL)
        self.forget(self.instance)

    def test_flush_does_not_say_that_all_is_there_while_an_instance_is_away(self):
        self.fill()
        self.start_pair()
        self.assert_equal()
        self.relay.refuse(True)
        self.relay.cut()
        e2e.write(self.source / "d1/new", "1")
        self.refused("flush", pair.APP, "--timeout", "1")
        self.relay.refuse(False)
        self.assert_equal()

    def test_a_half_sent_large_file_goes_on_where_it_was_cut(self):
        size = 48 << 20
        self.start_pair()
        self.flush()
        begin = self.relay.up
        self.relay.cut_after(20 << 20)
        e2e.safe_write(self.source / "large", os.urandom(size))
        e2e.wait_for(lambda: not self.relay.cut_pending, 4 * e2e.PATIENCE, "it is cut")
        self.relay.cut_after(14 << 20)
        self.assert_equal()
        self.assertFalse(self.relay.cut_pending, "the second cut never came")
        # What was under way at a cut, a window each time, may go twice.
        self.assertLess(self.relay.up - begin, size + 2 * (9 << 20))

    def test_a_file_that_is_cut_and_changed_meanwhile(self):
        self.start_pair()
        self.relay.cut_after(8 << 20)
        e2e.safe_write(self.source / "large", os.urandom(24 << 20))
        e2e.wait_for(lambda: not self.relay.cut_pending, 4 * e2e.PATIENCE, "it is cut")
        e2e.safe_write(self.source / "large", os.urandom(20 << 20))
        self.assert_equal()


class Crash(e2e.Case):
    """The controller dies at random moments of a stream of changesets."""

    FILES = 60

    def test_after_kill_9_a_changeset_is_there_as_a_whole_or_not_at_all(self):
        print(f"seed {SEED}", flush=True)
        chance = random.Random(SEED)
        tree = self.dir / "tree"
        tree.mkdir()
        seen = set()
        generation = 0
        for turn in range(20):
            program, port = self.controller(tree)
            with wire.Client(port, timeout=10 * e2e.SLOWDOWN) as client:
                answer = client.open(e2e.SECRET, take_over=True)
                self.assertEqual(answer[0], wire.WELCOME)
                seen.add(self.whole(tree, f"seed {SEED}, turn {turn}, before {generation}"))
                # Some are applied, and the next one is cut short at any place of its way.
                took = 0
                for _ in range(chance.randrange(1, 3)):
                    generation += 1
                    took = self.apply(client, generation)
                generation += 1
                data = wire.pack([wire.CHANGE, generation, wire.FIRST | wire.LAST, bytes(16),
                                  self.operations(generation)])
                timer = threading.Timer(chance.random() * 1.2 * took, program.send_signal,
                                        [signal.SIGKILL])
                client.send_frame(data)
                timer.start()
                timer.join()
            program.wait()
            self.programs.remove(program)
        self.controller(tree)
        self.whole(tree, f"seed {SEED}, at the end")
        self.assertGreater(len(seen), 5, "hardly anything was applied between the kills")

    def apply(self, client, generation):
        """Has a changeset applied; the seconds that it took."""
        operations = self.operations(generation)
        began = time.monotonic()
        client.change(*operations, revision=generation)
        answer = client.receive_kind(wire.APPLIED, wire.FAILED)
        self.assertEqual(answer[0], wire.APPLIED, answer)
        return time.monotonic() - began

    def operations(self, generation):
        """Every file a new content, in directories that come and go."""
        text = b"%d" % generation
        operations = [wire.put_dir("kept"), wire.put_dir(f"g{generation}")]
        operations += [wire.put_file(f"g{generation}/f", text)]
        operations += [wire.put_file(f"kept/f{number:03}", text + b"-" * number * 50)
                       for number in range(self.FILES)]
        # The one before may have died with its controller.
        operations += [wire.delete(f"g{number}")
                       for number in range(max(1, generation - 2), generation)]
        return operations

    def whole(self, tree, when):
        """The generation that the tree is of; fails when it is of several."""
        found = {path: content for path, content in
                 ((path, open(path, "rb").read().split(b"-")[0]) for path in tree.rglob("f*")
                  if path.is_file() and ".livepush" not in path.parts)}
        if not found:
            return None
        self.assertEqual(len(set(found.values())), 1, f"{when}: mixed {found}")
        self.assertEqual(len(found), self.FILES + 1, f"{when}: {sorted(found)}")
        number = int(next(iter(found.values())))
        self.assertEqual([path.name for path in tree.glob("g*")], [f"g{number}"], when)
        return number


class Hostile(e2e.Case):
    """Peers that know the secret and mean harm."""

    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.outside = self.dir / "outside"
        self.tree.mkdir()
        self.outside.mkdir()
        e2e.write(self.outside / "victim", "unharmed")
        self.program, self.port = self.controller(self.tree)

    def owner(self):
        client = wire.Client(self.port, timeout=20 * e2e.SLOWDOWN)
        self.addCleanup(client.close)
        answer = client.open(e2e.SECRET, take_over=True)
        self.assertEqual(answer[0], wire.WELCOME, answer)
        return client

    def highest(self):
        """The most memory that the controller ever had."""
        status = pathlib.Path(f"/proc/{self.program.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    def assert_well(self):
        self.assertIsNone(self.program.process.poll(), self.program.describe())
        self.assertLess(self.highest(), MEMORY)
        self.assertEqual({path.name: path.read_text() for path in self.outside.iterdir()},
                         {"victim": "unharmed"})
        client = self.owner()
        client.change(wire.put_file("well", b"1"))
        self.assertEqual(client.receive_kind(wire.APPLIED, wire.FAILED)[0], wire.APPLIED)
        self.assertEqual((self.tree / "well").read_text(), "1")

    @staticmethod
    def drain(client):
        """Takes what comes until the connection ends, or until it proves to be alive."""
        try:
            client.send(wire.ASK, 0)
            client.receive_kind(wire.STATUS)
        except (wire.Closed, OSError):
            pass

    @staticmethod
    def take_all(client):
        """Takes what comes until the connection ends."""
        try:
            while True:
                client.receive()
        except (wire.Closed, OSError):
            pass

    def test_a_symlink_swapped_in_while_it_applies(self):
        client = self.owner()
        client.change(wire.put_dir("dir"), wire.put_file("dir/victim", b"inside"))
        self.assertEqual(client.receive_kind(wire.APPLIED, wire.FAILED)[0], wire.APPLIED)
        libc = ctypes.CDLL(None, use_errno=True)
        link = os.fsencode(self.tree / "link")
        folder = os.fsencode(self.tree / "dir")
        os.symlink(self.outside, link)
        stop = threading.Event()

        def swap():
            while not stop.is_set():
                libc.renameat2(-100, link, -100, folder, RENAME_EXCHANGE)

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for revision in range(2, 200):
                number = revision % 5
                operation = wire.delete("dir/victim") if revision % 3 == 0 else \
                    wire.put_file(("dir/victim", f"dir/new{number}")[revision % 2],
                                  b"%d" % revision)
                client.change(operation, revision=revision)
                if client.receive_kind(wire.APPLIED, wire.FAILED)[0] == wire.FAILED:
                    client.close()
                    client = self.owner()
        finally:
            stop.set()
            thread.join()
        self.assert_well()

    def test_a_digest_that_does_not_fit(self):
        client = self.owner()
        operation = wire.put_file("file", b"content")
        operation[operation.index(wire.digest(b"content"))] = bytes(16)
        client.change(operation, wire.put_file("other", b"1"))
        self.assertEqual(client.receive_kind(wire.APPLIED, wire.FAILED)[0], wire.FAILED)
        self.assertFalse((self.tree / "file").exists())
        self.assert_well()

    def test_lengths_of_2_to_the_63(self):
        for size in (2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1, 2 ** 40):
            with self.subTest(size=size):
                client = self.owner()
                operation = wire.put_file("huge", b"some")
                operation[operation.index(4)] = size
                operation[-1] = None
                client.change(operation)
                for _ in range(5):
                    client.send(wire.DATA, b"x" * 1000)
                client.close()
        self.assertFalse((self.tree / "huge").exists())
        self.assert_well()

    def test_a_million_tiny_messages(self):
        client = self.owner()
        frame = self.frame(wire.pack([wire.ASK, 0])) * 10_000
        answers = threading.Thread(target=self.take_all, args=(client,), daemon=True)
        try:
            for turn in range(100):
                client.send_raw(frame)
                if turn == 50:
                    answers.start()  # until here nobody took the answers
                self.assertLess(self.highest(), MEMORY)
        except (wire.Closed, OSError):
            pass  # it need not listen to that
        self.assert_well()

    def test_thousands_of_tiny_changesets_whose_answers_nobody_waits_for(self):
        client = self.owner()
        contents = [wire.put_file("tiny", b"%d" % number) for number in range(10)]
        try:
            for turn in range(10):
                client.send_raw(b"".join(self.frame(wire.pack(
                    [wire.CHANGE, turn * 1000 + number, wire.FIRST | wire.LAST, bytes(16),
                     [contents[number % 10]]])) for number in range(1000)))
                self.assertLess(self.highest(), MEMORY)
        except (wire.Closed, OSError):
            pass
        client.close()
        self.assert_well()

    @staticmethod
    def frame(payload):
        head = bytes([0x82, 0x80 | len(payload)]) if len(payload) < 126 \
            else struct.pack(">BBH", 0x82, 0x80 | 126, len(payload))
        return head + bytes(4) + payload

    @staticmethod
    def bomb(size):
        """A zstd frame of `size` zeros, in a 32,768th of it (RFC 8878, RLE blocks)."""
        out = bytearray(b"\x28\xb5\x2f\xfd\x00\x50")  # no size said, a window of 1 MiB
        while size:
            step = min(size, 1 << 17)
            size -= step
            out += struct.pack("<I", (step << 3) | (1 << 1) | (0 if size else 1))[:3] + b"\0"
        return bytes(out)

    def test_decompression_bombs(self):
        for said, size in ((1 << 30, 1 << 30), (1000, 1 << 30), (512 << 10, 1 << 30),
                           (2 ** 63, 1 << 20), (0, 1 << 24), (1 << 24, 1 << 24)):
            with self.subTest(said=said, size=size):
                client = self.owner()
                client.send(wire.PACKED, said, self.bomb(size))
                self.drain(client)
                self.assertLess(self.highest(), MEMORY)
        self.assert_well()

    def test_files_without_end(self):
        """More content than was announced, and content that nobody announced."""
        client = self.owner()
        client.send(wire.DATA, b"x" * 100)
        self.drain(client)
        client = self.owner()
        operation = wire.put_file("file", b"some")
        operation[-1] = None
        client.change(operation)
        try:
            for _ in range(50):
                client.send(wire.DATA, b"x" * 1000)
        except wire.Closed:
            pass
        client.close()
        self.assert_well()


if __name__ == "__main__":
    unittest.main(verbosity=2)
