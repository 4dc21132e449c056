"""Run the stand-in: `python -m sandbox.paypal --port 12112 --folder var/sandbox/paypal`."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from sandbox.paypal.api import Api
from sandbox.paypal.book import Book
from sandbox.paypal.certificates import Signer
from sandbox.paypal.deliveries import Deliveries
from sandbox.paypal.desk import Desk
from sandbox.paypal.faults import KINDS
from sandbox.paypal.tokens import Clients
from sandbox.standin.faults import Faults
from sandbox.standin.serving import Usual, clock_of, opened, parser_of, serve
from sandbox.standin.wire import Application

USUAL = Usual(
    provider="paypal",
    port_setting="SANDBOX_PAYPAL_PORT",
    port=12112,
    webhook_setting="SANDBOX_PAYPAL_WEBHOOK_URL",
    folder=Path("var/sandbox/paypal"),
)
WEBHOOK_ID = "sandbox"


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = _options()
    serve(USUAL.provider, options.port, partial(_sides, options))


def _sides(options: argparse.Namespace) -> tuple[Application, Application]:
    book = opened(lambda: Book(options.folder, clock_of(options)))
    faults = Faults(KINDS)
    deliveries = Deliveries(
        book,
        url=options.webhook_url,
        signer=Signer(options.folder),
        webhook_id=options.webhook_id,
    )
    clients = Clients(options.client_id, options.client_secret)
    return Api(book, faults, deliveries, clients), Desk(book, faults, deliveries)


def _options() -> argparse.Namespace:
    parser = parser_of(USUAL, __doc__)
    given = os.environ
    parser.add_argument("--webhook-id", default=given.get("PAYPAL_WEBHOOK_ID") or WEBHOOK_ID)
    parser.add_argument("--client-id", default=given.get("PAYPAL_CLIENT_ID", ""))
    parser.add_argument("--client-secret", default=given.get("PAYPAL_CLIENT_SECRET", ""))
    return parser.parse_args()


if __name__ == "__main__":
    main()
