"""How a new version comes to serve: strategies, rules, draining, crashes; and what the front door
passes through."""

import http.client
import json
import os
import re
import signal
import socket
import threading
import unittest
import urllib.parse

import livepush_e2e as e2e

# An app with what the tests ask of it; VERSION is what a save changes.
APP = '''
import os, signal, socketserver, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
VERSION = "one"
reloads = 0

def on_hangup(*_):
    global reloads
    reloads += 1

signal.signal(signal.SIGHUP, on_hangup)

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def answer(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/die":
            os._exit(7)
        if self.path == "/slow":
            time.sleep(2)
        if self.path == "/upgrade":
            return self.tunnel()
        if self.path == "/stream":
            return self.stream()
        if self.path == "/headers":
            return self.answer(str(self.headers).encode())
        if self.path == "/missing":
            return self.answer(b"not here", 404)
        self.answer(f"{VERSION} pid={os.getpid()} reloads={reloads} {self.path}".encode())

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(body)

    def stream(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(5):
            self.wfile.write(b"7\\r\\npiece %d\\r\\n" % number)
            self.wfile.flush()
            time.sleep(0.2)
        self.wfile.write(b"0\\r\\n\\r\\n")

    def tunnel(self):
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\n"
                         b"Upgrade: echo\\r\\n\\r\\n")
        self.wfile.flush()
        self.close_connection = True
        while data := self.connection.recv(65536):
            self.connection.sendall(data.upper())

    def log_message(self, *args):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

print("starting", VERSION, flush=True)
server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server.serve_forever(poll_interval=0.1)
'''


class App(e2e.Case):
    CONFIG = "command: [python3, app.py]\n"

    def setUp(self):
        super().setUp()
        self.source = self.workspace({"app.py": APP, "livepush.yml": self.config()})
        self.watch, url = self.session("watch", self.source, "app")
        self.url = url.rstrip("/")
        self.address = (urllib.parse.urlsplit(url).hostname, urllib.parse.urlsplit(url).port)

    def config(self):
        return self.CONFIG

    def save(self, old, new):
        """Saves a new version and waits until it serves."""
        since = self.watch.mark()
        e2e.replace(self.source / "app.py", f'VERSION = "{old}"', f'VERSION = "{new}"')
        self.watch.wait_event("restarted", since)
        self.assertIn(new, e2e.body_of(self.url))

    def pid(self):
        return re.search(r"pid=(\d+)", e2e.body_of(self.url)).group(1)


class Swap(App):
    def test_a_request_that_runs_is_finished_by_the_old_version(self):
        answers = []
        slow = threading.Thread(target=lambda: answers.append(e2e.get(f"{self.url}/slow", 60)))
        slow.start()
        status = json.loads(self.succeed("status", "--json", "app").stdout)
        self.assertIsInstance(status, dict)
        self.save("one", "two")
        slow.join()
        self.assertEqual(answers[0][0], 200)
        self.assertIn("one", answers[0][1])

    def test_generations_and_revisions_grow(self):
        before = None
        for old, new in (("one", "two"), ("two", "three"), ("three", "four")):
            since = self.watch.mark()
            self.save(old, new)
            event = self.watch.wait_event("restarted", since)
            if before is not None:
                self.assertGreater(event["generation"], before["generation"])
                self.assertGreater(event["revision"], before["revision"])
            self.assertGreaterEqual(event["ms"], 0)
            before = event

    def test_only_one_generation_runs_in_the_end(self):
        for old, new in (("one", "two"), ("two", "three")):
            self.save(old, new)
        apps = lambda: [command for command in e2e.processes_of(self.token, self.dir).values()
                        if "app.py" in command]
        e2e.wait_for(lambda: len(apps()) == 1, what=lambda: f"one app: {apps()}")

    def test_an_app_that_dies_is_started_again_and_told(self):
        since = self.watch.mark()
        try:
            e2e.get(f"{self.url}/die")
        except (OSError, http.client.HTTPException):
            pass
        failed = self.watch.wait_event("failed", since)
        self.assertEqual(failed["stage"], "crash")
        self.assertIn("7", failed["error"])
        e2e.wait_for(lambda: e2e.body_of(self.url), what="it serves again")

    def test_an_app_killed_from_outside_is_started_again(self):
        os.kill(int(self.pid()), signal.SIGKILL)
        e2e.wait_for(lambda: e2e.body_of(self.url), what="it serves again")

    def test_a_version_that_never_gets_healthy_does_not_replace_the_old(self):
        since = self.watch.mark()
        e2e.safe_write(self.source / "livepush.yml",
                       self.CONFIG + "health:\n  kind: http\n  path: /missing\n  timeout: 1s\n")
        e2e.replace(self.source / "app.py", 'VERSION = "one"', 'VERSION = "two"')
        failed = self.watch.wait_event("failed", since, match=lambda e: e["stage"] == "health")
        self.assertIn("404", failed["error"])
        self.assertIn("one", e2e.body_of(self.url))


class ClosingApp(e2e.Case):
    """An app that closes the connection after each answer, as HTTP/1.0 does."""

    def test_restarts_while_it_closes_connections(self):
        source = self.workspace({"index.html": "hi", "livepush.yml":
                                 "command: python3 -m http.server $PORT --bind 127.0.0.1\n"})
        watch, url = self.session("watch", source, "closing")
        with e2e.Load(url, threads=6) as load:
            for number in range(10):
                since = watch.mark()
                e2e.write(source / "other", str(number))
                watch.wait_event("restarted", since)
        self.assertEqual(load.failures, [])


