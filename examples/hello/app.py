"""A web server from Python's standard library alone. Edit MESSAGE, save, reload the page."""

import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MESSAGE = "Hello from livepush!"


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5  # seconds that an idle connection is kept
    wbufsize = -1  # send an answer in one piece

    def do_GET(self):
        body = f"{MESSAGE}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Requests are not logged, so that what you print stands out."""


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for requests that are still running
    request_queue_size = 128


def main():
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Hello)
    # shutdown() waits for serve_forever(), which runs in this thread: ask from another one.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"listening on port {server.server_port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
