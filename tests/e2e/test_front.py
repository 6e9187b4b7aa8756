"""The front door with real clients and real servers: WebSocket (python3-websockets), event streams
(curl), HTTP/2 in clear text (curl and nghttpd), each through a swap; and its limits from
livepush.yml."""

import os
import shutil
import subprocess
import unittest

import livepush_e2e as e2e

# Debian's, which has Debian's packages.
PYTHON = "/usr/bin/python3"
STREAMS_S = int(4 * e2e.SLOWDOWN)
CONFIG = f"restart:\n  streams: {STREAMS_S}s\n"

WEBSOCKET_APP = '''
import asyncio, os, signal, websockets
VERSION = "one"

async def serve(socket, *_):
    async for message in socket:
        await socket.send(f"{VERSION} {message}")

async def main():
    stop = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set_result, None)
    async with websockets.serve(serve, "127.0.0.1", int(os.environ["PORT"])):
        await stop

asyncio.run(main())
'''

WEBSOCKET_CLIENT = '''
import asyncio, sys, websockets

async def main():
    async with websockets.connect(sys.argv[1]) as socket:
        try:
            for number in range(10**9):
                await socket.send(str(number))
                print(await socket.recv(), flush=True)
                await asyncio.sleep(0.02)
        except websockets.ConnectionClosed:
            print("closed", socket.close_code, flush=True)

asyncio.run(main())
'''

EVENTS_APP = '''
import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
VERSION = "one"

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        number = 0
        while True:
            event = f"data: {VERSION} {number}\\n\\n".encode()
            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(event), event))
            self.wfile.flush()
            number += 1
            time.sleep(0.05)

    def log_message(self, *args):
        pass

class Server(ThreadingHTTPServer):
    daemon_threads = True

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''

ECHO_APP = '''
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = f"{len(body)}\\n{self.headers}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''


def has_websockets():
    return os.access(PYTHON, os.X_OK) and subprocess.run(
        [PYTHON, "-c", "import websockets"], capture_output=True, check=False).returncode == 0


class Front(e2e.Case):
    def serve(self, files, config=CONFIG):
        self.source = self.workspace({**files, "livepush.yml": config})
        self.watch, url = self.session("watch", self.source, "app")
        self.url = url.rstrip("/")

    def save(self, file, old, new):
        """Saves and waits until the new generation serves."""
        since = self.watch.mark()
        e2e.replace(self.source / file, old, new)
        self.watch.wait_event("restarted", since)

    def curl(self, *args, check=True):
        """Runs curl to its end; its output as bytes."""
        done = subprocess.run(["curl", "-sS", "--max-time", str(int(e2e.PATIENCE)), *args],
                              capture_output=True, check=False)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def assert_says(self, program, text):
        e2e.wait_for(lambda: any(text in line for line in list(program.lines)),
                     what=lambda: f"it says {text!r}\n{program.describe()}")


class WebSocket(Front):
    @unittest.skipUnless(has_websockets(), "python3-websockets is not here")
    def test_a_connection_outlives_a_swap_and_is_closed_with_1012(self):
        self.serve({"app.py": WEBSOCKET_APP, "client.txt": WEBSOCKET_CLIENT},
                   f"command: [{PYTHON}, app.py]\n{CONFIG}")
        url = self.url.replace("http:", "ws:")
        old = self.start(PYTHON, "-c", WEBSOCKET_CLIENT, url)
        self.assert_says(old, "one ")
        self.save("app.py", '"one"', '"two"')
        seen = len(old.lines)
        new = self.start(PYTHON, "-c", WEBSOCKET_CLIENT, url)
        self.assert_says(new, "two ")
        e2e.wait_for(lambda: len(old.lines) > seen, what="the old connection goes on")
        self.assertEqual(old.wait(), 0, old.describe())
        self.assertEqual(old.lines[-1], "closed 1012")
        self.assertEqual({line.split()[0] for line in old.lines[:-1]}, {"one"})
        self.assertIsNone(new.process.poll(), new.describe())
        new.process.kill()
        new.wait()


