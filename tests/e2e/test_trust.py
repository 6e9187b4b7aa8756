"""Who gets in: secret, links, cookies, Host and Origin, attempts, replay, TLS, and what a controller
gives up before it does anything."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import shutil
import socket
import ssl
import stat
import subprocess
import threading
import time
import unittest

import livepush_e2e as e2e
import wire_client

STATUS = "/_livepush/status"
BEARER = {"Authorization": f"Bearer {e2e.SECRET}"}


def ticket(use, scope, expiry, secret=e2e.SECRET):
    """As docs/protocol.md has it; made here independently."""
    key = hmac.digest(secret.encode(), b"livepush.v1 ticket", "sha256")
    claim = f"{expiry}.{scope}"
    mac = hmac.digest(key, f"{use}\0{claim}".encode(), "sha256")
    return f"{claim}.{mac.hex()}"


def soon():
    return int(time.time()) + 600


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def ask(port, path=STATUS, method="GET", headers=None, body=None, host=None, length=True):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=e2e.PATIENCE)
    try:
        connection.putrequest(method, path, skip_host=host is not None)
        if host is not None:
            connection.putheader("Host", host)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None and length:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def upgrade(port, headers):
    """The status line's number for the opening of a WebSocket."""
    lines = ["GET /_livepush/ws HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket",
             "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: livepush.v1",
             "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode()]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", port), timeout=e2e.PATIENCE) as sock:
        sock.sendall("\r\n".join(lines + ["", ""]).encode())
        data = b""
        while b"\r\n" not in data:
            piece = sock.recv(4096)
            if not piece:
                break
            data += piece
    return int(data.split()[1]) if data else 0


class Trust(e2e.Case):
    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()


