#!/usr/bin/env python3
"""Runs fuzzers that were built with libFuzzer, several at a time, each for so many seconds over its
corpus: run.py FOLDER-WITH-FUZZERS SECONDS [NAME...]. Prints one line for each; fails when one finds
something, and says where the input is that does it. What is found on the way stays out of the
corpus."""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
# All of them together take no longer, however many there are.
TOTAL_MAX_S = 225
INPUT_MAX_BYTES = 65536


def run(program, seconds, into):
    name = program.name.removeprefix("fuzz_")
    finds = into / name
    finds.mkdir(parents=True)
    command = [program, f"-max_total_time={seconds}", f"-max_len={INPUT_MAX_BYTES}",
               "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1",
               f"-artifact_prefix={into}/{name}-", finds, HERE / "corpus" / name]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, errors="replace",
                            timeout=seconds + 120, check=False)
    runs = re.search(r"number_of_executed_units: *(\d+)", result.stderr)
    return name, result, int(runs[1]) if runs else 0


def main(folder, seconds, *names):
    programs = sorted(path for path in pathlib.Path(folder).glob("fuzz_*")
                      if path.is_file() and os.access(path, os.X_OK))
    unknown = set(names) - {path.name.removeprefix("fuzz_") for path in programs}
    if unknown or not programs:
        sys.exit(f"{folder} has no fuzzer {' '.join(sorted(unknown))}")
    programs = [path for path in programs if not names or path.name[len("fuzz_"):] in names]
    seconds = int(seconds)
    at_once = max(os.cpu_count() or 1, -(-len(programs) * seconds // TOTAL_MAX_S))
    into = pathlib.Path(tempfile.mkdtemp(prefix="fuzz-"))
    failed = False
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for name, result, runs in pool.map(lambda path: run(path, seconds, into), programs):
            print(f"fuzz {name}: {runs} inputs in {seconds} s" +
                  (", FAILED" if result.returncode else ""), flush=True)
            if result.returncode or runs == 0:
                failed = True
                print(result.stderr[-8000:], file=sys.stderr)
    if failed:
        sys.exit(f"what was found is in {into}")
    subprocess.run(["rm", "-rf", into], check=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
