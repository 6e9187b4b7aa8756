"""Editors and tools save files in the workspace, by `watch` or `mount` (first argument): each save
arrives as exactly one change with the final content, and no transient file is ever on the target.

Those that Debian has are run; the others' ways are done here by the same system calls.
"""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
import unittest

import livepush_e2e as e2e
import names_seen
import oracle
import pair

COMMAND = sys.argv.pop(1)
TURNS = 3
OLD = "line one\nline two\nline three\n" * 40


def in_terminal(argv, keys, env, cwd):
    """Runs a program in a terminal of its own, types the keys once it has shown something."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(argv[0], argv, {**env, "TERM": "vt100", "LINES": "24", "COLUMNS": "80"})
    deadline = time.monotonic() + e2e.PATIENCE
    keys = list(keys)
    try:
        while True:
            if time.monotonic() > deadline:
                os.kill(pid, 9)
                raise AssertionError(f"{argv} does not end")
            if not select.select([terminal], [], [], 0.1)[0]:
                # It waits for us.
                if keys:
                    os.write(terminal, keys.pop(0))
                continue
            try:
                if not os.read(terminal, 65536):
                    break
            except OSError:  # the other end is closed
                break
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    if status:
        raise AssertionError(f"{argv} ended with {status}")


class Saves(pair.Pair):
    def setUp(self):
        super().setUp()
        self.file = self.source / "src/app.py"
        e2e.write(self.file, OLD)
        e2e.write(self.source / "src/other.py", OLD)
        self.env["USER"] = "somebody"
        self.start_pair(command=COMMAND)
        self.assert_equal()

    def each(self, save, changed=("src/app.py",)):
        """Each of several saves is one `applied`, and only the final names are ever seen."""
        for turn in range(TURNS):
            seen = names_seen.NamesSeen(self.tree)
            since = self.client.mark()
            save(turn)
            self.assert_equal()
            names = {os.fsdecode(name) for name in seen.stop()}
            applied = self.events("applied", since)
            self.assertEqual(len(applied), 1, applied)
            self.assertFalse(seen.overflowed)
            self.assertLessEqual(names, set(changed), "transient files were on the target")

    def content(self, turn):
        return OLD.replace("two", f"turn {turn}").encode()

    # Vim

    def vim(self, *options):
        program = shutil.which("vim.tiny") or shutil.which("vim") or shutil.which("vi")
        if program is None:
            self.skipTest("vim is not here")
        settings = [word for option in options for word in ("--cmd", f"set {option}")]
        self.each(lambda turn: in_terminal(
            [program, "-N", "-u", "NONE", "-i", "NONE", "--cmd", "set swapfile updatecount=1",
             *settings, "-c", f"normal! Oturn {turn}", "-c", "write", "-c", "quit", str(self.file)],
            [], self.env, self.source))

    def test_vim_backupcopy_auto(self):
        self.vim("backupcopy=auto", "writebackup")

    def test_vim_backupcopy_yes(self):
        self.vim("backupcopy=yes", "writebackup")

    def test_vim_backupcopy_no(self):
        self.vim("backupcopy=no", "writebackup")

    def test_vim_that_keeps_backups(self):
        self.vim("backupcopy=no", "backup")

    def test_vim_without_backups(self):
        self.vim("nowritebackup", "nobackup")

    def test_vim_when_the_directory_is_its_own_backupdir(self):
        self.vim("backupcopy=no", "writebackup", "backupdir=.", "directory=.")

    # Others that can be run

    def nano(self, *options):
        if shutil.which("nano") is None:
            self.skipTest("nano is not here")
        self.each(lambda turn: in_terminal(
            ["nano", "--ignorercfiles", *options, str(self.file)],
            [b"turn %d\r" % turn, b"\x13", b"\x18"], self.env, self.source))

    def test_nano(self):
        self.nano()

    def test_nano_with_backup_and_lock(self):
        self.nano("--backup", "--locking")

    def run_each(self, argv, changed=("src/app.py",)):
        def run(turn):
            done = subprocess.run([str(word).replace("TURN", str(turn)) for word in argv],
                                  cwd=self.source, env=self.env, capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.each(run, changed)

    def test_sed_in_place(self):
        self.run_each(["sed", "-i", "1s/.*/turn TURN/", "src/app.py"])

    def test_sed_in_place_with_a_suffix(self):
        self.run_each(["sed", "-i~", "1s/.*/turn TURN/", "src/app.py"])

    def test_cp_and_mv(self):
        outside = self.dir / "new"
        self.each(lambda turn: (e2e.write(outside, self.content(turn)),
                                subprocess.run(["cp", outside, self.file], check=True)))
        # Into a mount mv(1) cannot rename from outside: it removes and copies, which is no save.
        beside = outside if COMMAND == "watch" else self.source / "new~"
        self.each(lambda turn: (e2e.write(beside, self.content(turn + 20)),
                                subprocess.run(["mv", beside, self.file], check=True)))

    def test_patch_by_a_shell(self):
        self.each(lambda turn: subprocess.run(
            f"{{ echo turn {turn}; tail -n +2 src/app.py; }} > src/t~ && mv src/t~ src/app.py",
            shell=True, cwd=self.source, check=True))

    def test_rsync_into_the_tree(self):
        if shutil.which("rsync") is None:
            self.skipTest("rsync is not here")
        for options in (["-a"], ["-a", "--inplace"], ["-a", "--delay-updates"]):
            with self.subTest(options=options):
                def run(turn, options=options):
                    e2e.write(self.dir / "from/src/app.py", f"{options} {turn}\n" * (50 + turn))
                    done = subprocess.run(["rsync", *options, f"{self.dir}/from/", self.source],
                                          capture_output=True, text=True, check=False)
                    self.assertEqual(done.returncode, 0, done.stderr)
                self.each(run)

    # The same system calls

    def swap_in(self, turn, new, old=None):
        """Writes `new`, moves the file aside to `old`, moves `new` in, removes `old`."""
        e2e.write(new, self.content(turn))
        if old:
            os.rename(self.file, old)
        os.rename(new, self.file)
        if old:
            os.unlink(old)

    def test_emacs(self):
        """A lock that is a link, an auto-save file, the first save by renaming to NAME~."""
        def save(turn):
            lock, auto = self.file.with_name(".#app.py"), self.file.with_name("#app.py#")
            os.symlink("somebody@host.4711:1700000000", lock)
            e2e.write(auto, self.content(turn)[:100])
            os.rename(self.file, f"{self.file}~")
            with open(self.file, "xb") as file:
                file.write(self.content(turn))
                file.flush()
                os.fsync(file.fileno())
            os.chmod(self.file, 0o644)
            auto.unlink()
            lock.unlink()
        self.each(save)

    def test_jetbrains_safe_write(self):
        self.each(lambda turn: self.swap_in(turn, f"{self.file}___jb_tmp___",
                                            f"{self.file}___jb_old___"))

    def test_vs_code(self):
        """In place: truncated by the opening, written in pieces, closed."""
        def save(turn):
            content = self.content(turn)
            fd = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for at in range(0, len(content), 1000):
                os.write(fd, content[at:at + 1000])
            os.fdatasync(fd)
            os.close(fd)
        self.each(save)

    def test_gedit_and_kate(self):
        self.each(lambda turn: self.swap_in(turn, self.file.with_name(".goutputstream-A1B2C3")))
        self.each(lambda turn: self.swap_in(turn + 10, self.file.with_name("app.py.XyZ123")))

    def test_a_python_program_that_writes_safely(self):
        def save(turn):
            import tempfile
            with tempfile.NamedTemporaryFile(dir=self.file.parent, delete=False) as file:
                file.write(self.content(turn))
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self.file)
        # mkstemp makes files that only their owner may read.
        self.each(save)

    def test_a_save_of_the_same_content_changes_nothing(self):
        since = self.client.mark()
        e2e.write(self.file, OLD)
        e2e.safe_write(self.source / "src/other.py", OLD)
        self.assert_equal()
        self.assertEqual(self.events("applied", since), [])

    # Files that stay open

    def test_a_log_that_stays_open_goes_out_every_second(self):
        log = self.source / "server.log"
        with open(log, "w", encoding="ascii", buffering=1) as file:
            longest, arrived, began = 0.0, 0, time.monotonic()
            last = began
            number = 0
            while time.monotonic() - began < 4:
                number += 1
                file.write(f"line {number}\n")
                there = self.tree / "server.log"
                size = there.stat().st_size if there.exists() else 0
                if size != arrived:
                    arrived = size
                    last = time.monotonic()
                longest = max(longest, time.monotonic() - last)
                time.sleep(0.02)  # as a server writes
            self.assertGreater(arrived, 0, "nothing of it came while it was open")
            self.assertLess(longest, 1.5 * e2e.SLOWDOWN)
            text = (self.tree / "server.log").read_text()
            self.assertTrue(log.read_text().startswith(text))
        self.assert_equal()


class Git(pair.Pair):
    def setUp(self):
        super().setUp()
        self.git("init", "-q", "-b", "main")
        for number in range(120):
            e2e.write(self.source / f"d{number % 6}/f{number}", f"{number}\n" * 20)
        e2e.write(self.source / ".gitignore", "livepush.yml\n")
        self.commit("first")
        for branch in ("feature", "other"):
            self.git("checkout", "-q", "-b", branch, "main")
            for number in range(12):
                e2e.write(self.source / branch / f"g{number}", f"{branch} {number}\n")
                e2e.write(self.source / f"d{number % 6}/f{number}",
                          f"{branch} {number}\n" if branch == "feature" else f"{number}\n" * 20)
                self.commit(f"{branch} {number}")
        self.start_pair(command=COMMAND)
        self.assert_arrived()

    def git(self, *args):
        done = subprocess.run(
            ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "gc.auto=0",
             "-c", "core.editor=true", *args], cwd=self.source, env=self.env, capture_output=True,
            text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def commit(self, text):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", text)

    def assert_arrived(self):
        self.flush()
        self.assertEqual(oracle.difference(self.source, self.tree), "")

    def one(self, *args):
        """A git command is one change on the target; no file of git's own is seen there."""
        seen = names_seen.NamesSeen(self.tree)
        since = self.client.mark()
        self.git(*args)
        self.assert_arrived()
        names = {os.fsdecode(name) for name in seen.stop()}
        self.assertEqual(len(self.events("applied", since)), 1, args)
        there = {str(path.relative_to(self.source)) for path in self.source.rglob("*")}
        self.assertLessEqual(names, there)

    def test_operations(self):
        self.one("checkout", "-q", "main")
        self.one("merge", "-q", "feature")
        self.one("reset", "-q", "--hard", "main~1")
        self.one("checkout", "-q", "other")
        self.one("rebase", "-q", "main")
        self.one("cherry-pick", "feature")
        e2e.write(self.source / "d1/f1", "edited")
        e2e.write(self.source / "d2/f2", "edited")
        self.assert_arrived()
        self.one("stash", "-q")
        self.one("stash", "pop", "-q")
        self.one("checkout", "-q", "--", "d1", "d2")
        self.one("mv", "d3", "moved")
        self.one("rm", "-q", "-r", "d4")
        since = self.client.mark()
        self.git("commit", "-q", "-m", "nothing of it concerns the tree")
        self.flush()
        self.assertEqual(self.events("applied", since), [])


if __name__ == "__main__":
    if COMMAND == "mount" and not e2e.fuse_works():
        print("FUSE is not available here")
        sys.exit(e2e.SKIP)
    unittest.main(verbosity=2)
