"""A TCP relay for tests and benches: counts what runs through it, cuts it, holds it up, and sends
new connections elsewhere."""

import socket
import threading

PIECE = 1 << 16


class Relay:
    """Listens on a port of its own and passes every connection on to the target port.

    up: bytes from who connected to the target; down: bytes back; accepted: connections so far."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.up = self.down = self.accepted = 0
        self._cut_at = None
        self._refusing = False
        self._sockets = set()
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                client.close()
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.accepted += 1
                self._sockets |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source, target, upward):
        buffer = memoryview(bytearray(PIECE))
        try:
            while count := source.recv_into(buffer):
                self._flowing.wait()
                with self._lock:
                    if upward:
                        self.up += count
                    else:
                        self.down += count
                    cut = self._cut_at is not None and self.up >= self._cut_at
                    if cut:
                        self._cut_at = None
                if cut:
                    self.cut()
                    return
                target.sendall(buffer[:count])
        except OSError:
            pass
        self._end((source, target))

    def _end(self, sockets):
        with self._lock:
            mine = [sock for sock in sockets if sock in self._sockets]
            self._sockets.difference_update(mine)
        for sock in mine:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def cut(self):
        """Cuts what runs through it now; new connections are taken."""
        with self._lock:
            sockets = list(self._sockets)
        self._end(sockets)

    def cut_after(self, count):
        """Cuts everything once `count` more bytes went up."""
        with self._lock:
            self._cut_at = self.up + count

    @property
    def cut_pending(self):
        return self._cut_at is not None

    def refuse(self, refusing):
        """Whether new connections are closed at once, as where nobody listens."""
        self._refusing = refusing

    def hold(self):
        """Nothing runs through from now on, and no connection is cut."""
        self._flowing.clear()

    def flow(self):
        """Lets what was held up go on."""
        self._flowing.set()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._flowing.set()
        self.cut()