class Web(Trust):
    def test_without_proof_nothing_is_told(self):
        _, port = self.controller(self.tree)
        for path in (STATUS, "/_livepush/", "/_livepush/no-such", "/_livepush/../_livepush/status"):
            with self.subTest(path=path):
                answer = ask(port, path)
                self.assertEqual(answer.status, 401)
                self.assertNotIn(b"revision", answer.body)
        self.assertEqual(ask(port, headers=BEARER).status, 200)
        self.assertEqual(ask(port, "/_livepush/no-such", headers=BEARER).status, 404)
        self.assertEqual(ask(port, method="PUT", headers=BEARER, body=b"").status, 405)
        head = ask(port, method="HEAD", headers=BEARER)
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["Cache-Control"], "no-store")

    def test_without_a_secret_it_is_closed_and_the_log_says_how(self):
        program, port = self.controller(self.tree, secret=None)
        e2e.wait_for(lambda: any("LIVEPUSH_SECRET" in line for line in program.errors),
                     what="how to set a secret in the log")
        for headers in ({}, BEARER, {"Authorization": "Bearer "},
                        {"Cookie": f"livepush-admin-{port}={ticket('cookie', 'admin', soon(), '')}"}):
            self.assertEqual(ask(port, headers=headers).status, 401)
        self.assertEqual(ask(port, f"{STATUS}?t={ticket('link', 'admin', soon(), '')}").status, 401)

    def test_links(self):
        _, port = self.controller(self.tree)
        good = ticket("link", "admin", soon())
        self.assertEqual(ask(port, f"{STATUS}?t={good}").status, 200)
        self.assertEqual(ask(port, f"{STATUS}?a=b&t={good}&c").status, 200)
        # Those are no attempts: any page could make a browser ask with them.
        for bad in (ticket("link", "admin", soon(), "another secret, long enough"),
                    ticket("cookie", "admin", soon()), good[:-1] + ("0" if good[-1] != "0" else "1"),
                    good.replace("admin", "reload"), ticket("link", "admin", int(time.time()) - 1),
                    ticket("link", "reload", soon())):
            for _ in range(8):
                self.assertEqual(ask(port, f"{STATUS}?t={bad}").status, 401)
        self.assertEqual(ask(port, f"{STATUS}?t={good}").status, 200)

    def test_a_link_for_the_reload_script_gives_that_alone(self):
        _, port = self.controller(self.tree)
        link = ticket("link", "reload", soon())
        self.assertEqual(ask(port, f"/_livepush/reload.js?t={link}").status, 200)
        self.assertEqual(ask(port, "/_livepush/reload.js").status, 401)
        for path in (STATUS, "/_livepush/", "/_livepush/metrics", "/_livepush/events", "/_livepush/x"):
            self.assertEqual(ask(port, f"{path}?t={link}").status, 401, path)
        cookie = {"Cookie": f"livepush-reload-{port}={ticket('cookie', 'reload', soon())}"}
        self.assertEqual(ask(port, "/_livepush/reload.js", headers=cookie).status, 200)
        self.assertEqual(ask(port, headers=cookie).status, 401)
        # Under the name of the other cookie it is no more.
        cookie = {"Cookie": f"livepush-admin-{port}={ticket('cookie', 'reload', soon())}"}
        self.assertEqual(ask(port, headers=cookie).status, 401)

    def test_a_link_becomes_a_cookie(self):
        _, port = self.controller(self.tree)
        answer = ask(port, f"{STATUS}?t={ticket('link', 'admin', soon())}",
                     headers={"Accept": "text/html,*/*", "X-Forwarded-Proto": "https"})
        self.assertEqual((answer.status, answer.headers["Location"]), (303, STATUS))
        cookie, *attributes = answer.headers["Set-Cookie"].split("; ")
        for attribute in ("HttpOnly", "SameSite=Strict", "Secure", "Path=/_livepush/"):
            self.assertIn(attribute, attributes)
        self.assertEqual(answer.headers["Referrer-Policy"], "no-referrer")
        # A link leads nowhere else.
        for path in ("/_livepush/..//evil.example/", "/_livepush/%2e%2e/%2f%2fevil.example/"):
            answer = ask(port, f"{path}?t={ticket('link', 'admin', soon())}",
                         headers={"Accept": "text/html"})
            self.assertNotIn("evil", answer.headers.get("Location", ""))
        cookies = {"Cookie": f"theme=dark; {cookie}; x=y"}
        self.assertEqual(ask(port, headers=cookies).status, 200)
        # What a page of another site makes a browser send.
        for more in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"},
                     {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
            self.assertEqual(ask(port, headers={**cookies, **more}).status, 401, more)
        same = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}
        self.assertEqual(ask(port, headers={**cookies, **same}).status, 200)
        # A method that changes something needs the Origin said.
        self.assertEqual(ask(port, method="POST", headers=cookies, body=b"").status, 401)

    def test_cookies_of_instances_on_one_host_live_side_by_side(self):
        names = set()
        jar = []
        ports = []
        for number in range(2):
            tree = self.dir / f"tree-{number}"
            tree.mkdir()
            secret = f"{e2e.SECRET} {number}"
            _, port = self.controller(tree, secret=secret)
            answer = ask(port, f"{STATUS}?t={ticket('link', 'admin', soon(), secret)}",
                         headers={"Accept": "text/html"})
            cookie = answer.headers["Set-Cookie"].split(";")[0]
            names.add(cookie.partition("=")[0])
            jar.append(cookie)
            ports.append(port)
        self.assertEqual(names, {f"livepush-admin-{port}" for port in ports})
        for port in ports:
            self.assertEqual(ask(port, headers={"Cookie": "; ".join(jar)}).status, 200)
        # Behind a router that has the port of the scheme.
        answer = ask(ports[0], f"{STATUS}?t={ticket('link', 'admin', soon(), e2e.SECRET + ' 0')}",
                     headers={"Accept": "text/html"}, host="localhost")
        self.assertTrue(answer.headers["Set-Cookie"].startswith("livepush-admin="))

    def test_the_command_gives_the_link(self):
        _, port = self.controller(self.tree)
        done = subprocess.run([e2e.LIVEPUSH, "open", f"ws://127.0.0.1:{port}"],
                              env={**self.env, "LIVEPUSH_SECRET": e2e.SECRET}, text=True,
                              capture_output=True, timeout=e2e.PATIENCE, check=True)
        url = done.stdout.strip()
        self.assertTrue(url.startswith(f"http://127.0.0.1:{port}/_livepush/?t="), url)
        self.assertEqual(ask(port, STATUS + "?" + url.partition("?")[2]).status, 200)
        self.assertNotIn(e2e.SECRET, url)

    def test_hosts(self):
        vcap = json.dumps({"application_id": "x", "application_uris": ["app.example.com"]})
        self.env["VCAP_APPLICATION"] = vcap
        _, port = self.controller(self.tree, options=["--host", "Named.example:8080"])
        for host in ("127.0.0.1", "localhost:1", "[::1]:80", "x.localhost", "app.example.com",
                     "APP.example.com:443", "named.example", "named.example."):
            self.assertEqual(ask(port, host=host).status, 401, host)
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[::1",
                     "127.0.0.1x", "app.example.com.evil.example", "evilapp.example.com"):
            self.assertEqual(ask(port, host=host).status, 421, host)
            # What no browser sends by itself is enough.
            self.assertEqual(ask(port, host=host, headers=BEARER).status, 200, host)

    def test_names_that_are_none_are_refused_with_the_way_out(self):
        for name in ("http://x.example", "x.example/path", "*.example", ""):
            done = subprocess.run([e2e.CONTROLLER, "--host", name], capture_output=True, text=True,
                                  env=self.env, timeout=e2e.PATIENCE, check=False)
            self.assertEqual(done.returncode, 2, name)
            self.assertIn("app.example.com", done.stderr)

    def test_a_secret_file_for_all_is_warned_of(self):
        secret = self.dir / "secret"
        secret.write_text(e2e.SECRET + "\n")
        for mode, warns in ((0o600, False), (0o644, True)):
            secret.chmod(mode)
            program, port = self.controller(self.tree, secret=None,
                                            options=["--secret-file", secret])
            self.assertEqual(ask(port, headers=BEARER).status, 200)
            done = self.succeed("open", "--secret-file", secret, f"ws://127.0.0.1:{port}")
            program.stop()
            for text in (done.stderr, program.stderr()):
                self.assertEqual("chmod o=" in text, warns, text)

    def test_hosts_of_the_configuration_follow_it(self):
        (self.tree / "livepush.yml").write_text("hosts: [first.example]\n")
        _, port = self.controller(self.tree)
        self.assertEqual(ask(port, host="first.example").status, 401)
        self.assertEqual(ask(port, host="second.example").status, 421)

    def test_websockets_of_other_sites_are_refused(self):
        _, port = self.controller(self.tree)
        here = f"127.0.0.1:{port}"
        for headers, status in (
                ({"Host": here}, 101),
                ({"Host": "any.example"}, 101),
                ({"Host": here, "Origin": f"http://{here}"}, 101),
                ({"Host": here, "Origin": "http://evil.example"}, 403),
                ({"Host": here, "Origin": "http://127.0.0.1:1"}, 403),
                ({"Host": here, "Origin": "null"}, 403),
                # The name was made to point here.
                ({"Host": "evil.example", "Origin": "http://evil.example"}, 403)):
            with self.subTest(headers=headers):
                self.assertEqual(upgrade(port, headers), status)

    def test_wrong_attempts_are_slowed_down(self):
        _, port = self.controller(self.tree)
        wrong = {"Authorization": "Bearer not the secret at all"}
        statuses = [ask(port, headers=wrong).status for _ in range(7)]
        self.assertEqual(statuses[:6], [401] * 6)
        self.assertEqual(statuses[6], 429)
        # The wait doubles with each attempt that is looked at: at last it is long enough to be seen.
        e2e.wait_for(lambda: int((refused := ask(port, headers=wrong)).headers.get(
            "Retry-After", 0)) >= 3 * e2e.SLOWDOWN and refused, what="a long wait")
        refused = ask(port, headers=BEARER)
        self.assertEqual(refused.status, 429)
        seconds = int(refused.headers["Retry-After"])
        self.assertGreaterEqual(seconds, 1)
        self.assertEqual(refused.body.decode().strip(),
                         f"too many wrong attempts from your address; try again in {seconds} s")
        # So is the opening of a WebSocket.
        refused = ask(port, "/_livepush/ws", headers={
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": "livepush.v1", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
        self.assertEqual(refused.status, 429)
        self.assertIn(f"try again in {refused.headers['Retry-After']} s", refused.body.decode())
        # Another address, as the router in front tells, is not held up.
        self.assertEqual(ask(port, headers={**BEARER, "X-Forwarded-For": "198.51.100.7"}).status,
                         200)
        e2e.wait_for(lambda: ask(port, headers=BEARER).status == 200, what="the end of the wait",
                     timeout=60 + e2e.PATIENCE)

    def test_who_has_a_link_or_cookie_does_not_wait(self):
        _, port = self.controller(self.tree)
        wrong = {"Authorization": "Bearer not the secret at all"}
        e2e.wait_for(lambda: int(ask(port, headers=wrong).headers.get("Retry-After", 0))
                     >= 5 * e2e.SLOWDOWN, what="a long wait", timeout=60 + e2e.PATIENCE)
        cookie = {"Cookie": f"livepush-admin-{port}={ticket('cookie', 'admin', soon())}"}
        statuses = [ask(port, headers=headers).status for headers in (cookie, {}, BEARER)]
        self.assertEqual(statuses, [200, 401, 429])
        link = ticket("link", "admin", soon())
        self.assertEqual(ask(port, f"{STATUS}?t={link}").status, 200)

    def test_an_old_link_with_a_cookie_is_good(self):
        _, port = self.controller(self.tree)
        old = f"{STATUS}?t={ticket('link', 'admin', int(time.time()) - 1)}"
        cookie = {"Cookie": f"livepush-admin-{port}={ticket('cookie', 'admin', soon())}"}
        self.assertEqual(ask(port, old).status, 401)
        self.assertEqual(ask(port, old, headers=cookie).status, 200)
        self.assertEqual(ask(port, old, headers={**cookie, "Origin": "http://evil.example"}).status,
                         401)

    def test_strangers_do_not_fill_the_log(self):
        program, port = self.controller(self.tree)
        here = f"127.0.0.1:{port}"
        for number in range(30):
            self.assertEqual(upgrade(port, {"Host": here, "Origin": "http://evil.example"}), 403)
            ask(port, headers={"Authorization": "Bearer not the secret at all",
                               "X-Forwarded-For": f"198.51.100.{number}"})
        program.stop()
        for word in ("evil.example", "wrong secret"):
            lines = [line for line in program.errors if word in line]
            self.assertGreaterEqual(len(lines), 1, word)
            self.assertLessEqual(len(lines), 20, word)  # 10 in a minute

    def test_the_body_of_a_stranger_is_not_kept(self):
        program, port = self.controller(self.tree)
        self.assertEqual(ask(port, method="POST", body=b"x" * 500_000).status, 401)
        self.assertEqual(ask(port, method="POST", body=b"x" * 5_000_000).status, 401)
        # Of a body whose length is not said, nothing is read.
        self.assertEqual(ask(port, method="POST").status, 401)
        self.assertEqual(ask(port, method="POST", headers={"Transfer-Encoding": "chunked"},
                             body=b"1\r\nx\r\n0\r\n\r\n", length=False).status, 411)
        self.assertEqual(ask(port, headers=BEARER).status, 200)
        self.assertEqual(ask(port, method="POST", body=b"x" * 500_000, headers=BEARER).status, 405)
        self.assertIsNone(program.process.poll())


class Socket(Trust):
    def test_a_recorded_proof_is_worth_nothing(self):
        _, port = self.controller(self.tree)
        first = wire_client.Client(port)
        self.addCleanup(first.close)
        sent = []
        send = first.send_raw
        first.send_raw = lambda data: (sent.append(data), send(data))
        self.assertEqual(first.open(e2e.SECRET, role=wire_client.OBSERVER)[0], wire_client.WELCOME)
        hello, proof = sent
        second = wire_client.Client(port)
        self.addCleanup(second.close)
        second.send_raw(hello)
        self.assertEqual(second.receive()[0], wire_client.CHALLENGE)  # with another nonce
        second.send_raw(proof)
        answer = second.receive()
        self.assertEqual(answer[:2], [wire_client.REFUSED, wire_client.REFUSE_SECRET])

    def test_wrong_proofs_are_slowed_down(self):
        _, port = self.controller(self.tree)

        def attempt():
            with wire_client.Client(port) as client:
                if client.status == 101:
                    answer = client.open("not the secret at all")
                    self.assertEqual(answer[0], wire_client.REFUSED)
                return client.status

        self.assertEqual([attempt() for _ in range(5)], [101] * 5)
        e2e.wait_for(lambda: attempt() == 429, what="the wait")
        e2e.wait_for(lambda: attempt() == 101, what="the end of the wait")

    def test_many_connections_at_once_give_no_more_attempts(self):
        _, port = self.controller(self.tree)
        clients = [wire_client.Client(port) for _ in range(16)]
        for client in clients:
            self.addCleanup(client.close)
            client.hello()
        challenges = [client.receive() for client in clients]
        self.assertEqual({challenge[0] for challenge in challenges}, {wire_client.CHALLENGE})
        for client, challenge in zip(clients, challenges):
            client.proof(challenge, "not the secret at all")
        answers = [client.receive()[:2] for client in clients]
        wrong = answers.count([wire_client.REFUSED, wire_client.REFUSE_SECRET])
        self.assertIn(wrong, range(6, 10), answers)  # one more for each second that it takes

    def test_others_on_this_machine_do_not_reach_the_inner_socket(self):
        program, _ = self.controller(self.tree)
        names = [line.split()[-1] for line in pathlib.Path("/proc/net/unix").read_text().splitlines()
                 if f"@livepush-{program.process.pid}-" in line]
        self.assertTrue(names)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(e2e.PATIENCE)
            sock.connect("\0" + names[0][1:])
            try:
                sock.sendall(f"GET {STATUS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                             f"{e2e.SECRET}\r\n\r\n".encode())
                self.assertEqual(sock.recv(100), b"")
            except (BrokenPipeError, ConnectionResetError):
                pass


class Process(Trust):
    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_root_only_when_told(self):
        del self.env["LIVEPUSH_ALLOW_ROOT"]
        argv = [e2e.CONTROLLER, "--tree", str(self.tree), "--listen", "127.0.0.1:0"]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True,
                              timeout=e2e.PATIENCE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--allow-root", done.stderr)
        program = self.start(*argv, "--allow-root", env={"LIVEPUSH_SECRET": e2e.SECRET})
        program.wait_event("listening")

    def test_privileges_are_dropped_for_it_and_the_app(self):
        app = "import time; print(open('/proc/self/status').read(), flush=True); time.sleep(600)"
        (self.tree / "livepush.yml").write_text("health: {kind: process, settle: 1ms}\n")
        program, _ = self.controller(self.tree, "python3", "-c", app)
        allowed = sum(1 << cap for cap in (0, 1, 3, 5, 6, 7, 10))

        def check(pid):
            fields = dict(line.split(":\t", 1) for line in
                          pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                          if ":\t" in line)
            self.assertEqual(fields["NoNewPrivs"], "1")
            for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
                self.assertEqual(int(fields[name], 16) & ~allowed, 0, name)
            if os.geteuid() == 0:
                self.assertEqual(int(fields["CapBnd"], 16) & ~allowed, 0)

        check(program.process.pid)
        children = e2e.wait_for(lambda: pathlib.Path(
            f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split(),
            what="the app")
        check(children[0])

    def test_set_id_bits_do_not_arrive(self):
        source = self.dir / "source"
        (source / "dir").mkdir(parents=True)
        for name, mode in (("dir/set-uid", 0o4755), ("dir/set-gid", 0o2755), ("plain", 0o755)):
            e2e.write(source / name, name)
            (source / name).chmod(mode)
        (source / "dir").chmod(0o2775)
        _, port = self.controller(self.tree)
        subprocess.run([e2e.LIVEPUSH, "push", source, f"ws://127.0.0.1:{port}"],
                       env={**self.env, "LIVEPUSH_SECRET": e2e.SECRET}, check=True,
                       stdout=subprocess.DEVNULL, timeout=e2e.PATIENCE * 2)
        for name in ("dir", "dir/set-uid", "dir/set-gid", "plain"):
            mode = stat.S_IMODE((self.tree / name).stat().st_mode)
            self.assertEqual(mode & 0o7000, 0, name)
            self.assertTrue(mode & 0o100, name)

    def test_its_own_directory_is_neither_mirrored_nor_served(self):
        source = self.dir / "source"
        e2e.write(source / ".livepush/evil", "x")
        e2e.write(source / "sub/.livepush/evil", "x")
        e2e.write(source / "a", "a")
        port = e2e.free_port()
        (self.tree / "livepush.yml").write_text(
            "command: [sh, -c, 'exec python3 -m http.server $PORT']\n")
        _, port = self.controller(self.tree)
        subprocess.run([e2e.LIVEPUSH, "push", source, f"ws://127.0.0.1:{port}"],
                       env={**self.env, "LIVEPUSH_SECRET": e2e.SECRET}, check=True,
                       stdout=subprocess.DEVNULL, timeout=e2e.PATIENCE * 2)
        self.assertFalse((self.tree / ".livepush/evil").exists())
        self.assertFalse((self.tree / "sub/.livepush").exists())
        e2e.wait_for(lambda: ask(port, "/a").status == 200, what="the app")
        name = next(entry.name for entry in (self.tree / ".livepush").iterdir() if entry.is_file())
        for path in ("/.livepush/", "/.livepush", f"/.livepush/{name}", "/%2elivepush/",
                     f"/.live%70ush/{name}", f"//.livepush/{name}", f"/./.livepush/{name}",
                     f"/sub/../.livepush/{name}", f"/sub/%2e%2e/.livepush/{name}", "/.livepush?x",
                     "/.livepush%00", "/.livepush%00x"):
            self.assertEqual(ask(port, path).status, 404, path)


@unittest.skipUnless(shutil.which("openssl"), "needs openssl")
class Tls(Trust):
    """The client over TLS: a front with a certificate of a private authority before a controller."""

    def setUp(self):
        super().setUp()
        self.source = self.dir / "source"
        e2e.write(self.source / "a", "a")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj",
                     "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        key = self.openssl("pkey", "-in", "key.pem", "-pubout", "-outform", "DER")
        self.pin = "sha256//" + base64.b64encode(hashlib.sha256(key).digest()).decode()
        _, port = self.controller(self.tree)
        self.port = self.front(port)

    def openssl(self, *args):
        return subprocess.run(["openssl", *args], cwd=self.dir, capture_output=True, check=True,
                              timeout=e2e.PATIENCE).stdout

    def front(self, inner):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.dir / "cert.pem", self.dir / "key.pem")
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def copy(source, target):
            try:
                while data := source.recv(65536):
                    target.sendall(data)
            except OSError:
                pass
            for sock in (source, target):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            source.close()

        def serve():
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                try:
                    outer = context.wrap_socket(plain, server_side=True)
                except OSError:
                    continue
                far = socket.create_connection(("127.0.0.1", inner))
                for pair in ((outer, far), (far, outer)):
                    threading.Thread(target=copy, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    def push(self, *options, host="localhost"):
        return subprocess.run([e2e.LIVEPUSH, "push", *options, self.source,
                               f"wss://{host}:{self.port}"],
                              env={**self.env, "LIVEPUSH_SECRET": e2e.SECRET}, text=True,
                              capture_output=True, timeout=e2e.PATIENCE * 2, check=False)

    def test_an_unknown_authority_is_refused(self):
        done = self.push()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--ca", done.stderr)
        self.assertFalse((self.tree / "a").exists())

    def test_another_host_is_refused(self):
        self.assertNotEqual(self.push("--ca", "cert.pem", host="127.0.0.1").returncode, 0)
        self.assertFalse((self.tree / "a").exists())

    def test_the_authority_that_was_named_counts(self):
        done = self.push("--ca", str(self.dir / "cert.pem"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.tree / "a").exists())

    def test_pins(self):
        ca = ("--ca", str(self.dir / "cert.pem"))
        other = "sha256//" + base64.b64encode(bytes(32)).decode()
        done = self.push(*ca, "--pin", other)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("pin", done.stderr)
        self.assertFalse((self.tree / "a").exists())
        self.assertEqual(self.push(*ca, "--pin", "sha256//nonsense").returncode, 2)
        done = self.push(*ca, "--pin", f"{other};{self.pin}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.tree / "a").exists())
        # A pin alone does not make an unknown authority known.
        self.assertNotEqual(self.push("--pin", self.pin).returncode, 0)

    def test_pins_of_the_configuration(self):
        other = "sha256//" + base64.b64encode(bytes(32)).decode()
        for pins, status in ((other, 1), (self.pin, 0)):
            (self.source / "livepush.yml").write_text(
                f"targets:\n  far:\n    url: wss://localhost:{self.port}\n"
                f"    ca: {self.dir}/cert.pem\n    pin: {pins}\n")
            done = subprocess.run([e2e.LIVEPUSH, "push", self.source, "far"],
                                  env={**self.env, "LIVEPUSH_SECRET": e2e.SECRET}, text=True,
                                  capture_output=True, timeout=e2e.PATIENCE * 2, check=False)
            self.assertEqual(done.returncode, status, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
