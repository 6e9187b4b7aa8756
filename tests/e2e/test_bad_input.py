"""What is wrong is said in words that name the thing, with a failing status; nothing is left."""

import os
import socket
import threading
import unittest

import livepush_e2e as e2e
import wire_client as wire

OTHER_SECRET = "another secret, long enough"


class Client(e2e.Case):
    """Mistakes at the command line of `watch`, `mount` and `push`."""

    def setUp(self):
        super().setUp()
        self.source = self.example("hello")
        self.env["LIVEPUSH_SECRET"] = e2e.SECRET

    def each(self, *args, commands=("watch", "mount", "push"), **options):
        for command in commands:
            with self.subTest(command=command):
                self.refused(command, *args, **options)
        self.assert_nothing_left()

    def test_dir_missing(self):
        self.each(self.dir / "missing", "hello", saying=["missing"])

    def test_dir_is_a_file(self):
        self.each(self.source / "app.py", "hello", saying=["app.py", "director"])

    def test_dir_is_empty_text(self):
        self.each("", "hello")

    def test_app_names_that_cannot_be(self):
        for name in ("", "../up", "a/b", "a b", "x" * 300, "-dash", "new\nline"):
            with self.subTest(name=name[:10]):
                self.refused("watch", "--", self.source, name)
        self.assert_nothing_left()

    def test_app_unknown(self):
        """Nothing can run it: there is no command, and no target has that name."""
        source = self.workspace({"a": "1"})
        self.each(source, "nowhere", saying=["nowhere"])

    def test_a_url_of_another_kind(self):
        for url in ("http://127.0.0.1:1", "ws://", "ws://127.0.0.1:99999", "ws://[::1",
                    "gopher://x"):
            with self.subTest(url=url):
                self.refused("push", self.source, url)

    def test_the_url_of_a_browser(self):
        self.refused("push", self.source, "http://127.0.0.1:1/x", saying=["write ws://127.0.0.1:1"])
        self.refused("push", self.source, "https://h.example", saying=["write wss://h.example"])

    def test_the_command_does_not_exist(self):
        e2e.write(self.source / "livepush.yml", "command: [no-such-program-anywhere]\n")
        self.each(self.source, "hello", saying=["no-such-program-anywhere"], commands=("push",))
        watch = self.start(e2e.LIVEPUSH, "watch", "--json", self.source, "hello")
        failed = watch.wait_event("failed")
        self.assertIn("no-such-program-anywhere", failed["error"])

    def test_the_command_exits_at_once(self):
        e2e.write(self.source / "livepush.yml", "command: echo too early; exit 3\n")
        watch = self.start(e2e.LIVEPUSH, "watch", "--json", self.source, "hello")
        failed = watch.wait_event("failed")
        self.assertIn("3", failed["error"])
        self.assertIn("too early", failed["excerpt"])
        self.assertIsNone(watch.process.poll(), "it waits for the save that mends it")
        since = watch.mark()
        e2e.safe_write(self.source / "livepush.yml", "command: [python3, app.py]\n")
        watch.wait_event("restarted", since)

    def test_the_command_dies_by_a_signal(self):
        e2e.write(self.source / "livepush.yml", "command: kill -SEGV $$\n")
        watch = self.start(e2e.LIVEPUSH, "watch", "--json", self.source, "hello")
        self.assertIn("SIGSEGV", watch.wait_event("failed")["error"])

    def test_an_app_that_never_listens(self):
        e2e.write(self.source / "livepush.yml",
                  "command: echo waiting; exec sleep 600\nhealth:\n  timeout: 1s\n")
        watch = self.start(e2e.LIVEPUSH, "watch", "--json", self.source, "hello")
        failed = watch.wait_event("failed")
        self.assertEqual(failed["stage"], "health")
        self.assertIn("waiting", failed["excerpt"])

    # text of livepush.yml → words of the message; the place is line:column
    BROKEN = {
        "comand: x\n": ["livepush.yml:1:1", "comand", "command"],
        "app: a\nrules:\n  - match: ['*']\n    action: fly\n": ["livepush.yml:4:", "fly"],
        "command: {a: b}\n": ["livepush.yml:1:", "command"],
        "health:\n  timeout: soon\n": ["livepush.yml:2:", "timeout"],
        "app: [\n": ["livepush.yml:"],
        "a: b: c\n": ["livepush.yml:1:"],
        "\ttab: x\n": ["livepush.yml:1:"],
        "app: x\napp: y\n": ["livepush.yml:2:1", "app"],
        "app: &a x\n": ["livepush.yml:1:"],
        "- a\n": ["livepush.yml:1:1"],
        "rules: 7\n": ["livepush.yml:1:", "rules"],
        "env:\n  PORT: 1\n---\napp: x\n": ["livepush.yml:"],
        "app: \"\\xff\n": ["livepush.yml:"],
        "\0": ["livepush.yml"],
        "a" * 300_000: ["livepush.yml"],
    }

    def test_broken_livepush_yml(self):
        for text, words in self.BROKEN.items():
            with self.subTest(text=text[:30]):
                e2e.write(self.source / "livepush.yml", text)
                self.refused("watch", self.source, "hello", saying=words)
        self.assert_nothing_left()

    def test_a_mount_point_that_cannot_be(self):
        if not e2e.fuse_works():
            self.skipTest("FUSE is not available here")
        self.refused("mount", "--at", self.dir / "missing", self.source, "hello",
                     saying=["missing"])
        self.refused("mount", "--at", self.source / "app.py", self.source, "hello",
                     saying=["app.py"])
        self.assert_nothing_left()


