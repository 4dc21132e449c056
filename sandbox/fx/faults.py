"""What can go wrong at the source of exchange rates, besides the wire."""

from __future__ import annotations

from sandbox.standin.faults import WIRE

# Errors of its own, each by its word.
ANSWERED = {
    "rate_limit": "access_restricted",  # 429
    "server_error": "internal_error",  # 500
    "unauthorized": "invalid_app_id",  # 401
    "not_allowed": "not_allowed",  # 403
}
SPOILT = frozenset(
    {
        "garbage",  # 200 with what is no JSON
        "negative",  # one rate below zero
        "no_base",  # an answer that doesn't say what it is in
        "truncated",  # a quarter of the currencies
        "zero",  # one rate of nothing
    }
)
KINDS = SPOILT | ANSWERED.keys()
STRIKING = WIRE | KINDS
