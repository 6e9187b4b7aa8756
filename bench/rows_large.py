"""Benches of a large tree: the first sync, a restart with nothing changed, and what it costs to do
nothing at all."""

import pathlib
import statistics
import time

import tools
import workload
from measure import Result, say, spread, table

# What is done once after the start is no idling: 5 s after it the index is written.
SETTLE_SECONDS = 8
IDLE_SECONDS = 10
MEGABYTE = 1_000_000


def describe(options):
    return f"{options.files:,} files, {options.megabytes:,} MB"


def push(place, source, port):
    return place.run(tools.LIVEPUSH, "push", "--json", source, f"ws://127.0.0.1:{port}")


def share_of(own, others):
    """The median over the turns of what `own` took as a share of what `others` took in the same
    turn: a machine that is slower for a while is slower for both."""
    return statistics.median(one / other for one, other in zip(own, others))


def bench_first_large(options, trees):
    tree = trees.large
    took = {"livepush push": [], "rsync -aW to a daemon": []}
    for turn in range(options.repeat_large):
        for name in took:
            say(f"first-large: {name}, {turn + 1} of {options.repeat_large}")
            with tools.Place(options.dir) as place:
                target = place.dir / "target"
                target.mkdir()
                tools.touch_memory(place.dir, options.megabytes * MEGABYTE * 5 // 4)
                if name.startswith("rsync"):
                    url = tools.start_rsync_daemon(place, target)
                    took[name].append(place.run("rsync", "-aW", f"{tree}/", url))
                else:
                    port = tools.start_controller(place, target)
                    took[name].append(push(place, tree, port))
                place.stop_all()
                if turn == 0 and not workload.same_trees(tree, target):
                    raise tools.BenchError(f"{name}: the trees differ afterwards")
    share = share_of(took["livepush push"], took["rsync -aW to a daemon"])
    rows = [[name, len(values), *spread(values)] for name, values in took.items()]
    text = (f"{describe(options)}, into an empty tree; from the start of the process to its end, "
            "the tools taking turns. In ms.\n\n"
            + table(["tool", "runs", "median", "min", "max"], rows))
    return Result("first sync, large", text,
                  [("of the time of `rsync -aW`", "≤ 0.6", f"{share:.2f}", share <= 0.6)])


def bench_unchanged(options, trees):
    """A mirrored tree, and everybody starts again."""
    tree = trees.large
    took = {name: [] for name in ("livepush watch: start → ready", "livepush push",
                                  "livepush push, the controller started again too",
                                  "rsync -aW to a daemon")}
    wire = []
    with tools.Place(options.dir) as place:
        target = place.dir / "target"
        target.mkdir()
        say("unchanged: the first sync")
        controller, port = tools.spawn_controller(place, target)
        push(place, tree, port)
        watch = [tools.LIVEPUSH, "watch", "--json", tree]
        url = tools.start_rsync_daemon(place, target)
        rsync = ["rsync", "-aW", f"{tree}/", url]
        place.run(*rsync)  # times and owners are made alike
        place.stop(controller)
        controller, _ = tools.spawn_controller(place, target, port)
        address = f"ws://127.0.0.1:{port}"
        program = place.spawn(*watch, address)
        tools.event(program, "ready")
        place.stop(program)  # its index is on disk now
        say("unchanged: starts with nothing changed")
        for turn in range(options.repeat):
            began = time.perf_counter()
            program = place.spawn(*watch, address)
            tools.event(program, "ready")
            took["livepush watch: start → ready"].append(time.perf_counter() - began)
            place.stop(program)
            took["livepush push"].append(push(place, tree, port))
            took["rsync -aW to a daemon"].append(place.run(*rsync))
        for turn in range(min(options.repeat, 3)):
            place.stop(controller)
            controller, _ = tools.spawn_controller(place, target, port)
            took["livepush push, the controller started again too"].append(
                push(place, tree, port))
        # What counts the bytes stands between, so nothing is timed with it.
        relay = place.relay(port)
        program = place.spawn(*watch, f"ws://127.0.0.1:{relay.port}")
        tools.event(program, "ready")
        wire.append(relay.up + relay.down)
        place.stop(program)
        before = relay.up + relay.down
        push(place, tree, relay.port)
        wire.append(relay.up + relay.down - before)
    targets = []
    for name in ("livepush watch: start → ready", "livepush push"):
        share = share_of(took[name], took["rsync -aW to a daemon"])
        targets.append((f"{name}, of the time of rsync", "≤ 0.2", f"{share:.2f}", share <= 0.2))
    targets.append(("bytes on the wire, both ways", "≤ 2 KB", f"{max(wire):,}", max(wire) <= 2048))
    rows = [[name, len(values), *spread(values)] for name, values in took.items()]
    text = (f"{describe(options)}, equal on both sides; the tools taking turns. In ms.\n\n"
            + table(["tool", "runs", "median", "min", "max"], rows))
    return Result("restart with nothing changed", text, targets)


# Doing nothing

def resident(process):
    """Megabytes of memory."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / MEGABYTE
    return 0.0


def switches(process):
    """How often its threads went to sleep until now: each time something had woken them."""
    return sum(int(line.split()[1]) for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir()
               for line in (task / "status").read_text().splitlines()
               if line.startswith("voluntary_ctxt_switches:"))


def cpu(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def bench_idle(options, trees):
    rows, targets = [], []
    for command in ("watch", "mount"):
        tool = tools.Livepush(command)
        if not tool.available():
            continue
        say(f"idle: {tool.name}")
        with tools.Place(options.dir) as place:
            target = place.dir / "target"
            target.mkdir()
            # Mounted over itself, the tree stays the same for other benches.
            tool.start(place, trees.large, target)
            time.sleep(SETTLE_SECONDS)
            processes = {"client": tool.client, "controller": tool.controller}
            before = {name: (switches(one), cpu(one)) for name, one in processes.items()}
            time.sleep(IDLE_SECONDS)
            for name, process in processes.items():
                woken = (switches(process) - before[name][0]) / IDLE_SECONDS
                used = (cpu(process) - before[name][1]) / IDLE_SECONDS * 1000
                memory = resident(process)
                limit = 64 if name == "client" else 12
                rows.append([f"{tool.name}: {name}", f"{memory:.0f}", f"{woken:.1f}",
                             f"{used:.1f}"])
                targets.append((f"{tool.name}, {name}", f"≤ {limit} MB, ≤ 1 wake-up a second",
                                f"{memory:.0f} MB, {woken:.1f}", memory <= limit and woken <= 1))
    text = (f"{describe(options)} mirrored, then {IDLE_SECONDS} s of nothing.\n\n"
            + table(["process", "resident MB", "wake-ups/s", "CPU ms/s"], rows))
    return Result("idle", text, targets)
