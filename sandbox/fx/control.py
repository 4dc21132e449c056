"""Steer a running stand-in for Open Exchange Rates, from tests or by hand.

python -m sandbox.fx.control fault garbage --count 1
python -m sandbox.fx.control book
"""

from __future__ import annotations

import os
import sys
from typing import Any

from sandbox.standin.control import Control as AnyControl
from sandbox.standin.control import Json, run

DEFAULT_URL = f"http://127.0.0.1:{os.environ.get('SANDBOX_FX_PORT') or 12114}"


class Control(AnyControl):
    """The `/sandbox/…` side of a stand-in for Open Exchange Rates at `url`."""

    def fault(self, kind: str, **more: Any) -> None:
        """Set a fault of the API; `count=None` lasts until `clear_faults()`."""
        super().fault(kind, **{"method": "GET", "path": "/api/*", **more})

    def asks(self) -> list[Json]:
        """Return what was asked, oldest first: method, path, status."""
        found: list[Json] = self.book()["asks"]
        return found

    def set_rate(self, currency: str, rate: str) -> Json:
        """Have one dollar be so much of a currency from now on."""
        return self.ask("POST", f"rates/{currency}", {"rate": rate})


if __name__ == "__main__":
    url = os.environ.get("OPENEXCHANGERATES_BASE") or DEFAULT_URL
    sys.exit(run(Control, prog="python -m sandbox.fx.control", about=__doc__, url=url))
