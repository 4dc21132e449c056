"""A company's payment methods as a whole: the default, what goes, and what takes its place.

Whoever changes them holds the company (`hold`): of two changes at once one comes first, and one
default is left. The unique key on the generated column is the promise; this keeps it from being
met as an error.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.clock import now
from models.methods import MethodStatus, PaymentMethod, usable_methods
from models.outbox import enqueue
from models.tenants import Company
from models.timeline import Cause, note
from models.transactions import Status, Transaction

# A payment that the provider may still ask its method about. What is in review waits for a person,
# who looks it up without.
UNDER_WAY = (Status.PENDING, Status.PROCESSING, Status.REQUIRES_ACTION)


def hold(session: Session, company_id: UUID) -> None:
    """Lock the company until the commit, so that its methods are changed by one at a time.

    It is locked before them, also by who bills and then charges one of them: two who locked them
    the other way round would wait for each other.
    """
    session.execute(select(Company.id).where(Company.id == company_id).with_for_update()).one()


def is_paying(session: Session, method_id: UUID) -> bool:
    """Whether a payment with the method is under way."""
    query = select(Transaction.id).where(
        Transaction.payment_method_id == method_id, Transaction.status.in_(UNDER_WAY)
    )
    return session.scalar(query.limit(1)) is not None


def make_default(session: Session, method: PaymentMethod, *, because: Cause) -> bool:
    """Make an active method the default; False if it is that already."""
    if method.is_default:
        return False
    session.execute(update(PaymentMethod).where(PaymentMethod.is_default).values(is_default=False))
    method.is_default = True
    note(session, method, what="default", because=because)
    session.flush()
    return True


def remove(
    session: Session,
    method: PaymentMethod,
    *,
    because: Cause,
    replaced_by: PaymentMethod | None = None,
    is_gone: bool = False,
) -> None:
    """Take a method out of use now, and owe the provider's forgetting it.

    A default leaves its place to what replaces it, else to `heir`.

    Args:
        is_gone: the provider has forgotten it already.
    """
    was_default = method.is_default
    method.status = MethodStatus.REMOVED
    method.is_active = method.is_default = False
    method.removed_at = now()
    method.token = None
    if replaced_by is not None:
        method.replaced_by_id = replaced_by.id
    note(session, method, what="replaced" if replaced_by else "removed", because=because)
    session.flush()
    next_one = replaced_by or heir(session, method.removed_at)
    if was_default and next_one is not None:
        make_default(session, next_one, because=because)
    if method.provider_id is not None and not is_gone:
        enqueue(session, "methods.detach", method_id=method.id)


def heir(session: Session, moment: datetime) -> PaymentMethod | None:
    """Return what becomes the default when that goes: the newest method that has not expired.

    An expired card only if there is nothing else: it may have been renewed.
    """
    methods = usable_methods(session)
    lasting = [method for method in methods if not method.has_expired(moment)]
    return next(iter([*lasting, *methods]), None)
