"""A second, small implementation of livepush.v1 (docs/protocol.md): msgpack, WebSocket, opening.
Good enough to speak to a controller properly, and free to speak to it improperly."""

import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import os
import socket
import struct
import time

VERSION = 1
HELLO, CHALLENGE, PROOF, WELCOME, REFUSED = 1, 2, 3, 4, 5
PACKED, LIST, LISTING, CHANGE, DATA, SKIP, PATCH = 9, 10, 11, 20, 21, 22, 23
CREDIT, APPLIED, FAILED, ASK, STATUS, VERIFY, VERIFIED = 30, 31, 34, 41, 42, 44, 45
FLEET, RELOADED = 50, 51
OWNER, OBSERVER = 1, 2
REFUSE_VERSION, REFUSE_SECRET, REFUSE_HELD, REFUSE_TAKEN, REFUSE_PROTOCOL = 1, 2, 3, 4, 5
FIRST, LAST = 1, 2
PUT, KEEP, DELETE, MOVE = 1, 2, 3, 4
FILE, DIR, LINK = 1, 2, 3
PATH = "/_livepush/ws"
SMALL_MAX, PIECE = 131_072, 262_144  # a content in its operation; in one message


class Closed(Exception):
    """The peer ended the connection; code is of its WebSocket close, None without one."""

    def __init__(self, code=None):
        super().__init__(f"closed by the peer, code {code}")
        self.code = code


# msgpack, as much of it as the protocol has

def pack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return bytes([value]) if 0 <= value < 128 else struct.pack(">BQ", 0xcf, value)
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xc6, len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return struct.pack(">BI", 0xdb, len(data)) + data
    return struct.pack(">BI", 0xdd, len(value)) + b"".join(pack(item) for item in value)


_SIZED = {0xc4: ">B", 0xc5: ">H", 0xc6: ">I", 0xd9: ">B", 0xda: ">H", 0xdb: ">I",
          0xdc: ">H", 0xdd: ">I"}
_NUMBERS = {0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q", 0xd0: ">b", 0xd1: ">h", 0xd2: ">i",
            0xd3: ">q"}


def unpack(data, at=0):
    """The value at that place and the place behind it; text comes as str, binary as bytes."""
    tag = data[at]
    at += 1
    if tag < 0x80:
        return tag, at
    if tag in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[tag], at
    if tag in _NUMBERS:
        size = struct.calcsize(_NUMBERS[tag])
        return struct.unpack_from(_NUMBERS[tag], data, at)[0], at + size
    if tag in _SIZED:
        count = struct.unpack_from(_SIZED[tag], data, at)[0]
        at += struct.calcsize(_SIZED[tag])
    elif 0x90 <= tag < 0xa0:
        count = tag & 0x0f
    elif 0xa0 <= tag < 0xc0:
        count = tag & 0x1f
    else:
        raise ValueError(f"unexpected msgpack byte {tag:#x}")
    if 0x90 <= tag < 0xa0 or tag in (0xdc, 0xdd):
        items = []
        for _ in range(count):
            item, at = unpack(data, at)
            items.append(item)
        return items, at
    content = data[at:at + count]
    is_text = 0xa0 <= tag < 0xc0 or tag in (0xd9, 0xda, 0xdb)
    return (content.decode() if is_text else content), at + count


# XXH3-128, from the library itself

class _Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def hash_of(content):
    library = ctypes.CDLL(ctypes.util.find_library("xxhash"))
    library.XXH3_128bits.restype = _Hash128
    library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    value = library.XXH3_128bits(content, len(content))
    return struct.pack(">QQ", value.high, value.low)


def _gear():
    """The first 256 outputs of SplitMix64."""
    state, mask = 0, 2 ** 64 - 1
    for _ in range(256):
        state = (state + 0x9e3779b97f4a7c15) & mask
        mixed = ((state ^ (state >> 30)) * 0xbf58476d1ce4e5b9) & mask
        mixed = ((mixed ^ (mixed >> 27)) * 0x94d049bb133111eb) & mask
        yield mixed ^ (mixed >> 31)


_GEAR = list(_gear())


def chunk_end(content, at):
    """Where the chunk that begins there ends."""
    last = min(at + 131_072, len(content))
    value = 0
    for end in range(at + 16_384 - 64, last):
        value = (2 * value + _GEAR[content[end]]) & (2 ** 64 - 1)
        size = end + 1 - at
        if size >= 16_384 and value < (2 ** 46 if size < 65_536 else 2 ** 50):
            return end + 1
    return last


def digest(content):
    """What names a content: its hash, or that of its chunks when it is large."""
    if len(content) <= SMALL_MAX:
        return hash_of(content)
    rows, at = b"", 0
    while at < len(content):
        end = chunk_end(content, at)
        rows += struct.pack(">I", end - at) + hash_of(content[at:end])
        at = end
    return hash_of(rows)


