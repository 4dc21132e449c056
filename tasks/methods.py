"""Payment methods: what the provider is told of them, and what it tells.

methods.attach        hand a one-time token over and keep what comes back, in an old one's place or
                      as the default where that is asked
methods.detach        have the provider forget what was removed
methods.refresh       an event told that a method changed: look it up and believe that
methods.watch_expiry  tell the holders of cards that end soon, or have ended
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, case, or_, select
from sqlalchemy.orm import Session

from models import locks, wallet
from models.base import across_companies
from models.clock import now
from models.dunning import owe_restart
from models.ids import new_id
from models.methods import KEPT_BY, MethodStatus, MethodType, PaymentMethod, has_default
from models.notifications import Notification, owe_notice
from models.outbox import BATCH, Owed, OwedStatus, enqueue
from models.timeline import Cause, note
from schedules import expiry
from tasks.customers import customer_at
from tasks.handover import patiently
from worker import crash, replies
from worker.app import Debt, calling_task, periodic
from worker.database import in_transaction
from worker.gateways import gateway_for
from worker.gateways.base import Declined, GatewayError, MethodAnswer, Rejected

log = logging.getLogger(__name__)

# How soon to look again whether a payment with a replaced method has ended.
DETACH_AGAIN = timedelta(hours=1)


def _fail_when_dead(session: Session, owed: Owed, error: str) -> None:
    if owed.status is OwedStatus.DEAD:
        method = session.get(PaymentMethod, UUID(owed.arguments["method_id"]))
        if method is not None and method.status == MethodStatus.PENDING:
            # Why is for us alone; the caller hears that it was not their card.
            _refuse(method, code="unavailable", message="The provider could not be asked.")
            because = Cause(why=f"gave up: {error}", request_id=owed.request_id, task_id=owed.id)
            note(session, method, what="refused", because=because)


def _claim(
    session: Session, debt: Debt, *, method_id: str, **_then: object
) -> PaymentMethod | None:
    method = session.get_one(PaymentMethod, UUID(method_id))
    if method.status != MethodStatus.PENDING or method.token is None:
        debt.end(session)
        return None
    return None if debt.waits_for(session, method.provider) else method


@calling_task("methods.attach", claim=_claim, on_failure=_fail_when_dead)
def attach(debt: Debt, method: PaymentMethod) -> None:
    """Attach a token to the company's customer. Safe twice: the key is the method's own.

    A refusal ends it; anything else is tried again with the same key.
    """
    customer = customer_at(debt.company_id, method.provider)
    outcome: MethodAnswer | GatewayError
    try:
        outcome = gateway_for(method.provider).attach_method(
            key=f"method-{method.id}",
            customer=customer,
            token=method.token or "",
            type=method.type,
        )
    except (Declined, Rejected) as refusal:
        outcome = refusal
    crash.point("method.called")
    in_transaction(_record, debt.company_id, debt, method.id, outcome)
    crash.point("method.recorded")
    replies.tell(method.id, {"method_id": str(method.id)}, key=debt.reply)


def _record(
    session: Session,
    debt: Debt,
    method_id: UUID,
    outcome: MethodAnswer | GatewayError,
) -> None:
    debt.end(session)
    wallet.hold(session, _company_of(debt))
    method = locks.lock_existing(session, PaymentMethod, method_id)
    if method.status != MethodStatus.PENDING:
        return
    if isinstance(outcome, GatewayError):
        code = getattr(outcome, "decline_code", "") or outcome.code
        _refuse(method, code=code, message=outcome.message)
        note(session, method, what="refused", because=debt.cause(str(outcome)))
        return
    kept = select(PaymentMethod.id).where(PaymentMethod.provider_id == outcome.provider_id)
    if session.scalar(kept) is not None:
        _refuse(method, code="already_kept", message="The company has this payment method already.")
        note(session, method, what="refused", because=debt.cause("it is kept already"))
        return
    method.provider_id = outcome.provider_id
    if outcome.type not in KEPT_BY[method.provider]:
        _refuse(method, code="wrong_type", message="It is of a type that is not taken.")
        note(session, method, what="refused", because=debt.cause(f"it is a {outcome.type}"))
        enqueue(session, "methods.detach", method_id=method.id)
        return
    asked, method.type = method.type, MethodType(outcome.type)
    _learn(method, outcome)
    method.token = None
    method.status = MethodStatus.ACTIVE
    method.is_active = True
    told = "" if method.type is asked else f": it is a {method.type} and no {asked}"
    note(session, method, what="attached", because=debt.cause(f"the provider keeps it{told}"))
    _settle_in(session, debt, method)


def _settle_in(session: Session, debt: Debt, method: PaymentMethod) -> None:
    """Give a method that is new its place; what was declined for want of it is tried again."""
    old = locks.lock(session, PaymentMethod, method.replaces_id) if method.replaces_id else None
    is_wanted = old is not None and old.is_active
    if old is not None and is_wanted:
        because = debt.cause(f"replaced by {method.id}")
        wallet.remove(session, old, because=because, replaced_by=method)
    is_first = not has_default(session)
    if is_first or debt.arguments.get("make_default"):
        because = debt.cause("the first one" if is_first else "asked to be")
        is_wanted |= wallet.make_default(session, method, because=because)
    if is_wanted:
        owe_restart(session, method)


def _learn(method: PaymentMethod, answer: MethodAnswer) -> None:
    method.last_four, method.brand = answer.last_four, answer.brand
    method.exp_month, method.exp_year = answer.exp_month, answer.exp_year
    method.fingerprint = answer.fingerprint


def _refuse(method: PaymentMethod, *, code: str, message: str) -> None:
    method.status = MethodStatus.FAILED
    method.is_default = False
    method.token = None
    method.error_code, method.error_message = code[:100], message


def _company_of(debt: Debt) -> UUID:
    if debt.company_id is None:
        raise ValueError("a payment method is always some company's")
    return debt.company_id


def _claim_removed(session: Session, debt: Debt, *, method_id: str) -> PaymentMethod | None:
    method = session.get_one(PaymentMethod, UUID(method_id))
    if method.is_active or method.provider_id is None:
        debt.end(session)
        return None
    if wallet.is_paying(session, method.id):
        # Only a replaced one can be: its last payment may still need it.
        debt.defer(session, until=now() + DETACH_AGAIN, why="a payment with it is under way")
        return None
    return None if debt.waits_for(session, method.provider) else method


@calling_task("methods.detach", claim=_claim_removed)
def detach(debt: Debt, method: PaymentMethod) -> None:
    """Have the provider forget a method. Safe twice: one that is gone is no error.

    A new key each time: a detachment may be repeated, and a saved 500 would be.
    """
    gateway = gateway_for(method.provider)
    gateway.detach_method(key=f"detach-{new_id()}", method=method.provider_id or "")
    crash.point("method.detached")
    in_transaction(_record_detached, debt.company_id, debt, method.id)


def _record_detached(session: Session, debt: Debt, method_id: UUID) -> None:
    debt.end(session)
    method = session.get_one(PaymentMethod, method_id)
    note(session, method, what="detached", because=debt.cause("the provider has forgotten it"))


def _claim_active(session: Session, debt: Debt, *, method_id: str) -> PaymentMethod | None:
    method = session.get_one(PaymentMethod, UUID(method_id))
    if not method.is_active:
        debt.end(session)
        return None
    return None if debt.waits_for(session, method.provider) else method


@calling_task("methods.refresh", claim=_claim_active)
def refresh(debt: Debt, method: PaymentMethod) -> None:
    """Bring a method to what the provider has. Safe twice: it applies what is so."""
    with patiently():
        found = gateway_for(method.provider).retrieve_method(method.provider_id or "")
    in_transaction(_record_found, debt.company_id, debt, method.id, found)


def _record_found(
    session: Session, debt: Debt, method_id: UUID, found: MethodAnswer | None
) -> None:
    debt.end(session)
    wallet.hold(session, _company_of(debt))
    method = locks.lock_existing(session, PaymentMethod, method_id)
    if not method.is_active:
        return
    if found is None:
        cause = debt.cause("the provider keeps it no more")
        wallet.remove(session, method, because=cause, is_gone=True)
        return
    before = _card_of(method)
    _learn(method, found)
    after = _card_of(method)
    if before == after:
        return
    _tell_of_update(session, method, debt.cause("the provider has new data of it"), before, after)
    # Only data by which a charge may now succeed; who changed a brand's spelling renewed nothing.
    owe_restart(session, method)


def _card_of(method: PaymentMethod) -> dict[str, str | int | None]:
    """Return what a charge depends on."""
    return {
        "last_four": method.last_four,
        "exp_month": method.exp_month,
        "exp_year": method.exp_year,
        "fingerprint": method.fingerprint,
    }


def _tell_of_update(
    session: Session,
    method: PaymentMethod,
    because: Cause,
    before: dict[str, str | int | None],
    after: dict[str, str | int | None],
) -> None:
    changed = [name for name, value in after.items() if before[name] != value]
    detail = {
        name: {"was": before[name], "became": after[name]}
        for name in changed
        if name != "fingerprint"
    }
    note(session, method, what="updated", because=because, detail=detail)


@periodic("methods.watch_expiry")
def watch_expiry() -> None:
    """Owe a notice for each card that ends soon or has ended. Safe in any number of copies.

    A notice is told once a card and the date it ends; a renewed card is another date.
    """
    moment = now()
    last: UUID | None = None
    while (last := in_transaction(_tell_of_batch, None, moment, last)) is not None:
        pass


def _tell_of_batch(session: Session, moment: datetime, after: UUID | None) -> UUID | None:
    """Owe notices for the next cards; return the last one's id, or None when that was all."""
    number = PaymentMethod.exp_year * 100 + PaymentMethod.exp_month
    template = case((_ends_by(*expiry.ended_by(moment)), "card_expired"), else_="card_expiring")
    is_told = (
        select(Notification.id)
        .where(
            Notification.subject_id == PaymentMethod.id,
            Notification.template == template,
            Notification.number == number,
        )
        .exists()
    )
    query = (
        select(PaymentMethod, template)
        .where(PaymentMethod.is_active, _ends_by(*expiry.told_by(moment)), ~is_told)
        .order_by(PaymentMethod.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    if after is not None:
        query = query.where(PaymentMethod.id > after)
    because = "cards end whosesoever they are"
    found = session.execute(across_companies(query, because=because)).all()
    for method, name in found:
        owe_notice(
            session,
            name,
            method,
            number=(method.exp_year or 0) * 100 + (method.exp_month or 0),
            last_four=method.last_four,
            brand=method.brand,
            exp_month=method.exp_month,
            exp_year=method.exp_year,
            is_default=method.is_default,
        )
    return found[-1][0].id if len(found) == BATCH else None


def _ends_by(year: int, month: int) -> Any:
    """Return the condition that a card's last month is this or an earlier one."""
    return or_(
        PaymentMethod.exp_year < year,
        and_(PaymentMethod.exp_year == year, PaymentMethod.exp_month <= month),
    )
