"""What can go wrong at Stripe, besides the wire."""

from __future__ import annotations

from sandbox.standin.faults import WIRE

REFUSED = frozenset(
    {
        "key_in_use",  # 409
        "lock_timeout",  # 429 with code lock_timeout
    }
)
FATES = frozenset(
    {
        "decline",  # the next confirmation is declined, with decline_code and the advice codes
        "refund_failed",  # the next refund ends failed
        "refund_pending",  # the next refund stays pending until it is settled on command
        "refund_requires_action",
    }
)
KINDS = REFUSED | FATES
STRIKING = WIRE | REFUSED
