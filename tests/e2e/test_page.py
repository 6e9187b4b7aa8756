"""What an instance tells browsers and Prometheus, without a browser: the script in pages, events,
metrics, and the merged logs of several instances."""

import base64
import contextlib
import gzip
import http.client
import json
import re
import socket
import unittest

from livepush_e2e import CONTROLLER, LIVEPUSH, PATIENCE, SECRET, Case, wait_for, write

# Answers by the path: what is injected, and what is left alone.
APP = r"""
import gzip, http.server, os, sys
HTML = b"<!DOCTYPE html><html><head><title>x</title></head><body>" + b"y" * 100000 + b"</body>"
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args):
        pass
    def head(self, status=200, **fields):
        self.send_response(status)
        for name, value in {"Content-Type": "text/html", **fields}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
    def do_GET(self):
        name = self.path.strip("/")
        if name == "length":
            self.head(Content_Length=len(HTML), ETag='"1"')
            self.wfile.write(HTML)
        elif name == "chunked":
            self.head(Transfer_Encoding="chunked")
            for at in range(0, len(HTML), 7001):
                part = HTML[at:at + 7001]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        elif name == "close":
            self.head(Connection="close")
            self.wfile.write(HTML)
            self.close_connection = True
        elif name == "compressed":
            data = HTML
            fields = {}
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                data = gzip.compress(HTML)
                fields["Content_Encoding"] = "gzip"
            self.head(Content_Length=len(data), **fields)
            self.wfile.write(data)
        elif name == "gzip":
            data = gzip.compress(HTML)
            self.head(Content_Length=len(data), Content_Encoding="gzip")
            self.wfile.write(data)
        elif name == "nonce":
            self.head(Content_Length=len(HTML),
                      Content_Security_Policy="script-src 'nonce-abc'")
            self.wfile.write(HTML)
        elif name == "range" and "Range" in self.headers:
            self.head(206, Content_Length=5, Content_Range="bytes 0-4/100")
            self.wfile.write(HTML[:5])
        elif name == "text":
            self.head(Content_Type="text/plain", Content_Length=5)
            self.wfile.write(b"<html")
        elif name == "same":
            self.head(304, ETag='"1"')
        elif name == "":
            self.head(Content_Length=2)
            self.wfile.write(b"ok")
        else:
            self.head(404, Content_Length=len(HTML))
            self.wfile.write(HTML)
    do_HEAD = lambda self: self.head(Content_Length=len(HTML))
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

HTML = b"<!DOCTYPE html><html><head><title>x</title></head><body>" + b"y" * 100000 + b"</body>"
TAG = re.compile(rb'<head>(<script async src="(/_livepush/reload\.js\?t=[0-9a-z.]+)" '
                 rb'data-revision="\d+"></script>)<title>')
CONFIG = "command: [python3, app.py]\ninject: %s\nhealth: {kind: http, path: /}\n"
HTML_TYPES = {"Accept": "text/html,application/xhtml+xml;q=0.9", "Accept-Encoding": "gzip, br"}


class Front(Case):
    def begin(self, inject="true"):
        tree = self.dir / "tree"
        tree.mkdir()
        write(tree / "app.py", APP)
        write(tree / "livepush.yml", CONFIG % inject)
        self.program, self.port = self.controller(tree, options=["--allow-root"])

    def get(self, path, method="GET", secret=None, **headers):
        """Status, headers, body as they came over the wire."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body

    def page(self, path, **headers):
        return self.get(path, **{**HTML_TYPES, **headers})

    def assert_injected(self, response, body):
        found = TAG.search(body)
        self.assertTrue(found, body[:300])
        self.assertEqual(body.replace(found.group(1), b""), HTML)
        self.assertIsNone(response.headers["ETag"])
        self.assertIsNone(response.headers["Content-Encoding"])
        return found.group(2).decode()

    def test_script_goes_into_pages(self):
        self.begin()
        for path in ("/length", "/chunked", "/close", "/compressed"):
            with self.subTest(path):
                self.assert_injected(*self.page(path))

    def test_script_goes_into_pages_for_http_1_0(self):
        self.begin()
        self.page("/length")  # the app is up
        for path in ("/length", "/chunked", "/close"):
            with self.subTest(path), socket.create_connection(("127.0.0.1", self.port)) as sock:
                sock.settimeout(PATIENCE)
                sock.sendall(f"GET {path} HTTP/1.0\r\nAccept: text/html\r\n\r\n".encode())
                answer = b"".join(iter(lambda s=sock: s.recv(65536), b""))
                body = answer.partition(b"\r\n\r\n")[2]
                self.assertEqual(body.replace(TAG.search(body).group(1), b""), HTML)

    def test_leaves_alone_what_is_no_whole_page(self):
        self.begin()
        for path in ("/gzip", "/nonce", "/text", "/missing"):
            with self.subTest(path):
                response, body = self.page(path)
                self.assertNotIn(b"_livepush", body)
                self.assertEqual(int(response.headers["Content-Length"]), len(body))
        self.assertEqual(gzip.decompress(self.page("/gzip")[1]), HTML)
        response, body = self.page("/range", Range="bytes=0-4")
        self.assertEqual((response.status, body), (206, HTML[:5]))
        response, body = self.page("/same")
        self.assertEqual((response.status, body, response.headers["ETag"]), (304, b"", '"1"'))
        response, body = self.get("/length", "HEAD", **HTML_TYPES)
        self.assertEqual(int(response.headers["Content-Length"]), len(HTML))
        # Whoever asks for no page gets none changed, and compressed as before.
        response, body = self.get("/compressed", Accept="*/*", **{"Accept-Encoding": "gzip"})
        self.assertEqual(gzip.decompress(body), HTML)

    def test_nothing_without_inject(self):
        self.begin("false")
        self.assertEqual(self.page("/length")[1], HTML)
        self.assertEqual(gzip.decompress(self.page("/compressed")[1]), HTML)

    def test_ticket_of_the_script_is_good_for_nothing_else(self):
        self.begin()
        script = self.assert_injected(*self.page("/length"))
        response, body = self.get(script)
        self.assertEqual(response.status, 200)
        self.assertIn("javascript", response.headers["Content-Type"])
        self.assertIn(b"EventSource", body)
        ticket = script.partition("?")[2]
        for path in ("/_livepush/", "/_livepush/status", "/_livepush/metrics",
                     "/_livepush/events", "/_livepush/page.js"):
            self.assertEqual(self.get(f"{path}?{ticket}")[0].status, 401, path)
        for path in ("/_livepush/reload.js", "/_livepush/reload/events"):
            self.assertEqual(self.get(path)[0].status, 401, path)
        self.assertEqual(self.get(f"/_livepush/reload/shown?{ticket}&revision=0", "POST")[0].status,
                         204)
        self.assertEqual(self.get(f"/_livepush/reload/shown?{ticket}&revision=x", "POST")[0].status,
                         400)

    def test_metrics_are_what_prometheus_reads(self):
        self.begin()
        self.page("/length")
        response, body = self.get("/_livepush/metrics", secret=SECRET)
        self.assertTrue(response.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        kinds, values = {}, {}
        for line in body.decode().splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, kinds)
                kinds[name] = kind
            elif not line.startswith("# HELP "):
                found = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? '
                                     r'(\d+(?:\.\d+)?)', line)
                self.assertTrue(found, line)
                base = re.sub("_(bucket|sum|count)$", "", found.group(1))
                self.assertTrue(found.group(1) in kinds or kinds.get(base) == "histogram", line)
                values[found.group(1) + (found.group(2) or "")] = float(found.group(3))
        self.assertEqual(values['livepush_app_state{state="serving"}'], 1)
        self.assertEqual(values["livepush_generation"], 1)
        self.assertGreaterEqual(values["livepush_requests_total"], 2)
        self.assertEqual(values['livepush_restart_seconds_bucket{le="+Inf"}'],
                         values["livepush_restart_seconds_count"])
        self.assertEqual(values["livepush_restart_seconds_count"], 1)