class Secrets(e2e.Case):
    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        self.source = self.workspace({"a": "1"})

    def test_wrong_secret(self):
        _, port = self.controller(self.tree)
        for command in ("watch", "push"):
            self.refused(command, self.source, f"ws://127.0.0.1:{port}", saying=["secret"],
                         env={"LIVEPUSH_SECRET": OTHER_SECRET})
        self.assertEqual(e2e.snapshot(self.tree), {})

    def test_missing_secret(self):
        _, port = self.controller(self.tree)
        for command in ("watch", "push"):
            self.refused(command, self.source, f"ws://127.0.0.1:{port}",
                         saying=["secret", "LIVEPUSH_SECRET"])
        self.assertEqual(e2e.snapshot(self.tree), {})

    def test_a_secret_that_is_too_short(self):
        _, port = self.controller(self.tree)
        self.refused("push", self.source, f"ws://127.0.0.1:{port}",
                     saying=["the secret in LIVEPUSH_SECRET"], env={"LIVEPUSH_SECRET": "short"})
        program = self.start(e2e.CONTROLLER, "--tree", self.tree, "--listen", "127.0.0.1:0",
                             env={"LIVEPUSH_SECRET": "short"})
        self.assertGreater(program.wait(), 0)
        self.assertIn("the secret in LIVEPUSH_SECRET", program.stderr())

    def test_an_empty_variable_is_none(self):
        _, port = self.controller(self.tree)
        url = f"ws://127.0.0.1:{port}"
        empty = {"LIVEPUSH_SECRET": ""}
        self.refused("push", self.source, url, saying=["no secret", "LIVEPUSH_SECRET"], env=empty)
        file = self.source / "secret"
        e2e.write(file, "short\n")
        e2e.write(self.source / "livepush.yml",
                  f"ignore: secret\ntargets: {{there: {{url: {url!r}, secret_file: {str(file)!r}}}}}\n")
        self.refused("push", self.source, "there", saying=[f"the secret in {file}"], env=empty)
        e2e.write(file, e2e.SECRET + "\n")
        self.succeed("push", self.source, "there", env=empty)

    def test_the_secret_from_a_file(self):
        file = self.dir / "secret"
        e2e.write(file, e2e.SECRET + "\n")
        os.chmod(file, 0o600)
        _, port = self.controller(self.tree, secret=None, options=["--secret-file", file])
        self.succeed("push", self.source, f"ws://127.0.0.1:{port}",
                     env={"LIVEPUSH_SECRET": e2e.SECRET})
        e2e.wait_equal(self.source, self.tree)

    def test_the_secret_is_never_printed(self):
        controller, port = self.controller(self.tree)
        done = self.livepush("push", self.source, f"ws://127.0.0.1:{port}",
                             env={"LIVEPUSH_SECRET": OTHER_SECRET, "LIVEPUSH_LOG": "trace"})
        self.assertNotIn(OTHER_SECRET, done.stdout + done.stderr)
        self.assertNotIn(e2e.SECRET, controller.stderr())


