"""The mount itself: what an editor, git or a build does in it works, and reaches the tree."""

import os
import subprocess
import sys
import unittest

import livepush_e2e as e2e


class Mount(e2e.Case):
    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        _, port = self.controller(self.tree)
        self.source = self.workspace({"a": "1", "dir/b": "2"})
        self.env["LIVEPUSH_SECRET"] = e2e.SECRET
        self.target = f"ws://127.0.0.1:{port}"

    def mount(self, *options):
        program = self.start(e2e.LIVEPUSH, "mount", *options, "--json", self.source, self.target)
        program.wait_event("ready")
        return program

    def test_over_itself(self):
        program = self.mount()
        self.assertEqual(e2e.mounts_below(self.dir), [str(self.source)])
        self.assertEqual((self.source / "dir/b").read_text(), "2")
        e2e.write(self.source / "a", "changed in the mount")
        e2e.wait_equal(self.source, self.tree)
        program.stop()
        self.assertEqual(e2e.mounts_below(self.dir), [])
        self.assertEqual((self.source / "a").read_text(), "changed in the mount")

    def test_at_another_place(self):
        place = self.dir / "place"
        place.mkdir()
        self.mount("--at", place)
        self.assertEqual(e2e.mounts_below(self.dir), [str(place)])
        e2e.write(place / "dir/b", "changed there")
        self.assertEqual((self.source / "dir/b").read_text(), "changed there")
        e2e.wait_equal(self.source, self.tree)

    def test_everything_one_does_with_files(self):
        self.mount()
        root = self.source
        (root / "new/deep").mkdir(parents=True)
        e2e.write(root / "new/deep/file", "x" * 100_000)
        e2e.safe_write(root / "a", "safe")
        os.symlink("a", root / "link")
        os.link(root / "a", root / "hard")
        os.chmod(root / "dir/b", 0o755)
        os.utime(root / "dir/b", (1, 1))
        (root / "dir").rename(root / "moved")
        os.truncate(root / "new/deep/file", 7)
        with open(root / "appended", "ab") as file:
            file.write(b"1")
            file.flush()
            file.write(b"2")
        descriptor = os.open(root / "held", os.O_RDWR | os.O_CREAT, 0o644)
        os.write(descriptor, b"before")
        (root / "held").unlink()
        os.write(descriptor, b" after the unlink")
        self.assertEqual(os.pread(descriptor, 100, 0), b"before after the unlink")
        os.close(descriptor)
        self.assertEqual(os.stat(root / "hard").st_nlink, 2)
        self.assertEqual(sorted(os.listdir(root)),
                         ["a", "appended", "hard", "link", "moved", "new"])
        e2e.wait_equal(root, self.tree)

    def test_git_works_in_it_and_its_folder_stays_here(self):
        self.mount()

        def git(*args):
            subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *args],
                           cwd=self.source, env=self.env, check=True, capture_output=True)

        git("init", "-b", "main")
        git("add", ".")
        git("commit", "-m", "first")
        e2e.write(self.source / "a", "changed")
        git("commit", "-am", "second")
        git("checkout", "-b", "other", "HEAD~1")
        self.assertEqual((self.source / "a").read_text(), "1")
        e2e.wait_equal(self.source, self.tree, leave_out=list(self.git_paths()))
        self.assertFalse((self.tree / ".git").exists())

    def git_paths(self):
        return [path for path in e2e.snapshot(self.source) if path.split(b"/")[0] == b".git"]

    def test_errors_are_those_of_the_file_system_below(self):
        self.mount()
        with self.assertRaises(FileNotFoundError):
            (self.source / "missing").read_text()
        with self.assertRaises(FileExistsError):
            (self.source / "dir").mkdir()
        with self.assertRaises(OSError):
            (self.source / "dir").rmdir()
        with self.assertRaises(NotADirectoryError):
            (self.source / "a/b").read_text()

    def test_somebody_unmounts_it(self):
        program = self.mount()
        subprocess.run(["umount", "-l", str(self.source)], check=True)
        program.stop()
        self.assert_nothing_left_but_the_controller()

    def assert_nothing_left_but_the_controller(self):
        def only_the_controller():
            left = e2e.processes_of(self.token, self.dir).values()
            return len(left) == 1 and not e2e.mounts_below(self.dir)
        e2e.wait_for(only_the_controller,
                     what=lambda: str(e2e.processes_of(self.token, self.dir)))


if __name__ == "__main__":
    if not e2e.fuse_works():
        print("FUSE is not available here")
        sys.exit(e2e.SKIP)
    unittest.main(verbosity=2)
