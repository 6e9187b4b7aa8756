"""The files of the project and their text, as the checks in this folder look at them."""

import os
import pathlib
import re
import sys

ROOMS = (
    "common", "sync", "wire", "proxy", "link", "watcher", "fsmount", "controller", "cluster",
    "cfapi", "cli",
)

# Comments and literals; a literal may hold what looks like a comment and the other way round, so
# one pattern has to find both.
_COMMENT_OR_LITERAL = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def files(root, *suffixes):
    """Yields the paths, relative to root, of all files of the project that end in a suffix."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name for name in folders if not name.startswith((".", "build", "__pycache__")))
        for name in sorted(names):
            if name.endswith(suffixes):
                yield pathlib.Path(folder, name).relative_to(root)


def code_only(text):
    """The text of a C file with comments and the contents of literals blanked; lines stay."""
    def blank(match):
        piece = match.group()
        if piece[0] in "\"'":
            return piece[0] * 2
        return " " + "\n" * piece.count("\n")
    return _COMMENT_OR_LITERAL.sub(blank, text)


def comments_only(text):
    """The comments of a C file, everything else left out; lines stay."""
    out, end = [], 0
    for match in _COMMENT_OR_LITERAL.finditer(text):
        out.append("\n" * text.count("\n", end, match.start()))
        piece = match.group()
        out.append(piece if piece[0] == "/" else "")
        end = match.end()
    return "".join(out)


def room_of(path):
    """The room of a file: "common/base" for the parts of common/, otherwise the first folder."""
    parts = path.parts[:-1]
    if not parts:
        return ""
    return "/".join(parts[:2]) if parts[0] == "common" else parts[0]


def report(check):
    """Runs check(root), which yields findings, for the root in argv; ends the process."""
    findings = list(check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)
