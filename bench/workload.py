"""What is measured with: a tree of files that is the same in every run, saves as editors make them,
and a watcher that sees when a save has arrived."""

import ctypes
import os
import pathlib
import random
import select
import time

FILES = 5_000
TREE_BYTES = 55_000_000
FOLDERS = 400
MAX_DEPTH = 6
SAVE_BYTES = 1024

WORDS = ("return if else for while static const int char struct void size error path buffer read "
         "write open close index digest entry value result state import from class self def none "
         "true false the of and to in is that it with as was on be at by this not are or have "
         "( ) { } [ ] ; , . = == != < > + - * / -> \n\t \n \n\n").split(" ")


def make_tree(root):
    """Fills root with FILES files in nested folders, TREE_BYTES in total: half of them text, half
    random bytes. Returns their paths, relative, sorted."""
    chance = random.Random(20240501)
    folders = [pathlib.PurePath()]
    for number in range(FOLDERS):
        parent = chance.choice([folder for folder in folders if len(folder.parts) < MAX_DEPTH])
        folders.append(parent / f"d{number:03}")
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)

    # Most files are small and a few are large, as in a workspace.
    weights = [chance.lognormvariate(0, 1.2) for _ in range(FILES)]
    scale = TREE_BYTES / sum(weights)
    sizes = [int(weight * scale) for weight in weights]
    sizes[0] += TREE_BYTES - sum(sizes)

    paths = []
    for number, size in enumerate(sizes):
        is_text = number % 2 == 0
        path = chance.choice(folders) / f"f{number:04}.{'txt' if is_text else 'bin'}"
        if is_text:
            words = chance.choices(WORDS, k=size // 3 + 1)
            content = " ".join(words).encode().ljust(size, b".")[:size]
        else:
            content = chance.randbytes(size)
        (root / path).write_bytes(content)
        paths.append(path)
    return sorted(paths)


def same_trees(one, other):
    """Whether two trees hold the same files with the same contents."""
    def names(root):
        return sorted(path.relative_to(root) for path in root.rglob("*")
                      if path.relative_to(root).parts[0] != ".livepush")
    ours = names(one)
    if ours != names(other):
        return False
    return all((one / name).is_dir() or (one / name).read_bytes() == (other / name).read_bytes()
               for name in ours)


def save_in_place(path, content):
    """Opens, truncates, writes, closes. Returns when it was about to close."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    os.write(descriptor, content)
    began = time.perf_counter()
    os.close(descriptor)
    return began


def save_by_rename(path, content):
    """Writes a file beside it, renames that over it. Returns when it was about to rename."""
    temporary = f"{path}.tmp~"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    os.write(descriptor, content)
    os.close(descriptor)
    began = time.perf_counter()
    os.rename(temporary, path)
    return began


class Arrival:
    """Sees a content arrive at a path: inotify on its directory, then a look at the content."""

    _MASK = 0x2 | 0x8 | 0x80 | 0x100  # MODIFY, CLOSE_WRITE, MOVED_TO, CREATE

    def __init__(self):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._check(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    @staticmethod
    def _check(result):
        if result < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return result

    def close(self):
        os.close(self._fd)

    def _drain(self):
        try:
            while os.read(self._fd, 65536):
                pass
        except BlockingIOError:
            pass

    def measure(self, target, content, save, patience):
        """Runs save() and waits until target holds the content: the seconds that took, counted
        from what save() returns; None when it did not arrive within `patience` seconds."""
        folder = os.fsencode(os.path.dirname(target))
        watch = self._check(self._libc.inotify_add_watch(self._fd, folder, self._MASK))
        self._drain()
        try:
            began = save()
            deadline = began + patience
            while True:
                now = time.perf_counter()
                if _content(target) == content:
                    return time.perf_counter() - began
                if now >= deadline:
                    return None
                self._poll.poll((deadline - now) * 1000)
                self._drain()
        finally:
            self._libc.inotify_rm_watch(self._fd, watch)
            self._drain()


def _content(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        return None
