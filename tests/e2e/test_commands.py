"""The commands beside mount and watch: push, flush, restart, status, logs."""

import json
import os
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

    def test_flush_never_hangs_when_the_instance_is_gone(self):
        os.kill(self.controller_pid(), signal.SIGSTOP)
        self.addCleanup(self._continue, self.controller_pid())
        e2e.write(self.source / "text", "two")
        began = time.monotonic()
        self.refused("flush", "web", "--timeout", "2")
        self.assertLess(time.monotonic() - began, 2 + 3 * e2e.SLOWDOWN)

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

    def test_commands_are_quick(self):
        for command in ("status", "flush", "logs"):
            began = time.monotonic()
            self.succeed(command, "web")
            self.assertLess(time.monotonic() - began, 1.0 * e2e.SLOWDOWN, command)


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
