"""Steer a running stand-in for SendGrid, from tests or by hand.

python -m sandbox.mail.control fault timeout_after --count 1
python -m sandbox.mail.control webhooks duplicates=3
python -m sandbox.mail.control book
"""

from __future__ import annotations

import os
import sys
from typing import Any

from sandbox.standin.control import Control as AnyControl
from sandbox.standin.control import Json, run

DEFAULT_URL = f"http://127.0.0.1:{os.environ.get('SANDBOX_MAIL_PORT') or 12113}"


class Control(AnyControl):
    """The `/sandbox/…` side of a stand-in for SendGrid at `url`."""

    def messages(self, **equal: str) -> list[Json]:
        """Return what was sent, newest first; to one address or of one letter, where given."""
        query = "&".join(f"{name}={value}" for name, value in equal.items())
        found: list[Json] = self.ask("GET", f"messages?{query}")["messages"]
        return found

    def tell(self, message_id: str, event: str, **more: Any) -> Json:
        """Have something become of a message, and tell of it."""
        return self.ask("POST", f"messages/{message_id}/events", {"event": event, **more})


if __name__ == "__main__":
    url = os.environ.get("SENDGRID_API_BASE") or DEFAULT_URL
    sys.exit(run(Control, prog="python -m sandbox.mail.control", about=__doc__, url=url))
