"""The calls of cf-fastpush, sent by curl as its plugin sends them."""

import base64
import hashlib
import http.client
import json
import os
import shutil
import stat
import subprocess
import threading
import unittest

import livepush_e2e as e2e

GUID = "0f3c8f2a-4f5e-4b7d-9a51-3a2d5e1c7b60"
APP = """import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("%s %d" % (open("text").read().strip() if os.path.exists("text") else "", VERSION))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), H).serve_forever()
"""


def entry(content, checksum=None, modification=1446000000):
    return {"Checksum": hashlib.sha256(content).hexdigest() if checksum is None else checksum,
            "Modification": modification, "Content": base64.b64encode(content).decode()}


@unittest.skipUnless(shutil.which("curl"), "needs curl")
class Fastpush(e2e.Case):
    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        self.backend = e2e.free_port()
        self.app(1)
        self.conf()
        self.env.update({"LIVEPUSH_COMPAT": "fastpush",
                         "VCAP_APPLICATION": json.dumps({"application_id": GUID})})

    def app(self, version):
        e2e.write(self.tree / "hello.py", self.source(version))

    def source(self, version):
        return f"VERSION, PORT = {version}, {self.backend}\n{APP}"

    def conf(self, *lines):
        e2e.write(self.tree / "cf-fastpush-controller.yml", "\n".join(
            ["backend_command: python3 hello.py", f"backend_port: {self.backend}", *lines]) + "\n")

    def begin(self, **options):
        program, self.port = self.controller(self.tree, **options)
        return program

    def curl(self, method, path, body=None, token=GUID, base="/_fastpush"):
        """(status, answer)"""
        argv = ["curl", "-sS", "-m", str(int(e2e.PATIENCE)), "-X", method, "-w", "\n%{http_code}",
                "-H", "Content-Type: application/json"]
        if token is not None:
            argv += ["-H", f"x-auth-token: {token}"]
        if body is not None:
            argv += ["--data-binary", "@-"]
        argv.append(f"http://127.0.0.1:{self.port}{base}{path}")
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        done = subprocess.run(argv, input=body.encode() if isinstance(body, str) else body,
                              stdout=subprocess.PIPE, check=True, timeout=e2e.PATIENCE * 2)
        answer, _, status = done.stdout.decode().rpartition("\n")
        try:
            return int(status), json.loads(answer)
        except ValueError:
            return int(status), answer

    def text(self):
        return subprocess.run(["curl", "-sS", "-m", "60", f"http://127.0.0.1:{self.port}/"],
                              capture_output=True, check=False).stdout.decode()

    def test_the_whole_of_a_push(self):
        os.chmod(self.tree / "hello.py", 0o750)
        program = self.begin()
        e2e.wait_for(lambda: self.text().endswith(" 1"), what="the app")
        self.assertTrue(any("GUID" in line for line in program.errors), "nobody is warned")
        self.assertEqual(self.curl("GET", "/status"), (200, {"Health": "Running"}))
        status, files = self.curl("GET", "/files")
        self.assertEqual(status, 200)
        self.assertEqual(set(files), {"hello.py", "cf-fastpush-controller.yml"})
        source = (self.tree / "hello.py").read_bytes()
        self.assertEqual(files["hello.py"], {
            "Checksum": hashlib.sha256(source).hexdigest(), "Content": None,
            "Modification": int((self.tree / "hello.py").stat().st_mtime)})

        # A file that asks for no restart.
        self.assertEqual(self.curl("PUT", "/files", {"text": entry(b"hi"), "./static/a/b.css":
                                                     entry(b"c" * 300_000)}),
                         (200, {"Health": "Updated 2 files"}))
        self.assertEqual(self.text(), "hi 1")
        self.assertEqual((self.tree / "static/a/b.css").read_bytes(), b"c" * 300_000)
        self.assertEqual(stat.S_IMODE((self.tree / "text").stat().st_mode), 0o644)
        # One that does.
        self.assertEqual(self.curl("PUT", "/files", {"hello.py": entry(self.source(2).encode())}),
                         (200, {"Health": "Restarting after updating 1 files"}))
        e2e.wait_for(lambda: self.text() == "hi 2", what="the new app")
        self.assertEqual(stat.S_IMODE((self.tree / "hello.py").stat().st_mode), 0o750)
        _, files = self.curl("GET", "/files")
        self.assertEqual(set(files), {"hello.py", "cf-fastpush-controller.yml", "text",
                                      "static/a/b.css"})
        self.assertEqual(self.curl("POST", "/restart"), (200, {"Health": "Restarting"}))
        self.assertEqual(self.curl("POST", "/status")[0], 405)

    def test_off_unless_asked_for(self):
        del self.env["LIVEPUSH_COMPAT"]
        self.begin()
        # Then it is an address of the app's like any other, and without an app there is none.
        self.assertEqual(self.curl("GET", "/files")[0], 404)
        self.assertEqual(self.curl("GET", "/files", base="/_livepush/../_fastpush")[0], 404)

    def test_a_wish_that_is_none_is_named(self):
        self.env["LIVEPUSH_COMPAT"] = "slowpush"
        program = self.begin()
        e2e.wait_for(lambda: any("slowpush" in line for line in program.errors), what="the log")
        self.assertEqual(self.curl("GET", "/files")[0], 404)

    def test_asked_for_in_the_configuration(self):
        del self.env["LIVEPUSH_COMPAT"]
        (self.tree / "livepush.yml").write_text("compat: fastpush\n")
        self.begin()
        self.assertEqual(self.curl("GET", "/files")[0], 200)

    def test_a_wrong_token(self):
        self.begin()
        before = e2e.snapshot(self.tree)
        for token in (None, GUID[:-1], GUID.upper(), e2e.SECRET):
            for method, path, body in (("GET", "/files", None), ("GET", "/status", None),
                                       ("PUT", "/files", {"x": entry(b"x")}),
                                       ("POST", "/restart", None)):
                status, _ = self.curl(method, path, body, token=token)
                self.assertIn(status, (401, 429), (method, path, token))
        self.assertEqual(e2e.snapshot(self.tree), before)

    def test_its_token_forgives_no_attempts_at_the_secret(self):
        self.begin()

        def attempt():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=e2e.PATIENCE)
            connection.request("GET", "/_livepush/status",
                               headers={"Authorization": "Bearer not the secret at all"})
            status = connection.getresponse().status
            connection.close()
            return status

        self.assertEqual([attempt() for _ in range(4)], [401] * 4)
        self.assertEqual(self.curl("GET", "/status")[0], 200)
        self.assertIn(429, [attempt() for _ in range(5)])

    def test_how_long_to_wait_is_said(self):
        self.begin()

        def attempt():
            done = subprocess.run(["curl", "-sS", "-i", "-H", "x-auth-token: wrong",
                                   f"http://127.0.0.1:{self.port}/_fastpush/status"], check=True,
                                  capture_output=True, text=True, timeout=e2e.PATIENCE)
            return done.stdout.lower()

        answer = e2e.wait_for(lambda: "429" in (said := attempt()).splitlines()[0] and said,
                              what="a refusal")
        seconds = next(line.split()[1] for line in answer.splitlines()
                       if line.startswith("retry-after:"))
        self.assertIn(f"try again in {seconds} s", answer)

    def test_without_an_application_nobody_gets_in(self):
        del self.env["VCAP_APPLICATION"]
        self.begin()
        for token in (None, "", GUID):
            self.assertEqual(self.curl("GET", "/files", token=token)[0], 401)

    def test_what_leads_elsewhere_is_refused_as_a_whole(self):
        outside = self.dir / "outside"
        outside.mkdir()
        os.symlink(outside, self.tree / "out")
        os.symlink("hello.py", self.tree / "inner")
        os.mkdir(self.tree / "dir")
        self.begin()
        before = e2e.snapshot(self.tree)
        for path in ("../x", "/etc/x", "a/../../x", "a/./x", "a//x", "", ".", "..", "a/", "out/x",
                     "out", "inner", "dir", "hello.py/x", ".livepush/x", "sub/.livepush/x",
                     "./.livepush/undo/x", "n" * 300):
            with self.subTest(path=path):
                status, answer = self.curl("PUT", "/files", {"good": entry(b"x"), path: entry(b"x")})
                self.assertEqual(status, 400)
                self.assertTrue(answer["Health"].startswith("Failed"), answer)
                self.assertEqual(e2e.snapshot(self.tree), before)
        self.assertEqual(os.listdir(outside), [])
        _, files = self.curl("GET", "/files")
        self.assertEqual(set(files), {"hello.py", "cf-fastpush-controller.yml"})

    def test_what_is_no_upload(self):
        program = self.begin()
        before = e2e.snapshot(self.tree)
        content = base64.b64encode(b"abc").decode()
        for body in ("", "{", "[]", "3", '"x"', '{"a": 3}', '{"a": {}}', '{"a": {"Content": null}}',
                     '{"a": {"Content": 3}}', '{"a": {"Content": "!!!!"}}',
                     '{"a": {"Content": "abc"}}', '{"a": {"Content": "=abc"}}',
                     '{"a": {"Content": "ab=c"}}', '{"a": {"Content": "===="}}',
                     '{"a": {"Content": "YQ==\\u0000"}}', '{"a\\u0000b": {"Content": "YQ=="}}',
                     '{"a": {"Content": "YQ=="}, "a": {"Content": "YQ=="}}', "[" * 100_000,
                     json.dumps({"a": {"Content": content, "Checksum": "0" * 64}}),
                     json.dumps({"a": entry(b"x"), "a/b": entry(b"x")})):
            with self.subTest(body=body[:60]):
                status, _ = self.curl("PUT", "/files", body)
                self.assertIn(status, (400, 500))
                self.assertEqual(e2e.snapshot(self.tree), before)
        self.assertEqual(self.curl("PUT", "/files", {}), (200, {"Health": "Updated 0 files"}))
        self.assertEqual(self.curl("PUT", "/files", {"empty": entry(b"")}),
                         (200, {"Health": "Updated 1 files"}))
        self.assertIsNone(program.process.poll())

    def test_many_and_large_files(self):
        self.begin()
        files = {f"d{i % 7}/e{i % 3}/f{i}": (f"{i} " * (i % 50)).encode() for i in range(3000)}
        files["large"] = bytes(range(256)) * 20_000
        self.assertEqual(self.curl("PUT", "/files", {p: entry(c) for p, c in files.items()}),
                         (200, {"Health": "Updated 3001 files"}))
        for path, content in files.items():
            self.assertEqual((self.tree / path).read_bytes(), content)
        _, listed = self.curl("GET", "/files")
        for path, content in files.items():
            self.assertEqual(listed[path]["Checksum"], hashlib.sha256(content).hexdigest())

    def test_keys_and_variables(self):
        self.conf("base_path: /_fast/", "restart_regex: ^text$", "ignore_regex: ''",
                  "backend_dirs: ./sub", "bind_address: 127.0.0.1", "port: 1")
        self.env.update({"BASE_PATH": "/fp", "BACKEND_DIRS": "./sub other"})
        e2e.write(self.tree / "sub/a", "a")
        e2e.write(self.tree / "other/b", "b")
        self.begin()
        _, files = self.curl("GET", "/files", base="/fp")
        self.assertEqual(set(files), {"sub/a", "other/b"})
        self.assertEqual(self.curl("PUT", "/files", {"text": entry(b"x")}, base="/fp")[1]["Health"],
                         "Restarting after updating 1 files")
        self.assertEqual(self.curl("PUT", "/files", {"x.py": entry(b"")}, base="/fp")[1]["Health"],
                         "Updated 1 files")

    def test_the_file_of_the_home_directory(self):
        os.remove(self.tree / "cf-fastpush-controller.yml")
        e2e.write(self.dir / "home/.config/cf-fastpush-controller.yml", "base_path: /of-home\n")
        self.begin()
        self.assertEqual(self.curl("GET", "/status", base="/of-home")[0], 200)
        self.assertNotEqual(self.curl("GET", "/status")[0], 200)

    def test_a_broken_setting_keeps_the_last_good_ones(self):
        e2e.write(self.tree / "livepush.yml", "compat: fastpush\n")
        program = self.begin()
        self.assertEqual(self.curl("GET", "/status")[0], 200)
        # The settings are read anew with livepush.yml.
        status, answer = self.curl("PUT", "/files", {
            "cf-fastpush-controller.yml": entry(b"restart_regex: '*('\n"),
            "livepush.yml": entry(b"compat: fastpush\n# again\n")})
        self.assertEqual(status, 200, answer)
        e2e.wait_for(lambda: any("restart_regex" in line for line in program.errors),
                     what="the mistake in the log")
        self.assertEqual(self.curl("GET", "/status")[0], 200)
        self.assertEqual(self.curl("PUT", "/files", {"x.py": entry(b"")})[1]["Health"],
                         "Restarting after updating 1 files")
        good = b"restart_regex: ^y$\nbase_path: /fp\n"
        self.curl("PUT", "/files", {"cf-fastpush-controller.yml": entry(good),
                                    "livepush.yml": entry(b"compat: fastpush\n# better\n")})
        e2e.wait_for(lambda: self.curl("GET", "/status", base="/fp")[0] == 200,
                     what="the good settings")

    def test_what_is_answered_is_so(self):
        """Whether an upload is in time or not: refused is never applied, accepted is."""
        self.env["LIVEPUSH_COMPAT"] = "fastpush"
        for number, seconds in enumerate((1, 2, 20)):
            tree = self.dir / f"tree-{number}"
            e2e.write(tree / "livepush.yml", f"front:\n  response_timeout: {seconds}s\n")
            _, self.port = self.controller(tree)
            for size in (1000, 30_000_000):
                with self.subTest(seconds=seconds, size=size):
                    content = os.urandom(size)
                    name = f"of-{size}"
                    status, answer = self.curl("PUT", "/files", {name: entry(content)})
                    path = tree / name
                    self.assertIn(status, (200, 202, 503), answer)
                    if status == 202:
                        e2e.wait_for(path.exists, what="what was accepted")
                    # A call that is under way still has to come to its end.
                    e2e.wait_for(lambda: self.curl("GET", "/files")[0] == 200, what="a listing")
                    self.assertEqual(path.exists(), status != 503, (status, answer))
                    if path.exists():
                        self.assertEqual(path.read_bytes(), content)

    def test_a_session_takes_over_from_an_upload(self):
        """One that is under way is applied as a whole or refused; then the workspace counts."""
        self.begin()
        source = self.dir / "source"
        e2e.write(source / "a", "a")
        files = {f"d/f{number}": entry(b"x" * 1000) for number in range(2000)}
        answers = []
        upload = threading.Thread(
            target=lambda: answers.append(self.curl("PUT", "/files", files)))
        upload.start()
        session = self.mirror(source, self.port)
        upload.join()
        (status, answer), = answers
        self.assertIn(status, (200, 409), answer)
        self.succeed("flush", session.argv[-1])
        self.assertEqual((self.tree / "a").read_text(), "a")

    def test_its_port_and_address(self):
        port = e2e.free_port()
        self.conf("bind_address: 127.0.0.1", "port: 1")
        self.env["PORT"] = str(port)
        program = self.start(e2e.CONTROLLER, "--tree", self.tree,
                             env={"LIVEPUSH_SECRET": e2e.SECRET})
        self.assertEqual(program.wait_event("listening")["address"], f"127.0.0.1:{port}")

    def test_bad_keys_are_named(self):
        for line, word in (("restart_regex: '*('", "restart_regex"), ("base_path: x", "base_path"),
                           ("base_path: /_livepush", "base_path"), ("port: many", "port"),
                           ("backend_command: {a: b}", "backend_command"), ("]", "yml")):
            with self.subTest(line=line):
                self.conf(line)
                program = self.begin()
                e2e.wait_for(lambda: any(word in text for text in program.errors),
                             what=f"{word} in the log")
                program.stop()

    def test_not_beside_a_session(self):
        self.begin()
        source = self.dir / "source"
        e2e.write(source / "a", "a")
        session = self.mirror(source, self.port)
        status, answer = self.curl("PUT", "/files", {"x": entry(b"x")})
        self.assertEqual(status, 409, answer)
        session.stop()
        e2e.wait_for(lambda: self.curl("PUT", "/files", {"x": entry(b"x")})[0] == 200,
                     what="the end of the session")
        self.assertEqual((self.tree / "x").read_bytes(), b"x")


if __name__ == "__main__":
    unittest.main(verbosity=2)
