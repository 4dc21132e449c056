"""The life of a stand-in's process: its book is read, then it serves until it is told to end."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sandbox.standin.cross_origin import for_console
from sandbox.standin.journal import FolderInUse
from sandbox.standin.wire import LOOPBACK, Answer, Application, Request, Server
from worker.shared_clock import SharedClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What holds where neither the command line nor the environment says otherwise."""

    provider: str
    port_setting: str
    port: int
    webhook_setting: str
    folder: Path


def parser_of(usual: Usual, about: str | None) -> argparse.ArgumentParser:
    """Return the parser of the options that every stand-in has."""
    parser = argparse.ArgumentParser(prog=f"python -m sandbox.{usual.provider}", description=about)
    given = os.environ
    port = int(given.get(usual.port_setting) or usual.port)
    parser.add_argument("--port", type=int, default=port)
    webhooks = f"http://{LOOPBACK}:8000/api/v1/webhooks/{usual.provider}"
    parser.add_argument("--webhook-url", default=given.get(usual.webhook_setting, webhooks))
    parser.add_argument("--folder", type=Path, default=usual.folder)
    clock = given.get("SANDBOX_CLOCK")
    parser.add_argument("--clock", type=Path, default=Path(clock) if clock else None)
    return parser


def clock_of(options: argparse.Namespace) -> SharedClock | None:
    """Return the clock that is shared with the application, where one is."""
    return SharedClock(options.clock) if options.clock else None


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
        desk = for_console(desk)

        def application(request: Request) -> Answer:
            is_for_desk = f"{request.path}/".startswith("/sandbox/")
            return desk(request) if is_for_desk else api(request)

        server = Server(port, application)
    except (FolderInUse, OSError) as error:
        sys.exit(f"The sandbox can't start on port {port}: {error}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"sandbox {name} listens on http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.socket.close()
