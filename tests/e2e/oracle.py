"""What a target tree has to be, worked out without the product: the workspace walked and read here,
with `git check-ignore` to say what is left out."""

import os
import pathlib
import stat
import subprocess
import tempfile

import livepush_e2e as e2e

NEVER = (b".git", b".livepush")
# The rules that hold in every workspace (docs/configuration.md): what editors and others leave.
BUILT_IN = r""".hg/
.svn/
.DS_Store
*~
.*.sw?
.*.sw??
4913
!4913/
.#*
\#*#
.~lock.*#
~$*
.*.kate-swp
.goutputstream-*
*___jb_tmp___
*___jb_old___
.fuse_hidden*
.nfs[0-9a-f]*
"""


def read_tree(root):
    """path → (kind, permission bits, content) of everything below root but NEVER at the top and
    `.git` anywhere. Large contents come as digests. Sockets, fifos and devices are left out."""
    entries = {}
    root = os.fsencode(root)
    stack = [b""]
    while stack:
        folder = stack.pop()
        for entry in os.scandir(os.path.join(root, folder)):
            path = os.path.join(folder, entry.name)
            if path in NEVER or entry.name == b".git":
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                entries[path] = ("dir", stat.S_IMODE(mode) & 0o777, b"")
                stack.append(path)
            elif stat.S_ISLNK(mode):
                entries[path] = ("link", 0, os.readlink(entry.path))
            elif stat.S_ISREG(mode):
                with open(entry.path, "rb") as file:
                    content = file.read(8192)
                    if len(content) == 8192:
                        file.seek(0)
                        content = e2e.hashlib.file_digest(file, "sha256").hexdigest().encode()
                entries[path] = ("file", stat.S_IMODE(mode) & 0o777, content)
    return entries


def _skeleton(folder, entries, rules, exclude):
    """An empty repository with these names in it and the given rule files."""
    subprocess.run(["git", "init", "-q", folder], check=True, stdout=subprocess.DEVNULL)
    if exclude is not None:
        (pathlib.Path(folder) / ".git/info").mkdir(exist_ok=True)
        (pathlib.Path(folder) / ".git/info/exclude").write_bytes(exclude)
    folder = os.fsencode(folder)
    for path, (kind, _, _) in sorted(entries.items()):
        place = os.path.join(folder, path)
        if kind == "dir":
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    for path, content in rules.items():
        place = os.path.join(folder, path)
        if os.path.isdir(os.path.dirname(place)) and not os.path.isdir(place):
            with open(place, "wb") as file:
                file.write(content)


def ignored(entries, rules, exclude=None):
    """Those of the paths that git would ignore by these rule files (path → content)."""
    if not entries:
        return set()
    with tempfile.TemporaryDirectory(prefix="lporacle-") as folder:
        repository = os.path.join(folder, "r")
        _skeleton(repository, entries, rules, exclude)
        patterns = os.path.join(folder, "built-in")
        pathlib.Path(patterns).write_text(BUILT_IN)
        done = subprocess.run(
            ["git", "-C", repository, "-c", f"core.excludesFile={patterns}", "check-ignore", "-z",
             "--stdin", "--no-index"], input=b"\0".join(entries) + b"\0", capture_output=True,
            check=False, env={**os.environ, "HOME": folder, "GIT_CONFIG_NOSYSTEM": "1"})
        if done.returncode not in (0, 1):
            raise AssertionError(f"git check-ignore: {done.stderr!r}")
    return set(done.stdout.split(b"\0")) - {b""}


def _below(path, tops):
    while path:
        if path in tops:
            return True
        path = os.path.dirname(path)
    return False


def difference(workspace, target):
    """Text that names what differs between a workspace and a target tree; "" when nothing does.
    What the rules leave out counts on neither side, nor do directories of the target that are only
    there because of it."""
    source, found = read_tree(workspace), read_tree(target)
    rules = {}
    for path, (kind, _, _) in source.items():
        if os.path.basename(path) == b".gitignore" and kind == "file":
            rules[path] = (pathlib.Path(workspace) / os.fsdecode(path)).read_bytes()
    info = pathlib.Path(workspace, ".git/info/exclude")
    exclude = info.read_bytes() if info.exists() else None
    left_out = ignored(source, rules, exclude)
    expected = {path: entry for path, entry in source.items() if not _below(path, left_out)}
    left_out = ignored(found, rules, exclude)
    kept = {os.path.dirname(path) for path in found if path in left_out}
    actual = {path: entry for path, entry in found.items() if not _below(path, left_out)}
    for path in sorted(set(actual) - set(expected), reverse=True):
        if actual[path][0] == "dir" and path in kept:
            del actual[path]
            kept.add(os.path.dirname(path))
    lines = []
    for path in sorted(set(expected) | set(actual)):
        if expected.get(path) != actual.get(path):
            ends = [entry and entry[:2] + (entry[2][:40],)
                    for entry in (expected.get(path), actual.get(path))]
            lines.append(f"{path!r}: source {ends[0]}, target {ends[1]}")
    return "\n".join(lines[:20])

