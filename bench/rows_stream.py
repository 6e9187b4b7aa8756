"""Benches of many changes, of large files and of many instances while everything runs."""

import gc
import math
import os
import random
import shutil
import statistics
import subprocess
import time

import tools
import workload
from measure import Result, percentile, say, spread, table

PATCH_BYTES = 4096
BURST = 1000


def contenders(whole=True, through_relay=False):
    """The tools that take part, those that are here; ours through a relay where what is sent
    counts."""
    return [tool for tool in (tools.Livepush("watch", through_relay),
                              tools.Livepush("mount", through_relay),
                              tools.Lsyncd(whole), tools.Rsync(whole)) if tool.available()]


def median_row(name, took, *more):
    """A row of a table; a run that never arrived shows as lost."""
    good = [value for value in took if value is not None]
    return [name, len(took), *(spread(good) if good else ("-",) * 3), len(took) - len(good), *more]


def middle(took):
    return statistics.median(math.inf if value is None else value for value in took)


def bench_burst(options, trees):
    rows, targets = [], []
    for tool in contenders():
        say(f"burst: {tool.name}")
        with tools.Place(options.dir) as place:
            source, target = place.dir / "source", place.dir / "target"
            shutil.copytree(trees.small, source)
            target.mkdir()
            tool.start(place, source, target)
            tools.wait_for(lambda: workload.same_trees(source, target), "first sync")
            chance = random.Random(11)
            names = sorted(n for n, kind in workload.names_in(source).items() if kind == "f")
            took = []
            for turn in range(options.bursts):
                chosen = chance.sample(names, BURST)
                for name in chosen:
                    with open(source / name, "ab", buffering=0) as file:
                        file.write(b"one more line %d\n" % turn)
                began = time.perf_counter()
                tool.after_save()
                took.append(workload.Expected(source, target, chosen).wait(began))
        rows.append(median_row(tool.name, took))
        if tool.name.startswith("livepush"):
            targets.append((tool.name, "≤ 300 ms", f"{middle(took) * 1e3:.0f} ms",
                            middle(took) <= 0.3))
    text = (f"{BURST:,} of {workload.FILES:,} files appended to as fast as can be; from the last "
            "write until all are at the other end. In ms.\n\n"
            + table(["tool", "runs", "median", "min", "max", "lost"], rows))
    return Result("a burst", text, targets)


# git checkout

def git(folder, *args):
    subprocess.run(["git", "-C", folder, "-c", "user.name=bench", "-c",
                    "user.email=bench@localhost", "-c", "gc.auto=0", *args], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def two_branches(source, trees):
    """A repository whose branches one and two have a third of their files in common, a third with
    different contents and a third with different names."""
    shutil.copytree(trees.small, source)
    git(source, "init", "-q", "-b", "one")
    git(source, "add", "-A")
    git(source, "commit", "-q", "-m", "one")
    git(source, "checkout", "-q", "-b", "two")
    for number, name in enumerate(sorted(workload.names_in(source))):
        path = source / name
        if path.is_dir():
            continue
        if number % 3 == 1:
            path.write_bytes(path.read_bytes()[::-1] + b"two\n")
        elif number % 3 == 2:
            path.rename(path.with_name(f"two-{path.name}"))
    git(source, "add", "-A")
    git(source, "commit", "-q", "-m", "two")


def bench_checkout(options, trees):
    rows, targets = [], []
    for tool in contenders():
        say(f"checkout: {tool.name}")
        with tools.Place(options.dir) as place:
            source, target = place.dir / "source", place.dir / "target"
            two_branches(source, trees)
            target.mkdir()
            tool.start(place, source, target)
            tools.wait_for(lambda: workload.same_trees(source, target), "first sync")
            took, checkouts = [], []
            for turn in range(options.bursts):
                old = workload.names_in(source)
                began = time.perf_counter()
                git(source, "checkout", "-q", ("one", "two")[turn % 2])
                checkouts.append(time.perf_counter() - began)
                began = time.perf_counter()
                tool.after_save()
                # The names that are gone are only asked of those who remove any.
                gone = set(old) - set(workload.names_in(source)) if tool.removes else ()
                took.append(workload.Expected(source, target, gone=gone).wait(began))
        rows.append(median_row(tool.name, took, f"{statistics.median(checkouts) * 1e3:.0f}"))
        if tool.name.startswith("livepush"):
            targets.append((tool.name, "≤ 1 s after git ends", f"{middle(took):.2f} s",
                            middle(took) <= 1))
    text = (f"`git checkout` between two trees of {workload.FILES:,} files, two thirds of which "
            "differ; from git's end until everything is at the other end. In ms.\n\n"
            + table(["tool", "runs", "median", "min", "max", "lost", "git itself"], rows))
    return Result("git checkout", text, targets)


# A few bytes of a large file

def patch(path, offset, data):
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    os.pwrite(descriptor, data, offset)
    began = time.perf_counter()
    os.close(descriptor)
    return began


def there(path, offset, data):
    try:
        with open(path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), len(data), offset) == data
    except OSError:
        return False