class Timeline(Case):
    def test_has_the_steps_of_a_save(self):
        place = self.example("hello")
        watch, _ = self.session("watch", place, "hello")
        empty = self.succeed("status", "--timeline", "hello").stdout
        self.assertIn("nothing was saved yet", empty)
        for i in range(3):
            write(place / "app.py", (place / "app.py").read_text() + f"# {i}\n")
            self.succeed("flush", "hello")
        timeline = json.loads(self.succeed("status", "--timeline", "--json", "hello").stdout)
        self.assertEqual([save["path"] for save in timeline["saves"]], ["app.py"] * 3)
        for save in timeline["saves"]:
            times = [save[step] for step in ("read_ms", "sent_ms", "applied_ms", "restarted_ms",
                                             "healthy_ms", "served_ms")]
            # It is applied before the news of it is here: only these two may change places.
            times[2:4] = sorted(times[2:4])
            self.assertEqual(times, sorted(times), save)
            self.assertNotIn("reloaded_ms", save)
        served = timeline["percentiles"]["served"]
        self.assertEqual(served["n"], 3)
        self.assertEqual(served["p99"], max(save["served_ms"] for save in timeline["saves"]))
        table = self.succeed("status", "--timeline", "hello").stdout.splitlines()
        self.assertEqual(table[1].split(), ["read", "sent", "applied", "restarted", "healthy",
                                            "served", "reloaded"])
        self.assertEqual([line.split()[0] for line in table[-3:]], ["p50", "p90", "p99"])
        self.refused("status", "--timeline", status=2, saying=["needs APP"])
        self.assertEqual(watch.stop(), 0)
        self.refused("status", "--timeline", "hello", status=1, saying=["no mount or watch"])


