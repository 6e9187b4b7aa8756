"""Checks of the C files that no tool makes: banned functions, lengths, guards, opening comments."""

import re

import sources

MAX_LINES = {".c": 500, ".h": 250}
BANNED = ("sprintf strcpy strcat strncpy strtok atoi gets system popen signal alloca "
          "usleep").split()
BANNED_CALL = re.compile(rf"(?<![\w.])(?<!->)({'|'.join(BANNED)})[ \t]*\(")
# Only the programs themselves talk to standard output and decide when the process ends.
SHELL_CALL = re.compile(r"(?<![\w.])(?<!->)(printf|puts|putchar|exit)[ \t]*\(")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")


def guard_of(path):
    return "LP_" + re.sub(r"[^A-Z0-9]", "_", str(path).upper())


def findings_in(path, text):
    """Yields what is wrong with one file; path is relative to the root."""
    lines = text.count("\n")
    limit = MAX_LINES[path.suffix]
    if lines > limit:
        yield f"{path}: {lines} lines, at most {limit}"
    if not re.match(rf"/\* ([\w./-]*/)?{re.escape(path.name)}: ", text):
        yield f"{path}:1: opens without a comment '/* {path.name}: what it is for'"
    if UNFINISHED.search(text):
        yield f"{path}: says that it is unfinished"
    code = sources.code_only(text)
    yield from calls(path, code, BANNED_CALL, "is banned")
    is_shell = path.parts[0] in ("cli", "tests", "bench", "examples") or path.name == "main.c"
    if not is_shell:
        yield from calls(path, code, SHELL_CALL, "is for the programs' own rooms")
    if path.suffix == ".h" and path.parts[0] in sources.ROOMS:
        guard = guard_of(path)
        if f"#ifndef {guard}\n#define {guard}\n" not in code:
            yield f"{path}: the guard is not {guard}"


def calls(path, code, pattern, why):
    for match in pattern.finditer(code):
        line = code.count("\n", 0, match.start()) + 1
        yield f"{path}:{line}: {match.group(1)} {why}"


def check(root):
    for path in sources.files(root, ".c", ".h"):
        yield from findings_in(path, (root / path).read_text())


if __name__ == "__main__":
    sources.report(check)
