"""Our own events, in one table: what Paybeat itself tells of what happens in it.

`models.tracking` refuses a name that is not here, and `models.metric_registry` counts by these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.analytics_events import EventType


@dataclass(frozen=True, kw_only=True)
class OwnEvent:
    """What is told under a name.

    Attributes:
        amount: what its amount is of; empty where it has none.
        quantity: what its quantity is; empty where it has none.
        dimension: what its dimension is; empty where it has none.
    """

    name: str
    event_type: EventType
    about: str
    amount: str = ""
    quantity: str = ""
    dimension: str = ""


_P, _S, _U, _E = EventType.PAYMENT, EventType.SUBSCRIPTION, EventType.USAGE, EventType.ERROR
_CODE = "the code of the decline; empty where it was not declined"
_STEP = "the step of the ladder; `other` where it was paid by hand or in the browser"


def _event(name: str, kind: EventType, about: str, **more: str) -> OwnEvent:
    return OwnEvent(name=name, event_type=kind, about=about, **more)


OWN_EVENTS: Mapping[str, OwnEvent] = {
    each.name: each
    for each in (
        _event("payment.attempted", _P, "A charge was answered.", dimension=_CODE),
        _event("payment.succeeded", _P, "A payment was made.", amount="captured"),
        _event(
            "payment.failed", _P, "Nothing more is tried for a declined payment.", amount="asked"
        ),
        _event(
            "payment.retried",
            _P,
            "The ladder has begun another attempt with the same card.",
            dimension="the step of the ladder",
        ),
        _event(
            "payment.recovered",
            _P,
            "A payment was made that had been declined.",
            amount="captured",
            dimension=_STEP,
        ),
        _event("refund.succeeded", _P, "A refund has gone out.", amount="refunded"),
        _event("refund.reversed", _P, "A refund that had gone out came back.", amount="refunded"),
        _event("dispute.opened", _P, "A dispute was heard of.", amount="disputed"),
        _event("dispute.won", _P, "A dispute was won.", amount="disputed"),
        _event("dispute.lost", _P, "A dispute was lost.", amount="disputed"),
        _event("invoice.issued", _P, "An invoice got its number.", amount="to be paid"),
        _event(
            "invoice.paid",
            _P,
            "Nothing of an invoice is due any more.",
            amount="of the invoice",
            quantity="days since its issue",
        ),
        _event("invoice.voided", _P, "An invoice was taken back.", amount="of the invoice"),
        _event("invoice.uncollectible", _P, "An invoice was given up.", amount="still due"),
        _event("credit_note.issued", _P, "A credit note was issued.", amount="credited"),
        _event("subscription.started", _S, "A subscription began, in a trial or paid."),
        _event("subscription.changed", _S, "Its plan or its seats became others."),
        _event("subscription.canceled", _S, "A subscription ended."),
        _event(
            "mrr.changed",
            _S,
            "The monthly recurring revenue of a subscription became another.",
            amount="the difference, below zero where it is less now",
            dimension="new, expansion, contraction, churn or reactivation",
        ),
        _event(
            "usage.recorded",
            _U,
            "A module was used: the units of one request and day together.",
            quantity="units",
            dimension="the module's code",
        ),
        _event("mail.sent", _U, "A provider has taken a letter.", dimension="its template"),
        _event("mail.bounced", _E, "A letter came back.", dimension="its template"),
        _event("error.rejected", _E, "A provider refused a charge as wrong.", dimension="its code"),
        _event("error.dead_letter", _E, "Work was given up.", dimension="the task"),
    )
}