def bench_patch(options, _trees):
    size = options.patch_megabytes << 20
    rows, targets = [], []
    for tool in contenders(whole=False, through_relay=True):
        say(f"patch: {tool.name}")
        chance = random.Random(5)
        with tools.Place(options.dir) as place:
            source, target = place.dir / "source", place.dir / "target"
            for folder in (source, target):
                folder.mkdir()
            with open(source / "large", "wb") as file:
                for _ in range(size >> 20):
                    file.write(chance.randbytes(1 << 20))
            tool.start(place, source, target)
            tools.wait_for(lambda: workload.same_trees(source, target), "first sync")
            ours = tool.name.startswith("livepush")
            took, sent = [], []
            for _ in range(options.patches if ours else min(options.patches, 5)):
                if not ours:
                    time.sleep(1.1)  # rsync takes a change within the same second for none
                offset = chance.randrange(size - PATCH_BYTES)
                data = chance.randbytes(PATCH_BYTES)
                before = tool.relay.up if ours else 0
                began = patch(source / "large", offset, data)
                tool.after_save()
                while not there(target / "large", offset, data):
                    if time.perf_counter() - began > 30:
                        began = math.inf
                        break
                    time.sleep(0.0005)
                took.append(None if began == math.inf else time.perf_counter() - began)
                if ours:
                    sent.append(tool.relay.up - before)
            if not workload.same_trees(source, target) and ours:
                raise tools.BenchError(f"{tool.name}: the files differ afterwards")
        most = max(sent) if sent else None
        rows.append(median_row(tool.name, took, f"{most:,}" if ours else "-"))
        if ours:
            limit, kilobytes = (0.4, 512) if tool.command == "watch" else (0.01, 16)
            targets.append((tool.name, f"≤ {limit * 1e3:.0f} ms, ≤ {kilobytes} KB sent",
                            f"{middle(took) * 1e3:.1f} ms, {most / 1024:.1f} KB",
                            middle(took) <= limit and most <= kilobytes * 1024))
    text = (f"4 KiB written in place at a random offset of a file of "
            f"{options.patch_megabytes} MiB; from close() until they are at the other end. In ms, and "
            "the most bytes sent.\n\n"
            + table(["tool", "runs", "median", "min", "max", "lost", "bytes sent"], rows))
    return Result("4 KiB into a large file", text, targets)


# Many instances

def bench_fleet(options, trees):
    say(f"fleet: {options.instances} instances")
    with tools.Place(options.dir) as place:
        source = place.dir / "source"
        shutil.copytree(trees.small, source)
        folders = [place.dir / f"target{number}" for number in range(options.instances)]
        urls = []
        for folder in folders:
            folder.mkdir()
            urls.append(f"ws://127.0.0.1:{tools.start_controller(place, folder)}")
        config = ", ".join(f'"{url}"' for url in urls)
        (source / "livepush.yml").write_text(f"targets: {{fleet: {{urls: [{config}]}}}}\n")
        client = place.spawn(tools.LIVEPUSH, "watch", "--json", source, "fleet")
        tools.event(client, "ready")
        names = sorted(n for n, kind in workload.names_in(source).items()
                       if kind == "f" and n != "livepush.yml")
        chance = random.Random(3)
        arrival = workload.Arrival()
        took = []
        gc.disable()
        try:
            for number in range(options.fleet_saves):
                name = chance.choice(names)
                content = b"%08d" % number + chance.randbytes(workload.SAVE_BYTES - 8)
                took.append(arrival.measure_all(
                    [folder / name for folder in folders], content,
                    lambda name=name, content=content: workload.save_in_place(source / name,
                                                                              content), 5))
                time.sleep(0.05)
        finally:
            gc.enable()
            arrival.close()
    good = [value for value in took if value is not None] or [math.inf]
    p50, p99 = percentile(good, 0.5) * 1e3, percentile(good, 0.99) * 1e3
    lost = len(took) - len([value for value in took if value is not None])
    text = (f"One client, {options.instances} mirror instances on the same machine; "
            "a save of 1 KiB until the last of them has it. In ms.\n\n"
            + table(["saves", "p50", "p99", "max", "lost"],
                    [[len(took), f"{p50:.2f}", f"{p99:.2f}", f"{max(good) * 1e3:.2f}", lost]]))
    return Result("many instances", text,
                  [("last applied, p50", "≤ 20 ms", f"{p50:.1f} ms", p50 <= 20 and not lost)])
