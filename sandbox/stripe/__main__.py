"""Run the stand-in: `python -m sandbox.stripe --port 12111 --folder var/sandbox`."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
from pathlib import Path

from sandbox.stripe.api import Api
from sandbox.stripe.book import Book
from sandbox.stripe.deliveries import Deliveries
from sandbox.stripe.desk import Desk
from sandbox.stripe.faults import Faults
from sandbox.stripe.journal import FolderInUse
from sandbox.stripe.wire import Answer, Request, Server

WEBHOOK_URL = "http://127.0.0.1:8000/api/v1/webhooks/stripe"


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = _options()
    try:
        _serve(options)
    except (FolderInUse, OSError) as error:
        sys.exit(f"The sandbox can't start on port {options.port}: {error}")


def _serve(options: argparse.Namespace) -> None:
    gc.disable()  # a long journal is loaded in a third of the time
    book = Book(options.folder)
    gc.freeze()
    gc.enable()
    faults = Faults()
    deliveries = Deliveries(book, url=options.webhook_url, secret=options.webhook_secret)
    api = Api(book, faults, deliveries)
    desk = Desk(book, faults, deliveries)

    def application(request: Request) -> Answer:
        return desk(request) if request.path.startswith("/sandbox") else api(request)

    server = Server(options.port, application)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"sandbox stripe listens on http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.socket.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.stripe", description=__doc__)
    given = os.environ
    parser.add_argument("--port", type=int, default=int(given.get("SANDBOX_PORT") or 12111))
    parser.add_argument("--webhook-url", default=given.get("SANDBOX_WEBHOOK_URL", WEBHOOK_URL))
    parser.add_argument(
        "--webhook-secret", default=given.get("STRIPE_WEBHOOK_KEY") or "whsec_sandbox"
    )
    parser.add_argument("--folder", type=Path, default=Path("var/sandbox"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
