"""Stand-ins for Sentry's ingest and the DogStatsD agent, on loopback."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class SentryIngest:
    """Takes envelopes over HTTP and keeps their raw text and their items."""

    def __init__(self) -> None:
        self.raw: list[str] = []
        self.items: list[tuple[str, Any]] = []
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.take(body, self.headers.get("Content-Encoding", ""))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self._server.server_port}/1"

    def take(self, body: bytes, encoding: str) -> None:
        if encoding == "gzip":
            body = gzip.decompress(body)
        elif encoding == "deflate":
            body = zlib.decompress(body)
        lines = body.splitlines()
        self.raw.append(body.decode())
        self.items += [
            (json.loads(head)["type"], json.loads(payload))
            for head, payload in zip(lines[1::2], lines[2::2], strict=True)
        ]

    def of_type(self, kind: str) -> list[Any]:
        return [payload for each, payload in list(self.items) if each == kind]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class StatsdAgent:
    """Takes UDP packets and keeps their lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def of_name(self, name: str) -> list[str]:
        return [line for line in list(self.lines) if line.startswith(f"{name}:")]

    def _listen(self) -> None:
        while not self._is_over.is_set():
            try:
                packet = self._socket.recv(65_535)
            except TimeoutError:
                continue
            self.lines += packet.decode().splitlines()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._socket.close()
