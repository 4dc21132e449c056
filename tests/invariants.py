"""What must hold after every flow: our rows among themselves, and against the provider's book."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import invariants
from models.base import across_companies
from models.disputes import Dispute
from models.invariants import Violation
from models.ledger import Account, LedgerEntry
from models.outbox import Owed, OwedStatus
from models.transactions import SETTLED, Provider, Transaction
from models.webhooks import PaymentWebhook, WebhookStatus
from sandbox.standin.control import Control as AnyControl
from sandbox.stripe.control import Control
from tests.system import System
from worker.gateways.stripe.minor import money_of

WHOLE_BOOK = "an invariant is of the whole book"


def judge(system: System) -> None:
    """Wait until nothing is owed and no event is under way; then everything must hold."""
    system.wait_until(lambda: is_quiet(system))
    with system.session() as session:
        found = [*invariants.check(session), *compare(session, system.stripe)]
        if system.parts["paypal"].is_running:
            found += compare_charges(session, system.paypal, Provider.PAYPAL)
    assert not found, "\n".join(map(str, found))


def is_quiet(system: System) -> bool:
    """Whether all work is done or dead, here and at the provider."""
    with system.session() as session:
        owed = session.scalar(
            select(func.count()).select_from(Owed).where(Owed.status == OwedStatus.OWED)
        )
        received = session.scalar(
            select(func.count())
            .select_from(PaymentWebhook)
            .where(PaymentWebhook.status == WebhookStatus.RECEIVED)
        )
    is_paypal_busy = system.parts["paypal"].is_running and system.paypal.is_busy()
    return not owed and not received and not system.stripe.is_busy() and not is_paypal_busy


def compare(session: Session, stripe: Control) -> list[Violation]:
    """Compare our payments and disputes with those that Stripe has in its book."""
    found = compare_charges(session, stripe, Provider.STRIPE)
    return found + _compare_disputes(session, stripe, _ours(session, Provider.STRIPE))


def _ours(session: Session, provider: Provider) -> dict[str, Transaction]:
    query = select(Transaction).where(Transaction.payment_method == provider)
    everybodys = across_companies(query, because=WHOLE_BOOK)
    return {str(payment.id): payment for payment in session.scalars(everybodys)}


def compare_charges(session: Session, control: AnyControl, provider: Provider) -> list[Violation]:
    """Compare our payments with a provider's book. Both books tell amounts as Stripe does."""
    book: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for charge in control.charges():
        book[charge["metadata"].get("transaction_id", "")].append(charge)
    ours = _ours(session, provider)
    found = [
        Violation("every charge in the provider's book is a payment of ours", transaction_id)
        for transaction_id in book.keys() - ours.keys()
    ]
    for transaction_id, payment in ours.items():
        found += _compare_one(payment, book[transaction_id])
    return found


def _compare_disputes(
    session: Session, stripe: Control, payments: dict[str, Transaction]
) -> list[Violation]:
    """Compare state and money of each dispute of a payment of ours."""
    query = select(Dispute).where(Dispute.provider == Provider.STRIPE)
    rows = session.scalars(across_companies(query, because=WHOLE_BOOK))
    ours = {
        dispute.provider_dispute_id: (
            dispute.status,
            dispute.amount_withdrawn - dispute.amount_reinstated,
            _fees_of(session, dispute),
        )
        for dispute in rows
    }
    charges = {payment.payment_processor_id for payment in payments.values()}
    theirs = {
        dispute["id"]: (
            dispute["status"],
            -sum(
                money_of(movement["amount"], movement["currency"]).amount
                for movement in dispute["balance_transactions"]
            ),
            sum(
                money_of(movement["fee"], movement["currency"]).amount
                for movement in dispute["balance_transactions"]
            ),
        )
        for dispute in stripe.book()["disputes"]
        if dispute["charge"] in charges
    }
    return [
        Violation("our dispute is the provider's", f"{identity}: {ours.get(identity)}, {told}")
        for identity, told in theirs.items()
        if ours.get(identity) != told
    ]


def _fees_of(session: Session, dispute: Dispute) -> Decimal:
    query = select(func.coalesce(func.sum(LedgerEntry.amount), 0)).where(
        LedgerEntry.transaction_id == dispute.transaction_id,
        LedgerEntry.dispute_id == dispute.id,
        LedgerEntry.account == Account.FEES,
    )
    return Decimal(session.scalar(across_companies(query, because=WHOLE_BOOK)) or 0)


def _compare_one(payment: Transaction, charges: list[dict[str, Any]]) -> list[Violation]:
    if len(charges) > 1:
        told = f"{payment.id}: {[charge['id'] for charge in charges]}"
        return [Violation("at most one successful charge a payment", told)]
    theirs = (0, 0)
    if charges:
        currency = charges[0]["currency"]
        theirs = tuple(
            money_of(charges[0][name], currency).amount
            for name in ("amount_captured", "amount_refunded")
        )
    ours = (payment.amount_captured, payment.amount_refunded)
    if ours != theirs or bool(charges) != (payment.status in SETTLED):
        told = f"{payment.id} {payment.status}: {ours} here, {theirs} there"
        return [Violation("our state is the provider's", told)]
    return []
