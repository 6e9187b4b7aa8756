"""Measures livepush beside its rivals, in one run, on one machine. Every bench says its target and
whether it is reached."""

import argparse
import pathlib
import signal
import sys
import tempfile
import time

import measure
import rows_front
import rows_large
import rows_mount
import rows_network
import rows_save
import rows_soak
import rows_stream
import tools

BENCHES = {
    "save": rows_save.bench_save,
    "first": rows_save.bench_first,
    "first-large": rows_large.bench_first_large,
    "unchanged": rows_large.bench_unchanged,
    "idle": rows_large.bench_idle,
    "burst": rows_stream.bench_burst,
    "checkout": rows_stream.bench_checkout,
    "patch": rows_stream.bench_patch,
    "fleet": rows_stream.bench_fleet,
    "reconnect": rows_network.bench_reconnect,
    "mount": rows_mount.bench_mount,
    "restart": rows_save.bench_restart,
    "front": rows_front.bench_front,
    "soak": rows_soak.bench_soak,
}
ON_DEMAND = {"soak"}

# name, usual value, what it counts
NUMBERS = [
    ("saves", 300, "saves per tool"),
    ("repeat", 7, "runs per tool of what is short"),
    ("restarts", 25, "restarts of the app"),
    ("files", 100_000, "files of the large tree"),
    ("megabytes", 1100, "size of the large tree"),
    ("repeat-large", 3, "first syncs of the large tree per tool"),
    ("bursts", 4, "bursts and checkouts per tool"),
    ("patch-megabytes", 256, "size of the file that is patched"),
    ("patches", 15, "patches per tool"),
    ("instances", 50, "instances of the fleet"),
    ("fleet-saves", 60, "saves to the fleet"),
    ("cuts", 20, "cut connections"),
    ("cables", 3, "pulled cables"),
    ("repeat-mount", 3, "runs per command on the mount"),
    ("rounds", 5, "rounds per proxy"),
    ("swaps", 100, "swaps under load"),
    ("idle-connections", 10_000, "idle connections"),
    ("seconds", 600, "seconds of the soak"),
]


def options_of(arguments):
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=f"what to measure: {', '.join(BENCHES)} (default: all but "
                             f"{', '.join(ON_DEMAND)})")
    parser.add_argument("--report", metavar="FILE", help="write a Markdown report too")
    parser.add_argument("--dir", default=measure.workplace(),
                        help="where to work (default: %(default)s)")
    for name, usual, what in NUMBERS:
        parser.add_argument(f"--{name}", type=int, default=usual, metavar="N",
                            help=f"{what} (default: {usual:,})")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(BENCHES)
    if unknown:
        parser.error(f"there is no bench '{unknown.pop()}'")
    return options


def main():
    options = options_of(sys.argv[1:])
    # Ended from outside, it still stops what it started and removes what it made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parts = ["\n".join(f"- {line}" for line in measure.machine(options.dir))]
    rows = []
    print(parts[0], flush=True)
    with tempfile.TemporaryDirectory(prefix="livepush-bench-", dir=options.dir) as folder:
        trees = measure.Trees(folder, options)
        for name in options.names or [name for name in BENCHES if name not in ON_DEMAND]:
            began = time.monotonic()
            result = BENCHES[name](options, trees)
            measure.say(f"{name}: {time.monotonic() - began:.0f} s")
            rows += [[result.title, what, target, measured, measure.verdict(good)]
                     for what, target, measured, good in result.targets]
            parts.append(result.section())
            print(f"\n{parts[-1]}", flush=True)
    summary = measure.table(["bench", "of", "target", "measured", ""], rows)
    print(f"\n{summary}", flush=True)
    if options.report:
        pathlib.Path(options.report).write_text(
            "# Performance\n\nOne run of `./dev bench`, everything on one machine.\n\n"
            + "\n\n".join([parts[0], summary, *parts[1:]]) + "\n")
    sys.exit(0 if all(row[-1] == "reached" for row in rows) else 1)


if __name__ == "__main__":
    try:
        main()
    except tools.BenchError as error:
        sys.exit(f"bench: {error}")
