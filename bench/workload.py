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


def make_tree(root, files=FILES, tree_bytes=TREE_BYTES):
    """Fills root with files in nested folders, so many bytes in total: half of them text, half
    random. Returns their paths, relative, sorted."""
    chance = random.Random(20240501)
    folders = [pathlib.PurePath()]
    shallow = folders[:]
    for number in range(FOLDERS * files // FILES):
        folder = chance.choice(shallow) / f"d{number:03}"
        folders.append(folder)
        if len(folder.parts) < MAX_DEPTH:
            shallow.append(folder)
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)

    # Most files are small and a few are large, as in a workspace.
    weights = [chance.lognormvariate(0, 1.2) for _ in range(files)]
    scale = tree_bytes / sum(weights)
    sizes = [int(weight * scale) for weight in weights]
    sizes[0] += tree_bytes - sum(sizes)

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
    ours = names_in(one)
    return ours == names_in(other) and all(
        kind == "d" or _content(f"{one}/{name}") == _content(f"{other}/{name}")
        for name, kind in ours.items())


def names_in(root):
    """path, relative → "f" or "d", of everything but what the controller and git keep there."""
    found, stack = {}, [""]
    while stack:
        folder = stack.pop()
        for entry in os.scandir(os.path.join(root, folder)):
            name = os.path.join(folder, entry.name)
            if name in (".livepush", ".git"):
                continue
            found[name] = "d" if entry.is_dir(follow_symlinks=False) else "f"
            if found[name] == "d":
                stack.append(name)
    return found


class Expected:
    """What a tree has to become: cheap to look at again and again, since what is right once is not
    looked at any more."""

    def __init__(self, source, target, names=None, gone=()):
        """names: the files that are compared, relative; all of source by default."""
        self._source, self._target = str(source), str(target)
        if names is None:
            names = [name for name, kind in names_in(source).items() if kind == "f"]
        self._left = {str(name): os.stat(os.path.join(source, name)).st_size for name in names}
        self._gone = [os.path.join(target, name) for name in gone]

    def arrived(self):
        """Whether all files have their sizes and contents, and what has to be gone is."""
        while self._gone:
            if os.path.lexists(self._gone[-1]):
                return False
            self._gone.pop()
        while self._left:
            name, size = next(iter(self._left.items()))
            try:
                same = os.stat(os.path.join(self._target, name)).st_size == size and _content(
                    os.path.join(self._target, name)) == _content(os.path.join(self._source, name))
            except OSError:
                same = False
            if not same:
                return False
            del self._left[name]
        return True

    def wait(self, began, seconds=60, interval=0.002):
        """Seconds from `began` until all arrived; None when that takes too long."""
        while not self.arrived():
            if time.perf_counter() - began > seconds:
                return None
            time.sleep(interval)
        return time.perf_counter() - began


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
        from what save() returns to the beginning of the look that finds it, as looking itself
        takes as long as a wake-up; None when it did not arrive within `patience` seconds."""
        return self.measure_all([target], content, save, patience)

    def measure_all(self, targets, content, save, patience):
        """The same for several targets: until the last of them holds the content."""
        watches = {self._check(self._libc.inotify_add_watch(
            self._fd, os.fsencode(os.path.dirname(target)), self._MASK)): target
            for target in targets}
        self._drain()
        try:
            began = now = save()
            deadline = began + patience
            left = set(watches)
            # Not before something happened: a look competes for the processor with what is measured.
            while left and now < deadline:
                self._poll.poll((deadline - now) * 1000)
                now = time.perf_counter()
                self._drain()
                left -= {watch for watch in left if _content(watches[watch]) == content}
            return None if left else now - began
        finally:
            for watch in watches:
                self._libc.inotify_rm_watch(self._fd, watch)
            self._drain()


def _content(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        return None
