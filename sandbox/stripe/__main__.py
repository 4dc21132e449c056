"""Run the stand-in: `python -m sandbox.stripe --port 12111 --folder var/sandbox`."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from sandbox.standin.faults import Faults
from sandbox.standin.serving import Usual, clock_of, opened, parser_of, serve
from sandbox.standin.wire import Application
from sandbox.stripe.api import Api
from sandbox.stripe.book import Book
from sandbox.stripe.deliveries import Deliveries
from sandbox.stripe.desk import Desk
from sandbox.stripe.faults import KINDS

USUAL = Usual(
    provider="stripe",
    port_setting="SANDBOX_PORT",
    port=12111,
    webhook_setting="SANDBOX_WEBHOOK_URL",
    folder=Path("var/sandbox"),
)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = _options()
    serve(USUAL.provider, options.port, partial(_sides, options))


def _sides(options: argparse.Namespace) -> tuple[Application, Application]:
    book = opened(lambda: Book(options.folder, clock_of(options)))
    faults = Faults(KINDS)
    deliveries = Deliveries(book, url=options.webhook_url, secret=options.webhook_secret)
    return Api(book, faults, deliveries), Desk(book, faults, deliveries)


def _options() -> argparse.Namespace:
    parser = parser_of(USUAL, __doc__)
    secret = os.environ.get("STRIPE_WEBHOOK_KEY") or "whsec_sandbox"
    parser.add_argument("--webhook-secret", default=secret)
    return parser.parse_args()


if __name__ == "__main__":
    main()
