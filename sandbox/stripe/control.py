"""Steer a running stand-in for Stripe, from tests or by hand.

python -m sandbox.stripe.control fault timeout_after --count 1
python -m sandbox.stripe.control webhooks duplicates=3 delay_ms=50
python -m sandbox.stripe.control book
"""

from __future__ import annotations

import os
import sys
from typing import Any

from sandbox.standin.control import TIMEOUT_S, Json, Refused, run
from sandbox.standin.control import Control as AnyControl

DEFAULT_URL = f"http://127.0.0.1:{os.environ.get('SANDBOX_PORT') or 12111}"


class Control(AnyControl):
    """The `/sandbox/…` side of a stand-in for Stripe at `url`."""

    def refund(self, **params: Any) -> Json:
        """Refund as in the dashboard: payment_intent or charge, amount, status."""
        return self.ask("POST", "refunds", params)

    def move_refund(self, refund_id: str, status: str) -> Json:
        """Settle a pending refund, or let one that succeeded fail."""
        return self.ask("POST", f"refunds/{refund_id}", {"status": status})

    def dispute(self, **params: Any) -> Json:
        """Open a dispute: payment_intent or charge, amount, and a reason (or `inquiry`)."""
        return self.ask("POST", "disputes", params)

    def move_dispute(self, dispute_id: str, status: str) -> Json:
        """Have the bank go on: needs_response (also of an inquiry), under_review."""
        return self.ask("POST", f"disputes/{dispute_id}", {"status": status})

    def end_dispute(self, dispute_id: str, status: str, *, won_back: int = 0) -> Json:
        """Close a dispute: lost, won, prevented, warning_closed; one that is lost maybe in part."""
        body = {"status": status, "won_back": won_back}
        return self.ask("POST", f"disputes/{dispute_id}", body)

    def settle(self, intent_id: str, *, outcome: str | None = "succeeded") -> Json:
        """End an intent's `processing`: succeeded or failed; None as its method's name says."""
        return self.ask("POST", f"payment_intents/{intent_id}", {"outcome": outcome})

    def settle_debits(self) -> list[str]:
        """End the bank debits whose day has come; return their intents' ids."""
        settled: list[str] = self.ask("POST", "debits")["settled"]
        return settled

    def alter(self, object_id: str, *, movement: Json | None = None, **fields: Any) -> Json:
        """Have an object tell other values, without an event; `movement` is its balance's."""
        body = {"fields": fields, "movement": movement or {}}
        return self.ask("POST", f"objects/{object_id}", body)

    def pay_out(self, currency: str = "usd", *, short_by: int = 0) -> Json:
        """Pay out what has gathered on the balance; `short_by` makes it less than its parts."""
        return self.ask("POST", "payouts", {"currency": currency, "short_by": short_by})

    def move_subscription(self, subscription_id: str, status: str) -> Json:
        """Have a subscription be past_due, unpaid, paused, active; or tell `trial_will_end`."""
        return self.ask("POST", f"subscriptions/{subscription_id}", {"status": status})

    def renew(self, method_id: str, **card: Any) -> Json:
        """Renew a card as the networks' updater does.

        Args:
            card: exp_month, exp_year, last4 or fingerprint; `behaves_as`, a test card's token.
        """
        return self.ask("POST", f"payment_methods/{method_id}", card)

    def confirm_in_browser(self, client_secret: str, *, payment_method: str) -> Json:
        """Confirm an intent as Stripe.js does, knowing only its client secret."""
        intent_id = client_secret.partition("_secret_")[0]
        body = {"client_secret": client_secret, "payment_method": payment_method}
        return self.ask("POST", f"payment_intents/{intent_id}/confirm", body)

    def authenticate(self, intent_id: str, *, is_success: bool = True) -> None:
        """Press Complete or Fail on the bank's page."""
        answer = self.session.post(
            f"{self.url}/sandbox/3ds/{intent_id}",
            data={"outcome": "complete" if is_success else "fail"},
            allow_redirects=False,
            timeout=TIMEOUT_S,
        )
        if not answer.ok:
            raise Refused(answer.text)


if __name__ == "__main__":
    url = os.environ.get("STRIPE_API_BASE") or DEFAULT_URL
    sys.exit(run(Control, prog="python -m sandbox.stripe.control", about=__doc__, url=url))
