"""Run the stand-in: `python -m sandbox.mail --port 12113 --folder var/sandbox/mail`."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from sandbox.mail.api import Api
from sandbox.mail.book import Book
from sandbox.mail.deliveries import Deliveries
from sandbox.mail.desk import Desk
from sandbox.standin.faults import Faults
from sandbox.standin.serving import Usual, clock_of, opened, parser_of, serve
from sandbox.standin.wire import LOOPBACK, Application

WEBHOOK_SETTING = "SANDBOX_MAIL_WEBHOOK_URL"
WEBHOOK_URL = f"http://{LOOPBACK}:8000/api/v1/webhooks/sendgrid"
USUAL = Usual(
    provider="mail",
    port_setting="SANDBOX_MAIL_PORT",
    port=12113,
    webhook_setting=WEBHOOK_SETTING,
    folder=Path("var/sandbox/mail"),
)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = parser_of(USUAL, __doc__)
    parser.set_defaults(webhook_url=os.environ.get(WEBHOOK_SETTING) or WEBHOOK_URL)
    serve(USUAL.provider, (options := parser.parse_args()).port, partial(_sides, options))


def _sides(options: argparse.Namespace) -> tuple[Application, Application]:
    book = opened(lambda: Book(options.folder, clock_of(options)))
    faults = Faults(frozenset())
    deliveries = Deliveries(book, url=options.webhook_url)
    return Api(book, faults, deliveries), Desk(book, faults, deliveries)


if __name__ == "__main__":
    main()
