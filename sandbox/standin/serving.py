"""The life of a stand-in's process: its book is read, then it serves until it is told to end."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from sandbox.standin.journal import FolderInUse
from sandbox.standin.wire import Answer, Application, Request, Server

BookT = TypeVar("BookT")


def opened(make_book: Callable[[], BookT]) -> BookT:
    """Open a book; a long journal is loaded in a third of the time without the collector."""
    gc.disable()
    book = make_book()
    gc.freeze()
    gc.enable()
    return book


def serve(name: str, port: int, sides: Callable[[], tuple[Application, Application]]) -> None:
    """Serve the desk at `/sandbox/…` and the API elsewhere until SIGTERM or Ctrl-C.

    Args:
        sides: makes the API and the desk.
    """
    try:
        api, desk = sides()

        def application(request: Request) -> Answer:
            return desk(request) if request.path.startswith("/sandbox") else api(request)

        server = Server(port, application)
    except (FolderInUse, OSError) as error:
        sys.exit(f"The sandbox can't start on port {port}: {error}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"sandbox {name} listens on http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.socket.close()
