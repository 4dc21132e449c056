"""Keeping what a provider has kept: the method that a customer paid with and agreed to store."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import wallet
from models.base import across_companies
from models.methods import KEPT_BY, MethodStatus, MethodType, PaymentMethod, has_default
from models.timeline import Cause, note
from models.transactions import Transaction
from worker.gateways.base import MethodAnswer


def keep(
    session: Session, payment: Transaction, method: MethodAnswer | None, *, cause: Cause
) -> PaymentMethod | None:
    """Add the method to the company's, if it is not there; the first one is the default.

    The answer of the capture and the provider's event both tell of it, in any order.
    """
    if method is None or payment.user_id is None:
        return None
    if method.type not in KEPT_BY[payment.payment_method]:
        return None
    wallet.hold(session, payment.company_id)
    because = "whoever has it, it is kept once"
    known = select(PaymentMethod.id).where(PaymentMethod.provider_id == method.provider_id)
    if session.scalar(across_companies(known, because=because)) is not None:
        return None
    kept = PaymentMethod(
        company_id=payment.company_id,
        user_id=payment.user_id,
        type=MethodType(method.type),
        provider=str(payment.payment_method),
        provider_id=method.provider_id,
        status=MethodStatus.ACTIVE,
        is_active=True,
        last_four=method.last_four,
        brand=method.brand,
        exp_month=method.exp_month,
        exp_year=method.exp_year,
    )
    session.add(kept)
    session.flush()
    note(session, kept, what="attached", because=cause.but("kept with a payment"))
    if not has_default(session):
        wallet.make_default(session, kept, because=cause.but("the first one"))
    return kept
