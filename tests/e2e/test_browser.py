"""What people see in a browser, in headless Chromium: the instance's page, and live reload."""

import http.client
import json
import os
import sys
import time
import unittest

import browser
from livepush_e2e import (CONTROLLER, LIVEPUSH, PATIENCE, SECRET, SLOWDOWN, Case, wait_for, write)

APP = """
import http.server, os, sys, time
time.sleep(float(os.environ.get("START_TAKES", "0")))
print("serving version 1", flush=True)
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

# Fails as it starts, and leaves behind when that was.
BROKEN = """
import time
with open(%r, "w") as file:
    file.write(str(time.time()))
raise RuntimeError("broken on purpose")
"""

# Counts how often it was loaded.
PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>The app</title>
<link rel="stylesheet" href="style.css">
<script>sessionStorage.loads = Number(sessionStorage.loads || 0) + 1;</script>
</head><body><h1 id="text">first</h1></body></html>
"""

CONFIG = """
app: web
command: [python3, app.py]
inject: true
health:
  kind: http
  path: /
rules:
  - match: ["*.html", "*.css"]
    action: browser-reload
targets:
  both:
    urls: [%s]
    secret_env: LIVEPUSH_SECRET
"""

COLOUR = "return getComputedStyle(document.getElementById('text')).color"
OVERLAY = "document.querySelector('livepush-failure')"
LOADS = "return Number(sessionStorage.loads)"


class BrowserCase(Case):
    """An app with two instances in reach, mirrored from a workspace, and a browser."""

    def begin(self, instances=1, takes=("0", "0"), **options):
        self.ports = []
        for i in range(instances):
            tree = self.dir / f"tree-{i}"
            tree.mkdir()
            program = self.start(CONTROLLER, "--tree", tree, "--listen", "127.0.0.1:0", "--wait",
                                 "--allow-root",
                                 env={"LIVEPUSH_SECRET": SECRET, "START_TAKES": takes[i]})
            address = program.wait_event("listening")["address"]
            self.ports.append(int(address.rpartition(":")[2]))
        urls = ", ".join(f"ws://127.0.0.1:{port}" for port in self.ports)
        self.place = self.workspace({"app.py": APP, "index.html": PAGE, "livepush.yml":
                                     CONFIG % urls, "style.css": "h1 { color: rgb(1, 2, 3) }\n"})
        self.watch = self.start(LIVEPUSH, "watch", "--json", ".", "both", cwd=self.place,
                                env={"LIVEPUSH_SECRET": SECRET})
        self.watch.wait_event("ready")
        self.url = f"http://127.0.0.1:{self.ports[0]}/"
        self.window = browser.Browser(self, **options)

    def status(self, i=0):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[i], timeout=PATIENCE)
        connection.request("GET", "/_livepush/status", headers={"Authorization":
                                                                f"Bearer {SECRET}"})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        self.assertEqual(response.status, 200, text)
        return json.loads(text)

    def show_app(self):
        """Opens the app and waits until its page listens."""
        self.window.open(self.url)
        wait_for(lambda: self.status()["browsers"] == 1, what="a browser that listens")


