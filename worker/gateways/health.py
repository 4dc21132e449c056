"""What a call's outcome says of its provider's health: the one hook of all gateways.

A provider is unwell when it does not answer, cannot be reached, answers 5xx or what nobody can
read, or answers 429: whatever made the limit, asking on prolongs it, and a pause is its cure. A
decline, a refusal of what we sent, a lock that somebody holds for a moment and a key in use are
answers of a provider that is well.
"""

from __future__ import annotations

from worker.breaker import breaker_of
from worker.gateways.base import GatewayError

NO_ANSWER = frozenset({"timeout", "connection_lost", "not_connected", "unreadable"})
# One object is busy, not the provider, though Stripe says 429.
BUSY = frozenset({"lock_timeout"})
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429


def is_unwell(failure: GatewayError | None) -> bool:
    """Whether a call that ended so tells that its provider is unwell."""
    if failure is None or failure.code in BUSY:
        return False
    status = failure.http_status or 0
    return failure.code in NO_ANSWER or status >= SERVER_ERROR or status == TOO_MANY_REQUESTS


def tell(provider: str, failure: GatewayError | None, *, took_s: float) -> None:
    """Tell the provider's breaker how a call ended. Never raises."""
    retry_after_s = getattr(failure, "retry_after_s", None) or 0.0
    breaker_of(provider).tell(
        has_failed=is_unwell(failure), took_s=took_s, retry_after_s=retry_after_s
    )
