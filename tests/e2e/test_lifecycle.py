"""One holder for each app, and an end that leaves nothing: Ctrl-C, SIGTERM, kill -9."""

import os
import signal
import sys
import unittest

import livepush_e2e as e2e

COMMANDS = ["watch"] + (["mount"] if e2e.fuse_works() else [])


class Holder(e2e.Case):
    def test_a_second_one_is_refused_and_told_who_holds_the_app(self):
        source = self.example("hello")
        watch, url = self.session("watch", source, "hello")
        self.refused("watch", "--json", source, "hello", saying=[str(watch.pid)])
        self.assertIsNone(watch.process.poll())
        self.assertIn("Hello", e2e.body_of(url))

    def test_take_over(self):
        source = self.example("hello")
        first, _ = self.session("watch", source, "hello")
        second, url = self.session("watch", source, "hello", "--take-over")
        first.wait()
        since = second.mark()
        e2e.replace(source / "app.py", "livepush!", "the second!")
        second.wait_event("restarted", since)
        self.assertIn("the second!", e2e.body_of(url))

    def test_two_apps_beside_each_other(self):
        one, one_url = self.session("watch", self.example("hello"), "hello")
        two, two_url = self.session("watch", self.example("node"), "node")
        self.assertIn("livepush", e2e.body_of(one_url))
        self.assertIn("Node", e2e.body_of(two_url))
        one.stop()
        self.assertIn("Node", e2e.body_of(two_url))
        self.assertIsNone(two.process.poll())

    def test_after_kill_9_the_next_one_starts_without_ado(self):
        source = self.example("hello")
        first, _ = self.session("watch", source, "hello")
        first.stop(signal.SIGKILL)
        _, url = self.session("watch", source, "hello")
        self.assertIn("Hello", e2e.body_of(url))


class End(e2e.Case):
    def check(self, end, expect_status):
        for command in COMMANDS:
            with self.subTest(command=command):
                source = self.example("hello")
                before = e2e.snapshot(source)
                program, url = self.session(command, source, "hello")
                self.assertIn("Hello", e2e.body_of(url))
                self.assertEqual(len(e2e.mounts_below(self.dir)), int(command == "mount"))
                end(program)
                status = program.wait()
                if expect_status is not None:
                    self.assertIn(status, expect_status, program.describe())
                self.assert_nothing_left()
                self.assertEqual(e2e.difference(before, e2e.snapshot(source)), "")
                e2e.shutil.rmtree(source)

    def test_ctrl_c(self):
        self.check(lambda program: program.interrupt(), (0, 130))

    def test_sigterm(self):
        self.check(lambda program: program.send_signal(signal.SIGTERM), (0, 143))

    def test_sighup(self):
        self.check(lambda program: program.send_signal(signal.SIGHUP), (0, 129))

    def test_kill_9(self):
        self.check(lambda program: program.send_signal(signal.SIGKILL), None)

    def test_ctrl_c_twice(self):
        def twice(program):
            program.interrupt()
            program.interrupt()
        self.check(twice, None)

    def test_kill_9_of_the_controller_is_noticed_and_leaves_nothing(self):
        # Its command is a shell's: a process below the one that the controller started.
        source = self.workspace({"index.html": "hi", "livepush.yml": "command: |\n"
                                 "  python3 -m http.server $PORT --bind 127.0.0.1; echo ended\n"})
        program, _ = self.session("watch", source, "shell")
        pids = [pid for pid, command in e2e.processes_of(self.token, self.dir).items()
                if "livepush-controller" in command]
        self.assertEqual(len(pids), 1)
        os.kill(pids[0], signal.SIGKILL)
        e2e.wait_for(lambda: pids[0] not in e2e.processes_of(self.token, self.dir))
        program.stop()
        self.assert_nothing_left()

    def test_an_app_that_ignores_sigterm_and_has_children_is_ended_too(self):
        source = self.workspace({
            "livepush.yml": "command: [python3, app.py]\nrestart:\n  grace: 500ms\n",
            "app.py": "import os, signal, subprocess, http.server\n"
                      "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                      "subprocess.Popen(['sleep', '600'])\n"
                      "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])),\n"
                      "    http.server.SimpleHTTPRequestHandler).serve_forever()\n",
        })
        program, _ = self.session("watch", source, "stubborn")
        since = program.mark()
        e2e.write(source / "other", "1")
        program.wait_event("restarted", since)
        sleeps = lambda: [c for c in e2e.processes_of(self.token, self.dir).values()
                          if c.startswith("sleep")]
        e2e.wait_for(lambda: len(sleeps()) == 1, what="the old generation's child is gone")
        program.interrupt()
        program.wait()
        self.assert_nothing_left()