class Events(Case):
    """The event stream of an instance, as any client of server-sent events has it."""

    def listen(self, port, path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", path, headers={"Authorization": f"Bearer {SECRET}", **headers})
        response = connection.getresponse()
        self.assertEqual(response.status, 200)
        self.assertEqual(response.headers["Content-Type"], "text/event-stream")
        self.addCleanup(connection.close)
        response.hang_up = connection.close  # the response alone keeps the socket open
        return response

    def wait(self, stream, name, match=lambda data: True):
        """The data of the next event of that name for which match() holds."""
        kind = None
        while True:
            line = stream.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: ") and kind == name and match(line[6:]):
                return line[6:]

    def test_tell_of_a_save_and_of_output(self):
        tree = self.dir / "tree"
        tree.mkdir()
        program, port = self.controller(tree, options=["--allow-root", "--wait"])
        place = self.workspace({"livepush.yml": "command: [python3, app.py]\n"
                                "health: {kind: process, settle: 10ms}\n"
                                "rules:\n  - {match: ['*.css', '*.html'], action: browser-reload}\n"
                                "  - {match: [quiet], action: none}\n",
                                "app.py": "import sys, time\n"
                                "sys.stdout.buffer.write(b'\\xff\\x00 bytes\\n')\n"
                                "sys.stdout.flush()\ntime.sleep(1000)\n"})
        watch = self.mirror(place, port)
        page = self.listen(port, "/_livepush/events")
        plain = self.listen(port, "/_livepush/reload/events")
        self.assertIsNone(json.loads(self.wait(plain, "hello"))["failure"])
        status = json.loads(self.wait(page, "status", lambda data: json.loads(data)["instances"]))
        self.assertEqual(status["instances"][0]["state"], "serving")
        log = self.wait(page, "log", lambda data: data.startswith("1 1 "))
        self.assertEqual(base64.b64decode(log.split(" ")[2]), b"\xff\x00 bytes\n")
        write(place / "a.css", "")
        self.assertEqual(json.loads(self.wait(plain, "served"))["css"], ["a.css"])
        write(place / "quiet", "1")
        write(place / "b.html", "1")
        told = json.loads(self.wait(plain, "served"))
        self.assertTrue(told["reload"])
        self.assertEqual(json.loads(self.wait(page, "served", lambda data: json.loads(data)[
            "revision"] == told["revision"])), told)
        write(place / "app.py", "import sys\nsys.exit('broken on purpose')\n")
        failed = json.loads(self.wait(plain, "failed"))
        self.assertIn("broken on purpose", failed["excerpt"])
        self.assertEqual(failed["path"], "app.py")
        late = self.listen(port, "/_livepush/reload/events")
        self.assertEqual(json.loads(self.wait(late, "hello"))["failure"], failed)
        write(place / "app.py", "import time\ntime.sleep(1000)\n")
        self.wait(plain, "fixed")
        self.assertTrue(json.loads(self.wait(plain, "served"))["reload"])
        # Without an owner the instance tells of what it has settled by itself.
        self.assertEqual(watch.stop(), 0)
        self.succeed("push", place, f"ws://127.0.0.1:{port}", env={"LIVEPUSH_SECRET": SECRET})
        write(place / "c.css", "")
        self.succeed("push", place, f"ws://127.0.0.1:{port}", env={"LIVEPUSH_SECRET": SECRET})
        self.assertEqual(json.loads(self.wait(plain, "served"))["css"], ["c.css"])

    def test_refuse_too_many_listeners(self):
        tree = self.dir / "tree"
        tree.mkdir()
        _, port = self.controller(tree, "sleep", "1000", options=["--allow-root"])
        streams = [self.listen(port, "/_livepush/reload/events") for _ in range(64)]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/_livepush/reload/events",
                           headers={"Authorization": f"Bearer {SECRET}"})
        response = connection.getresponse()
        self.assertEqual(response.status, 503)
        self.assertIsNotNone(response.headers["Retry-After"])
        connection.close()
        self.listen(port, "/_livepush/events")  # has places of its own
        streams[0].close()
        streams[0].hang_up()

        def has_room():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request("GET", "/_livepush/reload/events",
                               headers={"Authorization": f"Bearer {SECRET}"})
            status = connection.getresponse().status
            connection.close()
            return status == 200

        wait_for(has_room, what="room for another listener")

    def test_one_address_does_not_keep_others_out(self):
        tree = self.dir / "tree"
        tree.mkdir()
        _, port = self.controller(tree, "sleep", "1000", options=["--allow-root"])
        streams = [self.listen(port, "/_livepush/reload/events") for _ in range(64)]
        page = self.listen(port, "/_livepush/events")
        others = [self.listen(port, "/_livepush/reload/events",
                              **{"X-Forwarded-For": f"198.51.100.{number}"})
                  for number in range(3)]
        status = self.wait(self.listen(port, "/_livepush/events"), "status")
        self.assertEqual(json.loads(status)["browsers"], 64 + 1)
        # The oldest went, not the newest, and not the instance's own page.
        for stream in streams[:3]:
            with contextlib.suppress(http.client.HTTPException, ConnectionError):
                stream.read()  # comes to an end
        for stream in (streams[3], streams[-1], page, *others):
            self.wait(stream, "hello")


