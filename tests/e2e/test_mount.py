"""The mount itself: what an editor, git or a build does in it works, and reaches the tree."""

import json
import os
import shutil
import subprocess
import sys
import unittest

import livepush_e2e as e2e


# Writers and readers of one database with a write-ahead log, which they share as a mapping.
DATABASE = """
import multiprocessing
import sqlite3

def connect():
    return sqlite3.connect("db.sqlite", timeout=60)

def write(number):
    db = connect()
    for count in range(50):
        db.execute("INSERT INTO t VALUES (?, ?)", (number, count))
        db.commit()

def read(_):
    db = connect()
    last = 0
    for _ in range(100):
        now = db.execute("SELECT count(*) FROM t").fetchone()[0]
        assert now >= last, (now, last)
        last = now
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"

db = connect()
assert db.execute("PRAGMA journal_mode = wal").fetchone()[0] == "wal"
db.execute("CREATE TABLE t (number, count)")
db.commit()
processes = [multiprocessing.Process(target=target, args=(number,))
             for number in range(2) for target in (write, read)]
for process in processes:
    process.start()
for process in processes:
    process.join()
assert all(process.exitcode == 0 for process in processes)
assert db.execute("SELECT count(*) FROM t").fetchone()[0] == 100
"""


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

    def test_a_build_works_in_it(self):
        self.mount()
        root = self.source / "project"
        for number in range(20):
            e2e.write(root / f"src/part{number}.c",
                      f"int part{number}(void);\nint part{number}(void) {{ return {number}; }}\n")
        names = " ".join(f"part{number}" for number in range(20))
        e2e.write(root / "src/main.c",
                  "".join(f"int part{number}(void);\n" for number in range(20)) +
                  "int main(void) { return " +
                  " + ".join(f"part{number}()" for number in range(20)) + " == 190 ? 0 : 1; }\n")
        e2e.write(root / "Makefile",
                  f"OBJ = $(patsubst %,out/%.o,main {names})\n"
                  "out/program: $(OBJ)\n\t$(CC) -o $@ $(OBJ)\n"
                  "out/%.o: src/%.c\n\t@mkdir -p out\n\t$(CC) -MMD -c -o $@ $<\n"
                  "test: out/program\n\t./out/program\n"
                  "-include $(OBJ:.o=.d)\n")
        for _ in range(2):
            subprocess.run(["make", "-j2", "test"], cwd=root, check=True, capture_output=True)
        e2e.wait_equal(self.source, self.tree)

    def test_a_database_works_in_it(self):
        self.mount()
        script = self.dir / "database.py"
        e2e.write(script, DATABASE)
        subprocess.run([sys.executable, script], cwd=self.source, check=True, timeout=120)
        e2e.wait_equal(self.source, self.tree)

    def test_packages_are_installed_in_it(self):
        if shutil.which("npm") is None:
            self.skipTest("npm is not installed")
        for name in "one", "two":
            e2e.write(self.dir / name / "package.json", json.dumps(
                {"name": name, "version": "1.0.0", "bin": {name: "run.js"}}))
            e2e.write(self.dir / name / "run.js", "#!/usr/bin/env node\nconsole.log('ran')\n")
            subprocess.run(["npm", "pack", "--silent"], cwd=self.dir / name, check=True,
                           env=self.env | {"HOME": str(self.dir)}, capture_output=True)
        self.mount()
        app = self.source / "app"
        e2e.write(app / "package.json", json.dumps({"name": "app", "version": "1.0.0"}))
        subprocess.run(["npm", "install", "--offline", "--no-audit", "--no-fund",
                        self.dir / "one/one-1.0.0.tgz", self.dir / "two/two-1.0.0.tgz"],
                       cwd=app, check=True, env=self.env | {"HOME": str(self.dir)},
                       capture_output=True)
        ran = subprocess.run([app / "node_modules/.bin/two"], check=True, capture_output=True)
        self.assertEqual(ran.stdout, b"ran\n")
        e2e.wait_equal(self.source, self.tree)

    def test_who_was_there_before_is_seen_in_it(self):
        before = os.open(self.source, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, before)
        self.mount()
        self.assertEqual((self.source / "a").read_text(), "1")
        self.assertFalse((self.source / "late").exists())

        def write_below(name, text):
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=before),
                      "w") as file:
                file.write(text)

        write_below("a", "underneath")
        write_below("late", "new")
        os.mkdir("made", dir_fd=before)
        write_below("made/deep", "deeper")
        e2e.wait_for(lambda: (self.source / "a").read_text() == "underneath")
        e2e.wait_for(lambda: (self.source / "late").exists())
        e2e.wait_for(lambda: (self.source / "made/deep").exists())
        os.unlink("late", dir_fd=before)
        e2e.wait_for(lambda: not (self.source / "late").exists())
        e2e.wait_equal(self.source, self.tree)

    def test_a_busy_mount_is_explained(self):
        program = self.mount()
        user = subprocess.Popen(["sleep", "1000"], cwd=self.source / "dir")
        self.addCleanup(user.wait)
        self.addCleanup(user.kill)
        program.stop()
        self.assertEqual(e2e.mounts_below(self.dir), [])
        self.assertIn(f"pid {user.pid} (sleep) works in it at 'dir'", program.describe())

    def test_sync_is_exact_for_files_of_any_size(self):
        self.mount("--sync", "--sync-timeout", str(30 * e2e.SLOWDOWN))
        for turn, size in enumerate((1000, 200_000, 200_000, 2_000_000, 2_000_000)):
            content = f"turn {turn}\n".ljust(size, "x")
            e2e.write(self.source / "a", content)
            self.assertEqual((self.tree / "a").read_text(), content, f"{size} bytes, closed")
            with open(self.source / "b", "w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                self.assertEqual((self.tree / "b").read_text(), content, f"{size} bytes, open")

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
