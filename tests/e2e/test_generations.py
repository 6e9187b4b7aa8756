"""Generations and revisions: health commands, what a failed start says, going back by itself and by
hand, the history, and an app that restarts itself."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import livepush_e2e as e2e

# Serves VERSION; what a save puts in front of it runs first.
APP = '''
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
VERSION = "one"

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{VERSION} pid={os.getpid()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

print("starting", VERSION, flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''
BROKEN = '''
print("about to fail", flush=True)
raise RuntimeError("broken on purpose")
'''
CONFIG = "command: [python3, app.py]\n"


class Placed(e2e.Case):
    """An instance with a tree of its own, and a mirror into it through a relay that can cut."""

    CONFIG = CONFIG

    def setUp(self):
        super().setUp()
        self.source = self.workspace({"app.py": APP, "livepush.yml": self.CONFIG,
                                      "other.txt": "0"})
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        self.instance, self.port = self.controller(self.tree)
        self.relay = e2e.CuttingProxy(self.port)
        self.addCleanup(self.relay.close)
        self.watch = self.mirror(self.source, self.relay.port)
        self.url = f"http://127.0.0.1:{self.port}"
        e2e.wait_for(lambda: "one" in (e2e.body_of(self.url) or ""), what="the first version")

    def ask(self, command, *args):
        """One of the commands about the instance; its JSON lines."""
        done = self.livepush(command, "--json", f"ws://127.0.0.1:{self.port}", *args,
                             env={"LIVEPUSH_SECRET": e2e.SECRET})
        return done, [json.loads(line) for line in done.stdout.splitlines()]

    def history(self):
        done, (answer,) = self.ask("history")
        self.assertEqual(done.returncode, 0, done.stderr)
        return answer["revisions"]

    def states(self):
        return [revision["state"] for revision in self.history()]

    def status(self):
        """As people read it."""
        return self.succeed("status", f"ws://127.0.0.1:{self.port}",
                            env={"LIVEPUSH_SECRET": e2e.SECRET}).stdout

    def tree_holds(self, name, text):
        return text in (self.tree / name).read_text()

    def save(self, old, new):
        since = self.watch.mark()
        e2e.replace(self.source / "app.py", f'VERSION = "{old}"', f'VERSION = "{new}"')
        self.watch.wait_event("restarted", since)
        e2e.wait_for(lambda: new in (e2e.body_of(self.url) or ""), what=new)


class Keep(Placed):
    def test_a_failed_start_is_explained_and_the_old_one_serves(self):
        before = e2e.body_of(self.url)
        since = self.watch.mark()
        e2e.write(self.source / "app.py", "\n".join(f'print("line {n}")' for n in range(80)) +
                  "\nimport time\nprint('failing at', time.time(), flush=True)\n" + BROKEN)
        failed = self.watch.wait_event("failed", since)
        told = time.time()
        failing, = re.findall(r"failing at ([0-9.]+)", failed["excerpt"])
        self.assertLess(told - float(failing), e2e.SLOWDOWN)
        self.assertEqual((failed["stage"], failed["path"], failed["files"]),
                         ("start", "app.py", 1))
        self.assertIn("exited with status 1", failed["error"])
        self.assertIn("RuntimeError: broken on purpose", failed["excerpt"])
        self.assertEqual(len(failed["excerpt"].splitlines()), 50)
        self.assertEqual(e2e.body_of(self.url), before)
        self.assertTrue(self.tree_holds("app.py", "broken on purpose"))
        e2e.wait_for(lambda: self.states() == ["healthy", "failed"], what="the history of it")
        newest = self.history()[-1]
        self.assertEqual(newest["paths"], ["app.py"])
        self.assertIn("exited with status 1", newest["error"])
        self.assertRegex(self.status(), rf"revision {newest['revision']} failed: .*exited with "
                         rf"status 1.*; {self.history()[0]['revision']} runs")
        _, (status,) = self.ask("status")
        self.assertEqual(status["instances"][0]["failed"],
                         {"revision": newest["revision"], "error": newest["error"]})
        e2e.write(self.source / "app.py", APP)
        e2e.wait_for(lambda: self.states()[-1] == "healthy", what="the repair")
        self.assertNotIn("failed", self.status())
        # It was never served; its repair was.
        name = f"ws://127.0.0.1:{self.relay.port}"
        self.succeed("flush", name)
        timeline = json.loads(self.succeed("status", "--timeline", "--json", name).stdout)
        self.assertEqual([("failed_ms" in save, "served_ms" in save)
                          for save in timeline["saves"]], [(True, False), (False, True)], timeline)
        self.assertRegex(self.succeed("status", "--timeline", name).stdout,
                         r"app\.py \(failed after \d+\)")

    def test_the_first_words_of_a_person_who_looks(self):
        self.save("one", "two")
        text = self.succeed("history", f"ws://127.0.0.1:{self.port}",
                            env={"LIVEPUSH_SECRET": e2e.SECRET}).stdout
        lines = text.splitlines()
        self.assertEqual(len(lines), 2, text)
        self.assertRegex(lines[1], r"^\* +\d+  \d{4}-\d\d-\d\d .*  healthy  1 file:  app\.py$")
        self.assertRegex(lines[0], r"3 files:")


class Rollback(Placed):
    def test_by_hand_to_the_last_healthy_one_and_forward_by_a_save(self):
        self.save("one", "two")
        since = self.watch.mark()
        done, (event,) = self.ask("rollback")
        self.assertEqual((done.returncode, event["event"], event["files"]), (0, "rolled", 1),
                         done.stderr)
        e2e.wait_for(lambda: "one" in (e2e.body_of(self.url) or ""), what="the first version")
        rolled = self.watch.wait_event("rolled", since)
        self.assertTrue(rolled["asked"])
        self.assertTrue(self.tree_holds("app.py", '"one"'))
        self.assertIn(f"rolled back to {event['revision']} until the next save", self.status())
        _, (status,) = self.ask("status")
        self.assertEqual(status["instances"][0]["rolled_to"], event["revision"])
        # The workspace stays as it is, and a lost connection mends nothing.
        self.assertIn('"two"', (self.source / "app.py").read_text())
        since = self.watch.mark()
        self.relay.cut()
        self.watch.wait_event("state", since, match=lambda e: e["state"] == "connected")
        self.assertEqual(self.ask("restart")[0].returncode, 0)
        self.assertTrue(self.tree_holds("app.py", '"one"'))
        self.assertEqual(self.states(), ["healthy", "undone"])
        # Nor does verify, which says so.
        since = self.watch.mark()
        relay = f"ws://127.0.0.1:{self.relay.port}"
        done = self.refused("verify", relay, saying=["not every instance is as the workspace"],
                            status=1)
        self.assertIn("behind on purpose: it went back", done.stdout)
        e2e.write(self.tree / "other.txt", "drifted")
        done = self.livepush("verify", "--json", relay)
        answer = json.loads(done.stdout.splitlines()[0])
        self.assertEqual((done.returncode, answer["state"], answer["paths"]),
                         (1, "behind", ["other.txt"]))
        self.assertEqual(self.states(), ["healthy", "undone"])
        self.assertTrue(self.tree_holds("app.py", '"one"'))
        self.assertEqual([e for e in self.watch.events[since:] if e["event"] == "applied"], [])
        # Whatever is saved brings everything again.
        e2e.write(self.source / "other.txt", "1")
        e2e.wait_equal(self.source, self.tree, leave_out={".livepush"})
        e2e.wait_for(lambda: "two" in (e2e.body_of(self.url) or ""), what="the second version")
        self.assertNotIn("rolled back", self.status())

    def test_a_save_that_brings_nothing_new_ends_it(self):
        self.save("one", "two")
        e2e.wait_for(lambda: self.states() == ["healthy"] * 2, what="two healthy revisions")
        self.assertEqual(self.ask("rollback")[0].returncode, 0)
        self.assertIn("rolled back", self.status())
        e2e.write(self.source / "app.py", APP)
        self.succeed("flush", f"ws://127.0.0.1:{self.relay.port}")
        self.assertNotIn("rolled back", self.status())
        self.assertEqual(self.states(), ["healthy", "undone"])

    def test_goes_to_another_tree_than_the_present_one(self):
        self.save("one", "two")
        e2e.wait_for(lambda: self.states() == ["healthy"] * 2, what="two healthy revisions")
        e2e.write(self.source / "app.py", BROKEN)
        e2e.wait_for(lambda: self.states()[-1] == "failed", what="the broken one")
        e2e.write(self.source / "app.py", APP.replace('"one"', '"two"'))
        e2e.wait_for(lambda: self.states()[-1] == "healthy", what="the repair")
        oldest = self.history()[0]["revision"]
        done, (event,) = self.ask("rollback")
        self.assertEqual((done.returncode, event["revision"]), (0, oldest), done.stderr)
        self.assertTrue(self.tree_holds("app.py", '"one"'))

    def test_to_a_revision_by_its_number_and_after_the_controller_was_gone(self):
        for old, new in (("one", "two"), ("two", "three"), ("three", "four")):
            self.save(old, new)
        e2e.wait_for(lambda: self.states() == ["healthy"] * 4, what="four healthy revisions")
        self.watch.stop()
        self.instance.stop()
        self.instance, self.port = self.controller(self.tree)
        self.url = f"http://127.0.0.1:{self.port}"
        history = self.history()
        self.assertEqual([r["state"] for r in history], ["healthy"] * 4)
        self.assertEqual([r["kept"] for r in history[:3]], [True] * 3)
        done, events = self.ask("rollback", str(history[1]["revision"]))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(events[0]["revision"], history[1]["revision"])
        e2e.wait_for(lambda: "two" in (e2e.body_of(self.url) or ""), what="the second version")
        self.assertEqual(self.states(), ["healthy", "healthy", "undone", "undone"])
        done, events = self.ask("rollback", str(history[3]["revision"]))
        self.assertEqual(done.returncode, 1)
        self.assertIn("is not known here", events[0]["error"])

    def test_what_has_a_broken_configuration_is_no_way_back(self):
        config = self.source / "livepush.yml"
        e2e.write(config, CONFIG + "bogus: 1\n")
        e2e.wait_for(lambda: self.states() == ["healthy", "failed"], what="the broken one")
        # The app is restarted well with the configuration before, and that is still broken.
        self.save("one", "two")
        e2e.wait_for(lambda: self.states() == ["healthy", "failed", "failed"],
                     what="the one behind it")
        self.assertIn("bogus", self.history()[-1]["error"])
        self.assertRegex(self.status(), r"revision \d+ failed: livepush.yml:2:1: .*'bogus'")
        e2e.write(config, CONFIG)
        e2e.wait_for(lambda: self.states() == ["healthy", "failed", "failed", "healthy"],
                     what="the repair")
        self.assertEqual(self.history()[-1]["error"], "")
        good = self.history()[0]["revision"]
        done, (event,) = self.ask("rollback")
        self.assertEqual((done.returncode, event["revision"]), (0, good), done.stderr)
        self.assertTrue(self.tree_holds("app.py", '"one"'))
        self.assertFalse(self.tree_holds("livepush.yml", "bogus"))
        # The next save is judged for itself again.
        e2e.write(self.source / "other.txt", "1")
        e2e.wait_for(lambda: self.states()[-1] == "healthy", what="the next save")

    def test_there_is_nothing_to_go_back_to(self):
        done, events = self.ask("rollback")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no revision before the present one was healthy", events[0]["error"])
        self.assertEqual(self.ask("rollback", "0")[0].returncode, 2)
        self.assertEqual(self.ask("rollback", "x")[0].returncode, 2)
        self.assertEqual(self.ask("history", "-n", "0")[0].returncode, 2)


class OnFailure(Placed):
    CONFIG = CONFIG + "restart:\n  on_failure: rollback\n"

    def test_the_tree_goes_back_and_stays_until_the_next_save(self):
        before = e2e.body_of(self.url)
        since = self.watch.mark()
        e2e.write(self.source / "app.py", BROKEN)
        failed = self.watch.wait_event("failed", since)
        self.assertEqual(failed["stage"], "start")
        rolled = self.watch.wait_event("rolled", since)
        self.assertFalse(rolled["asked"])
        self.assertEqual(rolled["from"], failed["revision"])
        e2e.wait_for(lambda: self.tree_holds("app.py", '"one"'), what="the old file")
        since = self.watch.mark()
        self.relay.cut()
        self.watch.wait_event("state", since, match=lambda e: e["state"] == "connected")
        # A question and its answer behind whatever the mirror might have sent.
        self.assertEqual(self.states(), ["healthy", "undone"])
        self.assertTrue(self.tree_holds("app.py", '"one"'))
        self.assertEqual(e2e.body_of(self.url), before)
        self.assertEqual([e for e in self.watch.events[since:] if e["event"] == "applied"], [])
        e2e.write(self.source / "app.py", APP.replace('"one"', '"mended"'))
        e2e.wait_for(lambda: "mended" in (e2e.body_of(self.url) or ""), what="the mended one")
        e2e.wait_equal(self.source, self.tree, leave_out={".livepush"})

    def test_flush_says_what_failed(self):
        e2e.write(self.source / "app.py", BROKEN)
        self.watch.wait_event("rolled")
        self.refused("flush", f"ws://127.0.0.1:{self.relay.port}", saying=["exited with status 1"])


class StopStart(Placed):
    CONFIG = CONFIG + "restart:\n  strategy: stop-start\n  on_failure: rollback\n"

    def test_the_earlier_version_is_started_again(self):
        since = self.watch.mark()
        e2e.write(self.source / "app.py", BROKEN)
        self.watch.wait_event("rolled", since)
        self.watch.wait_event("restarted", since)
        self.assertIn("one", e2e.body_of(self.url))


class Interrupted(e2e.Case):
    def test_is_told_neither_as_a_timeout_nor_as_a_success(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(e2e.PATIENCE)
            for command in ("history", "rollback", "restart"):
                program = self.start(e2e.LIVEPUSH, command,
                                     f"ws://127.0.0.1:{silent.getsockname()[1]}",
                                     env={"LIVEPUSH_SECRET": e2e.SECRET})
                connection, _ = silent.accept()
                with connection:
                    program.interrupt()
                    self.assertEqual(program.process.wait(e2e.PATIENCE), 130, program.describe())
                self.assertEqual(program.errors, [])
            # Nor is a push that came nowhere a success.
            program = self.start(e2e.LIVEPUSH, "push", self.workspace({"a": "1"}),
                                 f"ws://127.0.0.1:{silent.getsockname()[1]}",
                                 env={"LIVEPUSH_SECRET": e2e.SECRET})
            connection, _ = silent.accept()
            with connection:
                program.interrupt()
                self.assertEqual(program.process.wait(e2e.PATIENCE), 130, program.describe())


class Waits(e2e.Case):
    """One start at a time, and requests that wait for it."""

    def test_requests_wait_so_long_and_then_are_told(self):
        lock = self.dir / "lock"
        # It will not run beside another, and takes its time to end.
        exclusive = ("import fcntl, time, signal\n"
                     f"lock = open({str(lock)!r}, 'w')\n"
                     "fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n")
        tree = self.dir / "tree"
        tree.mkdir()
        source = self.workspace({
            "app.py": exclusive + APP,
            "livepush.yml": CONFIG + "restart:\n  strategy: stop-start\n  hold: 400ms\n"
                            "  grace: 600ms\n"})
        _, port = self.controller(tree)
        watch = self.mirror(source, port)
        url = f"http://127.0.0.1:{port}"
        self.assertIn("one", e2e.body_of(url))
        # The next one runs alone, too: the lock is free.
        since = watch.mark()
        e2e.write(source / "app.py", exclusive + APP.replace('"one"', '"two"'))
        watch.wait_event("restarted", since)
        self.assertIn("two", e2e.body_of(url))
        # One that ignores SIGTERM is killed after its grace.
        since = watch.mark()
        e2e.write(source / "app.py", exclusive + APP.replace(
            "lambda *_: sys.exit(0)", "signal.SIG_IGN").replace('"one"', '"three"'))
        watch.wait_event("restarted", since)
        since = watch.mark()
        go_on = self.dir / "go"
        slow = (f"import os, time\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n")
        e2e.write(source / "app.py", exclusive + slow + APP.replace('"one"', '"four"'))
        watch.wait_event("log", since, match=lambda e: "was killed" in e["line"])
        began = time.monotonic()
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=e2e.PATIENCE)
        self.assertEqual(refused.exception.code, 503)
        self.assertGreater(int(refused.exception.headers["Retry-After"]), 0)
        refused.exception.close()
        self.assertGreaterEqual(time.monotonic() - began, 0.3)
        go_on.touch()
        watch.wait_event("restarted", since)
        self.assertIn("four", e2e.body_of(url))


class Output(e2e.Case):
    """What the app writes, where whoever runs the controller looks for it."""

    APP = ("import sys\nsys.stderr.write('to the error output\\n')\n"
           "sys.stdout.buffer.write(b'\\xff\\x00 as it is\\n')\nsys.stdout.flush()\n")

    def run_app(self, *options, app=""):
        tree = self.dir / "tree"
        tree.mkdir()
        e2e.write(tree / "app.py", self.APP + app + APP)
        program, port = self.controller(tree, "python3", "app.py", options=options)
        url = f"http://127.0.0.1:{port}"
        e2e.wait_for(lambda: "one" in (e2e.body_of(url) or ""), what="the app")
        return program, url

    def test_it_is_on_the_controllers_standard_output(self):
        program, _ = self.run_app()
        e2e.wait_for(lambda: "starting one" in program.lines, what="the app's line")
        self.assertIn("\ufffd\0 as it is", program.lines)
        self.assertIn("to the error output", program.lines)
        self.assertEqual(json.loads(program.lines[0])["event"], "listening")

    def test_it_is_not_when_nobody_wants_it(self):
        program, _ = self.run_app("--quiet")
        logs = self.livepush("logs", f"ws://127.0.0.1:{program.events[0]['address'][10:]}",
                             env={"LIVEPUSH_SECRET": e2e.SECRET})
        self.assertIn("starting one", logs.stdout)
        program.stop()
        self.assertEqual(len(program.lines), 1)

    def test_nobody_who_does_not_read_it_holds_anything_up(self):
        tree = self.dir / "tree"
        tree.mkdir()
        e2e.write(tree / "app.py",
                  "import sys\nfor n in range(100000): print('line', n)\n"
                  "sys.stdout.flush()\n" + APP)
        address = f"127.0.0.1:{e2e.free_port()}"
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        process = subprocess.Popen([e2e.CONTROLLER, "--tree", tree, "--listen", address, "--",
                                    "python3", "app.py"], stdout=writer,
                                   stderr=subprocess.PIPE, env={**self.env,
                                                                "LIVEPUSH_SECRET": e2e.SECRET})
        os.close(writer)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stderr.close)
        e2e.wait_for(lambda: "one" in (e2e.body_of(f"http://{address}") or ""), what="the app")
        process.terminate()
        self.assertEqual(process.wait(e2e.PATIENCE), 0)


class HealthCommand(e2e.Case):
    def test_it_has_to_be_good_so_many_times_in_a_row(self):
        runs = self.dir / "runs"
        gate = self.dir / "gate"
        source = self.workspace({
            "app.py": APP,
            "livepush.yml": CONFIG + "health:\n  kind: command\n  threshold: 3\n"
                            "  interval: 20ms\n  command: 'echo \"$PORT $LIVEPUSH_GENERATION\" >>"
                            f" {runs}; test -e {gate}'\n"})
        program = self.start(e2e.LIVEPUSH, "watch", "--json", source, "app")
        e2e.wait_for(lambda: runs.exists() and len(runs.read_text().splitlines()) >= 2,
                     what="two probes that are not good")
        self.assertEqual([e for e in program.events if e["event"] == "restarted"], [])
        bad = len(runs.read_text().splitlines())
        gate.touch()
        program.wait_event("restarted")
        lines = runs.read_text().splitlines()
        self.assertGreaterEqual(len(lines), bad + 3)
        port, generation = lines[-1].split()
        self.assertEqual(generation, "1")
        self.assertGreater(int(port), 0)
        # A start that serves is asked no more: what gets bad later is left to the app.
        gate.unlink()
        url = program.wait_event("ready")["url"]
        e2e.wait_for(lambda: e2e.body_of(url), what="the app, which the command knows nothing of")
        for _ in range(20):
            self.assertIn("one", e2e.body_of(url))
            self.succeed("flush", "app")
        self.assertEqual(runs.read_text().splitlines(), lines)
        # The next start is asked again, and does not take over.
        since = program.mark()
        e2e.write(source / "livepush.yml", (source / "livepush.yml").read_text() +
                  "  timeout: 1s\n")
        failed = program.wait_event("failed", since)
        self.assertEqual(failed["stage"], "health")
        self.assertIn("one", e2e.body_of(url))

    def test_what_it_writes_is_the_reason(self):
        source = self.workspace({
            "app.py": APP,
            "livepush.yml": CONFIG + "health:\n  kind: command\n  timeout: 1s\n"
                            "  command: 'echo database is away >&2; exit 3'\n"})
        program = self.start(e2e.LIVEPUSH, "watch", "--json", source, "app")
        failed = program.wait_event("failed")
        self.assertEqual(failed["stage"], "health")
        self.assertIn("exited with status 3: database is away", failed["error"])

    def test_one_that_hangs_is_ended(self):
        source = self.workspace({
            "app.py": APP,
            "livepush.yml": CONFIG + "health:\n  kind: command\n  timeout: 2s\n"
                            "  probe_timeout: 100ms\n  command: 'sleep 1000'\n"})
        program = self.start(e2e.LIVEPUSH, "watch", "--json", source, "app")
        failed = program.wait_event("failed")
        self.assertIn("did not end within 100 ms", failed["error"])
        program.stop()
        self.assert_nothing_left()


class Canary(e2e.Case):
    def place(self, count):
        """Starts instances of the app "shop": the trees, the controllers and their ports, and a
        workspace for them."""
        trees = [self.dir / f"tree{number}" for number in range(count)]
        for tree in trees:
            tree.mkdir()
        programs = [self.controller(tree) for tree in trees]
        urls = "".join(f"      - ws://127.0.0.1:{port}\n" for _, port in programs)
        source = self.workspace({
            "app.py": APP,
            "livepush.yml": CONFIG + "canary: true\ntargets:\n  shop:\n    secret_env: SHOP\n"
                            f"    urls:\n{urls}"})
        return trees, programs, source

    def session_of(self, source):
        return self.start(e2e.LIVEPUSH, "watch", "--json", source, "shop",
                          env={"SHOP": e2e.SECRET}, cwd=source)

    def fleet(self, count):
        """The same and a session for them."""
        trees, programs, source = self.place(count)
        watch = self.session_of(source)
        watch.wait_event("ready")
        return trees, programs, source, watch

    def push(self, source, *args):
        done = self.livepush("push", "--json", *args, source, "shop", env={"SHOP": e2e.SECRET},
                             cwd=source)
        return done, [json.loads(line) for line in done.stdout.splitlines()]

    def histories(self, source):
        done = self.livepush("history", "--json", "shop", env={"SHOP": e2e.SECRET}, cwd=source)
        self.assertEqual(done.returncode, 0, done.stderr)
        # They come as they are answered.
        told = sorted(map(json.loads, done.stdout.splitlines()), key=lambda one: one["instance"])
        return [one["revisions"] for one in told]

    @staticmethod
    def serve(programs, version):
        return all(version in (e2e.body_of(f"http://127.0.0.1:{port}") or "")
                   for _, port in programs)

    def test_the_others_get_what_came_to_serve_on_the_first(self):
        trees, programs, source, watch = self.fleet(3)
        e2e.wait_for(lambda: self.serve(programs, "one"), what="the first version on all")
        first = [e["instance"] for e in watch.events if e["event"] == "restarted"]
        self.assertEqual(len(set(first)), 3)
        # One that fails reaches the first alone, and leaves it.
        since = watch.mark()
        e2e.write(source / "app.py", BROKEN)
        failed = watch.wait_event("failed", since)
        rolled = watch.wait_event("rolled", since)
        self.assertEqual(failed["instance"], rolled["instance"])
        self.refused("flush", "shop", saying=["exited with status 1"])
        self.assertEqual({e["instance"] for e in watch.events[since:]
                          if e["event"] in ("applied", "failed", "rolled")},
                         {failed["instance"]})
        for tree in trees:
            self.assertEqual((tree / "app.py").read_text(), APP)
        self.assertTrue(self.serve(programs, "one"))
        # Verify does not bring it to them, either.
        done = self.livepush("verify", "--json", "shop", cwd=source)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([a["state"] for a in answers if a["event"] == "verified"],
                         ["behind"] * 3, done.stdout)
        self.assertEqual(done.returncode, 1)
        for tree in trees:
            self.assertEqual((tree / "app.py").read_text(), APP)
        # One that is good reaches all of them, the first one first.
        since = watch.mark()
        e2e.write(source / "app.py", APP.replace('"one"', '"two"'))
        e2e.wait_for(lambda: self.serve(programs, "two"), what="the second version on all")
        self.succeed("flush", "shop")
        events = [e for e in watch.events[since:] if e["event"] in ("applied", "restarted")]
        self.assertEqual([e["instance"] for e in events[:2]], [failed["instance"]] * 2)
        for tree in trees:
            e2e.wait_equal(source, tree, leave_out={".livepush"})

    def test_one_that_is_away_after_going_back_gets_the_next_save(self):
        trees, programs, source, watch = self.fleet(2)
        e2e.wait_for(lambda: self.serve(programs, "one"), what="the first version on both")
        e2e.write(source / "app.py", APP.replace('"one"', '"two"'))
        e2e.wait_for(lambda: self.serve(programs, "two"), what="the second version on both")
        self.succeed("flush", "shop", cwd=source)
        self.succeed("rollback", "shop", cwd=source, env={"SHOP": e2e.SECRET})
        e2e.wait_for(lambda: self.serve(programs, "one"), what="the first version again")
        other, port = programs[1]
        since = watch.mark()
        other.stop(signal.SIGKILL)
        watch.wait_event("state", since, match=lambda e: e["state"] != "connected")
        since = watch.mark()
        e2e.write(source / "app.py", APP.replace('"one"', '"three"'))
        watch.wait_event("restarted", since)
        programs[1] = self.controller(trees[1], port=port)
        e2e.wait_for(lambda: self.serve(programs, "three"), what="the third version on both")
        self.succeed("flush", "shop", cwd=source)
        for tree in trees:
            e2e.wait_equal(source, tree, leave_out={".livepush"})

    def test_a_push_is_tried_on_one_first(self):
        trees, programs, source = self.place(3)
        done, events = self.push(source)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        self.assertTrue(self.serve(programs, "one"))
        applied = [e["event"] for e in events if e["event"] in ("applied", "restarted")]
        self.assertEqual(applied[:2], ["applied", "restarted"])
        first = next(e["instance"] for e in events if e["event"] == "restarted")
        # The same once more changes nothing, and takes no number.
        before = self.histories(source)
        numbers = [e["revision"] for e in events if e["event"] == "pushed"]
        done, events = self.push(source)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([e["revision"] for e in events if e["event"] == "pushed"], numbers)
        self.assertEqual(self.histories(source), before)
        # One that fails reaches one alone, and leaves it.
        e2e.write(source / "app.py", BROKEN)
        done, events = self.push(source)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("the other instances were left as they are",
                      "".join(e["text"] for e in events if e["event"] == "notice"))
        self.assertEqual({e["instance"] for e in events
                          if e["event"] in ("applied", "failed", "rolled")},
                         {next(e["instance"] for e in events if e["event"] == "failed")})
        self.assertIn("rolled", [e["event"] for e in events])
        for tree in trees:
            self.assertEqual((tree / "app.py").read_text(), APP)
        self.assertTrue(self.serve(programs, "one"))
        # What would be done is told of all of them.
        e2e.write(source / "app.py", APP.replace('"one"', '"two"'))
        done, events = self.push(source, "--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([e["path"] for e in events if e["event"] == "change"], ["app.py"] * 3)
        self.assertTrue(self.serve(programs, "one"))
        self.assertIn(first, {e["instance"] for e in events if e["event"] == "change"})

    def test_a_verify_by_itself_is_tried_on_one_first(self):
        trees, programs, source = self.place(3)
        done, _ = self.push(source)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        e2e.write(source / "app.py", BROKEN)
        secret = {"env": {"SHOP": e2e.SECRET}, "cwd": source}
        done = self.refused("verify", "--json", "shop", source,
                            saying=["not every instance is as the workspace"], **secret)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([e["state"] for e in events if e["event"] == "verified"],
                         ["behind"] * 3, done.stdout)
        self.assertEqual(len({e["instance"] for e in events if e["event"] == "failed"}), 1)
        for tree in trees:
            self.assertEqual((tree / "app.py").read_text(), APP)
        self.assertTrue(self.serve(programs, "one"))
        e2e.write(source / "app.py", APP.replace('"one"', '"two"'))
        self.succeed("verify", "shop", source, **secret)
        e2e.wait_for(lambda: self.serve(programs, "two"), what="the second version on all")
        for tree in trees:
            e2e.wait_equal(source, tree, leave_out={".livepush"})

    def test_a_verify_by_itself_ends_when_the_first_cannot_hold_it(self):
        trees, programs, source = self.place(2)
        done, _ = self.push(source)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        # The app has something in its way.
        for tree in trees:
            e2e.write(tree / "way/of-the-app", "1")
        e2e.write(source / "way", "2")
        e2e.write(source / "other", "3")
        secret = {"env": {"SHOP": e2e.SECRET}, "cwd": source}
        self.refused("verify", "-t", "5", "shop", source, status=1, **secret)
        self.assertEqual(sorted((tree / "other").exists() for tree in trees), [False, True])
        self.assertTrue(self.serve(programs, "one"))

    def test_one_that_stays_away_with_it_does_not_hold_up_the_others(self):
        trees, programs, source, watch = self.fleet(2)
        e2e.wait_for(lambda: self.serve(programs, "one"), what="the first version on both")
        # The first one is killed when it has it, before that has settled.
        since = watch.mark()
        e2e.write(source / "app.py", "import time\ntime.sleep(3)\n" + APP.replace("one", "two"))
        first = watch.wait_event("applied", since)["instance"]
        [gone] = [program for (program, _), tree in zip(programs, trees)
                  if "sleep" in (tree / "app.py").read_text()]
        gone.stop(signal.SIGKILL)
        said = watch.wait_event("notice", since, match=lambda e: "(canary)" in e["text"])
        self.assertIn(first, said["text"])
        self.assertNotEqual(watch.wait_event("restarted", since)["instance"], first)
        left = [entry for entry in programs if entry[0] is not gone]
        self.assertTrue(self.serve(left, "two"))

    def test_the_start_of_a_session_is_tried_on_the_first_that_is_there(self):
        trees, programs, source = self.place(3)
        first, port = programs[0]
        first.stop(signal.SIGKILL)
        e2e.write(source / "app.py", BROKEN)
        watch = self.session_of(source)
        failed = watch.wait_event("failed")
        # The first of the list comes late. What failed elsewhere is not for it, either.
        programs[0] = self.controller(trees[0], port=port)
        watch.wait_event("state", match=lambda e: e["state"] == "connected" and
                         e["instance"] != failed["instance"])
        self.refused("flush", "shop", saying=["exited with status 1"])
        self.assertEqual({e["instance"] for e in watch.events if e["event"] == "applied"},
                         {failed["instance"]})
        since = watch.mark()
        e2e.write(source / "app.py", APP)
        e2e.wait_for(lambda: self.serve(programs, "one"), what="the repair on all")
        self.succeed("flush", "shop")
        applied = [e["instance"] for e in watch.events[since:]
                   if e["event"] in ("applied", "restarted")]
        self.assertEqual(applied[0], applied[1])
        self.assertEqual(len(set(applied)), 3)

    def test_numbers_that_differ_lead_to_the_same_tree(self):
        trees, programs, source, watch = self.fleet(2)
        e2e.wait_for(lambda: self.serve(programs, "one"), what="the first version on both")
        since = watch.mark()
        # The first one has one more than the other.
        e2e.write(source / "app.py", BROKEN)
        watch.wait_event("rolled", since)
        for version in ("two", "three"):
            e2e.write(source / "app.py", APP.replace('"one"', f'"{version}"'))
            e2e.wait_for(lambda: self.serve(programs, version), what=version)
            self.succeed("flush", "shop", cwd=source)
        histories = [[r for r in history if r["state"] != "undone"]
                     for history in self.histories(source)]
        self.assertEqual([r["root"] for r in histories[0]], [r["root"] for r in histories[1]])
        name = "@" + histories[0][0]["root"][:8]
        text = self.succeed("history", "shop", env={"SHOP": e2e.SECRET}, cwd=source).stdout
        self.assertEqual(text.count(name), 2, text)
        environment = {"env": {"SHOP": e2e.SECRET}, "cwd": source}
        self.succeed("rollback", "shop", **environment)
        e2e.wait_for(lambda: self.serve(programs, "two"), what="the second version")
        self.succeed("rollback", "shop", name, **environment)
        e2e.wait_for(lambda: self.serve(programs, "one"), what="the first version")
        self.refused("rollback", "shop", name, saying=["what the trees hold"], **environment)
        self.refused("rollback", "shop", "@ffffffff", saying=["not known"], **environment)
        for tree in trees:
            self.assertIn('"one"', (tree / "app.py").read_text())

    def test_one_that_dies_in_the_middle_holds_up_nobody(self):
        trees, programs, source, watch = self.fleet(2)
        for tree in trees:
            e2e.wait_equal(source, tree, leave_out={".livepush"})
        other, _ = programs[1]
        other.send_signal(signal.SIGSTOP)
        # The first one has it; the other one is asked what it has, and says nothing.
        since = watch.mark()
        e2e.write(source / "app.py", APP.replace('"one"', '"two"'))
        watch.wait_event("restarted", since)
        self.refused("flush", "-t", "1", "shop", saying=["not everything was live in time"])
        e2e.write(source / "app.py", APP.replace('"one"', '"three"'))
        self.refused("flush", "-t", "1", "shop", saying=["not everything was live in time"])
        self.assertNotIn("three", (trees[0] / "app.py").read_text())
        other.stop(signal.SIGKILL)
        e2e.wait_equal(source, trees[0], leave_out={".livepush"})


class Loop(e2e.Case):
    def test_an_app_that_changes_its_own_workspace_does_not_restart_for_ever(self):
        source = self.workspace({"app.py": "", "stamp.txt": "0", "livepush.yml": CONFIG})
        writes = ("import time\n"
                  f"open({str(source / 'stamp.txt')!r}, 'w').write(str(time.time()))\n"
                  "time.sleep(0.4)\n")
        program, url = self.session("watch", source, "app")
        since = program.mark()
        e2e.write(source / "app.py", writes + APP)
        loop = program.wait_event("failed", since, match=lambda e: e["stage"] == "loop")
        self.assertEqual(loop["path"], "stamp.txt")
        self.assertIn("/stamp.txt", loop["error"])
        self.assertIn("ignore", loop["error"])
        program.wait_event("restarted", since)
        self.assertIn("one", e2e.body_of(url))
        # A save restarts it once, although the app writes again.
        since = program.mark()
        e2e.write(source / "app.py", writes + APP.replace('"one"', '"two"'))
        program.wait_event("restarted", since)
        self.succeed("flush", "app")
        e2e.wait_for(lambda: "two" in (e2e.body_of(url) or ""), what="the second version")

    def test_one_that_writes_after_it_is_healthy_does_not_either(self):
        source = self.workspace({"app.py": "", "stamp.txt": "0", "livepush.yml": CONFIG})
        writes = ("import threading, time\n"
                  "def later():\n"
                  "    time.sleep(1)\n"
                  f"    open({str(source / 'stamp.txt')!r}, 'w').write(str(time.time()))\n"
                  "threading.Thread(target=later, daemon=True).start()\n")
        program, url = self.session("watch", source, "app")
        since = program.mark()
        e2e.write(source / "app.py", writes + APP)
        loop = program.wait_event("failed", since, match=lambda e: e["stage"] == "loop")
        self.assertEqual(loop["path"], "stamp.txt")
        self.assertIn("no rule names it", loop["error"])
        self.assertIn("'/stamp.txt' into 'ignore'", loop["error"])
        told = [e["event"] for e in program.events[since:] if e["event"] in ("restarted", "failed")]
        # Five starts are left alone. On a slow machine it takes longer until that many come evenly
        # and within ten seconds.
        restarts = told[:told.index("failed")].count("restarted")
        self.assertGreaterEqual(restarts, 5)
        self.assertLessEqual(restarts, 12 * e2e.SLOWDOWN)
        self.succeed("flush", "app")
        restarts = sum(e["event"] == "restarted" for e in program.events)
        self.assertIn("one", e2e.body_of(url))
        # What the app writes goes on to be mirrored, and starts nothing.
        e2e.write(source / "stamp.txt", "once more")
        self.succeed("flush", "app")
        self.assertEqual(sum(e["event"] == "restarted" for e in program.events), restarts)
        # Anything else that is saved does, once.
        since = program.mark()
        e2e.write(source / "app.py", writes + APP.replace('"one"', '"two"'))
        program.wait_event("restarted", since)
        e2e.wait_for(lambda: "two" in (e2e.body_of(url) or ""), what="the second version")

    def test_a_command_that_touches_what_it_is_run_for_does_not_either(self):
        source = self.workspace({"app.py": APP, "style.in": "0"})
        e2e.write(source / "livepush.yml", CONFIG + "rules:\n- match: '*.in'\n"
                  f"  run: 'echo $$ $LIVEPUSH_GENERATION >{source}/style.in'\n")
        program, url = self.session("watch", source, "app")
        # It begins with the first start, for which everything is new.
        loop = program.wait_event("failed", match=lambda e: e["stage"] == "loop")
        self.assertEqual(loop["path"], "style.in")
        self.assertIn("rule 1 is for it", loop["error"])
        self.succeed("flush", "app")
        self.assertIn("one", e2e.body_of(url))


if __name__ == "__main__":
    unittest.main(verbosity=2)
