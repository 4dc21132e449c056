"""The specification's relay in Python: a hub, and for each client a queue of 256 and a sender.

    python -m benchmarks.peers.hub_on_gevent PORT REDIS_URL

Kinder to it than it is written there: the hub keeps its clients by company instead of asking each,
and a message is passed on as it was published instead of being made anew for each client.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402  after the patches
from collections import defaultdict  # noqa: E402
from contextlib import suppress  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402
from gevent.queue import Full, Queue  # noqa: E402
from geventwebsocket.exceptions import WebSocketError  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402

QUEUE = 256


class Client:
    """One connection: this greenlet reads it, another sends to it."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.messages: Queue = Queue(QUEUE)

    def write(self) -> None:
        """Send what is queued."""
        try:
            for message in self.messages:
                self.socket.send(message)
        except (OSError, WebSocketError):
            self.socket.close()


class Hub:
    """Maintains the clients and passes messages on."""

    def __init__(self) -> None:
        self.clients: dict[str, set[Client]] = defaultdict(set)

    def run(self, url: str) -> None:
        """Hear Redis."""
        pubsub = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
        pubsub.psubscribe("channel:*")
        for found in pubsub.listen():
            message = found["data"].decode()
            for client in self.clients[found["channel"][8:].decode()]:
                with suppress(Full):  # then it is skipped, as specified
                    client.messages.put_nowait(message)

    def serve(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """Hold one connection."""
        socket = environ.get("wsgi.websocket")
        if socket is None:
            start_response("404 Not Found", [])
            return []
        client = Client(socket)
        clients = self.clients[environ["PATH_INFO"].rpartition("/")[2]]
        clients.add(client)
        writer = gevent.spawn(client.write)
        try:
            while socket.receive() is not None:
                pass
        except WebSocketError:
            pass
        finally:
            clients.discard(client)
            writer.kill()
        return []


def main() -> None:
    port, url = int(sys.argv[1]), sys.argv[2]
    hub = Hub()
    gevent.spawn(hub.run, url)
    WSGIServer(
        ("127.0.0.1", port), hub.serve, backlog=4096, log=None, handler_class=WebSocketHandler
    ).serve_forever()


if __name__ == "__main__":
    main()
