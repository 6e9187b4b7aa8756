"""Random operations on a workspace, as people, editors and tools do them, from a seed."""

import ctypes
import mmap
import os
import random
import shutil
import time

import model_content as content

_LIBC = ctypes.CDLL(None, use_errno=True)
RENAME_EXCHANGE = 2
MAX_ENTRIES = 240
IN_PLACE_MAX = 100_000

FOLDERS = [b"src", b"lib", b"Lib", b"a b", b"\xc3\xbcml\xc3\xa4ut", b"\xff\xfe", b"deep", b"build",
           b"-x", b"n\nl"]
NAMES = [b"app.py", b"App.py", b"main.c", b"index.html", b"READ me", b"\xe2\x98\x83", b"\x80\x81",
         b"a" * 200, b"x[1].txt", b"!bang", b"#hash", b"$var", b"quote'\"", b"style.css",
         b"data.bin", b"m.o", b"notes.log", b"keep.log", b"tmp.tmp"]
PATTERNS = [b"*.log", b"!keep.log", b"build/", b"/src", b"*.o", b"**/deep/*.css", b"a b/*",
            b"!*.py", b"lib/**", b"x\\[1].txt", b"\\#hash", b"\\!bang", b"*.tmp", b"Lib/main.c",
            b"deep/**/m.o"]


def _write_fd(fd, data):
    while data:
        data = data[os.write(fd, data):]


