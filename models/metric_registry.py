"""Every metric there is, in one table: what it is, its unit, and which events it is made of.

Who shows, rolls up, or reports figures reads this and nothing else. All are made of our own events:
what a caller told the API counts as no money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    """A sum over events of one name; with `only`, those of these dimensions.

    Attributes:
        sign: what the sum is taken times: 1, -1, or the months of a year.
    """

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
        is_level: what stands at the end of a time: the sum of all that happened until then.
        is_per_level: divided by what stood at the beginning of the time.
        is_of_companies: counts the companies that have any of its events.
    """

    name: str
    about: str
    unit: Unit
    terms: tuple[Term, ...]
    per: tuple[Term, ...] = ()
    dimension: str = ""
    is_for_operators: bool = False
    is_level: bool = False
    is_per_level: bool = False
    is_of_companies: bool = False

    @property
    def needs_history(self) -> bool:
        """Whether what happened in a time is not enough to tell it for that time."""
        return self.is_level or self.is_per_level or self.is_of_companies

    @property
    def is_money(self) -> bool:
        """Whether its values are of a currency, so that they add up only within one."""
        return self.unit is Unit.MONEY

    @property
    def sums_money(self) -> bool:
        """Whether money is in its sums, also where a share comes of them."""
        return any(each.of is Of.AMOUNT for each in (*self.terms, *self.per))

    @property
    def events(self) -> frozenset[str]:
        """Return the names of the events that it is made of."""
        return frozenset(each.event for each in (*self.terms, *self.per))


def _amount(event: str, sign: int = 1, only: tuple[str, ...] = ()) -> Term:
    return Term(event=event, of=Of.AMOUNT, sign=sign, only=only)


_MRR = "mrr.changed"
# A bank may send a refund back.
_REFUNDED = (_amount("refund.succeeded"), _amount("refund.reversed", -1))
_MONTHS = 12


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
            terms=_REFUNDED,
        ),
        Metric(
            name="net_revenue",
            about="What was paid, less what was paid back.",
            unit=Unit.MONEY,
            terms=(
                _amount("payment.succeeded"),
                *(replace(each, sign=-each.sign) for each in _REFUNDED),
            ),
        ),
        Metric(
            name="mrr",
            about="Monthly recurring revenue as it stood at the end.",
            unit=Unit.MONEY,
            terms=(_amount(_MRR),),
            is_level=True,
        ),
        Metric(
            name="arr",
            about="Recurring revenue of a year as it stood at the end: 12 times that of a month.",
            unit=Unit.MONEY,
            terms=(_amount(_MRR, _MONTHS),),
            is_level=True,
        ),
        Metric(
            name="active_subscriptions",
            about="Subscriptions that had begun and not ended, at the end.",
            unit=Unit.COUNT,
            terms=(
                Term(event="subscription.started"),
                Term(event="subscription.canceled", sign=-1),
            ),
            is_level=True,
        ),
        Metric(
            name="churn_rate",
            about="Monthly recurring revenue that was lost, of what stood at the beginning.",
            unit=Unit.SHARE,
            terms=(_amount(_MRR, -1, ("churn",)),),
            per=(_amount(_MRR),),
            is_per_level=True,
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
            name="recovery_rate",
            about="Of the charges that were tried again, the share that was paid, by the step.",
            unit=Unit.SHARE,
            terms=_count("payment.recovered"),
            per=_count("payment.retried"),
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
            name="active_companies",
            about="Companies that paid, used a module, or changed a subscription.",
            unit=Unit.COUNT,
            terms=(
                *_count("payment.succeeded"),
                *_count("usage.recorded"),
                *_count("subscription.started"),
                *_count("subscription.changed"),
            ),
            is_for_operators=True,
            is_of_companies=True,
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
