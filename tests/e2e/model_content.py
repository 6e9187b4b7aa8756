"""Contents that tell by themselves whether they are whole, and a program that reads a tree all the
time and says what it found half written.

    model_content.py DIR...    until its standard input ends; prints faults, then how much it read
"""

import hashlib
import os
import select
import stat
import sys
import time

MAGIC = b"LPR1"
HEAD = len(MAGIC) + 1 + 10 + 1 + 16 + 1

# Files of this kind are written in ways that leave no sum, or patched in place where they lie.
WILD = b"w"
FREE = (b".gitignore", b"livepush.yml")


def record(body):
    """A piece of content with its own length and sum."""
    digest = hashlib.blake2b(body, digest_size=8).hexdigest().encode()
    return b"%s %010d %s\n" % (MAGIC, len(body), digest) + body


def first_record(content):
    """The content's first record by itself."""
    return content[:HEAD + int(content[len(MAGIC) + 1:len(MAGIC) + 11])]


def fault(content):
    """Why a content is not a whole number of records; None when it is. Nothing at all is a fault:
    no file of the model is ever left empty."""
    if not content:
        return "is empty"
    at = 0
    while at < len(content):
        head = content[at:at + HEAD]
        if len(head) < HEAD or not head.startswith(MAGIC):
            return f"has no record at {at} of {len(content)}"
        length = int(head[len(MAGIC) + 1:len(MAGIC) + 11])
        body = content[at + HEAD:at + HEAD + length]
        if len(body) < length:
            return f"ends in its record at {at}: {len(body)} of {length} bytes"
        digest = hashlib.blake2b(body, digest_size=8).hexdigest().encode()
        if digest != head[-17:-1]:
            return f"has a wrong sum in its record at {at} of {len(content)}"
        at += HEAD + length
    return None


def is_checked(path):
    name = os.path.basename(path)
    return not name.startswith(WILD) and name not in FREE


def read_all(root, say):
    """Reads every checked file below root once; how many."""
    count = 0
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue  # gone meanwhile
        for entry in entries:
            if entry.name in (b".livepush", b".git"):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                    continue
                if not entry.is_file(follow_symlinks=False) or not is_checked(entry.path):
                    continue
                fd = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            with open(fd, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    continue
                reason = fault(file.read())
            count += 1
            if reason:
                say(f"{time.monotonic():.3f} half written: {entry.path!r} {reason}")
    return count


def main():
    os.nice(5)
    roots = [os.fsencode(name) for name in sys.argv[1:]]
    count = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        for root in roots:
            count += read_all(root, lambda text: print(text, flush=True))
        time.sleep(0.005)
    print(f"read {count}", flush=True)


if __name__ == "__main__":
    main()
