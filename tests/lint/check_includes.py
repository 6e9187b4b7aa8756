"""Checks the arrows between the rooms: who may include whom, and who may see which library."""

import re

import sources

# What a room may include beside itself.
COMMON = {"common/base", "common/conf", "common/loop"}
PURE = {"common/base"}
ARROWS = {
    "common/base": set(),
    "common/conf": PURE,
    "common/loop": PURE,
    "sync": PURE,
    "wire": PURE | {"sync"},
    "proxy": PURE,
    "link": COMMON | {"sync", "wire"},
    "watcher": COMMON | {"sync"},
    "fsmount": COMMON | {"sync"},
    "controller": COMMON | {"sync", "wire", "proxy"},
    "cluster": COMMON | {"sync", "wire", "link", "proxy"},
    "cfapi": COMMON | {"proxy"},
    "cli": COMMON | {"sync", "wire", "proxy", "link", "watcher", "fsmount", "controller", "cluster",
                     "cfapi"},
}
ARROWS["tests"] = ARROWS["bench"] = set(ARROWS) | {"tests", "bench"}
ARROWS["examples"] = set()

# A library that only some rooms see.
LIBRARIES = [
    (re.compile(r"libwebsockets"), {"common/loop"}),
    (re.compile(r"fuse"), {"fsmount"}),
    (re.compile(r"yaml"), {"common/conf"}),
    (re.compile(r"msgpack"), {"wire"}),
    (re.compile(r"http_parser"), {"proxy"}),
    (re.compile(r"cmocka"), {"tests"}),
]

# Pure rooms have no descriptor, no clock and no network.
IMPURE = re.compile(
    r"(sys/(socket|epoll|inotify|timerfd|eventfd|signalfd|mount)|netinet/.*|poll|fcntl|time)\.h$")
PURE_ROOMS = {"sync", "wire"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def findings_in(path, text):
    """Yields what is wrong with the includes of one file; path is relative to the root."""
    room = sources.room_of(path)
    if room not in ARROWS:
        yield f"{path}: the room '{room}' is not in the table of tests/lint/check_includes.py"
        return
    for match in INCLUDE.finditer(text):
        where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        ours, system = match.groups()
        if ours is not None:
            yield from findings_in_arrow(where, room, ours)
        else:
            yield from findings_in_system(where, room, system)


def findings_in_arrow(where, room, target):
    parts = target.split("/")
    to = "/".join(parts[:2]) if parts[0] == "common" else parts[0]
    if len(parts) == 1 and room == "tests":
        return  # what the tests of one room share lies beside them
    if len(parts) < 2 or to not in ARROWS:
        yield f'{where}: "{target}" is not written from the root of the project'
    elif to != room and to not in ARROWS[room]:
        yield f"{where}: {room} may not include {to}"
    elif room == "cfapi" and to == "proxy" and "cfapi/local/" not in where:
        yield f"{where}: of cfapi only cfapi/local may include proxy"


def findings_in_system(where, room, header):
    for library, rooms in LIBRARIES:
        if library.search(header) and room not in rooms:
            yield f"{where}: only {', '.join(sorted(rooms))} may include <{header}>"
    if room in PURE_ROOMS and IMPURE.search(header):
        yield f"{where}: {room} is pure, <{header}> is not for it"


def check(root):
    for path in sources.files(root, ".c", ".h"):
        yield from findings_in(path, (root / path).read_text())


if __name__ == "__main__":
    sources.report(check)
