"""A real HTTP server on loopback, for contents that lie elsewhere."""

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves contents by path; counts requests, and those at the same time."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents = {}
        self.failing = Counter()
        """By path: how many requests are answered with 503."""
        self.asked = Counter()
        self.seen = []
        """Authorization and query of each request."""
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.delay = 0.0

    @property
    def host(self):
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, (path, _, query) = self.server, self.path.partition("?")
        with server.lock:
            server.asked[path] += 1
            server.now += 1
            server.most = max(server.most, server.now)
            server.seen.append((self.headers.get("Authorization"), query))
            failing = server.failing[path] > 0
            server.failing[path] -= 1
        time.sleep(server.delay)
        content = server.contents.get(path)
        self.send_response(503 if failing else 200 if content is not None else 404)
        body = b"" if failing or content is None else content
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        with server.lock:
            server.now -= 1

    do_HEAD = do_GET

    def log_message(self, *args):
        pass
