"""Beat's entries: which periodic task rings how often. Each only says "claim what is due"."""

from __future__ import annotations

# Once a minute is fine for what is counted in minutes; the sweep is what a crash waits for.
JANITOR_EVERY_S = 20.0
FORGET_EVERY_S = 3600.0
WATCH_EVERY_S = 15.0
INVARIANTS_EVERY_S = 900.0
# A card ends on a day; whoever hears of it an hour later loses nothing.
EXPIRY_EVERY_S = 3600.0
DISPUTES_EVERY_S = 900.0


def entries(*, sweep_every_s: float, missed_every_s: float = 300.0) -> dict[str, float]:
    """Return the periodic tasks by name and the seconds between their rings."""
    return {
        "outbox.sweep": sweep_every_s,
        "ladder.sweep": sweep_every_s,
        "outbox.forget_expired": FORGET_EVERY_S,
        "operations.watch": WATCH_EVERY_S,
        "operations.check_invariants": INVARIANTS_EVERY_S,
        "methods.watch_expiry": EXPIRY_EVERY_S,
        "disputes.remind": DISPUTES_EVERY_S,
        "janitor.sweep": JANITOR_EVERY_S,
        "webhooks.fetch_missed": missed_every_s,
    }