class EventStream(Front):
    def test_a_stream_outlives_a_swap_and_ends_well(self):
        self.serve({"app.py": EVENTS_APP}, f"command: [python3, app.py]\n{CONFIG}")
        old = self.start("curl", "-sS", "-N", self.url)
        self.assert_says(old, "data: one 0")
        self.save("app.py", '"one"', '"two"')
        seen = len(old.lines)
        new = self.start("curl", "-sS", "-N", self.url)
        self.assert_says(new, "data: two ")
        e2e.wait_for(lambda: len(old.lines) > seen, what="the old stream goes on")
        # curl ends with 18 when a response is cut.
        self.assertEqual(old.wait(), 0, old.describe())
        numbers = [line.rpartition(" ")[2] for line in old.lines if line.startswith("data: one ")]
        self.assertEqual(numbers, [str(number) for number in range(len(numbers))])
        self.assertFalse([line for line in old.lines if "two" in line])
        new.process.kill()
        new.wait()


class Http2(Front):
    @unittest.skipUnless(shutil.which("nghttpd"), "nghttpd is not here")
    def test_prior_knowledge_reaches_a_real_server_through_swaps(self):
        large = os.urandom(3_000_000)
        self.serve({"index.html": "version one", "large.bin": large},
                   "command: exec nghttpd --no-tls -a 127.0.0.1 -d . $PORT\n" + CONFIG)

        def get(path):
            return self.curl("--http2-prior-knowledge", "-w", " %{http_version} %{http_code}",
                             f"{self.url}{path}")

        self.assertEqual(get("/index.html"), b"version one 2 200")
        self.assertEqual(get("/large.bin"), large + b" 2 200")
        self.assertTrue(get("/none").endswith(b" 2 404"))
        for old, new in (("one", "two"), ("two", "three")):
            slow = self.start("curl", "-sS", "--http2-prior-knowledge", "--limit-rate", "2M", "-o",
                              self.dir / "slow.bin", f"{self.url}/large.bin")
            e2e.wait_for((self.dir / "slow.bin").exists, what="the slow download has begun")
            self.save("index.html", f"version {old}", f"version {new}")
            self.assertEqual(get("/index.html"), f"version {new} 2 200".encode())
            self.assertEqual(slow.wait(), 0, slow.describe())
            self.assertEqual((self.dir / "slow.bin").read_bytes(), large)
            os.unlink(self.dir / "slow.bin")


class Limits(Front):
    CONFIG = "command: [python3, app.py]\nfront:\n  max_body: 10KiB\n"

    def status_of(self, *args):
        return self.curl("-o", "/dev/null", "-w", "%{http_code}", *args, self.url).decode()

    def test_the_configuration_sets_them_while_it_runs(self):
        self.serve({"app.py": ECHO_APP}, self.CONFIG)
        ten, more = ("@" + str(self.dir / name) for name in ("ten", "more"))
        e2e.write(self.dir / "ten", b"x" * 10240)
        e2e.write(self.dir / "more", b"x" * 10241)
        self.assertEqual(self.status_of("--data-binary", ten), "200")
        self.assertEqual(self.status_of("--data-binary", more), "413")
        self.assertEqual(self.status_of("-H", "Transfer-Encoding: chunked", "--data-binary", more),
                         "413")
        self.assertNotIn(b"Via", self.curl("-D", "-", self.url))
        since = self.watch.mark()
        e2e.write(self.source / "livepush.yml",
                  self.CONFIG.replace("10KiB", "20KiB") + "  via: true\n")
        self.watch.wait_event("restarted", since)
        self.assertEqual(self.status_of("--data-binary", more), "200")
        self.assertEqual(self.curl("-D", "-", self.url).count(b"Via: 1.1 livepush"), 2)

    def test_what_makes_no_sense_is_refused_with_its_place(self):
        cases = {"max_body: 10XB": "a size", "max_body: 0": "a size", "max_body: []": "a size",
                 "max_body: 99999999999999999999": "a size", "max_conns: 0": "from 1",
                 "max_conns: 2e3": "from 1", "idle_timeout: never": "10s", "via: maybe": "true",
                 "max_bodies: 1": "max_body"}
        source = self.workspace({"app.py": ECHO_APP})
        for line, saying in cases.items():
            e2e.write(source / "livepush.yml", f"command: [python3, app.py]\nfront:\n  {line}\n")
            self.refused("watch", "--json", source, "app", saying=["livepush.yml:3:", saying])


if __name__ == "__main__":
    unittest.main(verbosity=2)
