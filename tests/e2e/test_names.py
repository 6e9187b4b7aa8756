"""Names and kinds of entries that are rare, whole directories, and a kernel that has too little."""

import os
import pathlib
import socket
import subprocess
import unittest

import livepush_e2e as e2e
import pair


def make_deep(root, names, leaf, content):
    """root/names…/leaf, also where the path is longer than a system call takes."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in names:
        try:
            os.mkdir(name, dir_fd=fd)
        except FileExistsError:
            pass
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        os.close(fd)
        fd = below
    file = os.open(leaf, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644, dir_fd=fd)
    os.write(file, content)
    os.close(file)
    os.close(fd)


def read_deep(root, names, leaf):
    """The content of root/names…/leaf; None when it is not there."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in (*names, leaf):
            flags = os.O_RDONLY | os.O_CLOEXEC | (0 if name is leaf else os.O_DIRECTORY)
            below = os.open(name, flags, dir_fd=fd)
            os.close(fd)
            fd = below
        return os.read(fd, 1 << 16)
    except FileNotFoundError:
        return None
    finally:
        os.close(fd)


class Names(pair.Pair):
    def test_bytes_of_every_kind_and_the_longest_names(self):
        folder = os.fsencode(self.source)
        names = [bytes([byte]) * 3 for byte in range(1, 256) if byte != 0x2f and byte != 0x2e]
        names += [b"\xff" * 255, b"d" * 255 + b"/" + b"e" * 255 + b"/f", "\u00e9".encode(),
                  "e\u0301".encode(), b"...", b"..a", b" ", b"\t\n"]
        for name in names:
            e2e.write(os.path.join(folder, name), name)
        self.start_pair()
        self.assert_equal()
        for name in names:
            e2e.write(os.path.join(folder, name), b"again " + name)
        self.assert_equal()
        for name in names[::2]:
            os.unlink(os.path.join(folder, name))
        self.assert_equal()

    def test_paths_of_nearly_4096_bytes(self):
        # Longer than any absolute path, so only reached from directory to directory.
        names = [b"%03d" % number + b"x" * 196 for number in range(20)]
        self.start_pair()
        for number in range(3):
            make_deep(self.source, names, b"leaf", b"deep %d" % number)
            self.flush()
            self.assertEqual(read_deep(self.tree, names, b"leaf"), b"deep %d" % number)

    def test_a_path_of_more_than_4095_bytes_is_told_and_the_rest_goes_on(self):
        self.start_pair()
        since = self.client.mark()
        names = [b"%03d" % number + b"y" * 247 for number in range(17)]
        make_deep(self.source, names, b"leaf", b"too deep")
        e2e.write(self.source / "beside", "1")
        e2e.wait_for(lambda: (self.tree / "beside").exists())
        self.client.wait_event("notice", since, match=lambda event: "y" * 50 in event["text"])
        e2e.write(self.source / "beside", "2")
        self.flush()
        self.assertEqual((self.tree / "beside").read_text(), "2")

    def test_names_that_differ_in_case_only(self):
        e2e.write(self.source / "dir/a", "1")
        self.start_pair()
        (self.source / "dir/a").rename(self.source / "dir/A")
        self.assert_equal()
        (self.source / "dir").rename(self.source / "DIR")
        self.assert_equal()
        e2e.write(self.source / "dir/A", "beside it")
        self.assert_equal()