class Ops:
    """The operations and what they know of the workspace. `log` holds what was done, newest last.

    They need the directories underneath/ and swap/ at the root. Never touched: `base/` (so that no
    operation removes most of the tree), livepush.yml, .git."""

    def __init__(self, root, outside, seed, underneath=None, without=()):
        self.root, self.outside = os.fsencode(root), os.fsencode(outside)
        self.underneath = underneath and os.fsencode(underneath)
        self.chance = random.Random(seed)
        self.files, self.dirs = [], [b""]
        self.parked = []
        self.log = []
        self.times = []  # when each began, and how long the log was then
        self.count = 0
        self.table = [(getattr(self, "op_" + name), weight) for name, weight in {
            "create": 10, "save_in_place": 10, "save_by_rename": 8, "append": 8, "cut_to_first": 3,
            "vim": 4, "vim_copy": 3, "emacs": 4, "sed": 4, "jetbrains": 4, "rename": 7,
            "rename_over": 3, "exchange": 2, "rename_dir": 4, "delete": 5, "delete_dir": 2,
            "mkdir": 4, "chmod": 4, "chmod_dir": 1, "symlink": 3, "hard_link": 3, "touch": 2,
            "swap": 4, "case_rename": 2, "move_out": 1, "move_in": 2,
            "wild": 3, "wild_patch": 4, "wild_cut": 2, "wild_mmap": 2, "large": 1,
            "rules": 2, "git_lock": 1, "underneath_write": 2 if underneath else 0}.items()
            if name not in without]

    # Places

    def at(self, path):
        return os.path.join(self.root, path)

    def _folder(self):
        return self.chance.choice(self.dirs)

    def _new_path(self, wild=False):
        name = content.WILD + b"%d" % self.chance.randrange(12) if wild \
            else self.chance.choice(NAMES)
        return os.path.join(self._folder(), name)

    def _of(self, wild):
        found = [path for path in self.files
                 if os.path.basename(path).startswith(content.WILD) == wild
                 and not os.path.islink(self.at(path))]
        return self.chance.choice(found) if found else None

    def _checked(self):
        return self._of(False)

    def _small(self):
        """One that may be written in place: a large one could be patched where it lies."""
        path = self._of(False)
        return path if path and os.stat(self.at(path)).st_size < IN_PLACE_MAX else None

    def _is_free(self, path):
        return not os.path.lexists(self.at(path))

    def _body(self):
        size = self.chance.choice((0, 1, 30, 30, 300, 300, 3000, 3000, 20000))
        return content.record(self.chance.randbytes(self.chance.randrange(size + 1)))

    def _add(self, path):
        if path not in self.files:
            self.files.append(path)

    def _forget_below(self, folder):
        prefix = folder + b"/"
        self.files = [path for path in self.files if not path.startswith(prefix)]
        self.dirs = [path for path in self.dirs if path != folder and not path.startswith(prefix)]

    def _rescan(self, folder):
        """Learns what is in a directory that came from elsewhere."""
        self.dirs.append(folder)
        for entry in os.scandir(self.at(folder)):
            path = os.path.join(folder, entry.name)
            if entry.is_dir(follow_symlinks=False):
                self._rescan(path)
            elif entry.name not in content.FREE and not entry.name.endswith(b"~"):
                self._add(path)

    # Writing

    def _write(self, path, data, flags=os.O_TRUNC, mode=0o644):
        fd = os.open(self.at(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, mode)
        try:
            middle = self.chance.randrange(len(data) + 1)
            _write_fd(fd, data[:middle])
            _write_fd(fd, data[middle:])
        finally:
            os.close(fd)

    def run(self):
        """One operation; it is in the log before it is done."""
        ops, weights = zip(*self.table)
        if len(self.files) + len(self.dirs) > MAX_ENTRIES:
            ops, weights = (self.op_delete, self.op_delete_dir), (8, 1)
        op = self.chance.choices(ops, weights)[0]
        self.count += 1
        self.log.append([self.count, op.__name__[3:]])
        self.times.append((time.monotonic(), len(self.log)))
        op()

    def _note(self, *paths):
        self.log[-1].extend(paths)

    def history(self, text, count=25):
        """The last operations that name one of the paths that a text names, or one above it."""
        def concerns(entry):
            return any(path and (repr(path)[2:-1] in text or entry[1] == "rules")
                       for path in entry[2:])
        return "\n".join(str(entry) for entry in list(filter(concerns, self.log))[-count:])

    def around(self, moment, seconds=1.0):
        """What was done in the time before a moment."""
        return "\n".join(f"{moment - when:.3f} s before: {self.log[at - 1]}"
                         for when, at in self.times if moment - seconds < when <= moment)

    def op_create(self):
        path = self._new_path()
        if self._is_free(path):
            self._note(path)
            self._write(path, self._body(), os.O_EXCL)
            self._add(path)

    def op_save_in_place(self):
        if path := self._small():
            self._note(path)
            self._write(path, self._body())

    def op_save_by_rename(self):
        if path := self._checked():
            self._note(path)
            temporary = path[:150] + b".tmp~"
            self._write(temporary, self._body())
            os.rename(self.at(temporary), self.at(path))

    def op_append(self):
        if path := self._small():
            self._note(path)
            self._write(path, self._body(), os.O_APPEND)

    def op_cut_to_first(self):
        """truncate(2), without a writer that closes."""
        if path := self._small():
            self._note(path)
            with open(self.at(path), "rb") as file:
                length = len(content.first_record(file.read()))
            os.truncate(self.at(path), length)

    def op_touch(self):
        if path := self._checked():
            self._note(path)
            os.utime(self.at(path))

    # Editors, as system calls

    def op_vim(self):
        """backupcopy=no: a swap file, a probe, the old one renamed to the backup."""
        if not (path := self._checked()):
            return
        self._note(path)
        folder, name = os.path.split(path)
        swap, probe = (os.path.join(folder, b"." + name + b".swp"), os.path.join(folder, b"4913"))
        backup = path + b"~"
        self._write(swap, b"b0VIM 9.0", os.O_EXCL | os.O_TRUNC, 0o600)
        self._write(probe, b"", os.O_EXCL)
        os.unlink(self.at(probe))
        mode = os.stat(self.at(path)).st_mode & 0o777
        os.rename(self.at(path), self.at(backup))
        self._write(path, self._body(), os.O_EXCL)
        os.chmod(self.at(path), mode)
        os.unlink(self.at(backup))
        os.unlink(self.at(swap))

    def op_vim_copy(self):
        """backupcopy=yes: a copy beside it, then written in place."""
        if path := self._small():
            self._note(path)
            with open(self.at(path), "rb") as file:
                self._write(path + b"~", file.read())
            self._write(path, self._body())
            os.unlink(self.at(path + b"~"))

    def op_emacs(self):
        """A lock that is a dangling link, the old one renamed to NAME~, which stays."""
        if not (path := self._checked()):
            return
        self._note(path)
        folder, name = os.path.split(path)
        lock = self.at(os.path.join(folder, b".#" + name))
        os.symlink(b"user@host.123:1", lock)
        os.rename(self.at(path), self.at(path + b"~"))
        self._write(path, self._body(), os.O_EXCL)
        os.unlink(lock)

    def op_sed(self):
        """sed -i: a temporary file with a name of no kind, renamed over it."""
        if path := self._checked():
            self._note(path)
            temporary = os.path.join(os.path.dirname(path),
                                     b"sed%06x" % self.chance.randrange(1 << 24))
            self._write(temporary, self._body(), os.O_EXCL)
            os.rename(self.at(temporary), self.at(path))

    def op_jetbrains(self):
        """Safe write: NAME___jb_tmp___ written, NAME moved aside, the new one moved in."""
        if path := self._checked():
            self._note(path)
            new, old = path + b"___jb_tmp___", path + b"___jb_old___"
            self._write(new, self._body(), os.O_EXCL)
            os.rename(self.at(path), self.at(old))
            os.rename(self.at(new), self.at(path))
            os.unlink(self.at(old))

    # Names

    def _rename(self, old, new):
        self._note(old, new)
        os.rename(self.at(old), self.at(new))
        self.files.remove(old)
        self._add(new)

    def op_rename(self):
        old, new = self._checked(), self._new_path()
        if old and self._is_free(new):
            self._rename(old, new)

    def op_rename_over(self):
        """Onto another file. Two names of one file are left as they are by rename(2)."""
        old, new = self._checked(), self._checked()
        if old and new and old != new and not os.path.samefile(self.at(old), self.at(new)):
            self._rename(old, new)

    def op_exchange(self):
        one, other = self._checked(), self._checked()
        if one and other and one != other:
            self._note(one, other)
            _LIBC.renameat2(-100, self.at(one), -100, self.at(other), RENAME_EXCHANGE)

    def op_case_rename(self):
        old = self._checked()
        if old:
            folder, name = os.path.split(old)
            new = os.path.join(folder, name.swapcase())
            if new != old and self._is_free(new) and not name.swapcase().startswith(content.WILD):
                self._rename(old, new)

    def op_delete(self):
        if self.files:
            path = self.chance.choice(self.files)
            self._note(path)
            os.unlink(self.at(path))
            self.files.remove(path)

    def op_hard_link(self):
        old, new = self._checked(), self._new_path()
        if old and self._is_free(new):
            self._note(old, new)
            os.link(self.at(old), self.at(new))
            self._add(new)

    def op_symlink(self):
        path = self._new_path()
        if self._is_free(path):
            self._note(path)
            os.symlink(self.chance.choice(NAMES), self.at(path))
            self._add(path)

    def op_chmod(self):
        if path := self._checked():
            self._note(path)
            os.chmod(self.at(path), self.chance.choice((0o644, 0o755, 0o600, 0o664, 0o700)))

    # Directories

    def _some_dir(self):
        return self.chance.choice(self.dirs[1:]) if len(self.dirs) > 1 else None

    def op_mkdir(self):
        path = self._folder()
        for _ in range(self.chance.randrange(1, 4)):
            path = os.path.join(path, self.chance.choice(FOLDERS))
            if path.count(b"/") > 5:
                return
            if path in self.dirs:
                continue
            if not self._is_free(path):
                return
            self._note(path)
            os.mkdir(self.at(path))
            self.dirs.append(path)
        leaf = os.path.join(path, self.chance.choice(NAMES))
        if self._is_free(leaf):
            self._note(leaf)
            self._write(leaf, self._body())
            self._add(leaf)

    def op_chmod_dir(self):
        if path := self._some_dir():
            self._note(path)
            os.chmod(self.at(path), self.chance.choice((0o755, 0o700, 0o775)))

    def op_rename_dir(self):
        """And a write in a leaf of it right away."""
        old = self._some_dir()
        new = os.path.join(self._folder(), self.chance.choice(FOLDERS))
        if not old or (new + b"/").startswith(old + b"/") or not self._is_free(new) \
                or new.count(b"/") > 5:
            return
        self._note(old, new)
        os.rename(self.at(old), self.at(new))
        self._forget_below(old)
        self._rescan(new)
        below = [path for path in self.files if path.startswith(new + b"/")]
        checked = [path for path in below if content.is_checked(path)
                   and not os.path.islink(self.at(path))
                   and os.stat(self.at(path)).st_size < IN_PLACE_MAX]
        if checked:
            self._write(self.chance.choice(checked), self._body())

    def _remove(self, path):
        for folder, dirs, files in os.walk(self.at(path), topdown=False):
            for name in files:
                os.unlink(os.path.join(folder, name))
            for name in dirs:
                place = os.path.join(folder, name)
                os.unlink(place) if os.path.islink(place) else os.rmdir(place)
        os.rmdir(self.at(path))
        self._forget_below(path)

    def op_delete_dir(self):
        if path := self._some_dir():
            self._note(path)
            self._remove(path)

    def op_swap(self):
        """A file becomes a directory, a link or a file again. In a place of its own, where no rule
        leaves anything out: what is left out stays on the target, and may be in the way there."""
        path = os.path.join(b"swap", b"x%d" % self.chance.randrange(6))
        self._note(path)
        place = self.at(path)
        if os.path.isdir(place) and not os.path.islink(place):
            shutil.rmtree(place)
        elif os.path.lexists(place):
            os.unlink(place)
        kind = self.chance.choice(("file", "dir", "link"))
        if kind == "file":
            self._write(path, self._body())
        elif kind == "link":
            os.symlink(b"x%d" % self.chance.randrange(6), place)
        else:
            for number in range(self.chance.randrange(1, 4)):
                inner = os.path.join(path, *[b"y"] * number)
                os.mkdir(self.at(inner))
                self._write(os.path.join(inner, b"inner"), self._body())

    @staticmethod
    def _move(old, new):
        """mv: by a rename where that can be, from and to a mount by copying."""
        shutil.move(os.fsdecode(old), os.fsdecode(new))

    def op_move_out(self):
        if (path := self._some_dir()) and len(self.parked) < 3:
            self._note(path)
            place = os.path.join(self.outside, b"p%d" % self.count)
            self._move(self.at(path), place)
            self._forget_below(path)
            self.parked.append(place)

    def op_move_in(self):
        new = os.path.join(self._folder(), self.chance.choice(FOLDERS))
        if self.parked and self._is_free(new) and new.count(b"/") <= 5:
            self._note(new)
            self._move(self.parked.pop(), self.at(new))
            self._rescan(new)

    # Large files, and contents without a sum

    def op_large(self):
        """A large file by rename, so that no half of it may ever be seen."""
        path = os.path.join(self._folder(), b"large%d" % self.chance.randrange(3))
        if path in self.files or self._is_free(path):
            self._note(path)
            temporary = path + b".tmp~"
            self._write(temporary, content.record(self.chance.randbytes(
                self.chance.randrange(130_000, 900_000))))
            os.rename(self.at(temporary), self.at(path))
            self._add(path)

    def op_wild(self):
        path = self._new_path(wild=True)
        if self._is_free(path):
            self._note(path)
            size = self.chance.choice((0, 10, 5000, 200_000, 1_500_000))
            self._write(path, self.chance.randbytes(size), os.O_EXCL)
            self._add(path)

    def op_wild_patch(self):
        """A few bytes in the middle of a file, in place; or a hole and bytes behind its end."""
        if not (path := self._of(True)):
            return
        self._note(path)
        fd = os.open(self.at(path), os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            for _ in range(self.chance.randrange(1, 4)):
                os.pwrite(fd, self.chance.randbytes(self.chance.randrange(1, 5000)),
                          self.chance.randrange(size + 20_000) if size < 2_000_000
                          else self.chance.randrange(size))
        finally:
            os.close(fd)

    def op_wild_cut(self):
        if path := self._of(True):
            self._note(path)
            os.truncate(self.at(path), self.chance.randrange(
                os.stat(self.at(path)).st_size + 1000))

    def op_wild_mmap(self):
        path = self._of(True)
        if not path or not os.stat(self.at(path)).st_size:
            return
        self._note(path)
        with open(self.at(path), "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            at = self.chance.randrange(len(memory))
            data = self.chance.randbytes(min(100, len(memory) - at))
            memory[at:at + len(data)] = data

    # The rest

    def op_rules(self):
        path = os.path.join(self._folder(), b".gitignore")
        if os.path.isdir(self.at(path)):
            return
        self._note(path)
        if self.chance.random() < 0.3 and os.path.exists(self.at(path)):
            os.unlink(self.at(path))
            return
        lines = self.chance.sample(PATTERNS, self.chance.randrange(4))
        self._write(path, b"\n".join(lines) + b"\n")

    def op_git_lock(self):
        """A few operations while git holds its lock."""
        lock = self.at(b".git/index.lock")
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        try:
            for _ in range(3):
                self.chance.choice((self.op_create, self.op_save_in_place, self.op_delete))()
        finally:
            os.unlink(lock)

    def op_underneath_write(self):
        """Below a mount, by a descriptor that is older than it."""
        name = b"under%d" % self.chance.randrange(4)
        self._note(os.path.join(b"underneath", name))
        with open(os.path.join(self.underneath, b"underneath", name), "wb") as file:
            file.write(self._body())