def put_file(path, content, mode=0o644):
    """A PUT of a file, as an operation of a CHANGE; without its content when it is large."""
    return [PUT, FILE, os.fsencode(path), mode, len(content), digest(content),
            content if len(content) <= SMALL_MAX else None]


def put_link(path, target):
    return [PUT, LINK, os.fsencode(path), 0, len(target), digest(target), target]


def put_dir(path):
    return [PUT, DIR, os.fsencode(path), 0o755, 0, bytes(16), None]


def move(source, path, kind=DIR, mode=0o755, size=0, named=bytes(16)):
    """A MOVE of what is at source; the rest says what that is."""
    return [MOVE, kind, os.fsencode(path), mode, size, named, os.fsencode(source)]


def delete(path):
    return [DELETE, 0, os.fsencode(path), 0, 0, bytes(16), None]


class Client:
    """One WebSocket connection to a controller."""

    def __init__(self, port, path=PATH, subprotocol="livepush.v1", timeout=10.0):
        self._timeout = timeout
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.send_raw((f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                       f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                       f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
                       ).encode())
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def _receive(self):
        try:
            data = self._socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed()
        self._buffer += data

    def _take(self, count):
        while len(self._buffer) < count:
            self._receive()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def send_raw(self, data):
        try:
            self._socket.sendall(data)
        except ConnectionError:
            raise Closed() from None

    def send_frame(self, payload, opcode=2, promised=None, final=True):
        """A masked frame. promised: a length that is not the payload's."""
        length = len(payload) if promised is None else promised
        head = bytes([(0x80 if final else 0) | opcode])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 65536:
            head += struct.pack(">BH", 0x80 | 126, length)
        else:
            head += struct.pack(">BQ", 0x80 | 127, length)
        # The mask is zero: it changes nothing, and is as good as any.
        self.send_raw(head + bytes(4) + payload)

    def send(self, *message):
        self.send_frame(pack(message))

    def receive(self):
        """The next message as a list; answers pings; raises Closed, or TimeoutError when nothing but
        pings came for the time that was given."""
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            opcode, length = self._take(2)
            length &= 0x7f
            if length == 126:
                length = struct.unpack(">H", self._take(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self._take(8))[0]
            payload = self._take(length)
            if opcode & 0x0f == 9:
                self.send_frame(payload, opcode=10)
            elif opcode & 0x0f == 8:
                raise Closed(struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else None)
            elif opcode & 0x0f == 2:
                return unpack(payload)[0]
        raise TimeoutError("no message came")

    def receive_kind(self, *kinds):
        """The next message of one of these kinds; others are passed over."""
        while True:
            message = self.receive()
            if message[0] in kinds:
                return message

    def hello(self, version=VERSION, role=OWNER, take_over=False, app="app"):
        self.nonce, self.workspace = os.urandom(32), os.urandom(16)
        self.version, self.role, self.app = version, role, app
        self.send(HELLO, version, 0, role, take_over, self.nonce, self.workspace, app,
                  f"test pid {os.getpid()}")

    def proof(self, challenge, secret):
        text = (b"livepush.v1 client\0" + self.nonce + challenge[3]
                + struct.pack(">QQ", self.version, self.role) + self.workspace + self.app.encode())
        self.send(PROOF, hmac.new(secret.encode(), text, hashlib.sha256).digest())

    def open(self, secret, **hello):
        """The whole opening; the answer to the proof (WELCOME or REFUSED)."""
        self.hello(**hello)
        answer = self.receive_kind(CHALLENGE, REFUSED)
        if answer[0] == REFUSED:
            return answer
        self.proof(answer, secret)
        return self.receive_kind(WELCOME, REFUSED)

    def change(self, *operations, revision=1, root=bytes(16), flags=FIRST | LAST):
        self.send(CHANGE, revision, flags, root, list(operations))

    def data(self, content, at=0):
        """The content of a large file from there on, in as many DATA as it takes."""
        while at < len(content):
            piece = content[at:at + PIECE]
            self.send(DATA, at, piece)
            at += len(piece)

    def change_large(self, path, content, revision=1):
        """A changeset that puts one large file."""
        self.change(put_file(path, content), revision=revision, flags=FIRST)
        self.data(content)
        self.change(revision=revision, flags=LAST)

    def change_patched(self, path, base, content, segments, revision=1, in_place=False):
        """A changeset that makes one large file of another one: segments are (from, len) of the
        base, or new bytes."""
        self.change(put_file(path, content), revision=revision, flags=FIRST)
        self.send(PATCH, digest(base), in_place,
                  [[0, len(segment), segment] if isinstance(segment, bytes) else [*segment, None]
                   for segment in segments])
        self.change(revision=revision, flags=LAST)