class Kinds(pair.Pair):
    def test_hard_links(self):
        e2e.write(self.source / "one", "1")
        (self.source / "dir").mkdir()
        os.link(self.source / "one", self.source / "dir/other")
        self.start_pair()
        self.assert_equal()
        e2e.write(self.source / "dir/other", "written through the other name")
        self.assert_equal()
        os.link(self.source / "one", self.source / "third")
        e2e.write(self.source / "one", "and through the first")
        self.assert_equal()
        (self.source / "one").unlink()
        e2e.write(self.source / "third", "one is gone")
        self.assert_equal()
        os.chmod(self.source / "third", 0o755)
        self.assert_equal()

    def test_sparse_and_empty_files(self):
        size = 48 << 20
        with open(self.source / "sparse", "wb") as file:
            file.truncate(size)
            file.seek(size // 2)
            file.write(b"in the middle")
        e2e.write(self.source / "empty", b"")
        self.start_pair()
        self.assert_equal()
        with open(self.source / "sparse", "r+b") as file:
            file.truncate(size // 4)
            file.truncate(size)
        self.assert_equal()
        e2e.write(self.source / "empty", "no more")
        os.truncate(self.source / "sparse", 0)
        self.assert_equal()

    def test_modes(self):
        self.start_pair()
        for mode in (0o644, 0o755, 0o600, 0o640, 0o664, 0o700, 0o444, 0o555):
            e2e.write(self.source / f"file {mode:o}", "1")
            os.chmod(self.source / f"file {mode:o}", mode)
            (self.source / f"dir {mode | 0o700:o}").mkdir(exist_ok=True)
            os.chmod(self.source / f"dir {mode | 0o700:o}", mode | 0o700)
        self.assert_equal()
        for mode in (0o644, 0o755, 0o600):
            os.chmod(self.source / f"file {mode:o}", mode ^ 0o111)
        self.assert_equal()

    def test_a_file_without_a_writer_is_cut(self):
        e2e.write(self.source / "file", "0123456789" * 1000)
        self.start_pair()
        for length in (5000, 17, 0, 4096):
            os.truncate(self.source / "file", length)
            self.assert_equal()

    def test_sockets_fifos_and_devices_are_left_out_with_one_notice_each(self):
        self.start_pair()
        since = self.client.mark()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.source / "a socket"))
        os.mkfifo(self.source / "a fifo")
        for turn in range(3):
            e2e.write(self.source / "beside", str(turn))
            os.chmod(self.source / "a fifo", 0o600 + turn)
            self.flush()
            self.assertEqual((self.tree / "beside").read_text(), str(turn))
        for name in ("a socket", "a fifo"):
            told = [event for event in self.events("notice", since)
                    if event["text"].startswith(name)]
            self.assertEqual(len(told), 1, told)
            self.assertFalse(os.path.lexists(self.tree / name))
            os.unlink(self.source / name)
            e2e.write(self.source / name, "a file now")
        self.assert_equal()


