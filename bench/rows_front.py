"""Benches of the front door, with haproxy (one thread) and nginx (one worker) in front of the same
app in the same run: requests, added latency, large bodies, swaps under load, idle connections."""

import contextlib
import http.client
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import threading
import time
import urllib.parse

import rows_save
import tools
import workload
from measure import Result, say, table

CONNECTIONS = 64
WRK_SECONDS = 3
LATENCY_SECONDS = 0.4  # short, so that a processor taken away for a moment spoils one round only
LATENCY_ROUNDS = 10    # for each of the others'
SWAP_RATE = 2000
SWAP_CONNECTIONS = 20
SWAP_GAP_SECONDS = 0.15  # so that all of the load sees swaps
GIB = 2 ** 30

HAPROXY = """global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 90s
  timeout server 900s
  http-reuse always
  option forwardfor
frontend door
  bind 127.0.0.1:{port}
  default_backend app
backend app
  server app 127.0.0.1:{app}
"""

NGINX = """worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log;
events {{ worker_connections 9000; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {dir}/nginx-body;
  proxy_temp_path {dir}/nginx-proxy;
  fastcgi_temp_path {dir}/nginx-fastcgi;
  uwsgi_temp_path {dir}/nginx-uwsgi;
  scgi_temp_path {dir}/nginx-scgi;
  keepalive_requests 1000000000;
  upstream app {{ server 127.0.0.1:{app}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_buffering off;
      proxy_request_buffering off;
    }}
  }}
}}
"""


