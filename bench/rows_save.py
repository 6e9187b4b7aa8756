"""Benches of single saves and of the first sync of a small tree: save → applied, first sync, save →
new generation serving."""

import contextlib
import gc
import http.client
import math
import os
import random
import shutil
import statistics
import subprocess
import time
import urllib.parse

import tools
import workload
from measure import Result, percentile, say, spread, table

MAX_SAVE_SECONDS = 5.0  # a save that takes longer is lost
GAP_SECONDS = 0.02      # between saves: somebody who types, not a flood
POLL_SECONDS = 0.001
RIVAL_SAVES = 100


# save → applied

def measure_saves(tool, tree, parent, count):
    """Latencies in seconds of `count` saves, in order; None for a lost one."""
    chance = random.Random(7)
    with tools.Place(parent) as place:
        source, target = place.dir / "source", place.dir / "target"
        shutil.copytree(tree, source)
        target.mkdir()
        tool.start(place, source, target)
        tools.wait_for(lambda: workload.same_trees(source, target), f"{tool.name}: first sync")
        paths = sorted(path.relative_to(tree) for path in tree.rglob("*") if path.is_file())
        arrival = workload.Arrival()
        latencies = []
        gc.disable()
        try:
            for number in range(count):
                path = chance.choice(paths)
                content = (b"%08d" % number).ljust(64, b"-") + chance.randbytes(
                    workload.SAVE_BYTES - 64)
                save = workload.save_in_place if number % 2 else workload.save_by_rename

                def run(save=save, path=path, content=content):
                    began = save(source / path, content)
                    tool.after_save()
                    return began

                latencies.append(arrival.measure(target / path, content, run, MAX_SAVE_SECONDS))
                time.sleep(GAP_SECONDS)
        finally:
            gc.enable()
            arrival.close()
    return latencies


def bench_save(options, trees):
    tree = trees.small
    results = {}
    for tool in (tools.Livepush("watch"), tools.Livepush("mount"), tools.Lsyncd(), tools.Rsync(),
                 tools.Mutagen()):
        if not tool.available():
            say(f"save: {tool.name} is not here, left out")
            continue
        # Rivals take so long for each that fewer have to do.
        ours = tool.name.startswith("livepush")
        saves = options.saves if ours else min(options.saves, RIVAL_SAVES)
        say(f"save: {tool.name}, {saves} saves")
        results[tool.name] = measure_saves(tool, tree, options.dir, saves)

    ours = results["livepush watch"]
    own_p50 = percentile([x for x in ours if x is not None] or [math.inf], 0.5)
    rows = []
    for name, latencies in results.items():
        arrived = [latency * 1e3 for latency in latencies if latency is not None]
        lost = len(latencies) - len(arrived)
        if not arrived:
            rows.append([name, len(latencies), "-", "-", "-", "-", lost, "-"])
            continue
        first = f"{latencies[0] * 1e3:.2f}" if latencies[0] is not None else "lost"
        rows.append([name, len(latencies), f"{percentile(arrived, 0.5):.2f}",
                     f"{percentile(arrived, 0.99):.2f}", f"{max(arrived):.2f}", first, lost,
                     f"{percentile(arrived, 0.5) / 1e3 / own_p50:.1f} ×"])
    text = (f"A file of 1 KiB in a tree of {workload.FILES:,} files, at any depth, half written in "
            "place and half by rename. From the writer's close() or rename() to the beginning of "
            "the look that finds the new content at the other end, in ms; inotify says when to "
            "look.\n\n"
            + table(["tool", "saves", "p50", "p99", "max", "first", "lost", "p50 to livepush"],
                    rows))
    targets = []
    for name in ("livepush watch", "livepush mount"):
        if name not in results:
            continue
        arrived = [x * 1e3 for x in results[name] if x is not None] or [math.inf]
        lost = sum(x is None for x in results[name])
        p50, p99 = percentile(arrived, 0.5), percentile(arrived, 0.99)
        targets.append((name, "p50 ≤ 0.5 ms, p99 ≤ 3 ms, none lost",
                        f"{p50:.2f} ms, {p99:.2f} ms, {lost} lost",
                        p50 <= 0.5 and p99 <= 3 and not lost))
    return Result("save → applied", text, targets)


# first sync

def first_livepush(place, source, target):
    port = tools.start_controller(place, target)
    return place.run(tools.LIVEPUSH, "push", "--json", source, f"ws://127.0.0.1:{port}")


def first_rsync(place, source, target):
    url = tools.start_rsync_daemon(place, target)
    return place.run("rsync", "-aW", f"{source}/", url)


