"""Checks that documents and comments name only files that exist."""

import re

import sources

FOLDERS = sources.ROOMS + ("tests", "bench", "docs", "examples", "packaging")
_PATH = rf"(?:{'|'.join(FOLDERS)})(?:/[\w.*-]+)+/?"
IN_DOCUMENT = re.compile(rf"`({_PATH})`")
IN_COMMENT = re.compile(rf"(?<![\w/.-])({_PATH}\.[ch])\b")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(?:#[^)]*)?\)")


def names_in(path, text):
    """Yields (line, name, relative to) of every file that the text names."""
    if path.suffix == ".md":
        patterns = ((IN_DOCUMENT, ""), (LINK, path.parent))
    else:
        text = sources.comments_only(text)
        patterns = ((IN_COMMENT, ""),)
    for pattern, folder in patterns:
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, match.group(1), folder


def check(root):
    for path in sources.files(root, ".md", ".c", ".h"):
        for line, name, folder in names_in(path, (root / path).read_text()):
            if not any((root / folder).glob(name.rstrip("/"))):
                yield f"{path}:{line}: there is no {name}"


if __name__ == "__main__":
    sources.report(check)