def accepts(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def output_of(*argv):
    done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise tools.BenchError(f"{argv[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def compiled(name, folder):
    """The program of bench/NAME.c."""
    program = folder / name
    output_of("cc", "-O2", "-D_GNU_SOURCE", "-o", program, tools.ROOT / "bench" / f"{name}.c")
    return program


def children_of(pid):
    return [int(word) for word in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def memory_of(pid, key="VmRSS"):
    """MB of a process by that line of its status."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M).group(1)) / 1024


def processor_of(pid):
    """Seconds that the threads of a process have had of a processor."""
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


class Doors:
    """The app by itself, and behind livepush, haproxy and nginx. `ports` are by name, and `pids`,
    of those that pass things on."""

    def __init__(self, place, rivals=True):
        self.place = place
        self.folder = place.dir / "app"
        self.folder.mkdir()
        backend = compiled("backend", place.dir)
        (self.folder / "livepush.yml").write_text(f"app: front\ncommand: [{backend}]\n")
        self.version = self.folder / "version.txt"
        self.version.write_text("0")
        self.livepush = place.spawn(tools.LIVEPUSH, "watch", "--json", self.folder, "front")
        url = tools.event(self.livepush, "ready")["url"]
        self.ports = {"livepush": urllib.parse.urlsplit(url).port}
        self.controller = children_of(self.livepush.pid)[0]
        self.pids = {"livepush": self.controller}
        if rivals:
            self._start_rivals(backend)

    def _start_rivals(self, backend):
        app = self.ports["the app itself"] = tools.free_port()
        place = self.place
        place.env["PORT"] = str(app)
        place.spawn(backend)
        for name, text, argv in (("haproxy", HAPROXY, ["haproxy", "-db", "-f"]),
                                 ("nginx", NGINX, ["nginx", "-c"])):
            port = self.ports[name] = tools.free_port()
            config = place.dir / f"{name}.conf"
            config.write_text(text.format(port=port, app=app, dir=place.dir))
            self.pids[name] = place.spawn(*argv, config).pid
        for port in self.ports.values():
            tools.wait_for(lambda port=port: accepts(port), "all listen")
        self.pids["nginx"] = tools.wait_for(lambda: children_of(self.pids["nginx"]),
                                            "nginx has its worker")[0]

    def processor(self, name):
        return processor_of(self.pids[name]) if name in self.pids else 0.0

    def save(self, number):
        """Saves another version; returns when its generation serves."""
        workload.save_by_rename(self.version, str(number).encode())
        tools.event(self.livepush, "restarted")


# requests and latency

def wrk(port, seconds):
    """Requests a second, requests, and how many of them failed."""
    out = output_of("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", f"http://127.0.0.1:{port}/")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            int(re.search(r"(\d+) requests in", out).group(1)),
            sum(int(n) for found in (errors, refused) if found for n in found.groups()))


def medians_of_ratios(rounds, one, other):
    return statistics.median(values[one] / values[other] for values in rounds)


def cost_of(doors, rounds, name, digits):
    if name not in doors.pids:
        return "-"
    return f"{statistics.median(values[name] for values in rounds):.{digits}f}"


def measure_requests(options, doors):
    rounds, costs = [], []
    for number in range(options.rounds):
        say(f"front: requests, round {number + 1}")
        rounds.append({})
        costs.append({})
        for name, port in doors.ports.items():
            before = doors.processor(name)
            rounds[-1][name], count, failed = wrk(port, WRK_SECONDS)
            if failed:
                raise tools.BenchError(f"{name}: {failed} of {count} requests failed")
            costs[-1][name] = (doors.processor(name) - before) / count * 1e6
    ratio = medians_of_ratios(rounds, "livepush", "haproxy")
    rows = [[name, f"{statistics.median(values[name] for values in rounds):,.0f}",
             f"{medians_of_ratios(rounds, name, 'haproxy'):.2f} ×",
             cost_of(doors, costs, name, 1)] for name in doors.ports]
    text = (f"`wrk`, {CONNECTIONS} kept connections, {options.rounds} rounds of {WRK_SECONDS} s "
            "each in turn, medians.\n\n"
            + table(["in front of the app", "requests/s", "of haproxy's in the same round",
                     "processor µs a request"], rows))
    target = ("requests/s, of haproxy's", "≥ 0.9 ×", f"{ratio:.2f} ×", ratio >= 0.9)
    return text, target, min(values["livepush"] for values in rounds) / 2


def measure_latency(options, doors, rate):
    load = compiled("load", doors.place.dir)
    rounds = []
    for number in range(options.rounds * LATENCY_ROUNDS):
        if number % LATENCY_ROUNDS == 0:
            say(f"front: latency, round {number + 1}")
        rounds.append({})
        for name, port in doors.ports.items():
            count, failed, *times = output_of(load, port, rate, LATENCY_SECONDS, 32).split()
            if failed != "0":
                raise tools.BenchError(f"{name}: {failed} of {count} requests failed")
            rounds[-1][name] = [float(value) for value in times]

    def added(name, which):
        return statistics.median(values[name][which] - values["the app itself"][which]
                                 for values in rounds) / 1e3

    def spread(name):
        quartiles = statistics.quantiles((values[name][1] for values in rounds), n=4)
        return [f"{quartiles[which] / 1e3:.3f}" for which in (0, 2)]

    rows = [[name] + [f"{statistics.median(values[name][which] for values in rounds) / 1e3:.3f}"
                      for which in (0, 1)]
            + spread(name) + [f"{added(name, which):+.3f}" for which in (0, 1)]
            for name in doors.ports]
    text = (f"{rate:,.0f} requests/s at an even rate over 32 kept connections, half of what "
            f"livepush did at the least; {len(rounds)} rounds of {LATENCY_SECONDS} s each in "
            "turn, medians over the rounds and, of p99, the quarters below and above, in ms.\n\n"
            + table(["in front of the app", "p50", "p99", "p99, low quarter",
                     "p99, high quarter", "p50 added", "p99 added"], rows))
    p50, p99 = added("livepush", 0), added("livepush", 1)
    return text, ("latency added at half load", "p50 ≤ 0.1 ms, p99 ≤ 1 ms",
                  f"{p50:.3f} ms, {p99:.3f} ms (haproxy {added('haproxy', 0):.3f} ms, "
                  f"{added('haproxy', 1):.3f} ms)", p50 <= 0.1 and p99 <= 1)


# large bodies

def measure_bodies(options, doors):
    upload = doors.place.dir / "upload.bin"
    with open(upload, "wb") as file:
        file.truncate(GIB)
    before = memory_of(doors.controller)
    rounds = {"download": [], "upload": []}
    costs = {"download": [], "upload": []}
    for number in range(options.rounds):
        say(f"front: 1 GiB, round {number + 1}")
        for way, rest in rounds.items():
            rest.append({})
            costs[way].append({})
            for name, port in doors.ports.items():
                url = f"http://127.0.0.1:{port}/bytes/{GIB}"
                extra = ["-T", upload, "-H", "Expect:"] if way == "upload" else []
                spent = doors.processor(name)
                out = output_of("curl", "-fsS", "-o", "/dev/null", "-w", f"%{{speed_{way}}}",
                                *extra, url)
                rest[-1][name] = float(out)
                costs[way][-1][name] = doors.processor(name) - spent
    grown = memory_of(doors.controller, "VmHWM") - before
    ratios = {way: medians_of_ratios(rest, "livepush", "haproxy") for way, rest in rounds.items()}
    rows = [[name] + [f"{statistics.median(values[name] for values in rest) / 2 ** 20:,.0f}"
                      for rest in rounds.values()]
            + [f"{medians_of_ratios(rest, name, 'haproxy'):.2f} ×" for rest in rounds.values()]
            + [cost_of(doors, rest, name, 2) for rest in costs.values()]
            for name in doors.ports]
    text = (f"`curl`, {options.rounds} rounds each in turn, medians, in MiB/s. The controller's "
            f"memory grew by {grown:.1f} MB meanwhile, at its highest.\n\n"
            + table(["in front of the app", "download", "upload", "of haproxy's: download",
                     "upload", "processor s: download", "upload"], rows))
    return text, [(f"1 GiB {way}, of haproxy's", "≥ 0.9 ×", f"{ratio:.2f} ×", ratio >= 0.9)
                  for way, ratio in ratios.items()] + [
        ("memory for it", "constant (≤ 16 MB more)", f"{grown:.1f} MB", grown <= 16)]


# swaps

def hey(port, seconds, *extra):
    """Requests that got 200, requests that did not, and p99 in ms."""
    out = output_of("hey", "-z", f"{seconds}s", "-c", SWAP_CONNECTIONS, "-q",
                    SWAP_RATE // SWAP_CONNECTIONS, *extra, f"http://127.0.0.1:{port}/")
    codes = {code: int(n) for code, n in re.findall(r"^\s+\[(\d+)\]\s+(\d+) responses", out, re.M)}
    errors = sum(int(n) for n in re.findall(r"^\s+\[(\d+)\]\s+(?!\d+ responses)\S", out, re.M))
    p99 = re.search(r"99% in ([\d.]+) secs", out)
    good = codes.pop("200", 0)
    return good, sum(codes.values()) + errors, float(p99.group(1)) * 1e3 if p99 else float("inf")


def swap_often(doors, count, until):
    """Saves until `count` generations have come to serve or the load has ended; how many did."""
    done = 0
    while done < count and not until.is_set():
        doors.save(f"{time.monotonic_ns()}")
        done += 1
        time.sleep(SWAP_GAP_SECONDS)
    return done


def swap_during(doors, count, load):
    """Calls `load` again and again until `count` swaps are done; returns what it returned, and how
    many swaps there were."""
    ended, done, results = threading.Event(), [0], []

    def swap():
        done[0] = swap_often(doors, count, ended)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        while swapper.is_alive():
            results.append(load())
    finally:
        ended.set()
        swapper.join()
    return results, done[0]


def measure_swaps_at_full_load(options, doors):
    say(f"front: {options.swaps} swaps, wrk")
    results, swaps = swap_during(doors, options.swaps,
                                 lambda: wrk(doors.ports["livepush"], WRK_SECONDS))
    count, failed = (sum(result[which] for result in results) for which in (1, 2))
    text = (f"`wrk`, {CONNECTIONS} kept connections, as fast as it can while saves swap "
            f"generations: {count:,} requests, {failed} failed, {swaps} swaps.")
    return text, (f"{options.swaps} swaps under all that wrk can send: failed", "0",
                  f"{failed} in {swaps} swaps", failed == 0 and swaps >= options.swaps)


def measure_swaps(options, doors):
    port = doors.ports["livepush"]
    each = options.swaps // 4
    modes = [("GET, kept connections", []), ("GET, new connections", ["-disable-keepalive"]),
             ("POST, kept connections", ["-m", "POST", "-d", "hello"]),
             ("POST, new connections", ["-m", "POST", "-d", "hello", "-disable-keepalive"])]
    rows, swaps, failed, worst = [], 0, 0, 0
    for name, extra in modes:
        say(f"front: {each} swaps, {name}")
        _, calm_failed, calm_p99 = hey(port, 5, *extra)
        results, done = swap_during(doors, each, lambda extra=extra: hey(port, 5, *extra))
        good, bad = (sum(result[which] for result in results) for which in (0, 1))
        p99 = max(result[2] for result in results)
        swaps, failed = swaps + done, failed + bad + calm_failed
        worst = max(worst, p99 / calm_p99)
        rows.append([name, f"{good:,}", str(bad), str(done), f"{calm_p99:.1f}", f"{p99:.1f}"])
    text = (f"`hey`, {SWAP_RATE:,} requests/s over {SWAP_CONNECTIONS} connections while saves swap "
            "generations, one as soon as the last serves.\n\n"
            + table(["load", "answered 200", "failed", "swaps", "p99 without swaps, ms",
                     "p99 with, ms"], rows))
    return text, [
        (f"{options.swaps} swaps under {SWAP_RATE:,} requests/s: failed", "0",
         f"{failed} in {swaps} swaps", failed == 0 and swaps >= 4 * each),
        ("p99 with swaps, of p99 without", "≤ 3 ×", f"{worst:.1f} ×", worst <= 3)]


# idle connections

def measure_idle(options, doors):
    count = options.idle_connections
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    say(f"front: {count:,} idle connections")
    before = memory_of(doors.controller)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(
                ("127.0.0.1", doors.ports["livepush"])))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
            if not sock.recv(4096).startswith(b"HTTP/1.1 200"):
                raise tools.BenchError("an idle connection got no answer first")
        after = memory_of(doors.controller)
        connection = http.client.HTTPConnection("127.0.0.1", doors.ports["livepush"], timeout=10)
        connection.request("GET", "/")
        if connection.getresponse().status != 200:
            raise tools.BenchError("nobody is served beside the idle connections")
        connection.close()
    text = (f"{count:,} connections that got one answer each and stay open: the controller's "
            f"resident memory goes from {before:.1f} to {after:.1f} MB.")
    return text, (f"{count:,} idle connections", "≤ 40 MB resident", f"{after:.1f} MB", after <= 40)


def check_tools():
    os.environ["PATH"] += ":/usr/sbin"  # where Debian has haproxy and nginx
    for name in ("haproxy", "nginx", "wrk", "hey", "curl", "cc"):
        if not shutil.which(name):
            raise tools.BenchError(f"{name} is not here")


def bench_front(options, trees):
    check_tools()
    versions = [output_of("haproxy", "-v").partition("\n")[0],
                subprocess.run(["nginx", "-v"], capture_output=True, text=True,
                               check=False).stderr.strip()]
    texts, targets = [", ".join(versions) + "."], []
    # A controller of its own for what looks at its memory.
    with tools.Place(options.dir) as place:
        doors = Doors(place)
        text, target, rate = measure_requests(options, doors)
        texts.append(text)
        targets.append(target)
        text, target = measure_latency(options, doors, rate)
        texts.append(text)
        targets.append(target)
        text, more = measure_bodies(options, doors)
        texts.append(text)
        targets += more
    with tools.Place(options.dir) as place:
        text, target = measure_idle(options, Doors(place, rivals=False))
        texts.append(text)
    with tools.Place(options.dir) as place:
        doors = Doors(place, rivals=False)
        text, more = measure_swaps(options, doors)
        texts.append(text)
        targets += more
        text, last = measure_swaps_at_full_load(options, doors)
        texts.append(text)
        targets += [last, target]
    restart = rows_save.bench_restart(options, trees)
    texts.append(restart.text)
    targets += [(f"{restart.title}: {what}", *rest) for what, *rest in restart.targets]
    return Result("the front door", "\n\n".join(texts), targets)
