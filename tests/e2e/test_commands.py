"""The commands beside mount and watch: push, flush, restart, status, logs."""

import contextlib
import errno
import json
import os
import shutil
import signal
import time
import unittest

import livepush_e2e as e2e

# Serves what it read at its start; prints a line for each start and each request.
APP = '''
import http.server, os, sys
text = open("text").read()
print("started", text, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("asked for", self.path, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''
CONFIG = "command: [python3, app.py]\n"


def objects(text):
    """The JSON objects of an output, one a line."""
    return [json.loads(line) for line in text.splitlines()]


class Running(e2e.Case):
    """An app by the name of `web` under `watch`."""

    def setUp(self):
        super().setUp()
        self.source = self.workspace({"app.py": APP, "text": "one", "livepush.yml": CONFIG})
        self.watch, self.url = self.session("watch", self.source, "web")

    def controller_pid(self):
        pids = [pid for pid, command in e2e.processes_of(self.token, self.dir).items()
                if "livepush-controller" in command]
        self.assertEqual(len(pids), 1, pids)
        return pids[0]

    def test_flush_returns_when_the_save_is_served(self):
        for number in range(5):
            e2e.write(self.source / "text", f"flushed {number}")
            self.succeed("flush", "web")
            self.assertEqual(e2e.body_of(self.url), f"flushed {number}")

    def test_flush_json_is_one_object(self):
        e2e.write(self.source / "text", "two")
        done = self.succeed("flush", "--json", "web")
        answer, = objects(done.stdout)
        self.assertIsInstance(answer, dict)

    def test_flush_fails_when_the_new_version_does_not_run(self):
        e2e.write(self.source / "app.py", "raise SystemExit('broken on purpose')\n")
        self.refused("flush", "web", saying=["exited"])
        self.assertEqual(e2e.body_of(self.url), "one")
        e2e.write(self.source / "app.py", APP)
        self.succeed("flush", "web")

    def test_flush_after_a_repair_forgets_the_failure(self):
        config = self.source / "livepush.yml"
        # Five starts within ten seconds are taken for an app that restarts itself.
        for number in range(4):
            e2e.write(config, CONFIG + "bogus: 1\n")
            self.refused("flush", "web", saying=["bogus"])
            # What is still being written keeps the repair from having a revision for a moment.
            with open(self.source / "scratch", "w", encoding="utf-8") as scratch:
                scratch.write(str(number))
                scratch.flush()
                e2e.write(self.source / "new", CONFIG)
                os.rename(self.source / "new", config)
                self.succeed("flush", "web", "--timeout", "1000", timeout=4 * e2e.PATIENCE)

    def test_flush_never_hangs_when_the_instance_is_gone(self):
        os.kill(self.controller_pid(), signal.SIGSTOP)
        self.addCleanup(self._continue, self.controller_pid())
        e2e.write(self.source / "text", "two")
        began = time.monotonic()
        self.refused("flush", "web", "--timeout", "2")
        # Without the option it gives up after 30.
        self.assertLess(time.monotonic() - began, 2 + max(20, 3 * e2e.SLOWDOWN))

    @staticmethod
    def _continue(pid):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    def test_restart_starts_a_new_generation_without_a_failed_request(self):
        since = self.watch.mark()
        with e2e.Load(self.url) as load:
            self.succeed("restart", "web")
            self.watch.wait_event("restarted", since)
        self.assertEqual(load.failures, [])

    def test_status(self):
        text = self.succeed("status", "web").stdout
        self.assertIn("web", text)
        self.assertIn(self.url.rstrip("/"), text)
        status = json.loads(self.succeed("status", "--json", "web").stdout)
        self.assertEqual(status["app"], "web")
        everything = self.succeed("status").stdout
        self.assertIn("web", everything)

    def test_logs(self):
        lines = self.succeed("logs", "web").stdout
        self.assertIn("started one", lines)
        for log in objects(self.succeed("logs", "--json", "web").stdout):
            self.assertIn("line", log)

    def test_logs_follow(self):
        follow = self.start(e2e.LIVEPUSH, "logs", "-f", "web")
        e2e.wait_for(lambda: any("started one" in line for line in follow.lines))
        e2e.get(self.url.rstrip("/") + "/shown-in-the-log")
        e2e.wait_for(lambda: any("/shown-in-the-log" in line for line in follow.lines))
        follow.interrupt()
        follow.wait()
        self.assertIsNone(self.watch.process.poll())

    def test_logs_follow_ends_with_the_session(self):
        follow = self.start(e2e.LIVEPUSH, "logs", "-f", "web")
        e2e.wait_for(lambda: any("started one" in line for line in follow.lines))
        self.watch.stop()
        follow.wait()

    def test_hold_sends_everything_at_once(self):
        self.succeed("hold", "web", "--for", "30")
        self.watch.wait_event("held", match=lambda event: event["app"] == "web")
        status = json.loads(self.succeed("status", "--json", "web").stdout)
        self.assertIn("livepush hold", status["held"])
        self.assertLessEqual(status["holds"][0]["left_ms"], 30000)
        self.assertIn("held by livepush hold", self.succeed("status", "web").stdout)
        since = self.watch.mark()
        for number in range(20):
            e2e.write(self.source / f"many/{number}", f"{number}")
        self.refused("flush", "web", "--timeout", "0.5", saying=["held by livepush hold"])
        self.assertFalse([event for event in self.watch.events[since:]
                          if event["event"] == "applied"])
        self.succeed("release", "web")
        self.watch.wait_event("released", since)
        self.succeed("flush", "web")
        applied = [event for event in self.watch.events[since:] if event["event"] == "applied"]
        self.assertEqual([event["files"] for event in applied], [20])

    def test_a_hold_ends_by_itself(self):
        since = self.watch.mark()
        held, = objects(self.succeed("hold", "web", "--for", "0.3", "--json").stdout)
        self.assertEqual((held["event"], held["for_ms"]), ("held", 300))
        e2e.write(self.source / "text", "two")
        self.watch.wait_event("notice", since, match=lambda event: "is over" in event["text"])
        self.succeed("flush", "web")
        self.assertEqual(e2e.body_of(self.url), "two")
        answer, = objects(self.succeed("release", "web", "--json").stdout)
        self.assertEqual(answer["holds"], 0)
        for seconds in ("0", "x", "-1", "100000"):
            self.refused("hold", "web", "--for", seconds, saying=["seconds"], status=2)

    def test_a_command_under_a_hold(self):
        since = self.watch.mark()
        script = "import pathlib\nfor n in range(9): pathlib.Path(f'c{n}').write_text('x')\n"
        self.succeed("hold", "web", "--", "python3", "-c", script, cwd=self.source)
        self.succeed("flush", "web")
        applied = [event for event in self.watch.events[since:] if event["event"] == "applied"]
        self.assertEqual([event["files"] for event in applied], [9])
        for command, status in ((["sh", "-c", "exit 7"], 7), (["no-such-command-at-all"], 127),
                                (["sh", "-c", "kill -9 $$"], 137)):
            done = self.livepush("hold", "web", "--", *command)
            self.assertEqual(done.returncode, status, done.stderr)
        self.refused("hold", "web", "--", status=2)
        status = json.loads(self.succeed("status", "--json", "web").stdout)
        self.assertNotIn("held", status)

    def test_a_hold_that_git_goes_on_with_is_told_to_be_over(self):
        lock = self.source / ".git/index.lock"
        lock.parent.mkdir()
        since = self.watch.mark()
        self.succeed("hold", "web", "--for", "600")
        self.watch.wait_event("held", since)
        lock.touch()
        self.succeed("release", "web")
        e2e.wait_for(lambda: "held by git" in self.succeed("status", "web").stdout, what="git")
        lock.unlink()
        self.watch.wait_event("released", since)

    def test_the_hold_of_a_killed_command_ends(self):
        holder = self.start(e2e.LIVEPUSH, "hold", "web", "--", "sleep", "1000")
        e2e.wait_for(lambda: "held by sleep 1000" in self.succeed("status", "web").stdout)
        e2e.write(self.source / "text", "three")
        for child in e2e.children_of(holder.pid):
            self.addCleanup(self._kill, child)
        holder.send_signal(signal.SIGKILL)
        self.succeed("flush", "web")
        self.assertEqual(e2e.body_of(self.url), "three")

    def test_a_signal_reaches_the_command_and_the_hold_lasts_as_long(self):
        for signo, status in ((signal.SIGTERM, 5), (signal.SIGHUP, 129)):
            ready, go_on = self.dir / f"ready{signo}", self.dir / f"go{signo}"
            script = ("import os, pathlib, signal, sys, time\n"
                      "def end(*_):\n"
                      f"    while not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n"
                      "    sys.exit(5)\n"
                      "signal.signal(signal.SIGTERM, end)\n"
                      "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
                      f"pathlib.Path({str(ready)!r}).touch()\n"
                      "time.sleep(1000)\n")
            holder = self.start(e2e.LIVEPUSH, "hold", "web", "--", "python3", "-c", script)
            e2e.wait_for(ready.exists, what="the command")
            holder.send_signal(signo)
            if signo == signal.SIGTERM:
                # It tidies up, and nothing of it goes out meanwhile.
                e2e.write(self.source / "text", "tidying")
                self.refused("flush", "-t", "1", "web", status=1)
                self.assertIn("held by python3", self.succeed("status", "web").stdout)
                go_on.touch()
            self.assertEqual(holder.process.wait(e2e.PATIENCE), status)
            self.succeed("flush", "web")
            self.assertNotIn("held", self.succeed("status", "web").stdout)
        self.assertEqual(e2e.body_of(self.url), "tidying")

    @staticmethod
    def _kill(pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def test_why_tells_who_has_it(self):
        e2e.write(self.source / "text", "four")
        self.succeed("flush", "web")

        def asked():
            answer = objects(self.succeed("why", "--json", self.source / "text").stdout)
            # It asks the session first: what that learns before the instance answers is told apart.
            return answer if answer[-1]["state"] == "equal" else None

        why, carried, holds = e2e.wait_for(asked, what="the same tree on both sides")
        self.assertEqual((why["ignored"], why["action"], why["rule"]), (False, "restart", 0))
        self.assertEqual((carried["app"], carried["revision"]), ("web", carried["newest"]))
        self.assertEqual(carried["entry"]["size"], 4)
        self.assertEqual((holds["state"], holds["digest"]), ("equal", carried["entry"]["digest"]))
        text = self.succeed("why", "text", "web", cwd=self.source).stdout
        for word in ("restarts the app", f"revision {carried['revision']}", holds["digest"]):
            self.assertIn(word, text)
        *_, holds = objects(self.succeed("why", "--json", self.source / "nothing").stdout)
        self.assertEqual(holds["digest"], None)
        self.refused("why", self.dir, "web", saying=["workspace of web"])
        self.refused("why", self.source, saying=["workspace itself"])

    def test_commands_are_quick(self):
        for command in ("status", "flush", "logs"):
            took = []

            def is_quick(command=command, took=took):
                began = time.monotonic()
                self.succeed(command, "web")
                took.append(time.monotonic() - began)
                return took[-1] < 1.0 * e2e.SLOWDOWN

            # One that the machine let run is enough.
            e2e.wait_for(is_quick, what=lambda took=took: f"a quick {command}: {took}")


class Push(e2e.Case):
    """`push` to a controller that mirrors."""

    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        self.source = self.workspace({"a": "1", "dir/b": "2", "dir/c": "3"})
        _, port = self.controller(self.tree)
        self.url = f"ws://127.0.0.1:{port}"
        self.env["LIVEPUSH_SECRET"] = e2e.SECRET

    def push(self, *options):
        """`push --json`: the changes as (change, path), and the closing event."""
        *changes, last = objects(
            self.succeed("push", "--json", *options, self.source, self.url).stdout)
        return sorted((change["change"], change["path"]) for change in changes
                      if "change" in change), last

    def test_one_pass_prints_what_is_new_changed_and_gone(self):
        changes, last = self.push()
        files = [change for change in changes if change[1] != "dir"]
        self.assertEqual(files, [("NEW", "a"), ("NEW", "dir/b"), ("NEW", "dir/c")])
        self.assertEqual(last["event"], "pushed")
        e2e.wait_equal(self.source, self.tree)

        e2e.write(self.source / "a", "changed")
        e2e.write(self.source / "d", "4")
        (self.source / "dir/c").unlink()
        changes, _ = self.push()
        self.assertEqual(changes, [("DEL", "dir/c"), ("MOD", "a"), ("NEW", "d")])
        e2e.wait_equal(self.source, self.tree)

        changes, _ = self.push()
        self.assertEqual(changes, [])
        self.assertIn("equal already", self.succeed("push", self.source, self.url).stderr)

    def test_a_dry_run_changes_nothing(self):
        changes, _ = self.push("--dry-run")
        self.assertIn(("NEW", "a"), changes)
        self.assertEqual(e2e.snapshot(self.tree), {})
        self.push()
        e2e.write(self.source / "a", "changed")
        (self.source / "dir/b").unlink()
        before = e2e.snapshot(self.tree)
        changes, _ = self.push("--dry-run")
        self.assertEqual(changes, [("DEL", "dir/b"), ("MOD", "a")])
        self.assertEqual(e2e.snapshot(self.tree), before)

    def test_for_people_it_prints_a_line_per_change(self):
        text = self.succeed("push", self.source, self.url).stdout
        for word in ("NEW", "a", "dir/b", "dir/c"):
            self.assertIn(word, text)

    def test_it_fails_when_the_instance_is_not_there(self):
        port = e2e.free_port()
        began = time.monotonic()
        self.refused("push", self.source, f"ws://127.0.0.1:{port}", saying=[str(port)],
                     timeout=60 * e2e.SLOWDOWN)
        self.assertLess(time.monotonic() - began, 45 * e2e.SLOWDOWN)
        self.refused("push", self.source, self.url, env={"LIVEPUSH_SECRET": "wrong"},
                     saying=["secret"])


class MassDelete(e2e.Case):
    """A workspace that is suddenly empty, or another one, empties no instance."""

    FILES = 30

    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        self.source = self.workspace({f"dir{n % 3}/file{n}": f"{n}" for n in range(self.FILES)})
        _, self.port = self.controller(self.tree)
        self.url = f"ws://127.0.0.1:{self.port}"
        self.env["LIVEPUSH_SECRET"] = e2e.SECRET

    def empty(self):
        """Removes the content of the workspace; returns it."""
        content = {path.relative_to(self.source): path.read_bytes()
                   for path in self.source.rglob("*") if path.is_file()}
        for folder in self.source.iterdir():
            shutil.rmtree(folder)
        return content

    def test_a_push_from_an_empty_directory_is_refused(self):
        self.succeed("push", self.source, self.url)
        before = e2e.snapshot(self.tree)
        self.empty()
        self.refused("push", self.source, self.url, status=1,
                     saying=[f"{self.FILES} of {self.FILES} files", "--allow-mass-delete"])
        self.assertEqual(e2e.snapshot(self.tree), before)
        self.succeed("push", "--allow-mass-delete", self.source, self.url)
        self.assertEqual(e2e.snapshot(self.tree), {})

    def test_a_watch_that_starts_in_another_directory_holds_it_back(self):
        self.succeed("push", self.source, self.url)
        before = e2e.snapshot(self.tree)
        other = self.dir / "other"
        for number in range(50):
            e2e.write(other / f"o{number}", "other")
        watch = self.start(e2e.LIVEPUSH, "watch", "--json", other, self.url)
        withheld = watch.wait_event("withheld")
        self.assertEqual((withheld["deletes"], withheld["of"]), (self.FILES, self.FILES))
        self.refused("flush", self.url, saying=["would be deleted", "--allow-mass-delete"])
        self.assertIn("would be deleted", self.succeed("status", self.url).stdout)
        self.assertEqual(e2e.snapshot(self.tree), before)
        self.assertIsNone(watch.process.poll())

    def test_what_comes_back_lets_it_go(self):
        watch = self.mirror(self.source, self.port)
        content = self.empty()
        watch.wait_event("withheld")
        self.refused("flush", self.url, saying=["would be deleted"])
        for path, text in content.items():
            e2e.write(self.source / path, text)
        e2e.write(self.source / "more", "x")
        watch.wait_event("restored")
        self.succeed("flush", self.url)
        e2e.wait_equal(self.source, self.tree)
        e2e.write(self.source / "after", "y")
        self.succeed("flush", self.url)
        e2e.wait_equal(self.source, self.tree)

    def test_allowed_beforehand(self):
        watch = self.start(e2e.LIVEPUSH, "watch", "--json", "--allow-mass-delete", self.source,
                           self.url)
        watch.wait_event("ready")
        self.empty()
        self.succeed("flush", self.url)
        e2e.wait_equal(self.source, self.tree)

    def test_another_tree_in_its_place_is_no_loss(self):
        watch = self.mirror(self.source, self.port)
        self.succeed("hold", self.url)
        self.empty()
        for number in range(self.FILES):
            e2e.write(self.source / f"other/branch{number}", "b")
        self.succeed("release", self.url)
        self.succeed("flush", self.url)
        e2e.wait_equal(self.source, self.tree)
        self.assertFalse([event for event in watch.events if event["event"] == "withheld"])

    def test_half_of_the_tree_may_go(self):
        watch = self.mirror(self.source, self.port)
        for number in range(self.FILES // 2):
            (self.source / f"dir{number % 3}/file{number}").unlink()
        self.succeed("flush", self.url)
        e2e.wait_equal(self.source, self.tree)
        self.assertFalse([event for event in watch.events if event["event"] == "withheld"])


class Verify(e2e.Case):
    """Files that were changed on the instance behind everybody's back."""

    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        self.source = self.workspace({"a": "1", "dir/b": "22", "dir/c": "333"})
        _, self.port = self.controller(self.tree)
        self.url = f"ws://127.0.0.1:{self.port}"
        self.env["LIVEPUSH_SECRET"] = e2e.SECRET

    def drift(self):
        """Changes one file without a trace in size and time, and removes another one."""
        path = self.tree / "dir/b"
        times = path.stat()
        path.write_text("xx")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        (self.tree / "a").unlink()

    def test_through_a_session(self):
        self.mirror(self.source, self.port)
        answer, = objects(self.succeed("verify", "--json", self.url).stdout)
        self.assertEqual((answer["state"], answer["files"], answer["drifted"]), ("equal", 3, 0))
        self.drift()
        answer, = objects(self.succeed("verify", "--json", self.url).stdout)
        self.assertEqual((answer["state"], answer["drifted"]), ("mended", 2))
        self.assertEqual(sorted(answer["paths"]), ["a", "dir/b"])
        e2e.wait_equal(self.source, self.tree)
        self.assertIn("3 files checked, all equal", self.succeed("verify", self.url).stdout)

    def test_by_itself(self):
        self.refused("verify", self.url, saying=["name its workspace"], status=1)
        self.succeed("push", self.source, self.url)
        self.drift()
        text = self.succeed("verify", self.url, self.source).stdout
        for word in ("had drifted and are mended", "DRIFT dir/b", "DRIFT a"):
            self.assertIn(word, text)
        e2e.wait_equal(self.source, self.tree)

    def test_what_cannot_be_verified(self):
        self.refused("verify", f"ws://127.0.0.1:{e2e.free_port()}", self.source, status=1)
        self.refused("verify", self.url, "--timeout", "x", saying=["seconds"], status=2)


class ManyInstances(e2e.Case):
    """One app with two instances, by a target in livepush.yml."""

    def setUp(self):
        super().setUp()
        self.trees = [self.dir / "tree0", self.dir / "tree1"]
        ports = []
        self.controllers = []
        for tree in self.trees:
            tree.mkdir()
            program, port = self.controller(tree)
            self.controllers.append(program)
            ports.append(port)
        urls = ", ".join(f"ws://127.0.0.1:{port}" for port in ports)
        self.ports = ports
        self.source = self.workspace({"a": "1", "b": "2",
                                      "livepush.yml": f"targets:\n  two:\n    urls: [{urls}]\n"})
        self.env["LIVEPUSH_SECRET"] = e2e.SECRET

    def test_a_dry_run_shows_the_differences_of_each(self):
        self.succeed("push", self.source, "two")
        e2e.write(self.source / "a", "new")
        os.unlink(self.trees[1] / "b")
        changes = objects(self.succeed("push", "-n", "--json", self.source, "two").stdout)[:-1]
        by_instance = {}
        for change in changes:
            if "change" in change:
                by_instance.setdefault(change["instance"], []).append(change["path"])
        self.assertEqual(sorted(by_instance.values()), [["a"], ["a", "b"]])

    def test_one_that_refuses_does_not_end_the_others(self):
        watch = self.start(e2e.LIVEPUSH, "watch", "--json", self.source, "two")
        watch.wait_event("ready")
        taker = self.start(e2e.LIVEPUSH, "watch", "--json", "--take-over", self.source,
                           f"ws://127.0.0.1:{self.ports[1]}")
        lost = watch.wait_event("state", match=lambda event: event["state"] == "failed")
        self.assertIn("taken over", lost["reason"])
        taker.wait_event("ready")
        taker.stop()
        since = watch.mark()
        e2e.write(self.source / "a", "after")
        watch.wait_event("applied", since)
        self.assertEqual((self.trees[0] / "a").read_text(), "after")
        self.refused("flush", "two", saying=["taken over"])
        taker = self.start(e2e.LIVEPUSH, "watch", "--json", "--take-over", self.source,
                           f"ws://127.0.0.1:{self.ports[0]}")
        self.assertEqual(watch.wait(), 1)

    def test_lines_name_the_instance_in_the_order_of_the_configuration(self):
        self.succeed("push", self.source, "two")
        names = [objects(self.succeed("history", "--json", f"ws://127.0.0.1:{port}").stdout)[0]
                 ["instance"] for port in self.ports]
        for _ in range(5):
            told = objects(self.succeed("history", "--json", "two", cwd=self.source).stdout)
            self.assertEqual([one["instance"] for one in told], names)
        lines = self.succeed("history", "two", cwd=self.source).stdout.splitlines()
        self.assertEqual([line for line in lines if line in names], names)
        done = self.succeed("restart", "two", cwd=self.source)
        for name in names:
            self.assertIn(f"two ({name}): a mirror", done.stdout + done.stderr)
        # One that is away holds up nobody, and is named by where it is.
        self.controllers[0].stop()
        done = self.refused("history", "two", cwd=self.source,
                            saying=[f"two (ws://127.0.0.1:{self.ports[0]}"])
        self.assertIn(names[1], done.stdout)

    def test_doctor_looks_at_the_targets(self):
        text = self.livepush("doctor", cwd=self.source).stdout
        self.assertIn("two: 2 of 2 instances answer", text)
        self.assertRegex(text, r"\d+ watch(es)? needed, \d+ in use, \d+ allowed")


class Options(e2e.Case):
    """What mount and watch can be told."""

    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        self.source = self.workspace({"a": "1"})
        self.instance, self.port = self.controller(self.tree)
        self.url = f"ws://127.0.0.1:{self.port}"
        self.env["LIVEPUSH_SECRET"] = e2e.SECRET

    def mount(self, *options):
        if not e2e.fuse_works():
            self.skipTest("no FUSE here")
        program = self.start(e2e.LIVEPUSH, "mount", "--json", *options, self.source, self.url)
        program.wait_event("ready")
        return program

    def stop_instance(self):
        self.instance.send_signal(signal.SIGSTOP)
        self.addCleanup(self.instance.send_signal, signal.SIGCONT)

    def test_sync_makes_close_and_fsync_exact(self):
        self.mount("--sync", "--sync-timeout", "1000")
        for number in range(50):
            e2e.write(self.source / "a", f"closed {number}")
            self.assertEqual((self.tree / "a").read_text(), f"closed {number}")
        with open(self.source / "b", "w", encoding="utf-8") as file:
            file.write("still open")
            file.flush()
            os.fsync(file.fileno())
            self.assertEqual((self.tree / "b").read_text(), "still open")
        shutil.copy(self.source / "b", self.source / "c")
        self.assertEqual((self.tree / "c").read_text(), "still open")

    def test_sync_gives_up_in_time(self):
        self.mount("--sync", "--sync-timeout", "0.5")
        self.stop_instance()
        began = time.monotonic()
        e2e.write(self.source / "a", "late")
        took = time.monotonic() - began
        self.assertGreater(took, 0.4)
        # Without an end of its own it would wait for the instance, which is stopped until then.
        self.assertLess(took, e2e.PATIENCE)
        self.instance.send_signal(signal.SIGCONT)
        e2e.wait_equal(self.source, self.tree)

    def test_sync_fails_when_that_is_asked_for(self):
        self.mount("--sync", "--sync-errors", "--sync-timeout", "0.5")
        self.stop_instance()
        with self.assertRaises(OSError) as raised:
            e2e.write(self.source / "a", "late")
        self.assertEqual(raised.exception.errno, errno.EIO)
        self.instance.send_signal(signal.SIGCONT)
        e2e.wait_equal(self.source, self.tree)

    def test_sync_does_not_wait_for_a_hold(self):
        self.mount("--sync", "--sync-timeout", "100")
        self.succeed("hold", self.url, "--for", "100")
        began = time.monotonic()
        e2e.write(self.source / "a", "held")
        self.assertLess(time.monotonic() - began, 50)  # of the 100 that it waits otherwise
        self.assertEqual((self.tree / "a").read_text(), "1")
        self.succeed("release", self.url)
        e2e.wait_equal(self.source, self.tree)

    def test_a_busy_mount_is_explained(self):
        mount = self.mount()
        held_open = os.open(self.source / "a", os.O_RDONLY)
        try:
            mount.stop()
            notice = mount.wait_event("notice")
            self.assertIn("still in use", notice["text"])
            self.assertIn(f"pid {os.getpid()}", notice["text"])
        finally:
            with contextlib.suppress(OSError):  # the mount behind it is gone
                os.close(held_open)

    def test_max_rate(self):
        e2e.write(self.source / "large", os.urandom(400 * 1024))
        began = time.monotonic()
        self.succeed("push", "--max-rate", "200k", self.source, self.url)
        self.assertGreater(time.monotonic() - began, 0.9)
        e2e.wait_equal(self.source, self.tree)


class Why(e2e.Case):
    """Without a session: which rule of which file."""

    FILES = {
        ".gitignore": "# built\n*.log\n/out/\n!keep.log\n",
        "sub/.gitignore": "*.tmp\n",
        ".git/info/exclude": "private\n",
        "livepush.yml": "ignore:\n  - big/\n  - '*.iso'\n"
                        "rules:\n  - match: '*.css'\n    action: none\n"
                        "  - match: ['*.conf']\n    signal: HUP\n"
                        "  - match: '*.c'\n    run: make all\n"
                        "  - match: '*.html'\n    action: browser-reload\n",
        "src/a.c": "", "out/x/y": "", "keep.log": "", "a.log": "", "sub/a.tmp": "",
    }
    # path → words that the answer has to hold
    ANSWERS = {
        "a.log": ["ignored by .gitignore:2: *.log"],
        "out/x/y": ["ignored, with out by .gitignore:3: /out/"],
        "sub/a.tmp": ["ignored by sub/.gitignore:1: *.tmp"],
        "private": ["ignored by .git/info/exclude:1: private"],
        "keep.log": ["taken in by .gitignore:4: !keep.log", "restarts the app"],
        "x.iso": ["ignored by livepush.yml:3: *.iso"],
        "big/f": ["ignored, with big by livepush.yml:2: big/"],
        ".git/config": ["built-in", ".git"],
        "src/a.c": ["mirrored", "runs '/bin/sh -c make all'", "rule 3"],
        "new.css": ["not there now", "does nothing else", "rule 1"],
        "new.html": ["has browsers reload", "rule 4"],
        "app.conf": ["SIGHUP", "rule 2"],
        "plain": ["restarts the app", "no rule"],
    }

    def test_every_kind_of_answer(self):
        source = self.workspace(self.FILES)
        for path, words in self.ANSWERS.items():
            with self.subTest(path=path):
                done = self.succeed("why", path, cwd=source)
                for word in words:
                    self.assertIn(word, done.stdout)
                self.assertIn("no instance can be asked", done.stderr)
                why, = objects(self.succeed("why", "--json", source / path).stdout)
                self.assertEqual(why["ignored"], "ignored" in done.stdout)

    def test_rules_of_the_repository_count_at_once(self):
        tree = self.dir / "tree"
        tree.mkdir()
        source = self.workspace({".git/info/exclude": "# none\n", "private": "1", "public": "2"})
        _, port = self.controller(tree)
        self.mirror(source, port)
        url = f"ws://127.0.0.1:{port}"
        self.assertTrue((tree / "private").exists())
        e2e.write(source / ".git/info/exclude", "private\n")
        e2e.wait_for(lambda: not (tree / "private").exists())
        self.assertIn("exclude:1", self.succeed("why", source / "private", url).stdout)
        (source / ".git/info/exclude").unlink()
        e2e.wait_for((tree / "private").exists)
        self.assertFalse((tree / ".git").exists())

    def test_another_file_of_rules_by_git_than_the_session_has(self):
        config, first, second = (self.dir / name for name in ("gitconfig", "first", "second"))
        e2e.write(config, f"[core]\nexcludesFile = {first}\n")
        e2e.write(first, "private\n")
        e2e.write(second, "public\n")
        self.env["GIT_CONFIG_GLOBAL"] = str(config)
        tree = self.dir / "tree"
        tree.mkdir()
        source = self.workspace({"livepush.yml": "", "private": "1", "public": "2"})
        _, port = self.controller(tree)
        self.mirror(source, port)
        ask = ("why", source / "public")
        self.assertNotIn("excludesFile", self.succeed(*ask).stdout)
        e2e.write(config, f"[core]\nexcludesFile = {second}\n")
        said = self.succeed(*ask).stdout
        for word in (f"{second}:1", str(first), "core.excludesFile", "start it anew"):
            self.assertIn(word, said)
        self.assertEqual(objects(self.succeed("why", "--json", source / "public").stdout)[1]
                         ["excludes"], str(first))

    def test_what_is_never_mirrored(self):
        source = self.workspace({"livepush.yml": ""})
        os.mkfifo(source / "fifo")
        os.symlink("/etc", source / "away")
        self.assertIn("fifo or device", self.succeed("why", source / "fifo").stdout)
        self.assertIn("leads out", self.succeed("why", source / "away").stdout)

    def test_names_that_are_not_utf8(self):
        source = self.workspace({"livepush.yml": "", ".gitignore": b"\xff*\n"})
        done = self.succeed("why", "--json", os.fsdecode(os.fsencode(source) + b"/\xff\xfe"))
        self.assertTrue(objects(done.stdout)[0]["ignored"])


class PushToAnApp(e2e.Case):
    def test_push_of_an_app_here_runs_it_once_and_leaves_nothing(self):
        source = self.workspace({"app.py": APP, "text": "one", "livepush.yml": CONFIG})
        changes = objects(self.succeed("push", "--json", source, "web").stdout)
        self.assertIn("app.py", [change.get("path") for change in changes])
        self.assert_nothing_left()

    def test_push_of_an_app_that_does_not_start_fails_and_says_why(self):
        source = self.workspace({"app.py": "raise SystemExit('no way')\n", "livepush.yml": CONFIG})
        self.refused("push", source, "web", saying=["no way"])
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main(verbosity=2)
