"""Save a file and the running app runs it: the examples, by `watch` or by `mount` (first argument).

Under a loop of requests a save changes what is served within a second and no request fails; a save
with an error keeps the old version serving and says why; the next good save recovers.
"""

import sys
import unittest

import livepush_e2e as e2e

COMMAND = sys.argv.pop(1)
WITHIN = 1.0 * e2e.SLOWDOWN


class Examples(e2e.Case):
    def serve(self, name):
        workspace = self.example(name)
        program, url = self.session(COMMAND, workspace, name)
        return workspace, program, url

    def assert_served(self, url, text, timeout=WITHIN):
        last = [None]

        def there():
            last[0] = e2e.body_of(url)
            return last[0] is not None and text in last[0]

        e2e.wait_for(there, timeout, lambda: f"{url} serves {text!r}; it serves {last[0]!r}")

    def change_under_load(self, workspace, program, url, file, saves):
        """Saves each (old, new, shown) and sees it served; no request fails meanwhile."""
        with e2e.Load(url) as load:
            for old, new, shown in saves:
                since = program.mark()
                e2e.replace(workspace / file, old, new)
                self.assert_served(url, shown)
                applied = program.wait_event("applied", since)
                self.assertGreaterEqual(applied["files"], 1)
                program.wait_event("restarted", since)
        self.assertEqual(load.failures, [])
        self.assertGreater(load.count, 10)

    def break_and_mend(self, workspace, program, url, file, broken, excerpt):
        """A broken save keeps the old version serving and shows the error; a good one recovers."""
        good = (workspace / file).read_text()
        before = e2e.body_of(url)
        since = program.mark()
        with e2e.Load(url) as load:
            e2e.write(workspace / file, broken)
            failed = program.wait_event("failed", since)
            self.assertIn(excerpt, failed["error"] + failed["excerpt"])
            self.assertEqual(e2e.body_of(url), before)
            since = program.mark()
            e2e.write(workspace / file, good.replace("Hello", "Mended"))
            self.assert_served(url, "Mended")
            program.wait_event("restarted", since)
        self.assertEqual(load.failures, [])

    def test_hello(self):
        workspace, program, url = self.serve("hello")
        self.assert_served(url, "Hello from livepush!")
        self.change_under_load(workspace, program, url, "app.py", [
            ("livepush!", "the second save!", "the second save!"),
            ("second", "third", "the third save!"),
            ("third", "fourth", "the fourth save!"),
        ])
        self.break_and_mend(workspace, program, url, "app.py", "def broken(:\n", "SyntaxError")

    def test_node(self):
        workspace, program, url = self.serve("node")
        self.assert_served(url, "Hello from Node!")
        self.change_under_load(workspace, program, url, "app.js", [
            ("Node!", "the second save!", "the second save!"),
            ("second", "third", "the third save!"),
        ])
        self.break_and_mend(workspace, program, url, "app.js", "const broken = ;\n", "SyntaxError")

    def test_static_needs_no_restart(self):
        workspace, program, url = self.serve("static")
        self.assert_served(url, "Hello from a static site!")
        since = program.mark()
        with e2e.Load(url) as load:
            e2e.replace(workspace / "index.html", "static site", "changed site")
            self.assert_served(url, "changed site")
            e2e.replace(workspace / "style.css", "#0a6", "#60a")
            self.assert_served(f"{url.rstrip('/')}/style.css", "#60a")
            program.wait_event("applied", since)
        self.assertEqual(load.failures, [])
        self.succeed("flush", "static")
        kinds = [event.get("event") for event in program.events[since:]]
        self.assertNotIn("restarted", kinds)

    def test_c_is_rebuilt_by_its_rule(self):
        workspace, program, url = self.serve("c")
        self.assert_served(url, "Hello from C!")
        self.change_under_load(workspace, program, url, "server.c", [
            ("from C!", "the second save!", "the second save!"),
        ])
        self.break_and_mend(workspace, program, url, "server.c", "int main(void) { return }\n",
                            "error")
        self.assertFalse((workspace / "server").exists(), "what the instance built came back")

    def test_new_files_and_folders_reach_the_app(self):
        workspace, program, url = self.serve("static")
        base = url.rstrip("/")
        e2e.write(workspace / "a/b/c/page.html", "deep page")
        self.assert_served(f"{base}/a/b/c/page.html", "deep page")
        (workspace / "a").rename(workspace / "moved")
        self.assert_served(f"{base}/moved/b/c/page.html", "deep page")
        e2e.wait_for(lambda: e2e.get(f"{base}/a/b/c/page.html")[0] == 404)
        (workspace / "moved/b/c/page.html").unlink()
        e2e.wait_for(lambda: e2e.get(f"{base}/moved/b/c/page.html")[0] == 404)

    def test_a_save_that_breaks_livepush_yml_is_told_and_harmless(self):
        workspace, program, url = self.serve("hello")
        since = program.mark()
        good = (workspace / "livepush.yml").read_text()
        e2e.safe_write(workspace / "livepush.yml", good + "comand: python3 other.py\n")
        failed = program.wait_event("failed", since)
        self.assertIn("livepush.yml:", failed["error"])
        self.assertIn("comand", failed["error"])
        self.assert_served(url, "Hello from livepush!")
        e2e.safe_write(workspace / "livepush.yml", good)
        since = program.mark()
        e2e.replace(workspace / "app.py", "livepush!", "after it!")
        self.assert_served(url, "after it!")
        program.wait_event("restarted", since)

    def test_what_the_app_prints_comes_back(self):
        workspace, program, url = self.serve("hello")
        e2e.replace(workspace / "app.py", "def main():\n",
                    "def main():\n    print('printed: \\u00fc', flush=True)\n"
                    "    os.write(2, b'to stderr\\n')\n")
        program.wait_event("log", match=lambda log: log["line"] == "printed: \u00fc"
                           and log["stream"] == "stdout")
        program.wait_event("log", match=lambda log: log["line"] == "to stderr"
                           and log["stream"] == "stderr")

    def test_twenty_quick_saves_end_with_the_last(self):
        workspace, program, url = self.serve("hello")
        with e2e.Load(url) as load:
            for number in range(20):
                text = (e2e.EXAMPLES / "hello/app.py").read_text()
                e2e.write(workspace / "app.py", text.replace("livepush!", f"save {number}!"))
            self.assert_served(url, "save 19!", 3 * WITHIN)
            self.succeed("flush", "hello")
            self.assertIn("save 19!", e2e.body_of(url))
        self.assertEqual(load.failures, [])


if __name__ == "__main__":
    if COMMAND == "mount" and not e2e.fuse_works():
        print("FUSE is not available here")
        sys.exit(e2e.SKIP)
    unittest.main(verbosity=2)
