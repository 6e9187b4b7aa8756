"""What --json prints is what the pages say: every field of every object is in the table of
docs/configuration.md and in the command's manual page, and what these tables promise comes."""

import json
import pathlib
import re
import unittest

import livepush_e2e as e2e

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"

APP = '''
import http.server, os, sys
text = open("text").read()
if text == "broken":
    sys.exit("it is broken")
print("started", text, flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])),
                       http.server.SimpleHTTPRequestHandler).serve_forever()
'''
CONFIG = "command: [python3, app.py]\nrules:\n  - match: other\n    action: none\n"

# What comes only in situations that other tests make: long lines, bytes, holds, rollbacks.
OPTIONAL = {"base64", "more", "reason", "at", "held", "holds", "withheld", "failed", "rolled_to",
            "error", "excludes", "left_out", "ignore_rule", "instance", "reloaded_ms"}
WORD = re.compile(r"`([a-z_0-9]+)`")


def keys_of(value):
    """The names of all fields of an object, also of those in it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


def without_parentheses(text):
    before = None
    while before != text:
        before, text = text, re.sub(r"\([^()]*\)", "", text)
    return text


class Tables:
    """The tables of the section "JSON": all words of a row, and those outside of parentheses."""

    def __init__(self):
        section = (DOCS / "configuration.md").read_text().split("\n## JSON\n")[1]
        self.events, self.commands = {}, {}
        command = None
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not line.startswith("|") or set(cells[0]) <= set("- ") and len(cells[0]) > 1:
                continue
            if len(cells) == 2:
                for event in WORD.findall(cells[0]):
                    self.events.setdefault(event, []).append(cells[1])
            elif len(cells) == 3:
                command = WORD.findall(cells[0])[0] if WORD.findall(cells[0]) else command
                self.commands.setdefault(command, []).append(cells[2])
        paragraph = section[section.index("Each element of `instances`"):].split("\n\n")[0]
        self.commands["status"].append(paragraph)

    def rows(self, command, event):
        """The cells about an event of a command: that of its own table, or that of all."""
        if event:
            own = [row for row in self.commands.get(command, ())
                   if row.startswith(f"`event` `{event}`") or f"or `event` `{event}`" in row]
            return own or self.events.get(event, [])
        return [row for row in self.commands.get(command, ()) if not row.startswith("`event`")
                and not row.startswith("the event")]


class Documented(e2e.Case):
    def setUp(self):
        super().setUp()
        self.tables = Tables()
        self.seen = {}

    # Whose events are those of mount, on its page.
    SESSIONS = ("watch", "push", "verify", "logs")

    def check(self, command, objects):
        self.assertNotEqual(objects, [], command)
        man = DOCS / f"man/livepush-{command}.1.scd"
        manual = man.read_text() if man.exists() else ""
        if command in self.SESSIONS:
            manual += (DOCS / "man/livepush-mount.1.scd").read_text()
        manual = manual.replace("\\_", "_")
        for one in objects:
            event = one.get("event")
            rows = self.tables.rows(command, event)
            self.assertNotEqual(rows, [], f"{command}: no row about {one}")
            words = set(WORD.findall(" ".join(rows))) | {"event"}
            names = set(keys_of(one))
            self.assertEqual(names - words, set(), f"{command} {event}: not in configuration.md")
            if manual and event != "error":
                missing = {name for name in names - {"event"} if not re.search(
                    rf'(_|"){name.removesuffix("_ms")}(_ms)?(_|")', manual)}
                self.assertEqual(missing, set(), f"{man.name} {event}")
            self.seen.setdefault((command, event), set()).update(names)

    def ask(self, command, *words, status=0, **options):
        done = self.livepush(command, "--json", *words, **options)
        self.assertEqual(done.returncode, status, done.stderr)
        objects = [json.loads(line) for line in done.stdout.splitlines()]
        self.check(command, objects)
        return objects

    def assert_promised(self):
        for (command, event), names in self.seen.items():
            rows = [without_parentheses(row) for row in self.tables.rows(command, event)]
            promised = set(WORD.findall(" ".join(rows))) - OPTIONAL - set(self.tables.events)
            promised -= {event, "event", "mirror", "unreachable", "silent", "true", "false"}
            states = {"idle", "starting", "serving", "swapping", "backoff", "stopping"}
            self.assertEqual(promised - names - states, set(), f"{command} {event}: never came")

    def test_a_session_and_the_commands_that_ask_it(self):
        source = self.workspace({"app.py": APP, "text": "one", "other": "1",
                                 "livepush.yml": CONFIG, ".gitignore": "ignored\n"})
        watch, _ = self.session("watch", source, "web")
        watch.wait_event("restarted")
        watch.wait_event("log")
        mark = watch.mark()
        e2e.write(source / "text", "broken")
        watch.wait_event("failed", since=mark)
        e2e.write(source / "text", "two")
        self.ask("flush", "web")
        self.ask("status", "web")
        self.ask("restart", "web")
        self.ask("history", "web")
        self.ask("logs", "web")
        self.ask("open", "web")
        self.ask("verify", "web")
        self.ask("why", source / "text")
        self.ask("why", source / "ignored")
        self.ask("status", "--timeline", "web")
        self.ask("hold", "web")
        self.ask("status", "web")
        self.ask("release", "web")
        mark = watch.mark()
        self.ask("rollback", "web")
        watch.wait_event("rolled", since=mark)
        self.check("watch", list(watch.events))
        self.assert_promised()

    def test_commands_by_themselves(self):
        tree = self.dir / "tree"
        tree.mkdir()
        _, port = self.controller(tree)
        source = self.workspace({"a": "one", "livepush.yml": ""})
        env = {"LIVEPUSH_SECRET": e2e.SECRET}
        url = f"ws://127.0.0.1:{port}"
        for options in (["--dry-run"], []):
            self.ask("push", *options, source, url, env=env)
        self.ask("status", url, env=env)
        self.ask("restart", url, env=env)
        self.ask("verify", url, source, env=env)
        self.ask("doctor", source, url, env=env)
        self.ask("init", "--force", source)
        self.ask("version")
        self.ask("help", "flush")
        self.ask("status", "nobody", status=1)
        self.ask("status", "ws://127.0.0.1:1", env=env, status=1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