# A line beyond what is kept of one, bytes that are no text, an empty line, one without an end.
PRINTS = """
import os, sys, time
out = sys.stdout.buffer
out.write(b"begin %s\\n" % os.environ["NAME"].encode())
out.write(b"\\xff\\xfe\\x00 no text\\n\\n")
out.write(b"x" * 100000 + b"\\n")
out.write(b"no end")
out.flush()
time.sleep(1000)
"""


class Logs(Case):
    def setUp(self):
        super().setUp()
        urls = []
        for name in ("one", "two"):
            tree = self.dir / f"tree-{name}"
            tree.mkdir()
            write(tree / "app.py", PRINTS)
            program = self.start(CONTROLLER, "--tree", tree, "--listen", "127.0.0.1:0",
                                 "--allow-root", "--", "python3", "app.py",
                                 env={"LIVEPUSH_SECRET": SECRET, "NAME": name,
                                      "CF_INSTANCE_GUID": name})
            address = program.wait_event("listening")["address"]
            urls.append(f"ws://{address}")
        self.place = self.workspace({"livepush.yml": "targets:\n  both:\n    urls: [%s]\n"
                                     "    secret_env: LIVEPUSH_SECRET\n" % ", ".join(urls)})
        self.run_env = {"cwd": self.place, "env": {"LIVEPUSH_SECRET": SECRET}}
        self.text = wait_for(self.complete, what="the output of both")

    def complete(self):
        text = self.succeed("logs", "both", **self.run_env).stdout
        return text if text.count("no end") == 2 else None

    def test_of_all_instances_with_their_names(self):
        lines = self.text.splitlines()
        for name in ("one", "two"):
            own = [line for line in lines if line.startswith(f"{name} | ")]
            self.assertEqual([len(line) for line in own], [15, 17, 6, 100006, 12])
            self.assertEqual(own[0], f"{name} | begin {name}")
        self.assertEqual(len(lines), 10)

    def test_bytes_survive(self):
        events = [json.loads(line) for line in
                  self.succeed("logs", "--json", "both", **self.run_env).stdout.splitlines()]
        for name in ("one", "two"):
            own = [event for event in events if event["instance"] == name]
            self.assertEqual([event["line"][:5] for event in own],
                             ["begin", "\ufffd\ufffd\0 n", "", "xxxxx", "no en"])
            self.assertEqual(base64.b64decode(own[1]["base64"]), b"\xff\xfe\x00 no text")
            self.assertEqual(own[3]["line"], "x" * 100000)
            self.assertTrue(all("base64" not in event for event in own if event != own[1]))

    def test_last_lines_only(self):
        text = self.succeed("logs", "--lines", "1", "both", **self.run_env).stdout
        self.assertEqual(sorted(text.splitlines()), ["one | no end", "two | no end"])


if __name__ == "__main__":
    unittest.main()