class Controller(e2e.Case):
    """Mistakes in starting the controller."""

    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()

    def dies(self, *args, saying, env=None):
        program = self.start(e2e.CONTROLLER, *args,
                             env={"LIVEPUSH_SECRET": e2e.SECRET, **(env or {})})
        self.assertGreater(program.wait(), 0, program.describe())
        for word in saying:
            self.assertIn(word, program.stderr())

    def test_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.dies("--tree", self.tree, "--listen", f"127.0.0.1:{port}", saying=[str(port)])

    def test_no_tree(self):
        self.dies("--tree", self.dir / "missing", "--listen", "127.0.0.1:0", saying=["missing"])
        e2e.write(self.dir / "file", "")
        self.dies("--tree", self.dir / "file", "--listen", "127.0.0.1:0", saying=["file"])

    def test_no_port(self):
        self.dies("--tree", self.tree, saying=["PORT"])

    def test_a_port_that_is_none(self):
        for port in ("x", "99999", "-1"):
            with self.subTest(port=port):
                self.dies("--tree", self.tree, saying=[port], env={"PORT": port})

    def test_a_broken_config(self):
        e2e.write(self.tree / "livepush.yml", "comand: x\n")
        self.dies("--config", self.tree / "livepush.yml", "--tree", self.tree,
                  "--listen", "127.0.0.1:0", saying=["livepush.yml:1:1"])
        self.dies("--config", self.dir / "none.yml", "--tree", self.tree,
                  "--listen", "127.0.0.1:0", saying=["none.yml"])

    def test_a_command_that_is_none_keeps_the_door_open_and_says_so(self):
        _, port = self.controller(self.tree, "no-such-program-anywhere")
        status, text = e2e.get(f"http://127.0.0.1:{port}/", timeout=e2e.PATIENCE)
        self.assertEqual(status, 503)
        self.assertIn("no-such-program-anywhere", text)


class Peers(e2e.Case):
    """What the client meets at the other end of a URL."""

    def serve(self, answer):
        """A TCP server that lets answer(connection) deal with each connection; its port."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def run():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    try:
                        answer(connection)
                    except OSError:
                        pass

        threading.Thread(target=run, daemon=True).start()
        return listener.getsockname()[1]

    def push_fails(self, port, *saying, scheme="ws"):
        source = self.workspace({"a": "1"}) if not (self.dir / "workspace").exists() \
            else self.dir / "workspace"
        return self.refused("push", source, f"{scheme}://127.0.0.1:{port}", saying=saying,
                            env={"LIVEPUSH_SECRET": e2e.SECRET}, timeout=90 * e2e.SLOWDOWN)

    def http(self, status):
        """A server that answers everything with this status line's end."""
        def answer(connection):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nhi")
        return self.serve(answer)

    def test_not_a_websocket(self):
        self.push_fails(self.http(b"200 OK"), "HTTP status 200", "livepush-controller")

    def test_an_address_that_has_to_wait(self):
        self.push_fails(self.http(b"429 Too Many Requests"), "too many wrong attempts")

    def test_nothing_listens(self):
        port = e2e.free_port()
        self.push_fails(port, f"nothing listens at 127.0.0.1:{port}")

    def test_no_tls_where_it_is_wanted(self):
        self.push_fails(self.http(b"400 Bad Request"), "write ws://", scheme="wss")

    def test_garbage_instead_of_http(self):
        def garbage(connection):
            connection.recv(65536)
            connection.sendall(os.urandom(4000))
        self.push_fails(self.serve(garbage))

    def test_closed_at_once(self):
        self.push_fails(self.serve(lambda connection: None))

    def websocket(self, *messages):
        """A server that shakes hands and sends these messages, whatever it is told."""
        def answer(connection):
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65536)
            key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
            accept = wire.base64.b64encode(wire.hashlib.sha1(
                key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                               b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept +
                               b"\r\nSec-WebSocket-Protocol: livepush.v1\r\n\r\n")
            for message in messages:
                connection.recv(65536)
                head = bytes([0x82, 127]) + len(message).to_bytes(8, "big")
                connection.sendall(head + message)
            while connection.recv(65536):
                pass
        return self.serve(answer)

    def test_another_protocol_version(self):
        refused = wire.pack([wire.REFUSED, wire.REFUSE_VERSION, "this instance speaks version 7"])
        self.push_fails(self.websocket(refused), "version")

    def test_an_instance_that_does_not_know_the_secret(self):
        challenge = wire.pack([wire.CHALLENGE, 1, 0, bytes(32)])
        welcome = wire.pack([wire.WELCOME, bytes(32), "i", bytes(16), 0, bytes(16), False, False,
                             0, bytes(16), 0, 0])
        self.push_fails(self.websocket(challenge, welcome), "secret")

    def test_messages_that_are_none(self):
        for message in (b"", b"\xc1", b"\xdd\xff\xff\xff\xff", os.urandom(100), bytes(700_000)):
            with self.subTest(message=message[:8]):
                self.push_fails(self.websocket(message))


if __name__ == "__main__":
    unittest.main(verbosity=2)
