"""Mirror mode: the controller's tree equals the workspace, whatever happens to files and network.
The trees are compared by walking and hashing them here, independently of the product."""

import os
import signal
import unittest

import livepush_e2e as e2e


class Mirror(e2e.Case):
    def setUp(self):
        super().setUp()
        self.source = self.dir / "source"
        self.tree = self.dir / "tree"
        self.source.mkdir()
        self.tree.mkdir()

    def pair(self):
        """A controller on the tree and a watch of the source, ready."""
        controller, port = self.controller(self.tree)
        return self.mirror(self.source, port), controller, port

    def assert_equal(self, leave_out=()):
        e2e.wait_equal(self.source, self.tree, leave_out=leave_out)

    def fill(self, folders=8, files=12):
        for folder in range(folders):
            for number in range(files):
                path = self.source / f"d{folder}" / f"s{number % 3}" / f"f{number}.txt"
                e2e.write(path, f"{folder}/{number}\n" * (number * 20 + 1))


class Trees(Mirror):
    def test_first_sync_of_every_kind_of_entry(self):
        self.fill()
        e2e.write(self.source / "empty", b"")
        (self.source / "empty dir/inner").mkdir(parents=True)
        e2e.write(self.source / "run.sh", "#!/bin/sh\n")
        os.chmod(self.source / "run.sh", 0o755)
        os.symlink("run.sh", self.source / "link")
        os.symlink("d1/s1", self.source / "link to dir")
        e2e.write(self.source / "d1/deep/er/and/deeper/file", b"\0\1\2" * 1000)
        self.pair()
        self.assert_equal()

    def test_what_the_tree_had_and_the_workspace_never_had_is_left_alone(self):
        e2e.write(self.tree / "made by the app/log", "1\n")
        e2e.write(self.source / "a", "1")
        self.pair()
        e2e.wait_for(lambda: (self.tree / "a").exists())
        self.assertEqual((self.tree / "made by the app/log").read_text(), "1\n")

    def test_a_difference_in_the_tree_is_mended_at_the_start(self):
        self.fill(2)
        e2e.write(self.tree / "d0/s0/f0.txt", "another content")
        self.pair()
        self.assert_equal()

    def test_create_modify_delete(self):
        self.fill(2)
        self.pair()
        self.assert_equal()
        e2e.write(self.source / "new", "1")
        self.assert_equal()
        e2e.write(self.source / "new", "22")
        self.assert_equal()
        e2e.safe_write(self.source / "new", "333")
        self.assert_equal()
        with open(self.source / "new", "ab") as file:
            file.write(b"more")
        self.assert_equal()
        (self.source / "new").unlink()
        self.assert_equal()

    def test_truncate_without_a_writer_that_closes(self):
        e2e.write(self.source / "file", "some content")
        self.pair()
        self.assert_equal()
        os.truncate(self.source / "file", 4)
        self.assert_equal()

    def test_rename_and_delete_of_directories(self):
        self.fill(4)
        self.pair()
        self.assert_equal()
        (self.source / "d0").rename(self.source / "renamed")
        self.assert_equal()
        e2e.write(self.source / "renamed/s1/after the rename", "1")
        self.assert_equal()
        (self.source / "renamed/s1").rename(self.source / "d1/s9")
        self.assert_equal()
        e2e.write(self.source / "d1/s9/again", "2")
        self.assert_equal()
        e2e.shutil.rmtree(self.source / "d2")
        self.assert_equal()

    def test_new_nested_directories_with_files_at_once(self):
        self.pair()
        for number in range(30):
            e2e.write(self.source / f"n{number}/a/b/c/d/leaf", str(number))
        self.assert_equal()
        outside = self.dir / "outside"
        e2e.write(outside / "x/y/z", "moved in")
        outside.rename(self.source / "moved in")
        self.assert_equal()
        e2e.write(self.source / "moved in/x/y/later", "1")
        self.assert_equal()
        (self.source / "moved in").rename(self.dir / "moved out")
        self.assert_equal()

    def test_a_file_becomes_a_directory_and_back(self):
        e2e.write(self.source / "it", "a file")
        self.pair()
        self.assert_equal()
        (self.source / "it").unlink()
        e2e.write(self.source / "it/inner", "in a directory")
        self.assert_equal()
        e2e.shutil.rmtree(self.source / "it")
        e2e.write(self.source / "it", "a file again")
        self.assert_equal()
        (self.source / "it").unlink()
        os.symlink("elsewhere", self.source / "it")
        self.assert_equal()

    def test_symlinks_and_the_exec_bit(self):
        e2e.write(self.source / "a", "1")
        e2e.write(self.source / "dir/b", "2")
        self.pair()
        os.symlink("a", self.source / "link")
        os.symlink("../a", self.source / "dir/up")
        self.assert_equal()
        (self.source / "link").unlink()
        os.symlink("dir/b", self.source / "link")
        self.assert_equal()
        os.chmod(self.source / "a", 0o755)
        self.assert_equal()
        os.chmod(self.source / "a", 0o644)
        self.assert_equal()

    def test_a_symlink_out_of_the_tree_is_not_followed_and_does_not_stop_the_rest(self):
        secret = self.dir / "secret"
        e2e.write(secret, "outside")
        e2e.write(self.source / "a", "1")
        self.pair()
        os.symlink(secret, self.source / "absolute")
        os.symlink("../secret", self.source / "upwards")
        e2e.write(self.source / "b", "2")
        self.assert_equal(leave_out=("absolute", "upwards"))
        for name in ("absolute", "upwards"):
            self.assertFalse(os.path.lexists(self.tree / name), name)

    def test_names_that_are_no_utf8_and_odd_ones(self):
        for name in (b"\xff\xfe\x80", b"new\nline", b" leading", b"trailing ", b"-dash", b"*?[x]",
                     b"\\back", "\u00fcml\u00e4ut".encode(), b"a" * 255, b"quote'\"", b"#hash"):
            e2e.write(os.path.join(os.fsencode(self.source), name), name)
        self.pair()
        self.assert_equal()
        e2e.write(os.path.join(os.fsencode(self.source), b"later \xff"), b"1")
        self.assert_equal()

    def test_a_big_file_and_a_change_in_its_middle(self):
        size = 20 * 1024 * 1024
        e2e.write(self.source / "big", os.urandom(size))
        self.pair()
        self.assert_equal()
        with open(self.source / "big", "r+b") as file:
            file.seek(size // 2)
            file.write(b"changed")
        self.assert_equal()
        e2e.write(self.source / "small", "1")
        self.assert_equal()

    def test_a_half_written_file_never_leaves(self):
        self.pair()
        with open(self.source / "slow", "wb") as file:
            file.write(b"half")
            file.flush()
            e2e.write(self.source / "marker", "1")
            e2e.wait_for(lambda: (self.tree / "marker").exists())
            self.assertFalse((self.tree / "slow").exists())
            file.write(b" whole")
        self.assert_equal()
        self.assertEqual((self.tree / "slow").read_text(), "half whole")

    def test_more_events_than_the_queue_of_the_kernel_holds(self):
        self.fill(3)
        _, port = self.controller(self.tree)
        watch = self.mirror(self.source, port)
        self.assert_equal()
        limit = int(open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii").read())
        watch.send_signal(signal.SIGSTOP)
        try:
            # Events that take turns are not merged: the queue overflows, and what comes after it
            # is told by nobody.
            for number in range(limit // 2 + 100):
                e2e.write(self.source / f"turn{number % 2}", str(number))
            e2e.write(self.source / "after/the/overflow", "1")
            (self.source / "d1").rename(self.source / "renamed in the overflow")
            e2e.shutil.rmtree(self.source / "d2")
        finally:
            watch.send_signal(signal.SIGCONT)
        self.assert_equal()
        e2e.write(self.source / "after/the/rescan", "1")
        self.assert_equal()

    def test_a_save_storm(self):
        self.pair()
        for turn in range(5):
            for number in range(200):
                e2e.write(self.source / f"storm/{number % 10}/{number}", f"{turn} {number}")
        self.assert_equal()


class Ignore(Mirror):
    def test_every_source_of_rules(self):
        e2e.write(self.source / ".gitignore", "*.log\nbuild/\n!keep.log\n")
        e2e.write(self.source / ".cfignore", "cf-only\n")
        e2e.write(self.source / ".livepushignore", "/anchored\n")
        e2e.write(self.source / "livepush.yml", 'ignore: ["from-config"]\n')
        e2e.write(self.source / "sub/.gitignore", "local\n")
        left_out = ["a.log", "sub/b.log", "build/out", "cf-only", "anchored", "from-config",
                    "sub/local", ".git/config"]
        taken = ["keep.log", "sub/anchored", "local", "a.txt", "builder/x"]
        self.pair()
        for name in left_out + taken:
            e2e.write(self.source / name, name)
        for name in taken:
            e2e.wait_for(lambda name=name: (self.tree / name).exists(), what=f"{name} is there")
        e2e.write(self.source / "last", "1")
        e2e.wait_for(lambda: (self.tree / "last").exists())
        self.assertEqual([name for name in left_out if (self.tree / name).exists()], [])

    def test_a_changed_rule_file_counts_at_once(self):
        e2e.write(self.source / ".gitignore", "one\n")
        e2e.write(self.source / "one", "1")
        e2e.write(self.source / "two", "2")
        self.pair()
        e2e.wait_for(lambda: (self.tree / "two").exists())
        self.assertFalse((self.tree / "one").exists())
        e2e.safe_write(self.source / ".gitignore", "three\n")
        e2e.wait_for(lambda: (self.tree / "one").exists(), what="what is no longer ignored comes")
        e2e.write(self.source / "three", "3")
        e2e.write(self.source / "four", "4")
        e2e.wait_for(lambda: (self.tree / "four").exists())
        self.assertFalse((self.tree / "three").exists())


class Network(Mirror):
    def test_the_controller_is_killed_and_started_again(self):
        self.fill()
        port = e2e.free_port()
        controller, _ = self.controller(self.tree, port=port)
        watch = self.mirror(self.source, port)
        self.assert_equal()
        controller.stop(signal.SIGKILL)
        e2e.write(self.source / "d1/while it was away", "1")
        (self.source / "d0").rename(self.source / "renamed meanwhile")
        e2e.shutil.rmtree(self.source / "d2")
        self.controller(self.tree, port=port)
        self.assert_equal()
        e2e.write(self.source / "afterwards", "1")
        self.assert_equal()
        self.assertIsNone(watch.process.poll())

    def test_the_controller_starts_again_with_an_empty_tree(self):
        self.fill()
        port = e2e.free_port()
        controller, _ = self.controller(self.tree, port=port)
        self.mirror(self.source, port)
        self.assert_equal()
        controller.stop(signal.SIGKILL)
        e2e.shutil.rmtree(self.tree)
        self.tree.mkdir()
        self.controller(self.tree, port=port)
        self.assert_equal()

    def test_what_was_judged_when_it_was_taken_is_not_judged_again(self):
        """What is renamed unseen counts as gone when trees are compared: 24 files of 36 here."""
        self.fill(3)
        port = e2e.free_port()
        controller, _ = self.controller(self.tree, port=port)
        watch = self.mirror(self.source, port)
        self.assert_equal()
        controller.stop(signal.SIGKILL)
        (self.source / "d1").rename(self.source / "renamed meanwhile")
        e2e.shutil.rmtree(self.source / "d2")
        self.controller(self.tree, port=port)
        self.assert_equal()
        self.assertFalse([event for event in watch.events if event["event"] == "withheld"])

    def test_the_connection_is_cut_again_and_again(self):
        self.fill()
        _, port = self.controller(self.tree)
        proxy = e2e.CuttingProxy(port)
        self.addCleanup(proxy.close)
        self.mirror(self.source, proxy.port)
        for turn in range(4):
            before = proxy.accepted
            e2e.write(self.source / f"turn {turn}", os.urandom(3 * 1024 * 1024))
            proxy.cut()
            for number in range(20):
                e2e.write(self.source / f"d{turn}/s0/f{number}.txt", f"turn {turn}")
            e2e.wait_for(lambda before=before: proxy.accepted > before, what="it reconnects")
            self.assert_equal()

    def test_nothing_staged_is_left_in_the_tree_after_cuts(self):
        _, port = self.controller(self.tree)
        proxy = e2e.CuttingProxy(port)
        self.addCleanup(proxy.close)
        self.mirror(self.source, proxy.port)
        e2e.write(self.source / "big", os.urandom(20 * 1024 * 1024))
        proxy.cut()
        self.assert_equal()
        size = sum(path.stat().st_size for path in self.tree.rglob("*") if path.is_file())
        self.assertLess(size, 30 * 1024 * 1024, "more than one copy of the file is in the tree")

    def test_saves_while_the_first_sync_runs(self):
        self.fill(30, 40)
        _, port = self.controller(self.tree)
        env = {"LIVEPUSH_SECRET": e2e.SECRET}
        self.start(e2e.LIVEPUSH, "watch", "--json", self.source, f"ws://127.0.0.1:{port}", env=env)
        for number in range(200):
            e2e.write(self.source / f"d{number % 30}/s1/f{number % 40}.txt", f"new {number}")
        self.assert_equal()


if __name__ == "__main__":
    unittest.main(verbosity=2)
