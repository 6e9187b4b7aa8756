"""The controller against peers that do not keep to the protocol: it refuses them in words, keeps
its tree and its app, and goes on serving others."""

import os
import random
import socket
import unittest

import livepush_e2e as e2e
import wire_client as wire


class Protocol(e2e.Case):
    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        self.outside = self.dir / "outside"
        self.outside.mkdir()
        e2e.write(self.tree / "kept", "as it was")
        self.program, self.port = self.controller(self.tree)
        self.before = e2e.snapshot(self.dir / "tree")

    def client(self, **options):
        client = wire.Client(self.port, timeout=10 * e2e.SLOWDOWN, **options)
        self.addCleanup(client.close)
        return client

    def owner(self):
        client = self.client()
        answer = client.open(e2e.SECRET, take_over=True)
        self.assertEqual(answer[0], wire.WELCOME, answer)
        return client

    def assert_well(self):
        """It runs, its tree is as before, and a proper peer is welcome."""
        self.assertIsNone(self.program.process.poll(), self.program.describe())
        self.assertEqual(e2e.snapshot(self.tree), self.before)
        self.assertEqual(e2e.snapshot(self.outside), {})
        with self.client() as client:
            self.assertEqual(client.open(e2e.SECRET, role=wire.OBSERVER)[0], wire.WELCOME)
            client.send(wire.ASK, 0)
            self.assertEqual(client.receive_kind(wire.STATUS)[0], wire.STATUS)

    def assert_ends(self, client, *, refusal=None):
        """The peer ends the connection; with this refusal before that, when one is given."""
        refused = None
        try:
            while True:
                message = client.receive()
                if message[0] == wire.REFUSED:
                    refused = message
        except wire.Closed:
            pass
        if refusal is not None:
            self.assertIsNotNone(refused, "closed without REFUSED")
            self.assertEqual(refused[1], refusal, refused)
            self.assertNotEqual(refused[2], "")

    def test_the_opening_as_it_should_be(self):
        with self.client() as client:
            self.assertEqual(client.status, 101)
            welcome = client.open(e2e.SECRET)
            self.assertEqual(welcome[0], wire.WELCOME)
            client.send(wire.LIST, [[b""]])
            listing = client.receive_kind(wire.LISTING)
            self.assertEqual([entry[0] for entry in listing[4]], [b"kept"])
        self.assert_well()

    def test_a_proper_change_is_applied(self):
        client = self.owner()
        client.send(wire.LIST, [[b""]])
        client.receive_kind(wire.LISTING)
        client.change(wire.put_file("new", b"content"))
        client.receive_kind(wire.APPLIED, wire.FAILED)
        self.assertEqual((self.tree / "kept").read_text(), "as it was")

    def test_a_wrong_secret(self):
        with self.client() as client:
            client.hello()
            client.proof(client.receive_kind(wire.CHALLENGE), "not the secret, but as long")
            self.assert_ends(client, refusal=wire.REFUSE_SECRET)
        self.assert_well()

    def test_a_proof_is_good_for_one_connection_only(self):
        with self.client() as first:
            first.hello()
            challenge = first.receive_kind(wire.CHALLENGE)
        with self.client() as second:
            second.hello()
            second.receive_kind(wire.CHALLENGE)
            second.proof(challenge, e2e.SECRET)
            self.assert_ends(second, refusal=wire.REFUSE_SECRET)
        self.assert_well()

    def test_other_protocol_versions(self):
        for version in (0, 2, 2 ** 63):
            with self.subTest(version=version), self.client() as client:
                client.hello(version=version)
                self.assert_ends(client, refusal=wire.REFUSE_VERSION)
        self.assert_well()

    def test_another_subprotocol(self):
        try:
            client = self.client(subprotocol="livepush.v999")
            self.assertNotEqual(client.status, 101)
        except wire.Closed:
            pass
        self.assert_well()

    def test_a_change_before_the_opening(self):
        with self.client() as client:
            client.change(wire.put_file("new", b"content"))
            self.assert_ends(client)
        with self.client() as client:
            client.hello()
            client.receive_kind(wire.CHALLENGE)
            client.change(wire.put_file("new", b"content"))
            self.assert_ends(client)
        self.assert_well()

    def test_an_observer_may_not_change_anything(self):
        with self.client() as client:
            client.open(e2e.SECRET, role=wire.OBSERVER)
            client.change(wire.put_file("new", b"content"))
            self.assert_ends(client)
        self.assert_well()

    def test_an_observer_does_not_speak_for_the_others(self):
        with self.client() as client:
            client.open(e2e.SECRET, role=wire.OBSERVER)
            client.send(wire.FLEET, 7, [])
            self.assert_ends(client)
        self.assert_well()

    def test_what_an_owner_says_of_the_others_is_bounded(self):
        member = ["x" * 512, 3, 2**64 - 1, 2**64 - 1, 2**64 - 1]
        client = self.owner()
        client.send(wire.FLEET, 2**64 - 1, [member] * 900)
        client.send(wire.FLEET, 0, [])
        client.send(wire.ASK, 0)
        client.receive_kind(wire.STATUS)
        client.close()
        for members in ([["x" * 513, 3, 0, 0, 0]], [["x", 5, 0, 0, 0]], [["x", 3, 0, 0, 0]] * 1025):
            client = self.owner()
            client.send(wire.FLEET, 0, members)
            self.assert_ends(client, refusal=wire.REFUSE_PROTOCOL)
        self.assert_well()

    def test_a_second_owner_is_told_who_is_there(self):
        first = self.owner()
        with self.client() as second:
            answer = second.open(e2e.SECRET)
            self.assertEqual(answer[:2], [wire.REFUSED, wire.REFUSE_HELD])
            self.assertIn(str(os.getpid()), answer[2])
        with self.client() as third:
            self.assertEqual(third.open(e2e.SECRET, take_over=True)[0], wire.WELCOME)
            self.assert_ends(first, refusal=wire.REFUSE_TAKEN)
        self.assert_well()

    def test_paths_that_leave_the_tree(self):
        for path in (b"../outside/x", b"a/../../outside/x", b"/tmp/absolute", b"a//b", b"./a",
                     b"a/.", b"", b".", b"..", b"a\0b", b"a/", b"x" * 256, b"d/" * 3000 + b"x"):
            for operation in (wire.put_file(path, b"evil"), wire.put_dir(path), wire.delete(path)):
                with self.subTest(path=path[:40], operation=operation[0]):
                    client = self.owner()
                    client.change(operation)
                    self.assert_ends(client, refusal=wire.REFUSE_PROTOCOL)
        self.assert_well()

    def test_links_that_lead_out(self):
        for target in (b"../outside", b"/etc/passwd", b"a/../../outside", b"", b"a\0b",
                       b"x" * 5000):
            with self.subTest(target=target[:20]):
                client = self.owner()
                try:
                    client.change(wire.put_link("link", target))
                    answer = client.receive_kind(wire.FAILED, wire.APPLIED, wire.REFUSED)
                    self.assertIn(answer[0], (wire.FAILED, wire.REFUSED))
                except wire.Closed:
                    pass
                self.assertFalse(os.path.lexists(self.tree / "link"))
        self.assert_well()

    def test_nothing_is_written_through_a_link_that_is_there(self):
        os.symlink(self.outside, self.tree / "out")
        self.before = e2e.snapshot(self.tree)
        for operation in (wire.put_file("out/x", b"evil"), wire.put_dir("out/d"),
                          wire.delete("out/x")):
            client = self.owner()
            try:
                client.change(operation)
                client.receive_kind(wire.FAILED, wire.APPLIED, wire.REFUSED)
            except wire.Closed:
                pass
            self.assertEqual(e2e.snapshot(self.outside), {})

    def test_content_that_does_not_match_its_digest(self):
        client = self.owner()
        operation = wire.put_file("kept", b"other")
        operation[5] = bytes(16)
        client.change(operation)
        self.assertEqual(client.receive_kind(wire.FAILED, wire.APPLIED)[0], wire.FAILED)
        self.assert_well()

    def test_modes_beyond_permissions(self):
        client = self.owner()
        client.change(wire.put_file("suid", b"x", mode=0o4755))
        self.assert_ends(client, refusal=wire.REFUSE_PROTOCOL)
        self.assert_well()

    def test_every_truncation_of_a_message(self):
        good = wire.pack([wire.CHANGE, 1, wire.FIRST | wire.LAST, bytes(16),
                          [wire.put_file("new", b"content")]])
        for length in range(0, len(good), 3):
            client = self.owner()
            client.send_frame(good[:length])
            self.assert_ends(client)
        self.assert_well()

    def test_messages_that_promise_more_than_they_hold(self):
        for data in (b"\xdd\xff\xff\xff\xff", b"\x92\x14\xdd\xff\xff\xff\xff", b"\x91" * 100_000,
                     b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc1", b"\x90",
                     wire.pack([wire.LIST, [[b""]] * 20_000]),
                     wire.pack([wire.PACKED, 2 ** 40, b"\x28\xb5\x2f\xfd"]),
                     wire.pack([wire.PACKED, 1000, b"no zstd"]),
                     wire.pack([9999, 1]), wire.pack(["CHANGE"]), wire.pack([])):
            with self.subTest(data=data[:12]):
                client = self.owner()
                client.send_frame(data)
                self.assert_ends(client)
        self.assert_well()

    def test_messages_over_the_limit(self):
        client = self.owner()
        try:
            client.send_frame(bytes(600 * 1024))
            self.assert_ends(client)
        except wire.Closed:
            pass
        client = self.owner()
        try:
            for piece in range(40):
                client.send_frame(bytes(60 * 1024), opcode=0 if piece else 2, final=False)
                self.assertIsNone(self.program.process.poll())
            self.assert_ends(client)
        except wire.Closed:
            pass
        client = self.owner()
        client.send_frame(b"x", promised=2 ** 62)
        self.assert_ends(client)
        self.assert_well()

    def test_random_messages(self):
        for seed in range(60):
            chance = random.Random(seed)
            with self.subTest(seed=seed):
                client = self.owner() if seed % 2 else self.client()
                try:
                    for _ in range(20):
                        client.send_frame(chance.randbytes(chance.randrange(200)),
                                          opcode=chance.choice((1, 2, 2, 2, 9, 10)))
                except wire.Closed:
                    pass
                client.close()
        self.assert_well()

    def test_random_bits_flipped_in_a_good_message(self):
        good = wire.pack([wire.CHANGE, 1, wire.FIRST | wire.LAST, bytes(16),
                          [wire.put_file("zz-new", b"content"), wire.delete("zz-gone")]])
        for seed in range(60):
            chance = random.Random(seed)
            data = bytearray(good)
            for _ in range(chance.randrange(1, 5)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            with self.subTest(seed=seed):
                client = self.owner()
                try:
                    client.send_frame(bytes(data))
                    client.receive_kind(wire.APPLIED, wire.FAILED, wire.REFUSED)
                except wire.Closed:
                    pass
                client.close()
        self.assertEqual((self.tree / "kept").read_text(), "as it was")
        self.assertEqual(e2e.snapshot(self.outside), {})
        self.assertIsNone(self.program.process.poll())

    def test_what_is_no_websocket(self):
        for data in (b"\0" * 1000, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
                     b"\r\n", b"GET /_livepush/ws HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"GET " + b"a" * 100_000, os.urandom(5000)):
            with self.subTest(data=data[:20]), \
                    socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                try:
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                    answer = b"".join(iter(lambda sock=sock: sock.recv(65536), b""))
                except ConnectionError:
                    answer = b""
                self.assertNotIn(b" 101 ", answer[:40])
        self.assert_well()

    def test_a_peer_that_says_nothing_does_not_stop_others(self):
        silent = [self.client() for _ in range(20)]
        halves = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(20)]
        for half in halves:
            self.addCleanup(half.close)
            half.sendall(b"GET /_live")
        self.assert_well()
        self.assertEqual(len(silent), 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