class StopStart(App):
    """An app that insists on its port."""

    def config(self):
        return (self.CONFIG + "restart:\n  strategy: stop-start\n"
                f"  port: {e2e.free_port()}\n  hold: 30s\n")

    def test_requests_wait_at_the_door_meanwhile(self):
        with e2e.Load(self.url) as load:
            self.save("one", "two")
            self.save("two", "three")
        self.assertEqual(load.failures, [])


class Rules(App):
    CONFIG = """command: [python3, app.py]
rules:
  - match: ["*.md", docs/]
    action: none
  - match: [/settings]
    action: signal
    signal: HUP
  - match: ["*.src"]
    action: run
    run: "test ! -e broken.src || { echo cannot build >&2; exit 4; }; cp main.src built"
    timeout: 10s
  - match: ["*.hang"]
    action: run
    run: [sleep, "600"]
    timeout: 1s
"""

    def test_none(self):
        pid = self.pid()
        e2e.write(self.source / "README.md", "1")
        e2e.write(self.source / "docs/deep/page", "1")
        self.succeed("flush", "app")
        self.assertEqual(self.pid(), pid)

    def test_signal(self):
        pid = self.pid()
        e2e.write(self.source / "settings", "1")
        e2e.wait_for(lambda: "reloads=1" in (e2e.body_of(self.url) or ""))
        self.assertEqual(self.pid(), pid)

    def test_run_then_restart(self):
        pid = self.pid()
        since = self.watch.mark()
        e2e.write(self.source / "main.src", "built from this")
        self.watch.wait_event("restarted", since)
        self.assertNotEqual(self.pid(), pid)

    def test_a_run_that_fails_changes_nothing_and_shows_its_output(self):
        pid = self.pid()
        since = self.watch.mark()
        e2e.write(self.source / "broken.src", "1")
        failed = self.watch.wait_event("failed", since)
        self.assertEqual(failed["stage"], "rule")
        self.assertIn("4", failed["error"])
        self.assertIn("cannot build", failed["excerpt"])
        self.assertEqual(self.pid(), pid)

    def test_a_run_that_hangs_is_ended(self):
        since = self.watch.mark()
        e2e.write(self.source / "x.hang", "1")
        failed = self.watch.wait_event("failed", since)
        self.assertEqual(failed["stage"], "rule")
        e2e.wait_for(lambda: not [c for c in e2e.processes_of(self.token, self.dir).values()
                                  if c.startswith("sleep")], what="the command is gone")


class Door(App):
    def connect(self):
        connection = http.client.HTTPConnection(*self.address, timeout=20 * e2e.SLOWDOWN)
        self.addCleanup(connection.close)
        return connection

    def test_many_requests_on_one_connection(self):
        connection = self.connect()
        for number in range(50):
            connection.request("GET", f"/{number}")
            response = connection.getresponse()
            self.assertTrue(response.read().decode().endswith(f"/{number}"))
            self.assertFalse(response.will_close)

    def test_large_bodies_both_ways(self):
        body = os.urandom(20 * 1024 * 1024)
        connection = self.connect()
        connection.request("POST", "/", body)
        self.assertEqual(connection.getresponse().read(), body)
        connection.request("POST", "/", iter([body[:100], body[100:5000], body[5000:]]),
                           encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        self.assertEqual(connection.getresponse().read(), body)

    def test_a_streamed_answer_comes_piece_by_piece(self):
        connection = self.connect()
        connection.request("GET", "/stream")
        response = connection.getresponse()
        first = response.read1(100)
        self.assertEqual(first, b"piece 0")
        self.assertEqual(response.read(), b"piece 1piece 2piece 3piece 4")

    def test_an_upgrade_is_a_tunnel(self):
        with socket.create_connection(self.address, 20) as sock:
            sock.sendall(b"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                         b"Upgrade: echo\r\n\r\n")
            head = sock.recv(65536)
            self.assertIn(b" 101 ", head)
            for number in range(5):
                sock.sendall(b"hello %d" % number)
                self.assertEqual(sock.recv(100), b"HELLO %d" % number)

    def test_the_app_is_told_who_asks(self):
        text = e2e.get(f"{self.url}/headers")[1].lower()
        for name in ("x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"):
            self.assertIn(name, text)

    def test_statuses_pass_through(self):
        self.assertEqual(e2e.get(f"{self.url}/missing"), (404, "not here"))

    def test_the_controllers_own_path_never_reaches_the_app(self):
        for path in ("/_livepush/", "/_livepush/status", "/_livepush/x/../y"):
            self.assertNotIn("pid=", e2e.get(self.url + path)[1], path)
        self.assertIn("pid=", e2e.get(f"{self.url}/_livepushed")[1])

    def test_bad_requests_are_refused_and_harm_nobody(self):
        for data in (b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
                     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                     b"Content-Length: 2\r\n\r\n",
                     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: x\r\nBad header\r\n\r\n"):
            with self.subTest(data=data[:40]), socket.create_connection(self.address, 20) as sock:
                try:
                    sock.sendall(data)
                    answer = sock.recv(65536)
                except ConnectionError:
                    answer = b""
                if answer:
                    self.assertRegex(answer[:13], rb"HTTP/1\.[01] [45]")
        self.assertIn("one", e2e.body_of(self.url))


if __name__ == "__main__":
    unittest.main(verbosity=2)
