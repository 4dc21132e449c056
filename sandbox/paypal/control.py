"""Steer a running stand-in for PayPal, from tests or by hand.

python -m sandbox.paypal.control fault timeout_after --count 1
python -m sandbox.paypal.control webhooks duplicates=3 delay_ms=50
python -m sandbox.paypal.control book
"""

from __future__ import annotations

import os
import sys
from typing import Any

from sandbox.standin.control import Control as AnyControl
from sandbox.standin.control import Json, run

DEFAULT_URL = f"http://127.0.0.1:{os.environ.get('SANDBOX_PAYPAL_PORT') or 12112}"


class Control(AnyControl):
    """The `/sandbox/…` side of a stand-in for PayPal at `url`."""

    def approve(self, object_id: str, *, payer: str | None = None) -> Json:
        """Approve an order or a setup token as its payer; return where the browser goes next."""
        return self.ask("POST", f"approve/{object_id}", {"payer": payer} if payer else {})

    def cancel(self, object_id: str) -> Json:
        """Leave the payer's page without approving."""
        return self.ask("POST", f"approve/{object_id}", {"outcome": "cancel"})

    def settle(self, capture_id: str, *, outcome: str = "succeeded") -> Json:
        """End a pending capture: succeeded or failed."""
        return self.ask("POST", f"captures/{capture_id}", {"outcome": outcome})

    def refund(self, **params: Any) -> Json:
        """Refund as on PayPal's site: capture, amount (text), status, note."""
        return self.ask("POST", "refunds", params)

    def move_refund(self, refund_id: str, status: str) -> Json:
        """Move a refund: a pending one to completed, failed or cancelled; one done to failed."""
        return self.ask("POST", f"refunds/{refund_id}", {"status": status})

    def reverse(self, capture_id: str) -> Json:
        """Have PayPal take back what is left of a capture; return the refund that it is told as."""
        return self.ask("POST", f"captures/{capture_id}/reverse")

    def dispute(self, **params: Any) -> Json:
        """Open a dispute: capture, amount as text, reason, stage (CHARGEBACK or INQUIRY)."""
        return self.ask("POST", "disputes", params)

    def end_dispute(self, dispute_id: str, status: str) -> Json:
        """Decide a dispute: won or lost."""
        return self.ask("POST", f"disputes/{dispute_id}", {"status": status})

    def keep_token(self, **params: Any) -> Json:
        """Put a payer's wallet into the vault: payer (an address), customer (an id)."""
        return self.ask("POST", "payment_tokens", params)

    def change_token(self, token_id: str, fate: str) -> Json:
        """Decide how a payment token pays: `instrument_declined`, `pending`, `well`."""
        return self.ask("POST", f"payment_tokens/{token_id}", {"fate": fate})

    def plant(self, **params: Any) -> Json:
        """Take money `count` times without an event: at, value, currency, fee, invoice_id."""
        return self.ask("POST", "captures", params)

    def date(self, at: int, *object_ids: str) -> Json:
        """Have objects been made at that second since 1970."""
        return self.ask("POST", "dates", {"at": at, "ids": object_ids})

    def report_at_most(self, most: int) -> Json:
        """Have the report refuse a search that finds more than that."""
        return self.ask("POST", "reporting", {"most": most})

    def root(self) -> bytes:
        """Return the root that the events' certificate chains to, as PEM."""
        answer = self.session.get(f"{self.url}/sandbox/root.pem", timeout=30)
        answer.raise_for_status()
        return answer.content


if __name__ == "__main__":
    url = os.environ.get("PAYPAL_API_BASE") or DEFAULT_URL
    sys.exit(run(Control, prog="python -m sandbox.paypal.control", about=__doc__, url=url))
