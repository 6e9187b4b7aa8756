"""`git checkout` between two large trees in the workspace, by `watch` or `mount` (first argument):
the app is started once for each checkout, and never with a mixed tree.

E2E_CHECKOUT_FILES: how many files each tree has.
"""

import os
import subprocess
import sys
import unittest

import livepush_e2e as e2e
import oracle

COMMAND = sys.argv.pop(1)
FILES = int(os.environ.get("E2E_CHECKOUT_FILES", "5000" if e2e.SLOWDOWN == 1 else "1500"))
FLIPS = 4

# The app: at its start it reads the whole tree, compares it with the manifest in it, and says which
# of the two trees it saw, or what did not fit.
VERIFIER = '''
import hashlib, http.server, os
expected = {}
for line in open("MANIFEST", encoding="utf-8"):
    digest, name = line.rstrip("\\n").split(" ", 1)
    expected[name] = digest
branch = open("BRANCH").read().strip()
found = {}
for folder, dirs, files in os.walk("tree"):
    for name in files:
        path = os.path.join(folder, name)
        found[path] = hashlib.sha256(open(path, "rb").read()).hexdigest()[:16]
wrong = sorted(path for path in set(expected) | set(found) if expected.get(path) != found.get(path))
print("STARTED", branch, "whole" if not wrong else f"MIXED {len(wrong)}: {wrong[:3]}", flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(branch)))
        self.end_headers()
        self.wfile.write(branch.encode())
    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''


def fill(workspace, branch):
    """A tree of FILES files: a third is in both branches alike, a third differs, and a third is in
    one of them only, in directories of its own."""
    manifest = []
    for number in range(FILES):
        kind = number % 3
        path = {0: f"tree/same/{number % 50}/f{number}", 1: f"tree/both/{number % 40}/f{number}",
                2: f"tree/only-{branch}/{number % 30}/{number % 7}/f{number}"}[kind]
        content = f"{number} {branch if kind else ''}\n" * (number % 90 + 1)
        e2e.write(workspace / path, content)
        manifest.append(f"{e2e.hashlib.sha256(content.encode()).hexdigest()[:16]} {path}\n")
    e2e.write(workspace / "MANIFEST", "".join(manifest))
    e2e.write(workspace / "BRANCH", branch)


class Checkout(e2e.Case):
    def git(self, *args):
        done = subprocess.run(
            ["git", "-C", self.source, "-c", "user.name=test", "-c", "user.email=test@localhost",
             "-c", "gc.auto=0", "-c", "advice.detachedHead=false", *args], env=self.env,
            capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_app_never_starts_with_a_mixed_tree(self):
        self.source = self.workspace({
            "livepush.yml": "command: [python3, verify.py]\n", "verify.py": VERIFIER})
        self.git("init", "-q", "-b", "one")
        fill(self.source, "one")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "one")
        self.git("checkout", "-q", "-b", "two")
        e2e.shutil.rmtree(self.source / "tree")
        fill(self.source, "two")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "two")

        program, url = self.session(COMMAND, self.source, "shop", timeout=3 * e2e.PATIENCE)
        self.assertEqual(e2e.body_of(url), "two")
        for number in range(FLIPS):
            branch = ("one", "two")[number % 2]
            since = program.mark()
            self.git("checkout", "-q", branch)
            self.succeed("flush", "shop", "--timeout", str(int(2 * e2e.PATIENCE)),
                         timeout=3 * e2e.PATIENCE)
            self.assertEqual(e2e.body_of(url), branch)
            starts = e2e.wait_for(lambda since=since: [
                line for line in program.log_lines(since) if line.startswith("STARTED")])
            self.assertEqual(starts, [f"STARTED {branch} whole"])
            restarted = [event for event in program.events[since:]
                         if event.get("event") == "restarted"]
            self.assertEqual(len(restarted), 1, program.describe())
        self.assertEqual(oracle.difference(self.source, self.tree(program)), "")

    def tree(self, program):
        """The private copy on this machine: where the app works."""
        for pid, command in e2e.processes_of(self.token, self.dir).items():
            if "verify.py" in command and pid != program.pid and "livepush" not in command:
                return os.readlink(f"/proc/{pid}/cwd")
        self.fail("the app does not run")


if __name__ == "__main__":
    if COMMAND == "mount" and not e2e.fuse_works():
        print("FUSE is not available here")
        sys.exit(e2e.SKIP)
    unittest.main(verbosity=2)
