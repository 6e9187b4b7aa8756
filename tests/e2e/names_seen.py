"""inotify by itself, for tests: records every name that ever appears below a directory."""

import ctypes
import os
import select
import struct
import threading

MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
OVERFLOW, ISDIR = 0x4000, 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


class NamesSeen:
    """Watches root and all below it in a thread; `names` has each path that came into being there
    by creation or renaming, relative to root, as bytes. `left_out` are directories at the top that
    are not looked at."""

    def __init__(self, root, left_out=(b".livepush",)):
        self.names = set()
        self.overflowed = False
        self._root = os.fsencode(root)
        self._left_out = set(left_out)
        self._folders = {}
        self._fd = _LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._stop_r, self._stop_w = os.pipe()
        self._watch(b"", seen=False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _watch(self, folder, seen=True):
        path = os.path.join(self._root, folder)
        watch = _LIBC.inotify_add_watch(self._fd, path, CREATE | MOVED_TO)
        if watch < 0:
            return  # gone again meanwhile
        self._folders[watch] = folder
        try:
            entries = list(os.scandir(path))
        except OSError:
            return
        for entry in entries:
            name = os.path.join(folder, entry.name)
            if name in self._left_out:
                continue
            if seen:
                self.names.add(name)
            if entry.is_dir(follow_symlinks=False):
                self._watch(name, seen)

    def _take(self, data):
        at = 0
        while at < len(data):
            watch, mask, _, length = struct.unpack_from("iIII", data, at)
            name = data[at + 16:at + 16 + length].rstrip(b"\0")
            at += 16 + length
            if mask & OVERFLOW:
                self.overflowed = True
            folder = self._folders.get(watch)
            if folder is None or not mask & (CREATE | MOVED_TO):
                continue
            path = os.path.join(folder, name)
            if path in self._left_out:
                continue
            self.names.add(path)
            if mask & ISDIR:
                self._watch(path)

    def _run(self):
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._stop_r, select.POLLIN)
        stopping = False
        while not stopping:
            stopping = any(fd == self._stop_r for fd, _ in poll.poll())
            try:
                while data := os.read(self._fd, 1 << 16):
                    self._take(data)
            except BlockingIOError:
                pass

    def stop(self):
        """Ends the watching; the names seen until now."""
        os.write(self._stop_w, b".")
        self._thread.join()
        for fd in (self._fd, self._stop_r, self._stop_w):
            os.close(fd)
        return self.names
