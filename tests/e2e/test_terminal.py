"""What a person sees: `watch` and `mount` on a terminal and in a pipe."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import termios
import unittest

import livepush_e2e as e2e


class Terminal(e2e.Case):
    def on_terminal(self, *args):
        """A program on a pseudo-terminal: (process, what it printed so far as a function)."""
        try:
            terminal = e2e.Terminal()
        except OSError as error:
            self.skipTest(f"no pseudo-terminals here: {error}")
        process = subprocess.Popen([e2e.LIVEPUSH, *map(str, args)], env={**self.env,
                                   "TERM": "xterm-256color"}, cwd=self.dir, stdin=terminal.slave,
                                   stdout=terminal.slave, stderr=terminal.slave,
                                   start_new_session=True,
                                   preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        terminal.hand_over()
        self.keyboard = terminal.master

        def end():
            process.kill()
            process.wait()
            terminal.end()

        self.addCleanup(end)
        return process, lambda: re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.said())

    def wait_said(self, said, *patterns):
        for pattern in patterns:
            e2e.wait_for(lambda pattern=pattern: re.search(pattern, said()),
                         what=lambda pattern=pattern: f"{pattern!r} in:\n{said()}")

    def test_a_calm_line_for_a_save_and_errors_in_full(self):
        source = self.example("hello")
        process, said = self.on_terminal("watch", source, "hello")
        self.wait_said(said, r"http://127\.0\.0\.1:\d+")
        e2e.replace(source / "app.py", "livepush!", "the terminal!")
        self.wait_said(said, r"✓ 1 file → hello +[\d.]+ ms, restarted \d+ ms")
        e2e.write(source / "app.py", "def broken(:\n")
        self.wait_said(said, "SyntaxError", r"exited with status 1")
        self.assertNotIn('{"event"', said())
        process.send_signal(signal.SIGINT)
        process.wait(e2e.PATIENCE)
        self.assert_nothing_left()

    def test_it_says_which_folder_to_edit(self):
        source = self.example("hello")
        _, said = self.on_terminal("watch", source, "hello")
        self.wait_said(said, r"http://127\.0\.0\.1:\d+", "hello")

    def test_who_holds_is_said_when_it_takes_long(self):
        source = self.example("hello")
        _, said = self.on_terminal("watch", source, "hello")
        self.wait_said(said, "is live")
        self.succeed("hold", "hello", "--for", "100")
        self.wait_said(said, r"hello: held by livepush hold \(pid \d+\); changes wait")
        self.succeed("release", "hello")
        self.wait_said(said, "hello: no longer held")

    def mirrored(self):
        """A workspace of 30 files under `watch` on a terminal, and its mirror."""
        tree = self.dir / "tree"
        tree.mkdir()
        source = self.workspace({f"dir/file{number}": "x" for number in range(30)})
        _, port = self.controller(tree)
        self.env["LIVEPUSH_SECRET"] = e2e.SECRET
        url = f"ws://127.0.0.1:{port}"
        process, said = self.on_terminal("watch", source, url)
        self.wait_said(said, "is live")
        return source, tree, url, process, said

    def test_a_mass_deletion_is_asked_for(self):
        source, tree, _, process, said = self.mirrored()
        before = e2e.snapshot(tree)
        shutil.rmtree(source / "dir")
        self.wait_said(said, r"delete 30 of 30 files on the instances\? \[y/N\]")
        self.assertEqual(e2e.snapshot(tree), before)
        os.write(self.keyboard, b"n\n")
        self.wait_said(said, "held back until they are there again")
        self.assertEqual(e2e.snapshot(tree), before)
        self.assertIsNone(process.poll())

    def test_a_mass_deletion_is_agreed_to(self):
        source, tree, url, process, said = self.mirrored()
        shutil.rmtree(source / "dir")
        self.wait_said(said, r"\[y/N\]")
        os.write(self.keyboard, b"y\n")
        e2e.wait_for(lambda: e2e.snapshot(tree) == {}, what=said)
        # That was for this one; the next is asked for again.
        for number in range(40):
            e2e.write(source / f"new{number}", "y")
        self.succeed("flush", url)
        for path in source.iterdir():
            path.unlink()
        e2e.wait_for(lambda: said().count("[y/N]") == 2, what=said)
        self.assertEqual(len(e2e.snapshot(tree)), 40)
        process.send_signal(signal.SIGINT)
        process.wait(e2e.PATIENCE)

    def test_in_a_pipe_there_are_no_control_characters(self):
        source = self.example("hello")
        watch = self.start(e2e.LIVEPUSH, "watch", source, "hello", env={"TERM": "xterm-256color"})

        def printed():
            return "\n".join(watch.lines + watch.errors)

        e2e.wait_for(lambda: "http://127.0.0.1:" in printed())
        e2e.replace(source / "app.py", "livepush!", "the pipe!")
        e2e.wait_for(lambda: "restarted" in printed(), what=printed)
        self.assertNotRegex(printed(), r"[\x1b\r]")


if __name__ == "__main__":
    unittest.main(verbosity=2)
