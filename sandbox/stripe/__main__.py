"""Run the stand-in: `python -m sandbox.stripe --port 12111 --folder var/sandbox`."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from sandbox.standin.faults import Faults
from sandbox.standin.serving import opened, serve
from sandbox.standin.wire import Application
from sandbox.stripe.api import Api
from sandbox.stripe.book import Book
from sandbox.stripe.deliveries import Deliveries
from sandbox.stripe.desk import Desk
from sandbox.stripe.faults import KINDS
from worker.shared_clock import SharedClock

WEBHOOK_URL = "http://127.0.0.1:8000/api/v1/webhooks/stripe"


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = _options()
    serve("stripe", options.port, partial(_sides, options))


def _sides(options: argparse.Namespace) -> tuple[Application, Application]:
    clock = SharedClock(options.clock) if options.clock else None
    book = opened(lambda: Book(options.folder, clock))
    faults = Faults(KINDS)
    deliveries = Deliveries(book, url=options.webhook_url, secret=options.webhook_secret)
    return Api(book, faults, deliveries), Desk(book, faults, deliveries)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.stripe", description=__doc__)
    given = os.environ
    parser.add_argument("--port", type=int, default=int(given.get("SANDBOX_PORT") or 12111))
    parser.add_argument("--webhook-url", default=given.get("SANDBOX_WEBHOOK_URL", WEBHOOK_URL))
    parser.add_argument(
        "--webhook-secret", default=given.get("STRIPE_WEBHOOK_KEY") or "whsec_sandbox"
    )
    parser.add_argument("--folder", type=Path, default=Path("var/sandbox"))
    clock = given.get("SANDBOX_CLOCK")
    parser.add_argument("--clock", type=Path, default=Path(clock) if clock else None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
