"""The soak of the front door: saves, load and kills for as long as one likes. Nothing may fail but
what ran in an app that was killed, and nothing may grow."""

import http.client
import os
import pathlib
import random
import signal
import threading
import time

import rows_front
import tools
import workload
from measure import Result, say, table

LOADERS = 4
KILL_EVERY_S = 15.0
# An app that is killed takes the requests with it that it had; its successor has to come up.
AFTERMATH_S = 3.0


class Load:
    """Requests from several threads, every other over kept connections, GET and POST in turn."""

    def __init__(self, port):
        self.port = port
        self.count = 0
        self.failures = []  # (when, what)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number % 2 == 0,))
                         for number in range(LOADERS)]
        for thread in self._threads:
            thread.start()

    def _ask(self, connection, number):
        connection.request("POST" if number % 2 else "GET", "/",
                           body=b"x" * 2000 if number % 2 else None)
        response = connection.getresponse()
        response.read()
        fault = None if response.status == 200 else (
            f"{response.status} {response.getheader('X-Livepush-Error', '(from the app)')}")
        return fault, response.will_close

    def _run(self, keep):
        connection, number = None, 0
        while not self._stop.wait(0.004):
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.port,
                                                                  timeout=30)
            number += 1
            try:
                fault, ends = self._ask(connection, number)
            except (OSError, http.client.HTTPException) as error:
                fault, ends = repr(error), True
            if ends or not keep:
                connection.close()
                connection = None
            with self._lock:
                self.count += 1
                if fault:
                    self.failures.append((time.monotonic(), fault))

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def descriptors_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def backends_of(doors):
    """The processes of the app."""
    found = []
    for pid in rows_front.children_of(doors.controller):
        try:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "backend":
                found.append(pid)
        except OSError:
            continue
    return found


def soak(doors, load, seconds):
    """Returns when apps were killed, and how often something was saved."""
    chance = random.Random(11)
    end = time.monotonic() + seconds
    next_kill = time.monotonic() + KILL_EVERY_S
    kills, saves, told = [], 0, 0
    while time.monotonic() < end:
        workload.save_by_rename(doors.version, b"%d" % saves)
        saves += 1
        time.sleep(chance.uniform(0.02, 1.5))
        if time.monotonic() > next_kill:
            # Before, not after: who kills may have to wait for its turn behind who sees it.
            kills.append(time.monotonic())
            for pid in backends_of(doors):
                os.kill(pid, signal.SIGKILL)
            next_kill += KILL_EVERY_S
        if saves // 100 > told:
            told = saves // 100
            say(f"soak: {saves} saves, {load.count:,} requests, {len(load.failures)} failed, "
                f"{rows_front.memory_of(doors.controller):.1f} MB")
    return kills, saves


def bench_soak(options, _trees):
    with tools.Place(options.dir) as place:
        doors = rows_front.Doors(place, rivals=False)
        load = Load(doors.ports["livepush"])
        try:
            early, _ = soak(doors, load, min(30.0, options.seconds / 10))
            memory, files = (rows_front.memory_of(doors.controller),
                             descriptors_of(doors.controller))
            say(f"soak: {options.seconds} s")
            kills, saves = soak(doors, load, options.seconds)
        finally:
            load.stop()
        time.sleep(AFTERMATH_S)  # what was replaced last is drained
        grown = rows_front.memory_of(doors.controller) - memory
        files = descriptors_of(doors.controller) - files
        alive = doors.livepush.poll() is None
    loose = [fault for when, fault in load.failures
             if not any(0 <= when - kill <= AFTERMATH_S for kill in early + kills)]
    rows = [["requests", f"{load.count:,}"], ["saves", f"{saves:,}"], ["kills", len(early + kills)],
            ["failed within 3 s of a kill", len(load.failures) - len(loose)],
            ["failed otherwise", len(loose)], ["the controller's memory", f"{grown:+.1f} MB"],
            ["its descriptors", f"{files:+d}"]]
    text = (f"{options.seconds} s of saves, {LOADERS} threads of requests (GET and POST, kept and "
            f"new connections) and a kill of the app every {KILL_EVERY_S:.0f} s.\n\n"
            + table(["what", "how much"], rows)
            + "".join(f"\n\n`{fault}`" for fault in sorted(set(loose))[:5]))
    return Result("soak", text, [
        ("failed without a kill", "0", str(len(loose)), not loose and alive),
        ("memory, descriptors", "≤ 8 MB, ≤ 8 more", f"{grown:+.1f} MB, {files:+d}",
         grown <= 8 and files <= 8)])
