"""Payment methods: handing a one-time token to the provider, and keeping what it gives back."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models import locks
from models.methods import MethodStatus, PaymentMethod, has_default
from models.outbox import Owed, OwedStatus
from models.tenants import Company
from models.timeline import note
from tasks.customers import customer_at
from worker import replies
from worker.app import Debt, calling_task
from worker.database import in_transaction
from worker.gateways import gateway_for
from worker.gateways.base import Declined, GatewayError, MethodAnswer, Rejected


def _fail_when_dead(session: Session, owed: Owed, error: str) -> None:  # noqa: ARG001  not for callers
    if owed.status is OwedStatus.DEAD:
        method = session.get(PaymentMethod, UUID(owed.arguments["method_id"]))
        if method is not None and method.status == MethodStatus.PENDING:
            _refuse(method, code="unavailable", message="The provider could not be asked.")


def _claim(
    session: Session, debt: Debt, *, method_id: str, **_then: object
) -> PaymentMethod | None:
    method = session.get_one(PaymentMethod, UUID(method_id))
    if method.status != MethodStatus.PENDING or method.token is None:
        debt.end(session)
        return None
    return method


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
    in_transaction(_record, debt.company_id, debt, method.id, outcome)
    replies.tell(method.id, {"method_id": str(method.id)}, key=debt.reply)


def _record(
    session: Session,
    debt: Debt,
    method_id: UUID,
    outcome: MethodAnswer | GatewayError,
) -> None:
    debt.end(session)
    # One at a time a company, so that two first methods do not both become the default.
    session.get_one(Company, debt.company_id, with_for_update=True)
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
    method.last_four, method.brand = outcome.last_four, outcome.brand
    method.exp_month, method.exp_year = outcome.exp_month, outcome.exp_year
    method.fingerprint = outcome.fingerprint
    method.token = None
    method.status = MethodStatus.ACTIVE
    method.is_active = True
    note(session, method, what="attached", because=debt.cause("the provider keeps it"))
    if debt.arguments.get("make_default") or not has_default(session):
        _make_default(session, method)
    session.flush()


def _make_default(session: Session, method: PaymentMethod) -> None:
    """Take the default away from the others first: the unique key allows one a company."""
    session.execute(
        update(PaymentMethod)
        .where(PaymentMethod.id != method.id, PaymentMethod.is_default)
        .values(is_default=False)
    )
    method.is_default = True


def _refuse(method: PaymentMethod, *, code: str, message: str) -> None:
    method.status = MethodStatus.FAILED
    method.is_default = False
    method.token = None
    method.error_code, method.error_message = code[:100], message
