"""The policy table, written out a second time, as a judge of attempts that were made.

It shares nothing with `schedules.ladder`: a slip there shows here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
STEPS = (24 * HOUR, 48 * HOUR, 72 * HOUR)

# How often a decline may be tried again, and the shortest wait that its network asks for.
OFTEN, TWICE, ONCE, NEVER = 3, 2, 1, 0
BY_CODE = {
    "insufficient_funds": OFTEN,
    "card_velocity_exceeded": OFTEN,
    "processing_error": OFTEN,
    "do_not_honor": TWICE,
    "generic_decline": TWICE,
    "call_issuer": TWICE,
    "approve_with_id": ONCE,
    "authentication_required": NEVER,
    "expired_card": NEVER,
    "incorrect_cvc": NEVER,
    "stolen_card": NEVER,
    "fraudulent": NEVER,
    "duplicate_transaction": NEVER,
    "a_code_nobody_knows": NEVER,
}
BY_NETWORK = {
    "01": (NEVER, 0 * HOUR),
    "02": (OFTEN, 72 * HOUR),
    "03": (NEVER, 0 * HOUR),
    "21": (NEVER, 0 * HOUR),
    "24": (OFTEN, 1 * HOUR),
    "26": (OFTEN, 2 * DAY),
    "28": (OFTEN, 6 * DAY),
    "30": (OFTEN, 10 * DAY),
    "40": (NEVER, 0 * HOUR),
    "99": (NEVER, 0 * HOUR),
}
MOST_RETRIES = 3
MOST_DECLINES, WINDOW = 10, 30 * DAY


@dataclass(frozen=True)
class Made:
    """An attempt that was made. `code` is empty if it succeeded."""

    at: datetime
    invoice: str
    card: str
    is_ladder: bool
    code: str = ""
    network: str = ""

    @property
    def allowed_retries(self) -> int:
        return BY_NETWORK[self.network][0] if self.network else BY_CODE[self.code]

    @property
    def kind(self) -> tuple[str, int]:
        """What is counted together: declines that may be tried equally often."""
        return ("", self.allowed_retries)

    @property
    def wait(self) -> timedelta:
        return BY_NETWORK[self.network][1] if self.network else 0 * HOUR


def judge(made: Iterable[Made], steps: tuple[timedelta, ...] = STEPS) -> list[str]:
    """Return what was done outside the table, a sentence each."""
    ordered = sorted(made, key=lambda attempt: attempt.at)
    found = []
    by_pair: dict[tuple[str, str], list[Made]] = defaultdict(list)
    by_card: dict[str, list[Made]] = defaultdict(list)
    for attempt in ordered:
        before = by_pair[attempt.invoice, attempt.card]
        if attempt.is_ladder:
            found += _judge_step(attempt, before, by_card[attempt.card], steps)
        recent = [
            each for each in by_card[attempt.card] if each.code and each.at > attempt.at - WINDOW
        ]
        if len(recent) >= MOST_DECLINES:
            found.append(f"{attempt}: the card was declined {len(recent)} times in its window")
        before.append(attempt)
        by_card[attempt.card].append(attempt)
    return found


def _judge_step(
    attempt: Made, before: list[Made], on_card: list[Made], steps: tuple[timedelta, ...]
) -> list[str]:
    if not before:
        return [f"{attempt}: climbed without a decline"]
    last = before[-1]
    retries = sum(each.is_ladder for each in before)
    found = []
    if not last.code:
        found.append(f"{attempt}: charged again what was paid")
        return found
    if last.allowed_retries == NEVER:
        found.append(f"{attempt}: {last} is never tried again")
    if retries >= min(MOST_RETRIES, len(steps)):
        found.append(f"{attempt}: retry {retries + 1} of the invoice with this card")
        return found
    spent = sum(
        later.is_ladder and each.code != "" and each.kind == last.kind
        for each, later in pairwise(before)
    )
    if spent >= last.allowed_retries:
        found.append(f"{attempt}: such a decline was tried again {spent} times already")
    # A retry by hand keeps the schedule, so the step counts from the last decline that set it.
    set_by = next((each for each in reversed(before) if each.is_ladder or each is before[0]), last)
    if attempt.at < set_by.at + steps[retries]:
        found.append(f"{attempt}: sooner than {steps[retries]} after {set_by}")
    found += [
        f"{attempt}: sooner than the {each.wait} that {each} asks for"
        for each in on_card
        if each.code and attempt.at < each.at + each.wait and each.at > attempt.at - WINDOW
    ]
    return found