class Controller(e2e.Case):
    def test_it_ends_on_sigterm_with_its_app(self):
        tree = self.dir / "tree"
        tree.mkdir()
        e2e.write(tree / "index.html", "hi")
        controller, port = self.controller(
            tree, "sh", "-c", "exec python3 -m http.server $PORT --bind 127.0.0.1")
        url = f"http://127.0.0.1:{port}/"
        e2e.wait_for(lambda: e2e.body_of(url) == "hi")
        self.assertEqual(controller.stop(), 0)
        self.assert_nothing_left()

    def test_port_comes_from_the_environment(self):
        tree = self.dir / "tree"
        tree.mkdir()
        port = e2e.free_port()
        program = self.start(e2e.CONTROLLER, "--tree", tree,
                             env={"PORT": str(port), "LIVEPUSH_SECRET": e2e.SECRET})
        address = program.wait_event("listening")["address"]
        self.assertTrue(address.endswith(f":{port}"), address)

    def test_options_come_from_variables_and_flags_go_before_them(self):
        tree = self.dir / "tree"
        tree.mkdir()
        e2e.write(tree / "livepush.yml", "command: [false]\n")
        e2e.write(tree / "app.py", (e2e.EXAMPLES / "hello/app.py").read_text())
        from_variable, from_flag = e2e.free_port(), e2e.free_port()
        env = {"LIVEPUSH_SECRET": e2e.SECRET, "LIVEPUSH_TREE": str(tree),
               "LIVEPUSH_LISTEN": f"127.0.0.1:{from_variable}",
               "LIVEPUSH_COMMAND": "exec python3 app.py"}
        program = self.start(e2e.CONTROLLER, env=env)
        self.assertTrue(program.wait_event("listening")["address"].endswith(f":{from_variable}"))
        # The file's command would never answer.
        e2e.wait_for(lambda: "Hello" in (e2e.body_of(f"http://127.0.0.1:{from_variable}/") or ""))
        program.process.terminate()
        program.wait(e2e.PATIENCE)
        program = self.start(e2e.CONTROLLER, "--listen", f"127.0.0.1:{from_flag}", env=env)
        self.assertTrue(program.wait_event("listening")["address"].endswith(f":{from_flag}"))
        done = self.livepush("flush", "nobody", env={"LIVEPUSH_TIMEOUT": "soon"})
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("soon", done.stderr)

    def test_the_app_never_sees_the_secret(self):
        tree = self.dir / "tree"
        tree.mkdir()
        e2e.write(tree / "app.py", (e2e.EXAMPLES / "hello/app.py").read_text().replace(
            "MESSAGE = ", "MESSAGE = repr(dict(os.environ)) #"))
        controller, port = self.controller(tree, "python3", "app.py")
        url = f"http://127.0.0.1:{port}/"
        body = e2e.wait_for(lambda: e2e.body_of(url))
        self.assertIn("'PORT'", body)
        self.assertNotIn(e2e.SECRET, body)
        self.assertNotIn("LIVEPUSH_SECRET", body)
        # The app runs as the same user, so it could look at the controller itself.
        for name in ("environ", "cmdline"):
            shown = e2e.pathlib.Path("/proc", str(controller.pid), name).read_bytes()
            self.assertFalse(e2e.SECRET.encode() in shown, f"the secret is in its {name}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
