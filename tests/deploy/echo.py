"""Who stands behind the front where only the front is tested: tells what reached it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sandbox.children import LOOPBACK

CODE = b"// as a module would be\n" * 200


class Echo(ThreadingHTTPServer):
    """Answers with the request as JSON; with a script where one is asked for; upgrades `/ws`.

    After an upgrade it sends back each byte: what frames are is nothing to the front.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.paths: list[str] = []
        super().__init__((LOOPBACK, 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Echo

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Upgrade") == "websocket":
            self._upgrade()
        elif self.path.endswith(".js"):
            self._answer("text/javascript; charset=utf-8", CODE)
        else:
            names = {name: self.headers.get_all(name) for name in self.headers}
            told = {"path": self.path, "headers": names, "length": len(body), "padding": "x" * 2000}
            self._answer("application/json", json.dumps(told).encode())

    do_POST = do_GET  # noqa: N815  the name that http.server looks for

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _upgrade(self) -> None:
        self.close_connection = True
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        while part := self.connection.recv(65536):
            self.connection.sendall(part)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def echoing() -> Iterator[Echo]:
    """Run one until the block ends."""
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def port_of(server: Echo) -> int:
    return int(server.server_address[1])


def nobody() -> int:
    """Return a port where connections are refused: it is bound, and nobody listens."""
    held = socket.socket()
    held.bind((LOOPBACK, 0))
    port: int = held.getsockname()[1]
    _held.append(held)
    return port


_held: list[socket.socket] = []
