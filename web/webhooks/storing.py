"""Storing what has come through a door: what each outcome is to the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web.problems import Problem, unavailable
from worker import telemetry
from worker.intake import NotStored, Unkeepable, intake

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.group_commit import Defer
    from worker.intake import Arrival, Outcome


def store(provider: str, read: Callable[[], Arrival], defer: Defer) -> None:
    """Keep what `read` reads, or raise a Problem; ringing for it is given to `defer`."""
    try:
        outcome = _stored(read(), defer)
    except Problem as problem:
        refused = "away" if problem.kind == "unavailable" else "refused"
        telemetry.count("webhooks.received", provider=provider, outcome=refused)
        raise
    telemetry.count("webhooks.received", provider=provider, outcome=outcome)


def _stored(arrival: Arrival, defer: Defer) -> Outcome:
    try:
        return intake().store(arrival, defer)
    except Unkeepable:
        raise Problem("bad-request", "The event cannot be stored as it is.") from None
    except NotStored:
        raise unavailable("The event was not stored; send it again.") from None
