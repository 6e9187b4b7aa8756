"""A headless Chromium, driven through chromedriver by the WebDriver protocol over plain HTTP
(W3C WebDriver, https://www.w3.org/TR/webdriver2/)."""

import base64
import http.client
import json
import os
import pathlib
import shutil

from livepush_e2e import PATIENCE, free_port, wait_for

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id, 11 of the standard


def is_here():
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """One window. It keeps everything that it writes below the test's directory."""

    def __init__(self, case, size=(1200, 900), dark=False):
        self.session = None
        folder = pathlib.Path(case.dir, "browser")
        folder.mkdir(exist_ok=True)
        # It writes its own choice of a port to a pipe only when it ends.
        self._port = free_port()
        self._driver = case.start("chromedriver", f"--port={self._port}",
                                  env={name: str(folder) for name in
                                       ("TMPDIR", "HOME", "XDG_RUNTIME_DIR")})
        wait_for(self._is_ready, what=lambda: f"chromedriver\n{self._driver.describe()}")
        options = {"args": ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage",
                            "--disable-background-networking", "--no-first-run",
                            f"--user-data-dir={folder}/profile",
                            f"--window-size={size[0]},{size[1]}"]}
        if os.geteuid() == 0:
            options["args"].append("--no-sandbox")  # it does not start as root with one
        if dark:
            options["args"].append("--blink-settings=preferredColorScheme=0")
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
        self.session = made["sessionId"]
        case.addCleanup(self.close)

    def _is_ready(self):
        try:
            return self._ask("GET", "/status")["ready"]
        except OSError:
            return False

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE * 2)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            value = json.loads(response.read())["value"]
        finally:
            connection.close()
        if response.status != 200:
            raise AssertionError(f"{method} {path}: {value.get('error')}: {value.get('message')}")
        return value

    def _do(self, method, path, body=None):
        return self._ask(method, f"/session/{self.session}{path}", body)

    def close(self):
        if self.session:
            self._ask("DELETE", f"/session/{self.session}")
        self.session = None
        self._driver.stop()

    def open(self, url):
        self._do("POST", "/url", {"url": url})

    def title(self):
        return self._do("GET", "/title")

    def run(self, script, *args):
        """The value that a function body returns in the page."""
        return self._do("POST", "/execute/sync", {"script": script, "args": list(args)})

    def wait(self, script, timeout=PATIENCE, what=None):
        """Waits until a function body returns something true, through reloads as well."""
        def holds():
            try:
                return self.run(script)
            except AssertionError as error:  # the page went away meanwhile
                if "no such" in str(error) or "detached" in str(error) or "navigat" in str(error):
                    return None
                raise
        return wait_for(holds, timeout, lambda: f"{what or script}\n{self.log()}")

    def press(self, key):
        """Types a key (WebDriver, 17.4.2: U+E004 is the tabulator)."""
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": [
            {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]}]})

    def resize(self, width, height):
        self._do("POST", "/window/rect", {"width": width, "height": height})

    def log(self):
        """What the console says."""
        return [entry["message"] for entry in self._do("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self._do("GET", "/screenshot")))
