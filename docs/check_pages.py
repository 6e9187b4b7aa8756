"""Checks that the manual pages, the README and docs/configuration.md say what the programs and the
schema of livepush.yml say: the same commands, options and keys."""

import json
import pathlib
import re
import subprocess
import sys

LEFT_COLUMN = re.compile(r"^ {2,6}(-.*?)(?: {2,}|$)", re.MULTILINE)
NAME = re.compile(r"(?<![\w-])--?\w[\w-]*")
ROW = re.compile(r'^\t\{"(\w+)", [^\n]*?(?:conf_read_|\.read = read_|read_)', re.MULTILINE)
IN_PAGE = re.compile(r"^(\*--?\w.*)$", re.MULTILINE)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def options(pattern, text):
    """The options in the lines that the pattern finds, long and short."""
    return {name for line in pattern.findall(text) for name in NAME.findall(line)}


def compare(page, help_text):
    text = page.read_text()
    there, wanted = options(IN_PAGE, text), options(LEFT_COLUMN, help_text)
    for name in sorted(wanted - there):
        yield f"{page.name}: {name} is missing"
    for name in sorted(there - wanted):
        yield f"{page.name}: there is no {name}"


def schema_keys(root):
    """The keys in the tables of the schema, without those that are there to be refused."""
    text = (root / "common/conf/conf_schema.c").read_text()
    return set(ROW.findall(text))


def findings(root, build):
    man = root / "docs/man"
    livepush = build / "cli/livepush"
    readme = (root / "README.md").read_text()
    for line in run(livepush, "help", "--json").splitlines():
        command = json.loads(line)["command"]
        if f"`livepush {command}" not in readme:
            yield f"README.md: the command {command} is missing"
        if command in ("version", "help"):
            continue
        page = man / f"livepush-{command}.1.scd"
        if not page.exists():
            yield f"{page.name}: there is no such page"
            continue
        yield from compare(page, run(livepush, command, "--help"))
    yield from compare(man / "livepush-controller.1.scd",
                       run(build / "controller/livepush-controller", "--help"))
    keys = schema_keys(root)
    if len(keys) < 20:
        yield f"only {len(keys)} keys were found in the schema; this check does not read it right"
    page, guide = (man / "livepush.yml.5.scd").read_text(), (
        root / "docs/configuration.md").read_text()
    for key in sorted(keys):
        if f"*{key}*" not in page.replace("\\_", "_"):
            yield f"livepush.yml.5.scd: the key {key} is missing"
        if not re.search(rf"`(\w+\.)?{key}`", guide):
            yield f"docs/configuration.md: the key {key} is missing"


def main():
    found = list(findings(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
    for finding in found:
        print(finding)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
