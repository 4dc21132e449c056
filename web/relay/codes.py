"""Why the relay closes a connection: 40xx don't come back, 41xx back off, 42xx come back now."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A close code, and a few words for who reads a log; clients go by the code."""

    code: int
    reason: str


NOT_UNDERSTOOD = Refusal(4000, "not understood")
SESSION_ENDED = Refusal(4001, "the session has ended")
NOT_ALLOWED = Refusal(4003, "not allowed")
RELAY_FULL = Refusal(4100, "the relay is full")
COMPANY_FULL = Refusal(4101, "too many connections of the company")
USER_FULL = Refusal(4102, "too many connections of the user")
TOO_SLOW = Refusal(4103, "too slow")
TOO_MANY = Refusal(4104, "too many messages")
CANNOT_CHECK = Refusal(4105, "cannot check now")
TICKET_INVALID = Refusal(4106, "the ticket is not valid")
CHANGED = Refusal(4106, "what the ticket stood for has changed")
# With `retry_ms=<n>` for a reason: when to come back.
LEAVING = 4200
