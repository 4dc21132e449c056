"""What must hold when all is quiet: of our rows, of the stand-ins' books, and of both together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import invariants
from models.alerts import Alert
from models.base import across_companies
from models.invariants import Violation
from models.loose_ends import ABANDONED
from models.refunds import Refund
from models.timeline import Timeline
from models.transactions import Provider, Transaction
from tests.invariants import WHOLE_BOOK, compare, compare_charges
from worker.gateways.paypal.translate import metadata_of

if TYPE_CHECKING:
    from tests.simulation.world import World

NEVER = ("second_charge", "paid_though_canceled", "overpaid", "refund_gone_out")
# Alerts of what the whole design is there to prevent.


def judge(session: Session, world: World) -> list[str]:
    """Return what does not hold in a world that is quiet."""
    found = [*invariants.check(session), *compare(session, world.stripe.control)]
    found += compare_charges(session, world.paypal.control, Provider.PAYPAL)
    found += _compare_refunds(session, world)
    found += _swept(session)
    found += [
        Violation("nobody is alerted to it", f"{alert.kind}: {alert.message}")
        for alert in session.scalars(select(Alert).where(Alert.kind.in_(NEVER)))
    ]
    return [*map(str, found), *world.keys_misused()]


def _swept(session: Session) -> Iterable[Violation]:
    """Nothing was owed again but what its customer has left: each debt ends with its effect."""
    swept = across_companies(select(Timeline).where(Timeline.what == "swept"), because=WHOLE_BOOK)
    for line in session.scalars(swept):
        if (line.detail or {}).get("task") != ABANDONED.task:
            told = f"{line.subject} {line.subject_id}: {line.why}"
            yield Violation("each debt ends with its effect", told)


def _compare_refunds(session: Session, world: World) -> Iterable[Violation]:
    """Each refund is made once, and ours tell of each that was made for a payment of ours."""
    rows = across_companies(select(Refund), because=WHOLE_BOOK)
    known = {refund.provider_refund_id: refund for refund in session.scalars(rows)}
    mine = across_companies(select(Transaction.payment_processor_id), because=WHOLE_BOOK)
    charges = set(session.scalars(mine))
    made: Counter[str] = Counter()
    for identity, charge, our_id in _refunds(world):
        made[our_id] += bool(our_id)
        if charge in charges and identity not in known:
            yield Violation("every refund in the provider's book is one of ours", identity)
    for our_id, number in made.items():
        if number > 1:
            yield Violation("a refund is made once", f"{our_id}: {number} times")


def _refunds(world: World) -> Iterable[tuple[str, str, str]]:
    """Yield each refund at a provider: its id, its charge's, and ours in it."""
    for refund in world.stripe.control.book()["refunds"]:
        yield refund["id"], refund["charge"], refund["metadata"].get("refund_id", "")
    for refund in world.paypal.control.book()["refunds"]:
        yield (
            refund["id"],
            _capture_of(refund),
            metadata_of(refund.get("custom_id")).get("refund_id", ""),
        )


def _capture_of(refund: dict[str, Any]) -> str:
    up = next(link["href"] for link in refund["links"] if link["rel"] == "up")
    return str(up).rpartition("/")[2]
