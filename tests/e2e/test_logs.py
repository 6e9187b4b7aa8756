"""`livepush logs`: lines of any bytes and any length, when they came, and what a terminal gets."""

import base64
import datetime
import os
import subprocess
import time
import unittest

import livepush_e2e as e2e

# Escape sequences that do something, control characters of both sets, as UTF-8 and as bytes, and
# what only looks like one.
CONTROLS = (b"\x1b[31mred\x1b[0m \x1b]52;c;aGk=\x07 \x1b[2Jgone \xc2\x9b2J \x9b2J "
            b"caf\xc3\xa9 \xe2\x9b\x84\t lat\xe9in \x7f\x00end")
SHOWN = ("\x1b[31mred\x1b[0m ?]52;c;aGk=? ?[2Jgone ?2J ?2J café ⛄\t lat\ufffdin ??end")
# "é" lies across the end of the first MiB, where parts of a line end.
LONG = b"x" * (1024 * 1024 - 1) + "é".encode() * 9
BYTES = bytes(range(256))
APP = f"""
import os, http.server
lines = {{"/controls": {CONTROLS!r}, "/bytes": bytes(range(256)),
          "/long": b"x" * {1024 * 1024 - 1} + {"é".encode()!r} * 9}}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        data = memoryview(lines.get(self.path, b"?") + b"\\n")
        while data:
            data = data[os.write(1, data):]
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
os.write(1, b"up\\n")
server.serve_forever()
"""


def seconds_of(text):
    at = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    return at.replace(tzinfo=datetime.timezone.utc).timestamp()


class Logs(e2e.Case):
    def setUp(self):
        super().setUp()
        tree = self.dir / "tree"
        e2e.write(tree / "app.py", APP)
        self.began = time.time()
        _, port = self.controller(tree, "python3", "-S", "app.py")
        self.url = f"ws://127.0.0.1:{port}"
        self.env["LIVEPUSH_SECRET"] = e2e.SECRET
        self.port = port

    def ask(self, path):
        subprocess.run(["python3", "-c", "import sys, urllib.request as r; r.urlopen(sys.argv[1])",
                        f"http://127.0.0.1:{self.port}{path}"], check=True, timeout=e2e.PATIENCE)

    def follow(self):
        program = self.start(e2e.LIVEPUSH, "logs", "--json", "--follow", self.url)
        # The app's word from before; what comes after it is followed.
        program.wait_event("log", match=lambda event: event["line"] == "up")
        return program

    def test_json_keeps_every_byte_and_says_when(self):
        program = self.follow()
        since = program.mark()
        self.ask("/bytes")
        program.wait_event("log", since, match=lambda event: event["line"].endswith("\ufffd"))
        first, second = [base64.b64decode(event["base64"]) if "base64" in event
                         else event["line"].encode() for event in program.events[since:]]
        self.assertEqual(first + b"\n" + second, BYTES)
        for event in program.events:
            self.assertGreater(seconds_of(event["at"]), self.began - 1)
            self.assertLess(seconds_of(event["at"]), time.time() + 1)

    def test_a_long_line_comes_in_parts_of_whole_characters(self):
        program = self.follow()
        since = program.mark()
        self.ask("/long")
        program.wait_event("log", since, match=lambda event: not event.get("more"))
        first, last = program.events[since:]
        self.assertEqual((first["line"] + last["line"]).encode(), LONG)
        self.assertTrue(first["more"])
        self.assertNotIn("base64", first)
        self.assertEqual(first["at"], last["at"])

    def test_a_pipe_gets_the_bytes_as_they_are(self):
        self.ask("/controls")
        done = subprocess.run([e2e.LIVEPUSH, "logs", "-n", "1", self.url], env=self.env,
                              capture_output=True, timeout=e2e.PATIENCE, check=True)
        self.assertEqual(done.stdout, CONTROLS + b"\n")

    def test_timestamps(self):
        e2e.wait_for(lambda: self.succeed("logs", self.url).stdout == "up", what="the app's word")
        for option in ("-t", "--timestamps"):
            done = self.succeed("logs", option, self.url)
            when, _, line = done.stdout.partition(" ")
            self.assertEqual(line, "up")
            self.assertGreater(seconds_of(when), self.began - 1)
            self.assertLess(seconds_of(when), time.time() + 1)

    def test_a_terminal_is_not_driven(self):
        self.ask("/controls")
        try:
            terminal = e2e.Terminal()
        except OSError as error:
            self.skipTest(f"no pseudo-terminals here: {error}")
        subprocess.run([e2e.LIVEPUSH, "logs", "-n", "1", self.url], env=self.env,
                       stdout=terminal.slave, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                       timeout=e2e.PATIENCE, check=True)
        terminal.hand_over()
        text = terminal.end()
        self.assertEqual(text.expandtabs(1), (SHOWN + "\r\n").expandtabs(1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
