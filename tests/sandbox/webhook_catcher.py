"""A real endpoint on loopback that keeps what is delivered to it and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stripe

from tests.waiting import wait_for

Check = Callable[[bytes, Message], dict]
"""Takes what was delivered and its headers; returns the event, or raises if it is not signed."""


def signed_by_stripe(secret: str) -> Check:
    def check(body: bytes, headers: Message) -> dict:
        event = stripe.Webhook.construct_event(body.decode(), headers["Stripe-Signature"], secret)
        return event.to_dict()

    return check


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CatcherServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.catcher.took(body, self.headers)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class CatcherServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, catcher: Catcher) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.catcher = catcher


class Catcher:
    def __init__(self, check: Check) -> None:
        self.check = check
        self.events: list[dict] = []
        self.refuse = 0
        self.lock = threading.Lock()

        self.server = CatcherServer(self)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"

    def took(self, body: bytes, headers: Message) -> int:
        event = self.check(body, headers)
        with self.lock:
            if self.refuse:
                self.refuse -= 1
                return 503
            self.events.append(event)
            return 200

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def wait_for(self, *types: str) -> None:
        wait_for(lambda: set(types) <= set(self.types))


@contextmanager
def catching(check: Check) -> Iterator[Catcher]:
    catcher = Catcher(check)
    thread = threading.Thread(target=catcher.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield catcher
    finally:
        catcher.server.shutdown()
        thread.join()
        catcher.server.server_close()
