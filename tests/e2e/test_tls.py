"""The door with TLS, by its own certificate: apps over https://, pushes over wss://, and a
certificate that is renewed while it serves."""

import base64
import hashlib
import http.server
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import unittest

import livepush_e2e as e2e

PYTHON = "/usr/bin/python3"
BIG = 48 * 1024 * 1024 + 7

APP = '''
import hashlib, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/big":
            self.say(open(os.environ["BIG"], "rb").read())
        else:
            self.say(str(self.headers).encode())

    def do_POST(self):
        digest = hashlib.sha256()
        left = int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            digest.update(piece)
            left -= len(piece)
        self.say(digest.hexdigest().encode())

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''

WEBSOCKET_APP = '''
import asyncio, os, websockets

async def serve(socket, *_):
    async for message in socket:
        await socket.send(message)

async def main():
    async with websockets.serve(serve, "127.0.0.1", int(os.environ["PORT"]), max_size=None):
        await asyncio.Future()

asyncio.run(main())
'''

WEBSOCKET_CLIENT = '''
import asyncio, ssl, sys, websockets

async def main():
    context = ssl.create_default_context(cafile=sys.argv[2])
    async with websockets.connect(sys.argv[1], ssl=context, max_size=None) as socket:
        for size in (0, 1, 125, 126, 65536, 3000000):
            sent = bytes(range(256)) * (size // 256) + bytes(size % 256)
            await socket.send(sent)
            assert await socket.recv() == sent, size
    print("equal")

asyncio.run(main())
'''


def has_websockets():
    return os.access(PYTHON, os.X_OK) and subprocess.run(
        [PYTHON, "-c", "import websockets"], capture_output=True, check=False).returncode == 0


def is_static():
    with open(e2e.CONTROLLER, "rb") as file:
        return b"ld-linux" not in file.read(65536)


@unittest.skipUnless(shutil.which("openssl"), "needs openssl")
class Tls(e2e.Case):
    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "2", "-subj",
                     "/CN=test authority")
        self.issue("cert.pem", "key.pem")

    def openssl(self, *args):
        return subprocess.run(["openssl", *args], cwd=self.dir, capture_output=True, check=True,
                              timeout=e2e.PATIENCE).stdout

    def issue(self, cert, key):
        """A certificate for this machine by the test's authority; its serial number."""
        e2e.write(self.dir / "names", "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-keyout", key, "-out", "request.pem", "-subj", "/CN=localhost")
        (self.dir / key).chmod(0o600)
        self.openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem",
                     "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", cert)
        return self.openssl("x509", "-in", cert, "-noout", "-serial").decode().strip()

    def serve(self, app=APP, config="", **env):
        if app:
            e2e.write(self.tree / "app.py", app)
        if config:
            e2e.write(self.tree / "livepush.yml", config)
        self.program, self.port = self.controller(
            self.tree, *(["env", *(f"{k}={v}" for k, v in env.items()), PYTHON, "app.py"]
                         if app else []),
            options=("--tls-cert", self.dir / "cert.pem", "--tls-key", self.dir / "key.pem"))

    def curl(self, path, *args):
        done = subprocess.run(["curl", "-sS", "--max-time", str(int(e2e.PATIENCE)), "--cacert",
                               self.dir / "ca.pem", *args,
                               f"https://localhost:{self.port}{path}"],
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def connect(self):
        context = ssl.create_default_context(cafile=self.dir / "ca.pem")
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=e2e.PATIENCE)
        return context.wrap_socket(plain, server_hostname="localhost")

    def serial(self):
        with self.connect() as secure:
            return "serial=" + secure.getpeercert()["serialNumber"]


class App(Tls):
    def test_the_app_is_reached_over_https(self):
        self.serve()
        self.assertIn(b"X-Forwarded-Proto: https", self.curl("/"))
        done = subprocess.run(["curl", "-sS", f"https://localhost:{self.port}/"],
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 60, done.stderr)
        done = subprocess.run(["curl", "-sS", "-i", f"http://localhost:{self.port}/"],
                              capture_output=True, check=False)
        self.assertIn(b"400", done.stdout.splitlines()[0])
        self.assertIn(b"HTTPS", done.stdout)

    def test_large_bodies_arrive_as_they_were(self):
        big = self.dir / "big"
        with open(big, "wb") as file:
            for number in range(BIG // 1024 + 1):
                file.write(hashlib.sha256(str(number).encode()).digest() * 32)
            file.truncate(BIG)
        digest = hashlib.sha256(big.read_bytes()).hexdigest()
        self.serve(BIG=big)
        self.curl("/big", "-o", self.dir / "down")
        self.assertEqual(hashlib.sha256((self.dir / "down").read_bytes()).hexdigest(), digest)
        self.assertEqual(self.curl("/up", "-H", "Expect:", "--data-binary", f"@{big}").decode(),
                         digest)

    @unittest.skipUnless(has_websockets(), "python3-websockets is not here")
    def test_websockets_pass(self):
        self.serve(WEBSOCKET_APP)
        client = self.start(PYTHON, "-c", WEBSOCKET_CLIENT, f"wss://localhost:{self.port}/",
                            self.dir / "ca.pem")
        self.assertEqual(client.wait(), 0, client.describe())
        self.assertIn("equal", client.lines)

    def test_a_handshake_that_takes_too_long_is_cut(self):
        self.serve(config="front:\n  header_timeout: 3s\n")
        with socket.create_connection(("127.0.0.1", self.port), timeout=e2e.PATIENCE) as slow:
            slow.sendall(b"\x16\x03\x01\x02\x00")
            self.assertEqual(slow.recv(1), b"")
        self.assertIn(b"X-Forwarded-Proto: https", self.curl("/"))


class Push(Tls):
    def test_saves_arrive_over_wss(self):
        self.serve(app=None)
        source = self.dir / "source"
        e2e.write(source / "a", "one")
        watch = self.start(e2e.LIVEPUSH, "watch", "--json", "--ca", self.dir / "ca.pem", source,
                           f"wss://localhost:{self.port}", env={"LIVEPUSH_SECRET": e2e.SECRET})
        watch.wait_event("ready")
        e2e.write(source / "a", "two")
        e2e.write(source / "b", "x" * 3_000_000)
        e2e.wait_equal(source, self.tree)

    def test_a_server_that_is_not_known_is_refused(self):
        self.serve(app=None)
        source = self.dir / "source"
        e2e.write(source / "a", "one")
        key = self.openssl("pkey", "-in", "key.pem", "-pubout", "-outform", "DER")
        pin = "sha256//" + base64.b64encode(hashlib.sha256(key).digest()).decode()
        other = "sha256//" + base64.b64encode(bytes(32)).decode()
        ca = ("--ca", self.dir / "ca.pem")
        for options, status, says in (((), 1, "--ca"), ((*ca, "--pin", other), 1, "pin"),
                                      ((*ca, "--pin", pin), 0, "")):
            done = subprocess.run([e2e.LIVEPUSH, "push", *options, source,
                                   f"wss://localhost:{self.port}"],
                                  env={**self.env, "LIVEPUSH_SECRET": e2e.SECRET}, text=True,
                                  capture_output=True, timeout=e2e.PATIENCE * 2, check=False)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(says, done.stderr)
            self.assertEqual((self.tree / "a").exists(), status == 0)


class Refused(Tls):
    """Each way in which a connection over TLS does not come about has words of its own."""

    def say(self, *options, host="localhost", scheme="wss", status=1):
        source = self.dir / "source"
        e2e.write(source / "a", "one")
        done = subprocess.run([e2e.LIVEPUSH, "push", *options, source,
                               f"{scheme}://{host}:{self.port}"], cwd=self.dir,
                              env={**self.env, "LIVEPUSH_SECRET": e2e.SECRET}, text=True,
                              capture_output=True, timeout=e2e.PATIENCE * 2, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual((self.tree / "a").exists(), status == 0)
        return done.stderr

    def sign(self, days, name, by="ca"):
        """The certificate of the door by the test's authority, good for so many days."""
        e2e.write(self.dir / "names", f"subjectAltName={name}\n")
        self.openssl("req", "-new", "-key", "key.pem", "-out", "request.pem", "-subj", "/CN=x")
        self.openssl("x509", "-req", "-in", "request.pem", "-CA", f"{by}.pem", "-CAkey",
                     f"{by}-key.pem", "-CAcreateserial", "-days", str(days), "-extfile", "names",
                     "-out", "cert.pem")

    def test_files_of_authorities(self):
        self.serve(app=None)
        said = self.say("--ca", "none.pem")
        self.assertIn("none.pem", said)
        self.assertIn("No such file", said)
        e2e.write(self.dir / "junk.pem", "nothing\n")
        (self.dir / "empty.pem").touch()
        for useless in ("junk.pem", "empty.pem", "key.pem", "."):
            said = self.say("--ca", useless)
            self.assertIn(f"{useless} holds no certificate", said)
            self.assertIn("BEGIN CERTIFICATE", said)
        os.mkfifo(self.dir / "pipe")
        self.assertIn("pipe is no regular file", self.say("--ca", "pipe"))
        self.say("--ca", "ca.pem", status=0)

    def test_an_authority_that_is_not_known(self):
        self.serve(app=None)
        said = self.say()
        self.assertIn("authority that is not trusted", said)
        self.assertIn("--ca", said)

    def test_certificates_between_that_are_left_out(self):
        e2e.write(self.dir / "names", "basicConstraints=critical,CA:TRUE\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-keyout", "between-key.pem", "-out", "request.pem", "-subj", "/CN=between")
        self.openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem",
                     "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "between.pem")
        self.sign(2, "DNS:localhost", by="between")
        self.serve(app=None)
        said = self.say("--ca", "ca.pem")
        self.assertIn("authority that is not trusted", said)
        self.assertIn("certificates between", said)
        said = self.say("--ca", "between.pem")
        self.assertIn("at the top", said)
        self.program.stop()
        with open(self.dir / "cert.pem", "ab") as chain:
            chain.write((self.dir / "between.pem").read_bytes())
        self.serve(app=None)
        self.assertNotIn("certificates between", self.say())
        self.say("--ca", "ca.pem", status=0)

    def test_one_that_is_signed_by_itself(self):
        self.openssl("req", "-x509", "-key", "key.pem", "-days", "2", "-subj", "/CN=localhost",
                     "-addext", "subjectAltName=DNS:localhost", "-out", "cert.pem")
        self.serve(app=None)
        said = self.say()
        self.assertIn("signed by itself", said)
        self.assertIn("--ca", said)
        self.say("--ca", "cert.pem", status=0)

    def test_another_host(self):
        self.sign(2, "DNS:app.example.com")
        self.serve(app=None)
        for host in ("localhost", "127.0.0.1"):
            said = self.say("--ca", "ca.pem", host=host)
            self.assertIn(f"{host}:{self.port} is not for this name", said)
            self.assertNotIn("--ca", said)

    def test_one_that_has_expired(self):
        self.sign(-1, "DNS:localhost")
        self.serve(app=None)
        said = self.say("--ca", "ca.pem")
        self.assertIn("has expired", said)
        self.assertIn("UTC", said)

    def test_tls_or_not(self):
        self.serve(app=None)
        self.assertIn("asks for TLS", self.say(scheme="ws"))
        self.program.stop()
        self.program, self.port = self.controller(self.tree)
        self.assertIn("write ws://", self.say())
        # What would check nothing is refused.
        self.assertIn("--ca", self.say("--ca", "ca.pem", scheme="ws", status=2))

    def test_a_400_that_says_nothing_of_tls(self):
        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_error(400)

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.port = server.server_port
        said = self.say(host="127.0.0.1", scheme="ws")
        self.assertIn("HTTP status 400, not as livepush-controller", said)
        self.assertIn("wss://", said)
        self.assertNotIn("asks for TLS", said)

    def test_the_documented_way_to_make_a_pin(self):
        der = self.openssl("pkey", "-in", "key.pem", "-pubout", "-outform", "DER")
        pin = "sha256//" + base64.b64encode(hashlib.sha256(der).digest()).decode()
        root = pathlib.Path(__file__).parents[2]
        for page in ("docs/security.md", "docs/man/livepush.1.scd"):
            text = (root / page).read_text()
            block = [part for part in text.split("```") if "sha256//," in part]
            self.assertEqual(len(block), 1, page)
            made = subprocess.run(["sh", "-c", block[0]], cwd=self.dir, capture_output=True,
                                  text=True, check=True, timeout=e2e.PATIENCE).stdout.strip()
            self.assertEqual(made, pin, page)


class Certificate(Tls):
    def test_a_renewed_one_is_taken_and_a_broken_one_is_not(self):
        self.serve(app=None)
        before = self.serial()
        with self.connect() as kept:
            renewed = self.issue("cert2.pem", "key2.pem")
            (self.dir / "key2.pem").replace(self.dir / "key.pem")
            (self.dir / "cert2.pem").replace(self.dir / "cert.pem")
            e2e.wait_for(lambda: self.serial() == renewed, what="the renewed one is served")
            self.assertNotEqual(before, renewed)
            kept.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(kept.recv(4096).startswith(b"HTTP/1.1 404 "))
        e2e.safe_write(self.dir / "cert.pem", "nothing\n")
        e2e.wait_for(lambda: "stays in force" in self.program.stderr(), what="it is said")
        self.assertIn(str(self.dir / "cert.pem"), self.program.stderr())
        self.assertEqual(self.serial(), renewed)

    def test_what_the_configuration_names_is_taken(self):
        shutil.copy(self.dir / "cert.pem", self.tree / "cert.pem")
        e2e.write(self.tree / "livepush.yml",
                  f"tls:\n  cert: cert.pem\n  key: {self.dir}/key.pem\n")
        _, self.port = self.controller(self.tree)
        self.assertEqual(self.serial(),
                         self.openssl("x509", "-in", "cert.pem", "-noout", "-serial").decode()
                         .strip())

    def test_a_start_with_a_broken_configuration_goes_on_with_the_last_good_one(self):
        good = f"tls:\n  cert: {self.dir}/cert.pem\n  key: {self.dir}/key.pem\n"
        config = self.tree / "livepush.yml"
        e2e.write(config, good)
        serial = self.openssl("x509", "-in", "cert.pem", "-noout", "-serial").decode().strip()
        for text in (good, "tls: [\n", "nonsense: 1\n"):
            e2e.write(config, text)
            program, self.port = self.controller(self.tree)
            self.assertEqual(self.serial(), serial)
            program.stop()
        # One that says nothing of it is a good one as well.
        config.unlink()
        for text in ("", "tls: [\n"):
            e2e.write(config, text)
            program, port = self.controller(self.tree)
            self.assertIn(b"404", subprocess.run(["curl", "-sS", "-i", f"http://127.0.0.1:{port}/x"],
                                                 capture_output=True, check=False).stdout)
            program.stop()

    def test_it_does_not_start_without_what_it_was_told_to_use(self):
        self.openssl("pkey", "-in", "key.pem", "-aes128", "-passout", "pass:secret", "-out",
                     "locked.pem")
        self.issue("cert2.pem", "key2.pem")
        cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        rows = (
            (("--tls-cert", self.dir / "none", "--tls-key", key), f"{self.dir}/none: "),
            (("--tls-cert", cert, "--tls-key", self.dir / "locked.pem"), "openssl pkey"),
            (("--tls-cert", cert, "--tls-key", self.dir / "key2.pem"), "does not belong"),
        )
        for options, says in rows:
            done = subprocess.run([e2e.CONTROLLER, "--tree", self.tree, "--listen", "127.0.0.1:0",
                                   *options], env=self.env, text=True, capture_output=True,
                                  timeout=e2e.PATIENCE, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(says, done.stderr)

    def test_tls_that_goes_stays_until_the_next_start(self):
        e2e.write(self.tree / "livepush.yml",
                  f"tls:\n  cert: {self.dir}/cert.pem\n  key: {self.dir}/key.pem\n")
        source = self.dir / "source"
        e2e.write(source / "livepush.yml", "app: x\n")
        program, self.port = self.controller(self.tree)
        self.livepush("push", "--ca", self.dir / "ca.pem", source, f"wss://localhost:{self.port}",
                      env={"LIVEPUSH_SECRET": e2e.SECRET})
        e2e.wait_for(lambda: "'tls' is gone from livepush.yml" in program.stderr(), what="warned")
        self.assertTrue(self.serial())

    def test_one_that_cannot_be_used_leaves_all_of_the_old_in_force(self):
        os.mkfifo(self.dir / "pipe")
        source = self.dir / "source"
        for compat, expected in (("compat: fastpush\n", b"401"), ("", b"404")):
            e2e.write(self.tree / "livepush.yml",
                      f"{compat}tls:\n  cert: {self.dir}/cert.pem\n  key: {self.dir}/key.pem\n")
            program, self.port = self.controller(self.tree)
            ask = ("/_fastpush/status", "-o", "/dev/null", "-w", "%{http_code}")
            self.assertEqual(self.curl(*ask), expected)
            # It says the opposite of the calls, and a certificate that nobody will ever write.
            e2e.write(source / "livepush.yml",
                      f"{'' if compat else 'compat: fastpush'}\n"
                      f"tls:\n  cert: {self.dir}/pipe\n  key: {self.dir}/key.pem\n")
            done = self.livepush("push", "--ca", self.dir / "ca.pem", source,
                                 f"wss://localhost:{self.port}",
                                 env={"LIVEPUSH_SECRET": e2e.SECRET})
            self.assertIn(f"{self.dir}/pipe: is no regular file", done.stdout + done.stderr)
            self.assertEqual(self.curl(*ask), expected)
            self.assertNotIn("the calls of cf-fastpush are on",
                             program.stderr() if not compat else "")
            self.assertTrue(self.serial())
            program.stop()

    def test_a_key_that_everybody_may_read_is_warned_about(self):
        (self.dir / "key.pem").chmod(0o644)
        self.serve(app=None)
        e2e.wait_for(lambda: "chmod 600" in self.program.stderr(), what="the warning")

    @unittest.skipUnless(os.geteuid() == 0 and is_static(), "needs root and a static controller")
    def test_an_empty_root_is_enough(self):
        root = self.dir / "root"
        (root / "tree").mkdir(parents=True)
        for name in ("cert.pem", "key.pem"):
            shutil.copy(self.dir / name, root / name)
        shutil.copy(e2e.CONTROLLER, root / "controller")
        program = self.start(shutil.which("chroot"), root, "/controller", "--tree", "/tree",
                             "--listen", "127.0.0.1:0", "--tls-cert", "/cert.pem", "--tls-key",
                             "/key.pem")
        self.port = int(program.wait_event("listening")["address"].rpartition(":")[2])
        self.assertTrue(self.serial())


if __name__ == "__main__":
    unittest.main(verbosity=2)
