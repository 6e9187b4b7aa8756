"""What every bench shares: percentiles, tables, verdicts, and the trees that are measured with."""

import dataclasses
import functools
import math
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

import tools
import workload


@dataclasses.dataclass
class Result:
    """What a bench found: a section of the report, and whether each of its targets is reached."""

    title: str
    text: str
    targets: list  # of (what, target, measured, reached)

    @property
    def reached(self):
        return all(target[3] for target in self.targets)

    def section(self):
        lines = [f"Target {what} {target}: {measured}, {verdict(good)}."
                 for what, target, measured, good in self.targets]
        return f"## {self.title}\n\n{self.text}\n\n" + "\n".join(f"- {line}" for line in lines)


class Trees:
    """The trees that benches mirror, made when they are first asked for."""

    def __init__(self, folder, options):
        self._folder = pathlib.Path(folder)
        self._options = options

    @functools.cached_property
    def small(self):
        tree = self._folder / "small"
        workload.make_tree(tree)
        return tree

    @functools.cached_property
    def large(self):
        tree = self._folder / "large"
        say(f"making a tree of {self._options.files:,} files")
        workload.make_tree(tree, self._options.files, self._options.megabytes * 1_000_000)
        return tree


def say(text):
    print(text, file=sys.stderr, flush=True)


def percentile(values, share):
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def table(heads, rows):
    """A Markdown table whose columns are aligned in plain text too."""
    cells = [list(heads)] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
             for row in cells]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def verdict(reached):
    return "reached" if reached else "MISSED"


def spread(seconds):
    """median, min and max as milliseconds in text."""
    values = [value * 1e3 for value in seconds]
    digits = 2 if percentile(values, 0.5) < 20 else 0
    return [f"{value:.{digits}f}" for value in (percentile(values, 0.5), min(values), max(values))]


def machine(folder):
    """Lines that say what it was measured on."""
    processor = next((line.partition(":")[2].strip()
                      for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                      if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2 ** 30
    lines = [f"Linux {platform.release()}, {processor}, {len(os.sched_getaffinity(0))} cores, "
             f"{memory:.0f} GiB memory, files on {filesystem(folder)}"]
    lines += [tool.version() for tool in (tools.Livepush(), tools.Rsync(), tools.Lsyncd(),
                                          tools.Mutagen()) if tool.available()]
    return [line.replace("\n", " ") for line in lines] + [f"Python {platform.python_version()}"]


def filesystem(folder):
    return subprocess.run(["findmnt", "-n", "-f", "-o", "FSTYPE", "-T", folder],
                          capture_output=True, text=True, check=False).stdout.strip()


def workplace():
    """Memory where there is enough of it: a disk that is slow now and then hides what the tools
    themselves do. Otherwise the usual temporary directory."""
    memory = pathlib.Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 6 * 2 ** 30:
        return str(memory)
    return tempfile.gettempdir()