def bench_first(options, trees):
    tree = trees.small
    contenders = {"livepush push": first_livepush, "rsync -aW to a daemon": first_rsync}
    took = {name: [] for name in contenders}
    tools.wait_for(lambda: workload.same_trees(tree, tree), "the source is in the page cache")
    with contextlib.ExitStack() as places:
        for turn in range(options.repeat):
            order = list(contenders.items())
            for name, run in order if turn % 2 else reversed(order):
                say(f"first: {name}, {turn + 1} of {options.repeat}")
                # A place of its own each time, so that no index of an earlier run helps; all are
                # removed at the end, so that no disk is busy with a removal meanwhile.
                place = places.enter_context(tools.Place(options.dir))
                target = place.dir / "target"
                target.mkdir()
                tools.wait_for_quiet_disks()
                took[name].append(run(place, tree, target))
                place.stop_all()
                if not workload.same_trees(tree, target):
                    raise tools.BenchError(f"{name}: the trees differ afterwards")
    medians = {name: statistics.median(values) for name, values in took.items()}
    own = medians["livepush push"]
    share = own / medians["rsync -aW to a daemon"]
    rows = [[name, len(values), f"{medians[name] * 1e3:.0f}", f"{min(values) * 1e3:.0f}",
             f"{max(values) * 1e3:.0f}", f"{medians[name] / own:.2f} ×"]
            for name, values in took.items()]
    text = (f"{workload.FILES:,} files, {workload.TREE_BYTES / 1e6:.0f} MB, into an empty tree on "
            "the same machine; from the start of the process to its end, the receiving side "
            "listening already. In ms, the tools taking turns.\n\n"
            + table(["tool", "runs", "median", "min", "max", "to livepush"], rows))
    return Result("first sync, small", text,
                  [("of the time of `rsync -aW`", "≤ 0.7", f"{share:.2f}", share <= 0.7)])


# save → new generation serving

def bare_start(folder):
    """Starts the app by itself; returns it and its address. Its first answer is not awaited."""
    port = tools.free_port()
    app = subprocess.Popen(["python3", "app.py"], cwd=folder,
                           env={**os.environ, "PORT": str(port)}, stdout=subprocess.DEVNULL)
    return app, ("127.0.0.1", port)


def answers(address):
    try:
        return bool(served(address))
    except ConnectionRefusedError:
        return False


class BareApp:
    """The app without livepush, replaced by hand as livepush does it: a new one is started beside
    the old one, which is asked meanwhile and ended then."""

    def __init__(self, folder):
        self.folder = folder
        self.app, self.address = bare_start(folder)

    def __enter__(self):
        try:
            tools.wait_for(lambda: answers(self.address), "the app starts by itself")
        except tools.BenchError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.app.terminate()
        self.app.wait()

    def replace(self):
        """Seconds from the start of the new one until its first answer."""
        began = time.perf_counter()
        app, address = bare_start(self.folder)
        try:
            while not answers(address):
                if time.perf_counter() - began > tools.PATIENCE:
                    raise tools.BenchError("the app does not start by itself")
                served(self.address)
                time.sleep(POLL_SECONDS)
            return time.perf_counter() - began
        finally:
            self.app.terminate()
            self.app.wait()
            self.app, self.address = app, address


def served(address):
    connection = http.client.HTTPConnection(*address, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def save_until_served(program, address, path, text, number):
    """Seconds from a save until the first answer of what it starts."""
    message = f"save number {number}!"
    began = workload.save_in_place(
        path, text.replace("Hello from livepush!", message).encode())
    while message not in served(address):
        if time.perf_counter() - began > tools.PATIENCE:
            raise tools.BenchError("the save is never served")
        time.sleep(POLL_SECONDS)
    took = time.perf_counter() - began
    tools.event(program, "restarted")
    return took


def bench_restart(options, _trees):
    bare, took = [], []
    with tools.Place(options.dir) as place:
        folder, untouched = place.dir / "hello", place.dir / "bare"
        for copy in (folder, untouched):
            shutil.copytree(tools.ROOT / "examples/hello", copy)
        program = place.spawn(tools.LIVEPUSH, "watch", "--json", folder, "hello")
        url = urllib.parse.urlsplit(tools.event(program, "ready")["url"])
        text = (folder / "app.py").read_text()
        say(f"restart: {options.restarts} starts of the app, by itself and by livepush")
        with BareApp(untouched) as app:
            for number in range(options.restarts):
                bare.append(app.replace())
                took.append(save_until_served(program, (url.hostname, url.port),
                                              folder / "app.py", text, number))
    over = statistics.median(one - other for one, other in zip(took, bare)) * 1e3
    rows = [[name, *spread(values)] for name, values in (
        ("the app by itself, beside the one before: start → first answer", bare),
        ("livepush: save → first answer of the new version", took))]
    text = (f"`examples/hello`, {options.restarts} times each in turn, in ms.\n\n"
            + table(["", "median", "min", "max"], rows))
    return Result("save → new generation serving", text,
                  [("over the app's own start", "≤ 20 ms", f"{over:.0f} ms", over <= 20)])
