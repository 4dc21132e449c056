"""Run the stand-in: `python -m sandbox.fx --port 12114 --folder var/sandbox/fx`."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from sandbox.fx.api import Api
from sandbox.fx.book import Book
from sandbox.fx.desk import Deliveries, Desk
from sandbox.fx.faults import KINDS
from sandbox.standin.faults import Faults
from sandbox.standin.serving import Usual, clock_of, opened, parser_of, serve
from sandbox.standin.wire import Application

USUAL = Usual(
    provider="fx",
    port_setting="SANDBOX_FX_PORT",
    port=12114,
    webhook_setting="",
    folder=Path("var/sandbox/fx"),
)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = _options()
    serve(USUAL.provider, options.port, partial(_sides, options))


def _sides(options: argparse.Namespace) -> tuple[Application, Application]:
    book = opened(lambda: Book(options.folder, clock_of(options)))
    faults = Faults(KINDS)
    return Api(book, faults, options.app_id), Desk(book, faults, Deliveries(book))


def _options() -> argparse.Namespace:
    parser = parser_of(USUAL, __doc__)
    given = os.environ.get("OPENEXCHANGERATES_APP_ID", "")
    parser.add_argument("--app-id", default=given)
    return parser.parse_args()


if __name__ == "__main__":
    main()
