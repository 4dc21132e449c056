"""The ladder: when a declined payment is charged again, and when never. Pure; all times are UTC.

A card climbs one step after each soft decline: 24, 48 and 72 hours unless the company's policy
says otherwise. The limits below hold whatever a policy says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from schedules.declines import Advice

MAX_RETRIES = 3
# Retries of one invoice with one card. Each is a cost to the customer's bank, and from the fourth
# on hardly any succeeds. Another card starts anew.
MAX_CARD_DECLINES = 10
# Declined attempts on one card, whatever they were for, within `CARD_WINDOW`. Visa fines the 16th
# in 30 days, Mastercard the 36th, or the 11th in 24 hours.
CARD_WINDOW = timedelta(days=30)
SHORTEST_DELAY_H = 1
LONGEST_DELAY_H = 30 * 24
# A card's window is 30 days: a later step would no longer belong to the first decline.
DEFAULT_DELAYS_H = (24, 48, 72)

# How often a decline of this kind is tried again, by the table of declines.
RETRIES = {Advice.RETRY: MAX_RETRIES, Advice.RETRY_TWICE: 2, Advice.RETRY_ONCE: 1}


class InvalidPolicy(ValueError):
    """A policy that is outside the limits; the message says which."""


@dataclass(frozen=True)
class RetryPolicy:
    """Hours to wait after the first, second and third decline; no hours, or disabled, is "off"."""

    delays_h: tuple[int, ...] = DEFAULT_DELAYS_H
    is_enabled: bool = True

    def __post_init__(self) -> None:
        if len(self.delays_h) > MAX_RETRIES:
            raise InvalidPolicy(f"has more than {MAX_RETRIES} steps")
        if any(not SHORTEST_DELAY_H <= hours <= LONGEST_DELAY_H for hours in self.delays_h):
            raise InvalidPolicy(f"has a step outside {SHORTEST_DELAY_H} to {LONGEST_DELAY_H} hours")

    @property
    def steps(self) -> int:
        """How many retries it allows."""
        return len(self.delays_h) if self.is_enabled else 0


class Step(StrEnum):
    """What becomes of a payment after a decline."""

    SCHEDULED = "scheduled"
    ASKED = "asked"
    STOPPED = "stopped"
    EXHAUSTED = "exhausted"
    IN_REVIEW = "in_review"


class Reason(StrEnum):
    """Why; `SENTENCES` says it to a person."""

    SOFT_DECLINE = "soft_decline"
    SCHEDULE_KEPT = "schedule_kept"
    NETWORK_WAIT = "network_wait"
    CUSTOMER_MUST_ACT = "customer_must_act"
    HARD_DECLINE = "hard_decline"
    UNKNOWN_DECLINE = "unknown_decline"
    POSSIBLE_DUPLICATE = "possible_duplicate"
    REFUSED_REQUEST = "refused_request"
    POLICY_OFF = "policy_off"
    RETRIES_SPENT = "retries_spent"
    ADVICE_SPENT = "advice_spent"
    CARD_SPENT = "card_spent"
    CARD_GONE = "card_gone"
    NEW_CARD = "new_card"
    IN_BROWSER = "in_browser"


SENTENCES = {
    Reason.SOFT_DECLINE: "The decline may pass, so the payment is tried again.",
    Reason.SCHEDULE_KEPT: "A retry by hand was declined; the schedule stays as it was.",
    Reason.NETWORK_WAIT: "The card network asks to wait longer than the schedule does.",
    Reason.CUSTOMER_MUST_ACT: "No retry can succeed before the customer has acted.",
    Reason.HARD_DECLINE: "The bank refuses this card for good.",
    Reason.UNKNOWN_DECLINE: "The decline is not one that may be tried again unseen.",
    Reason.POSSIBLE_DUPLICATE: "The provider takes it for a duplicate: it is looked up first.",
    Reason.REFUSED_REQUEST: "The provider says that the request itself is wrong.",
    Reason.POLICY_OFF: "The company's policy has retries switched off.",
    Reason.RETRIES_SPENT: "All retries of this invoice with this card are used up.",
    Reason.ADVICE_SPENT: "A decline of this kind has been tried again as often as it may be.",
    Reason.CARD_SPENT: f"The card was declined {MAX_CARD_DECLINES} times within 30 days.",
    Reason.CARD_GONE: "The card was removed and there is no other one.",
    Reason.NEW_CARD: "There is a new card, so the payment is tried with it.",
    Reason.IN_BROWSER: "The customer pays by themselves: there is no kept method to charge.",
}

_ENDS = {
    Advice.ASK: (Step.ASKED, Reason.CUSTOMER_MUST_ACT),
    Advice.STOP: (Step.STOPPED, Reason.HARD_DECLINE),
    Advice.STOP_AND_REVIEW: (Step.IN_REVIEW, Reason.UNKNOWN_DECLINE),
    Advice.LOOK_UP: (Step.IN_REVIEW, Reason.POSSIBLE_DUPLICATE),
}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where an invoice and its card stand when a decline is heard.

    Args:
        retries: ladder retries made of this invoice with this card.
        retries_on_advice: of those, the ones that followed a decline of this same advice.
        card_declines: declined attempts on the card within `CARD_WINDOW`, this one included.
        not_before: until when the card's network asked to wait, after this or another decline.
        kept: the date that stood before a retry by hand, which takes no step.
    """

    advice: Advice
    declined_at: datetime
    retries: int
    retries_on_advice: int
    card_declines: int
    not_before: datetime | None = None
    kept: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is done; `retry_at` only where it is scheduled."""

    step: Step
    reason: Reason
    retry_at: datetime | None = None


def decide(standing: Standing, policy: RetryPolicy) -> Decision:
    """Return what a decline leads to. What is not surely allowed is not tried again.

    Raises:
        ValueError: a time without a zone.
    """
    if standing.advice in _ENDS:
        step, reason = _ENDS[standing.advice]
        return Decision(step=step, reason=reason)
    if reason_against := spent(standing, policy):
        return Decision(step=Step.EXHAUSTED, reason=reason_against)
    return _scheduled(standing, policy)


def decide_in_browser(advice: Advice) -> Decision:
    """Return what a decline leads to where nothing is kept that could be charged.

    The customer may try again by themselves, with this card or another.
    """
    step, reason = _ENDS.get(advice, (Step.ASKED, Reason.IN_BROWSER))
    if step is Step.IN_REVIEW:
        return Decision(step=step, reason=reason)
    return Decision(step=Step.ASKED, reason=Reason.IN_BROWSER)


def spent(standing: Standing, policy: RetryPolicy) -> Reason | None:
    """Return which limit allows no more retries, or None; asked again before each retry."""
    if not policy.steps:
        return Reason.POLICY_OFF
    if standing.card_declines >= MAX_CARD_DECLINES:
        return Reason.CARD_SPENT
    if standing.retries >= min(policy.steps, MAX_RETRIES):
        return Reason.RETRIES_SPENT
    if standing.retries_on_advice >= RETRIES.get(standing.advice, 0):
        return Reason.ADVICE_SPENT
    return None


def _scheduled(standing: Standing, policy: RetryPolicy) -> Decision:
    # Hours are counted in UTC: across a change of clocks a zone's own arithmetic is an hour off.
    declined_at = utc(standing.declined_at)
    retry_at = declined_at + timedelta(hours=policy.delays_h[standing.retries])
    reason = Reason.SOFT_DECLINE
    if standing.kept is not None and utc(standing.kept) > declined_at:
        retry_at, reason = utc(standing.kept), Reason.SCHEDULE_KEPT
    if standing.not_before is not None and utc(standing.not_before) > retry_at:
        retry_at, reason = utc(standing.not_before), Reason.NETWORK_WAIT
    return Decision(step=Step.SCHEDULED, reason=reason, retry_at=retry_at)


def steps_ahead(retry_at: datetime, made: int, policy: RetryPolicy) -> list[datetime]:
    """Return when the coming retries are if each is declined at once, the scheduled one first.

    Args:
        made: retries that will have been made once the scheduled one has.
    """
    found = [utc(retry_at)]
    for hours in policy.delays_h[made : policy.steps]:
        found.append(found[-1] + timedelta(hours=hours))
    return found


def utc(moment: datetime) -> datetime:
    """Return the same moment in UTC.

    Raises:
        ValueError: it has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(UTC)
