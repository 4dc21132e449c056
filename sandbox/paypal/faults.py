"""What can go wrong at PayPal, besides the wire."""

from __future__ import annotations

from sandbox.standin.faults import WIRE

PAYMENTS = frozenset(
    {
        "capture_pending",  # the next capture stays pending until it is settled on command
        "decline",  # the next payment or refund is refused with decline_code as its issue
    }
)
REFUNDS = frozenset(
    {
        "decline",
        "refund_failed",  # the next refund succeeds, then fails
        "refund_pending",  # the next refund stays pending until it is settled on command
    }
)
REPORTING = frozenset(
    {
        "reporting_late",  # the search for transactions is delay_ms behind
    }
)
REFUSED = frozenset(
    {
        "key_in_use",  # 409: a request with the same PayPal-Request-Id is being executed
        "token_expired",  # 401: the access token is not taken any more
    }
)
KINDS = PAYMENTS | REFUNDS | REFUSED | REPORTING
STRIKING = WIRE | REFUSED
