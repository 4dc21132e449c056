"""Every metric there is, in one table: what it is, its unit, and which events it is made of.

Who shows, rolls up, or reports figures reads this and nothing else. All are made of our own events:
what a caller told the API counts as no money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """What a metric's value is told in."""

    MONEY = "money"  # in the row's currency
    COUNT = "count"
    QUANTITY = "quantity"  # of a module's own unit
    DAYS = "days"
    SHARE = "share"  # from 0 to 1


class Of(StrEnum):
    """What of an event is summed."""

    AMOUNT = "amount"
    QUANTITY = "quantity"
    EVENTS = "events"


@dataclass(frozen=True, kw_only=True)
class Term:
    """A sum over events of one name; with `only`, those of these dimensions; `sign` is 1 or -1."""

    event: str
    of: Of = Of.EVENTS
    sign: int = 1
    only: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: the sum of its terms, divided by those of `per` where it has any.

    Attributes:
        dimension: what the events' dimension is for it; empty where it has none.
        is_for_operators: only over all companies of a tenant.
    """

    name: str
    about: str
    unit: Unit
    terms: tuple[Term, ...]
    per: tuple[Term, ...] = ()
    dimension: str = ""
    is_for_operators: bool = False

    @property
    def is_money(self) -> bool:
        """Whether its values are of a currency, so that they add up only within one."""
        return self.unit is Unit.MONEY

    @property
    def events(self) -> frozenset[str]:
        """Return the names of the events that it is made of."""
        return frozenset(each.event for each in (*self.terms, *self.per))


def _amount(event: str, sign: int = 1, only: tuple[str, ...] = ()) -> Term:
    return Term(event=event, of=Of.AMOUNT, sign=sign, only=only)


def _count(event: str) -> tuple[Term, ...]:
    return (Term(event=event),)


METRICS: Mapping[str, Metric] = {
    each.name: each
    for each in (
        Metric(
            name="revenue",
            about="What was paid.",
            unit=Unit.MONEY,
            terms=(_amount("payment.succeeded"),),
        ),
        Metric(
            name="refunds",
            about="What was paid back.",
            unit=Unit.MONEY,
            terms=(_amount("refund.succeeded"),),
        ),
        Metric(
            name="net_revenue",
            about="What was paid, less what was paid back.",
            unit=Unit.MONEY,
            terms=(_amount("payment.succeeded"), _amount("refund.succeeded", -1)),
        ),
        Metric(
            name="mrr_churned",
            about="Monthly recurring revenue that was lost with subscriptions that ended.",
            unit=Unit.MONEY,
            terms=(_amount("mrr.changed", -1, ("churn",)),),
        ),
        Metric(
            name="payments_attempted",
            about="Attempts to charge, by the code of the decline if they were declined.",
            unit=Unit.COUNT,
            terms=_count("payment.attempted"),
            dimension="decline code",
        ),
        Metric(
            name="payments_succeeded",
            about="Payments that were made.",
            unit=Unit.COUNT,
            terms=_count("payment.succeeded"),
        ),
        Metric(
            name="payments_failed",
            about="Payments that failed for good.",
            unit=Unit.COUNT,
            terms=_count("payment.failed"),
        ),
        Metric(
            name="payment_success_rate",
            about="Of all attempts to charge, the share that was not declined.",
            unit=Unit.SHARE,
            terms=(Term(event="payment.attempted", only=("",)),),
            per=_count("payment.attempted"),
        ),
        Metric(
            name="recovered_amount",
            about="What was paid after it had failed, by the step of the ladder.",
            unit=Unit.MONEY,
            terms=(_amount("payment.recovered"),),
            dimension="step",
        ),
        Metric(
            name="recoveries",
            about="Payments that were made after they had failed, by the step of the ladder.",
            unit=Unit.COUNT,
            terms=_count("payment.recovered"),
            dimension="step",
        ),
        Metric(
            name="days_to_pay",
            about="Days from an invoice's issue until it was paid, on average.",
            unit=Unit.DAYS,
            terms=(Term(event="invoice.paid", of=Of.QUANTITY),),
            per=_count("invoice.paid"),
        ),
        Metric(
            name="usage",
            about="What was used of modules, in their own units.",
            unit=Unit.QUANTITY,
            terms=(Term(event="usage.recorded", of=Of.QUANTITY),),
            dimension="module",
        ),
        Metric(
            name="invoices_issued",
            about="Invoices that were issued.",
            unit=Unit.COUNT,
            terms=_count("invoice.issued"),
        ),
        Metric(
            name="disputes_opened",
            about="Disputes that banks have opened.",
            unit=Unit.COUNT,
            terms=_count("dispute.opened"),
        ),
        Metric(
            name="disputes_lost",
            about="Disputes that were lost.",
            unit=Unit.COUNT,
            terms=_count("dispute.lost"),
        ),
        Metric(
            name="errors",
            about="Work that was given up, and requests that a provider refused as wrong.",
            unit=Unit.COUNT,
            terms=(*_count("error.dead_letter"), *_count("error.rejected")),
        ),
        Metric(
            name="mails_sent",
            about="Letters that were sent.",
            unit=Unit.COUNT,
            terms=_count("mail.sent"),
        ),
        Metric(
            name="mails_bounced",
            about="Letters that came back.",
            unit=Unit.COUNT,
            terms=_count("mail.bounced"),
        ),
    )
}