class Reload(BrowserCase):
    def test_stylesheet_is_swapped_without_a_reload(self):
        self.begin()
        self.show_app()
        self.assertEqual(self.window.run(COLOUR), "rgb(1, 2, 3)")
        write(self.place / "style.css", "h1 { color: rgb(4, 5, 6) }\n")
        self.window.wait(COLOUR + " === 'rgb(4, 5, 6)'")
        self.assertEqual(self.window.run(LOADS), 1)
        # One link element, not one more for every save.
        self.assertEqual(
            self.window.run("return document.querySelectorAll('link[rel=stylesheet]').length"), 1)

    def test_imported_stylesheet_is_swapped(self):
        self.begin()
        write(self.place / "deep.css", "h1 { color: rgb(7, 7, 7) }\n")
        write(self.place / "style.css", "@import url('deep.css');\n")
        self.succeed("flush", "both", cwd=self.place)
        self.show_app()
        self.window.wait(COLOUR + " === 'rgb(7, 7, 7)'")
        write(self.place / "deep.css", "h1 { color: rgb(8, 8, 8) }\n")
        self.window.wait(COLOUR + " === 'rgb(8, 8, 8)'")
        self.assertEqual(self.window.run(LOADS), 1)

    def test_page_reloads_exactly_once(self):
        self.begin()
        self.show_app()
        since = self.watch.mark()
        write(self.place / "index.html", PAGE.replace("first", "second"))
        self.window.wait("return document.getElementById('text').textContent === 'second'")
        # What comes after it comes to a page that was loaded twice, not three times.
        wait_for(lambda: self.status()["browsers"] == 1, what="the new page to listen")
        write(self.place / "style.css", "h1 { color: rgb(9, 9, 9) }\n")
        self.window.wait(COLOUR + " === 'rgb(9, 9, 9)'")
        self.assertEqual(self.window.run(LOADS), 2)
        self.assertEqual([event for event in self.watch.events[since:]
                          if event.get("event") == "restarted"], [], "no restart was asked for")
        timeline = json.loads(self.succeed("status", "--timeline", "--json", "both",
                                           cwd=self.place).stdout.splitlines()[0])
        reloaded = [save for save in timeline["saves"] if "reloaded_ms" in save]
        self.assertEqual([save["path"] for save in reloaded], ["index.html", "style.css"],
                         timeline)
        for save in reloaded:
            self.assertLessEqual(save["applied_ms"], save["served_ms"], save)
            self.assertLessEqual(save["served_ms"], save["reloaded_ms"], save)
            self.assertNotIn("healthy_ms", save)

    def test_reloads_when_every_instance_serves(self):
        self.begin(2, takes=("0", "1.5"))
        self.show_app()
        since = self.watch.mark()
        write(self.place / "app.py", APP.replace("version 1", "version 2"))
        self.window.wait(LOADS + " === 2")
        restarted = {event["instance"] for event in self.watch.events[since:]
                     if event.get("event") == "restarted"}
        self.assertEqual(len(restarted), 2, "it reloaded before both instances served")

    def test_failure_is_shown_and_goes_away(self):
        self.begin()
        self.show_app()
        # Each says by itself when it was: the app that it fails, the page that it shows that.
        self.window.run(f"""
            const seen = () => {{
                if ({OVERLAY})
                    window.shownAt = window.shownAt || Date.now() / 1000;
            }};
            new MutationObserver(seen).observe(document.documentElement, {{childList: true}});""")
        since = self.watch.mark()
        write(self.place / "app.py", BROKEN % str(self.dir / "failed-at"))
        event = self.watch.wait_event("failed", since)
        told = time.time()
        self.assertIn("Traceback", event["excerpt"])
        self.assertIn("broken on purpose", event["excerpt"])
        text = self.window.wait(f"return {OVERLAY} && {OVERLAY}.shadowRoot.textContent")
        failed = float((self.dir / "failed-at").read_text())
        self.assertLess(told - failed, 1 * SLOWDOWN, "in the terminal")
        self.assertLess(self.window.run("return window.shownAt") - failed, 1 * SLOWDOWN,
                        "in the browser")
        for word in ("Traceback", "broken on purpose", "app.py"):
            self.assertIn(word, text)
        # The version before still serves, and a page that comes now is told, too.
        self.window.open(self.url)
        self.window.wait(f"return {OVERLAY} !== null")
        self.assertEqual(self.window.run("return document.getElementById('text').textContent"),
                         "first")
        self.window.press("\ue00c")
        self.window.wait(f"return {OVERLAY} === null", what="Escape closes it")
        write(self.place / "app.py", APP + "\nstill is no Python\n")
        self.window.wait(f"return {OVERLAY} !== null")
        write(self.place / "app.py", APP.replace("version 1", "version 3"))
        self.window.wait(f"return {OVERLAY} === null")
        self.assertEqual([line for line in self.window.log() if "livepush" in line], [])


class Page(BrowserCase):
    def link(self):
        done = self.succeed("open", "--json", f"ws://127.0.0.1:{self.ports[0]}",
                            env={"LIVEPUSH_SECRET": SECRET})
        return json.loads(done.stdout.splitlines()[0])["links"][0]

    def text(self, selector):
        return self.window.run("return document.querySelector(arguments[0]).innerText", selector)

    def test_shows_the_instance(self):
        self.begin(2)
        self.window.open(self.link())
        self.window.wait("return document.getElementById('state-text').textContent === 'serving'")
        self.assertIn(self.status()["instance"], self.window.title())
        self.assertNotIn("t=", self.window.run("return location.search"),
                         "the link does not stay in the address bar")
        self.window.wait("return document.querySelectorAll('#instances tr').length === 2")
        self.window.wait(
            "return document.getElementById('log').innerText.includes('serving version 1')")
        write(self.place / "app.py", APP.replace("version 1", "version 2 \\u2713 <b>"))
        self.window.wait(
            "return document.getElementById('log').innerText.includes('version 2 \u2713 <b>')")
        self.window.wait("return document.getElementById('changes').innerText.includes('app.py')")
        write(self.place / "app.py", APP + "\nthis is no Python\n")
        self.window.wait("return !document.getElementById('failure').hidden")
        self.assertIn("SyntaxError", self.text("#failure"))
        shots = os.environ.get("E2E_SCREENSHOTS")
        if shots:
            self.window.screenshot(f"{shots}/failure.png")
        write(self.place / "app.py", APP.replace("version 1", "version 3"))
        self.window.wait("return document.getElementById('failure').hidden")
        if shots:
            self.window.screenshot(f"{shots}/page.png")
            self.window.resize(390, 844)
            self.window.screenshot(f"{shots}/phone.png")
        # Nothing of it broke its own policy.
        self.assertEqual(self.window.log(), [])

    def test_fits_a_phone_and_works_by_keyboard(self):
        self.begin(size=(500, 844))
        self.window.open(self.link())
        self.window.wait("return document.getElementById('state-text').textContent === 'serving'")
        self.assertLessEqual(self.window.run("return document.documentElement.scrollWidth"),
                             self.window.run("return document.documentElement.clientWidth"))
        seen = set()
        for _ in range(12):
            self.window.press("\ue004")
            seen.add(self.window.run("return document.activeElement.id"))
        self.assertLessEqual({"log", "filter", "follow", "wrap", "clear"}, seen)


if __name__ == "__main__":
    if not browser.is_here():
        print("chromium and chromedriver are not here", file=sys.stderr)
        sys.exit(77)
    unittest.main()
