"""Benches of work on a mounted workspace against the same work in the bare directory."""

import io
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time

import tools
from measure import Result, filesystem, say, table
from rows_stream import git

SOURCES = 60
PACKAGES = 40
PACKAGE_FILES = 30
SHORT_REPEATS = 3


def make_c_project(folder):
    """SOURCES files of some functions each, with a header that all include, and a Makefile."""
    folder.mkdir()
    header = "".join(f"int f{n}_{m}(int x);\n" for n in range(SOURCES) for m in range(20))
    (folder / "all.h").write_text("#include <stdio.h>\n#include <stdlib.h>\n" + header)
    for n in range(SOURCES):
        body = "".join(f"int f{n}_{m}(int x)\n{{\n\tfor (int i = 0; i < {m}; i++)\n"
                       f"\t\tx = x * 31 + f{(n + 1) % SOURCES}_{m}(i);\n\treturn x;\n}}\n"
                       for m in range(20))
        (folder / f"s{n}.c").write_text(f'#include "all.h"\n{body}')
    (folder / "main.c").write_text('#include "all.h"\nint main(void) { return f0_0(0); }\n')
    (folder / "Makefile").write_text(
        "OBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))\n"
        "program: $(OBJECTS)\n\tcc -o $@ $(OBJECTS)\n%.o: %.c all.h\n\tcc -O1 -c -o $@ $<\n"
        "clean:\n\trm -f program *.o\n")


def make_node_project(folder, packages):
    """A package.json with PACKAGES dependencies, tarballs on this machine."""
    folder.mkdir()
    packages.mkdir()
    dependencies = {}
    for number in range(PACKAGES):
        name = f"part-{number}"
        files = {"package.json": json.dumps({"name": name, "version": "1.0.0"})}
        for n in range(PACKAGE_FILES):
            files[f"lib/{n % 5}/module{n}.js"] = f"module.exports = {n};\n" * 40
        with tarfile.open(packages / f"{name}.tgz", "w:gz") as archive:
            for path, content in files.items():
                info = tarfile.TarInfo(f"package/{path}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content.encode()))
        dependencies[name] = f"file:{packages}/{name}.tgz"
    (folder / "package.json").write_text(json.dumps(
        {"name": "bench", "version": "1.0.0", "dependencies": dependencies}))


def put_aside(*paths):
    """Makes room without removing anything: for a minute ext4 looks at each inode that it freed
    before it takes one for a new file, which would be most of what is measured."""
    def run_in(folder):
        aside = pathlib.Path(tempfile.mkdtemp(dir=folder / "aside"))
        for path in paths:
            if (folder / path).exists():
                (folder / path).rename(aside / pathlib.Path(path).name)
    return run_in


def commands(place):
    """name → (what to run, what to call with the folder before each time)."""
    found = {
        "git status": (["git", "status", "--porcelain"], None),
        "grep -r": (["grep", "-rc", "--include=*.txt", "no such words", "small"], None),
        "cp -r": (["cp", "-r", "small", "copy"], put_aside("copy")),
        "C build": (["make", "-s", "-j2", "-C", "c"],
                    lambda folder: run(["make", "-s", "-C", "c", "clean"], folder)),
    }
    if shutil.which("npm"):
        found["npm install"] = (
            ["npm", "install", "--offline", "--no-audit", "--no-fund", "--silent", "--prefix",
             "node", "--cache", str(place.dir / "npm-cache")],
            put_aside("node/node_modules", "node/package-lock.json"))
    return found


def run(argv, folder, good=(0,)):
    began = time.perf_counter()
    done = subprocess.run(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          check=False)
    took = time.perf_counter() - began
    if done.returncode not in good:
        raise tools.BenchError(f"{argv}: {done.returncode} {done.stderr[-500:]!r}")
    return took


def drop_caches():
    os.sync()
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def series(folders, place, repeat):
    """name → folder → (warm runs, cold runs): the folders take turns, so that what else the machine
    does falls on all of them."""
    found = {}
    for name, (argv, before) in commands(place).items():
        say(f"mount: {name}")
        good = (0, 1) if name == "grep -r" else (0,)
        found[name] = {folder: ([], []) for folder in folders}
        # What only reads is short, so that a moment of anything else is a large part of it.
        for turn in range(repeat * (1 if before else SHORT_REPEATS) + 1):
            for folder in folders:
                if before:
                    before(folder)
                took = run(argv, folder, good)
                if turn:  # the first one only warms up
                    found[name][folder][0].append(took)
        for _ in range(repeat):
            for folder in folders:
                if before:
                    before(folder)
                if drop_caches():
                    found[name][folder][1].append(run(argv, folder, good))
        for folder in folders:
            if before:
                before(folder)
    return found


def make_workspace(folder, packages, trees):
    folder.mkdir()
    shutil.copytree(trees.small, folder / "small")
    make_c_project(folder / "c")
    make_node_project(folder / "node", packages)
    (folder / "aside").mkdir()
    (folder / ".gitignore").write_text("*.o\nprogram\nnode_modules/\ncopy/\naside/\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")


def bench_mount(options, trees):
    """On a disk, since memory has nothing cold."""
    if not tools.Livepush("mount").available():
        return Result("mount against the bare directory", "There is no FUSE here.", [])
    os.environ.setdefault("npm_config_update_notifier", "false")
    with tools.Place(tempfile.gettempdir()) as place:
        bare, mounted, behind, bound, target = (
            place.dir / name for name in ("bare", "mounted", "behind", "bound", "target"))
        rival = [bound] if tools.Bindfs.available() else []
        for folder in (bare, mounted, *([behind] if rival else [])):
            make_workspace(folder, place.dir / f"packages-{folder.name}", trees)
        target.mkdir()
        bound.mkdir()
        tools.Livepush("mount").start(place, mounted, target)
        if rival:
            tools.Bindfs.start(place, behind, bound)
        found = series((bare, mounted, *rival), place, options.repeat_mount)
        kind = filesystem(place.dir)
    rows, targets = [], []
    for name, runs in found.items():
        row = [name]
        for index, (state, limit) in enumerate((("warm", 1.3), ("cold", 1.6))):
            base, ours = runs[bare][index], runs[mounted][index]
            if not ours or not base:
                row += ["-"] * (3 + len(rival))
                continue
            base, ours = statistics.median(base), statistics.median(ours)
            row += [f"{base * 1e3:.0f}", f"{ours * 1e3:.0f}", f"{ours / base:.2f} ×"]
            row += [f"{statistics.median(runs[one][index]) / base:.2f} ×" for one in rival]
            targets.append((f"{name}, {state}", f"≤ {limit} ×", f"{ours / base:.2f} ×",
                            ours / base <= limit))
        rows.append(row)
    others = [tools.Bindfs.name] if rival else []
    text = (f"A workspace on {kind} with 5,000 files, a C program of {SOURCES} files and "
            f"{PACKAGES} npm packages on this machine; bare, and mounted and mirrored to an "
            "instance on the same machine"
            + (f"; beside it {tools.Bindfs.version()}, which shows a directory through FUSE and "
               "does nothing else" if rival else "")
            + ". Cold: all caches of the kernel dropped before. Medians in ms.\n\n"
            + table(["", "bare, warm", "mounted", "", *others, "bare, cold", "mounted", "",
                     *others], rows))
    return Result("mount against the bare directory", text, targets)
