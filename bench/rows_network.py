"""Benches of a network that goes away and comes back."""

import contextlib
import os
import shutil
import statistics
import subprocess
import time

import tools
import workload
from measure import Result, say, spread, table

AWAY_SECONDS = 3
ADDRESSES = ("10.213.77.1", "10.213.77.2")


def ip(*args):
    return subprocess.run(["ip", *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


@contextlib.contextmanager
def link_to_elsewhere():
    """Two ends of a cable: (our end's name, the name of a network namespace with the other one);
    None where none can be laid."""
    namespace = f"livepush-bench-{os.getpid()}"
    ours, theirs = f"lpb{os.getpid()}a"[-15:], f"lpb{os.getpid()}b"[-15:]
    made = shutil.which("ip") and os.geteuid() == 0 and ip("netns", "add", namespace)
    try:
        if not made or not (
                ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", namespace)
                and ip("addr", "add", f"{ADDRESSES[0]}/30", "dev", ours)
                and ip("link", "set", ours, "up")
                and ip("-n", namespace, "addr", "add", f"{ADDRESSES[1]}/30", "dev", theirs)
                and ip("-n", namespace, "link", "set", theirs, "up")):
            yield None
        else:
            yield ours, namespace
    finally:
        ip("link", "del", ours)
        if made:
            ip("netns", "del", namespace)


def save_and_wait(source, target, number):
    """A save; the seconds from now until it is at the other end."""
    content = b"save number %d" % number
    began = time.perf_counter()
    while True:
        try:
            if (target / "file").read_bytes() == content:
                return time.perf_counter() - began
        except FileNotFoundError:
            pass
        if time.perf_counter() - began > 30:
            return None
        time.sleep(0.001)


def write(source, number):
    workload.save_in_place(source / "file", b"save number %d" % number)


def by_cuts(options):
    """The connection is cut; whoever listens is there."""
    took = []
    with tools.Place(options.dir) as place:
        source, target = place.dir / "source", place.dir / "target"
        source.mkdir()
        target.mkdir()
        tool = tools.Livepush("watch", through_relay=True)
        tool.start(place, source, target)
        for number in range(options.cuts):
            tool.relay.cut()
            write(source, number)
            took.append(save_and_wait(source, target, number))
    return took


def by_cable(options, ours, namespace):
    """The cable is pulled for a while, a save is made meanwhile, and it is put in again."""
    took = []
    with tools.Place(options.dir) as place:
        source, target = place.dir / "source", place.dir / "target"
        source.mkdir()
        target.mkdir()
        controller = place.spawn("ip", "netns", "exec", namespace, tools.CONTROLLER, "--tree",
                                 target, "--listen", f"{ADDRESSES[1]}:7788")
        tools.event(controller, "listening")
        client = place.spawn(tools.LIVEPUSH, "watch", "--json", source,
                             f"ws://{ADDRESSES[1]}:7788")
        tools.event(client, "ready")
        for number in range(options.cables):
            ip("link", "set", ours, "down")
            write(source, number)
            time.sleep(AWAY_SECONDS)
            ip("link", "set", ours, "up")
            took.append(save_and_wait(source, target, number))
    return took


def bench_reconnect(options, _trees):
    say("reconnect: cuts")
    found = {"the connection is cut": by_cuts(options)}
    with link_to_elsewhere() as link:
        if link:
            say("reconnect: a cable that is pulled")
            found[f"the network is away for {AWAY_SECONDS} s"] = by_cable(options, *link)
        else:
            say("reconnect: no cable can be laid here, left out")
    rows, targets = [], []
    for name, took in found.items():
        good = [value for value in took if value is not None]
        rows.append([name, len(took), *(spread(good) if good else ("-",) * 3),
                     len(took) - len(good)])
        middle = statistics.median(30 if value is None else value for value in took)
        targets.append((name, "≤ 0.2 s", f"{middle:.3f} s", middle <= 0.2))
    text = ("A save made while there is no connection; from the cut, or from when the network is "
            "back, until it is at the other end. In ms.\n\n"
            + table(["", "runs", "median", "min", "max", "lost"], rows))
    return Result("reconnect", text, targets)