class Directories(pair.Pair):
    FILES = 1500

    def fill(self, folder):
        for number in range(self.FILES):
            e2e.write(folder / f"s{number % 20}/t{number % 3}/f{number}",
                      os.urandom(1500) + b"%d" % number)

    def test_renaming_a_large_directory_sends_no_contents(self):
        self.fill(self.source / "old")
        self.start_pair()
        self.assert_equal()
        some = "s7/t0/f27"
        inode = os.stat(self.tree / "old" / some).st_ino
        sent = self.sent(lambda: (self.source / "old").rename(self.source / "new"))
        self.assertLess(sent, 16384)
        self.assertEqual(os.stat(self.tree / "new" / some).st_ino, inode, "it was written anew")
        sent = self.sent(lambda: (self.source / "new/s3").rename(self.source / "out"))
        self.assertLess(sent, 16384)

    def test_a_write_in_the_leaf_right_after_the_rename_arrives(self):
        self.fill(self.source / "old")
        self.start_pair()
        for turn in range(4):
            old, new = ("old", "new")[turn % 2], ("new", "old")[turn % 2]
            (self.source / old).rename(self.source / new)
            e2e.write(self.source / new / "s7/t0/f27", f"turn {turn}")
            self.assert_equal()

    def test_removing_a_large_directory_is_a_small_message(self):
        self.fill(self.source / "old")
        for number in range(2 * self.FILES):  # so that it is less than half of all
            e2e.write(self.source / f"kept/{number % 30}/f{number}", "1")
        self.start_pair()
        sent = self.sent(lambda: e2e.shutil.rmtree(self.source / "old"))
        self.assertLess(sent, 16384)

    def test_the_root_is_deleted_and_made_again(self):
        for number in range(60):
            e2e.write(self.source / f"d{number % 5}/f{number}", f"{number}")
        self.start_pair()
        self.assert_equal()
        config = (self.source / "livepush.yml").read_text()
        aside = self.dir / "aside"
        self.source.rename(aside)
        # A vanished root never empties an instance, whatever the client makes of it.
        self.source.mkdir()
        for number in range(60):
            e2e.write(self.source / f"d{number % 5}/f{number}", f"{number} anew")
        e2e.write(self.source / "livepush.yml", config)
        self.wait_equal()
        e2e.write(self.source / "d0/later", "1")
        self.wait_equal()

    def test_a_vanished_root_never_empties_an_instance(self):
        for number in range(60):
            e2e.write(self.source / f"d{number % 5}/f{number}", f"{number}")
        self.start_pair()
        self.assert_equal()
        before = e2e.snapshot(self.tree)
        since = self.client.mark()
        self.source.rename(self.dir / "elsewhere")
        e2e.wait_for(lambda: self.client.process.poll() is not None
                     or self.events("notice", since) or self.events("error", since),
                     what=lambda: f"it is told\n{self.client.describe()}")
        self.assertEqual(e2e.difference(before, e2e.snapshot(self.tree)), "")

    def test_removing_all_of_the_workspace_does_not_empty_an_instance(self):
        """What goes before the root does may be carried, but not more than half of the tree."""
        for number in range(60):
            e2e.write(self.source / f"d{number % 5}/f{number}", f"{number}")
        self.start_pair()
        self.assert_equal()
        since = self.client.mark()
        e2e.shutil.rmtree(self.source)
        e2e.wait_for(lambda: self.client.process.poll() is not None
                     or self.events("notice", since) or self.events("error", since),
                     what=lambda: f"it is told\n{self.client.describe()}")
        self.assertGreaterEqual(len(list(self.tree.glob("d*/f*"))), 30)


class Kernel(pair.Pair):
    def test_too_few_watches_are_told_and_nothing_is_lost(self):
        limit = 20
        prefix = ["unshare", "-U", "--map-root-user", "sh", "-c",
                  f'echo {limit} > /proc/sys/user/max_inotify_watches && exec "$@"', "sh"]
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("no user namespaces here")
        for number in range(3 * limit):
            e2e.write(self.source / f"d{number}/below/file", f"{number}")
        self.start_pair(prefix=prefix)
        self.wait_equal()
        notice = self.client.wait_event("notice", match=lambda event: "watches" in event["text"])
        self.assertIn("sysctl", notice["text"])
        self.assertIn("max_user_watches", notice["text"])
        for turn in range(2):
            for number in range(3 * limit):
                e2e.write(self.source / f"d{number}/below/file", f"{number} turn {turn}")
            e2e.write(self.source / f"d{turn}/new/and/deep", "1")
            self.wait_equal()
        e2e.shutil.rmtree(self.source / f"d{2 * limit}")
        (self.source / f"d{limit}").rename(self.source / "renamed")
        self.wait_equal()

    def test_a_storm_of_overflows_ends_equal_and_quiet(self):
        queue = pathlib.Path("/proc/sys/fs/inotify/max_queued_events")
        before = queue.read_text()
        try:
            queue.write_text("8")
        except OSError:
            self.skipTest("the queue cannot be lowered here")
        try:
            self.start_pair()
        finally:
            queue.write_text(str(max(int(before), 1024)))
        for turn in range(10):
            for number in range(300):
                e2e.write(self.source / f"d{number % 20}/f{number}", f"{turn} {number}")
            (self.source / f"d{turn}").rename(self.source / f"renamed {turn}")
        self.assert_equal()
        pair.wait_idle(self.client.pid)
        e2e.write(self.source / "d11/afterwards", "1")
        self.assert_equal()


if __name__ == "__main__":
    unittest.main(verbosity=2)
