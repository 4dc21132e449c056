"""Claiming: an attempt with its idempotency key, committed under a lease before the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session, selectinload

from models import cards, dunning, locks
from models.alerts import Severity
from models.clock import now
from models.invoices import Invoice
from models.loose_ends import UNSEEN
from models.money import Money
from models.outbox import Owed, enqueue
from models.timeline import note
from models.transactions import (
    KEEP_METHOD,
    OPEN_ATTEMPT,
    RETURN_URL,
    AttemptStatus,
    PaymentAttempt,
    Provider,
    Status,
    Transaction,
    Trigger,
    lock,
    start_attempt,
)
from schedules.ladder import MAX_CARD_DECLINES
from tasks import settlement
from tasks.declines import CARD_SPENT, EARLIER_SUCCEEDED
from worker import crash
from worker.alerts import alert
from worker.app import Debt
from worker.events import announce_payment
from worker.gateways import is_set_up
from worker.gateways.base import ChargeRequest, IntentStatus, Rejected
from worker.settings import settings


@dataclass(frozen=True)
class Earlier:
    """The intent of an earlier payment of the same invoice, which was declined."""

    transaction_id: UUID
    provider: str
    intent_id: str
    # Whether it surely takes no money any more, though its provider cannot be asked.
    is_harmless: bool = False
    # Where it was found to stand when it could not be canceled.
    status: IntentStatus | None = None


@dataclass(frozen=True)
class Claim:
    """An attempt that this task alone may call the provider for."""

    attempt_id: UUID
    transaction_id: UUID
    provider: str
    request: ChargeRequest
    # A customer could still pay one of these in an old tab.
    superseded: tuple[Earlier, ...] = ()
    # Until when it holds; whoever takes the attempt over sets another time.
    leased_until: datetime | None = None

    def holds(self, attempt: PaymentAttempt) -> bool:
        """Whether nobody has taken the attempt over since, however late it is."""
        return attempt.status == AttemptStatus.CALLING and attempt.leased_until == self.leased_until


@dataclass(frozen=True)
class CustomerNeeded:
    """The company is not yet a customer at the provider; it must be made one before a charge."""

    provider: str


@dataclass(frozen=True)
class Refused:
    """The attempt may not be made; the payment has failed, and whoever waits is told."""

    transaction_id: UUID
    answer: dict[str, object]


def hold_payments(session: Session, owed: Sequence[Owed]) -> None:
    """Lock the payments of several claims and their invoices; load what each is charged with."""
    payments = locks.lock_all(
        session,
        Transaction,
        [UUID(each.arguments["transaction_id"]) for each in owed],
        options=[selectinload(column) for column in _CHARGED_WITH],
        along=Transaction.invoice,
    )
    used = {cards.card_of(payment.method) for payment in payments.values() if payment.method}
    session.info[_DECLINED] = cards.declined_among(session, used, moment=now())


# In a session's info: which of the cards that its acts charge were declined lately.
_DECLINED = "declined_cards"


_CHARGED_WITH = (
    Transaction.attempts,
    Transaction.method,
    Transaction.customer,
    Transaction.superseded,
)


def claim_attempt(
    session: Session,
    debt: Debt,
    *,
    transaction_id: str,
    trigger: str = Trigger.FIRST,
    off_session: bool | None = None,
    **_then: object,
) -> Claim | CustomerNeeded | Refused | None:
    """Take an attempt under a lease; None if there is nothing to do.

    Args:
        trigger: why a new attempt is made, if one is.
        off_session: whether the customer is away; as the payment says if None.
    """
    crash.point("charge.before_claim")
    moment = now()
    payment = lock(session, UUID(transaction_id))
    attempt = payment.open_attempt if payment else None
    if payment is None or (attempt is None and payment.status not in _CHARGEABLE):
        debt.end(session)
        return None
    if attempt is None:
        is_away = payment.off_session if off_session is None else off_session
        return _begin(session, debt, payment, moment, Start(Trigger(trigger), is_away))
    if attempt.is_leased(moment):
        debt.defer(session, until=attempt.leased_until or moment, why="somebody is calling")
        return None
    if attempt.status != AttemptStatus.WAITING:
        _look_up(session, debt, payment, attempt)
        return None
    return _send_anew(session, debt, payment, attempt, moment)


def _send_anew(
    session: Session, debt: Debt, payment: Transaction, attempt: PaymentAttempt, moment: datetime
) -> Claim | Refused | None:
    """Take an attempt that was surely not executed under a lease again."""
    if debt.waits_for(session, attempt.provider):
        return None
    if not is_due(session, payment):
        return _refuse(session, debt, payment, attempt, PAID_OTHERWISE)
    return _leased(session, payment, attempt, moment)


def is_due(session: Session, payment: Transaction) -> bool:
    """Whether the invoice of a locked payment still lacks its money.

    What was declined before can be paid in an old tab until it is closed. To be asked before
    `superseded_by`: the invoice is held from then on, so what is paid later is still among those.
    """
    invoice = locks.lock_existing(session, Invoice, payment.invoice_id)
    return dunning.in_the_way(invoice) is None and payment.amount <= invoice.due.amount


@dataclass(frozen=True)
class Start:
    """Why an attempt is made, and whether the customer is away."""

    trigger: Trigger
    off_session: bool


def _begin(
    session: Session, debt: Debt, payment: Transaction, moment: datetime, start: Start
) -> Claim | CustomerNeeded | Refused | None:
    """Make the next attempt, unless its card may not be charged."""
    if payment.customer is None or payment.customer.provider_id is None:
        is_away = debt.waits_for(session, payment.payment_method)
        return None if is_away else CustomerNeeded(payment.payment_method)
    if not is_due(session, payment):
        return _refuse(session, debt, payment, None, PAID_OTHERWISE)
    is_open = _is_open(session, payment, moment)
    if is_open is None:
        debt.defer(session, until=moment + FOR_THE_CARD, why="its card is being charged")
        return None
    if not is_open:
        return _refuse(session, debt, payment, None, SPENT)
    if debt.waits_for(session, payment.payment_method):
        return None
    attempt = _start(session, debt, payment, payment.customer.provider_id, start)
    return _leased(session, payment, attempt, moment)


def _leased(
    session: Session, payment: Transaction, attempt: PaymentAttempt, moment: datetime
) -> Claim:
    attempt.lease(moment, for_s=settings().claim_lease_s)
    superseded = superseded_by(payment)
    for earlier in superseded:
        if not is_set_up(earlier.provider):
            _tell_of_unseen(session, earlier)
    return Claim(
        attempt_id=attempt.id,
        transaction_id=payment.id,
        provider=attempt.provider,
        request=request_of(attempt),
        superseded=superseded,
        leased_until=attempt.leased_until,
    )


def _tell_of_unseen(session: Session, earlier: Earlier) -> None:
    """Have a person look at what was left at a provider that is not set up here any more."""
    told = (
        "It takes no money unless it is captured, which nothing here does: the invoice is charged."
        if earlier.is_harmless
        else f"It may yet take money: until {earlier.provider} is set up again, or the payment is "
        "settled by hand, nothing of the invoice is charged."
    )
    alert(
        session,
        UNSEEN,
        severity=Severity.WARNING,
        subject=session.get_one(Transaction, earlier.transaction_id),
        message=f"The declined payment {earlier.transaction_id} has left {earlier.intent_id} at "
        f"{earlier.provider}, which is not set up here, so that nobody can look at it. {told}",
    )


_CHARGEABLE = (Status.PENDING, Status.PROCESSING)
# How long an attempt waits for those on the same card, each of which may be its last decline.
FOR_THE_CARD = timedelta(seconds=5)


def _look_up(session: Session, debt: Debt, payment: Transaction, attempt: PaymentAttempt) -> None:
    """Hand an attempt over whose caller died; others wait for the customer or are looked up."""
    debt.end(session)
    if attempt.status != AttemptStatus.CALLING:
        return
    attempt.status = AttemptStatus.UNKNOWN
    attempt.leased_until = None
    because = replace(debt.cause("its worker died during the call"), attempt_id=attempt.id)
    note(session, payment, what="unknown", because=because)
    enqueue(session, "lookups.resolve", transaction_id=payment.id)


def _is_open(session: Session, payment: Transaction, moment: datetime) -> bool | None:
    """Whether a payment's card may be charged now; None if that depends on what is under way.

    A card without a decline is let through unlocked and unseen: what was begun before its first
    decline was known is no second try of anything.
    """
    method = payment.method
    if method is None:
        return True
    card = cards.card_of(method)
    declined = session.info.get(_DECLINED)
    if declined is None:
        declined = cards.declined_among(session, [card], moment=moment)
    if card not in declined:
        return True
    # What earlier acts of a group have begun must be seen.
    session.flush()
    cards.hold(session, method)
    # First what is under way: one that is declined between the two looks is counted twice and
    # waits. The other way round neither would count it, and an attempt too many be made.
    under_way = cards.under_way_on(session, card, moment=moment)
    declines = cards.declines_of(session, card, moment=moment)
    if declines.is_spent:
        return False
    return True if declines.number + under_way < MAX_CARD_DECLINES else None


class Refusal(NamedTuple):
    """Why nothing is sent to the provider, by the code and to whoever pays."""

    code: str
    message: str


SPENT = Refusal(CARD_SPENT, "The card was declined too often in the last 30 days. Use another one.")
PAID_OTHERWISE = Refusal(EARLIER_SUCCEEDED, "So much of the invoice is not due any more.")


def _refuse(
    session: Session,
    debt: Debt,
    payment: Transaction,
    attempt: PaymentAttempt | None,
    refusal: Refusal,
) -> Refused:
    """Fail a payment without asking the provider; an attempt of it was surely not executed."""
    error = Rejected(message=refusal.message, code=refusal.code)
    settlement.fail(session, payment, attempt, error, cause=debt.cause("nothing was sent"))
    debt.end(session)
    told = {"transaction_id": str(payment.id), "status": str(payment.status)}
    return Refused(payment.id, {**told, "client_secret": None})


def _start(
    session: Session, debt: Debt, payment: Transaction, customer_id: str, start: Start
) -> PaymentAttempt:
    method = payment.method
    attempt = start_attempt(
        payment,
        {
            "amount": str(payment.amount),
            "currency": payment.currency,
            "customer": customer_id,
            "method": method.provider_id if method else None,
            "off_session": start.off_session,
            "keep_method": bool((payment.details or {}).get(KEEP_METHOD)),
            "return_url": (payment.details or {}).get(RETURN_URL, ""),
        },
    )
    attempt.trigger = start.trigger
    if method is not None:
        attempt.payment_method_id = method.id
        attempt.fingerprint = cards.card_of(method)
    told = f"attempt {attempt.number} ({attempt.trigger})"
    because = replace(debt.cause(told), attempt_id=attempt.id)
    if payment.status != Status.PENDING:
        note(session, payment, what="attempt", because=because)
    else:
        payment.move_to(Status.PROCESSING, because=because)
        announce_payment(session, "payment.started", payment)
    return attempt


def request_of(attempt: PaymentAttempt) -> ChargeRequest:
    """Return the request of an attempt, the same each time: the key demands it."""
    asked = attempt.request
    return ChargeRequest(
        key=attempt.idempotency_key,
        money=Money(settlement.exact(asked["amount"]), asked["currency"]),
        customer=asked["customer"],
        method=asked["method"],
        off_session=asked["off_session"],
        keep_method=asked.get("keep_method", False),
        return_url=asked.get("return_url", ""),
        metadata={
            "transaction_id": str(attempt.transaction_id),
            "company_id": str(attempt.company_id),
            "attempt_id": str(attempt.id),
        },
    )


def capture_key(attempt_id: UUID) -> str:
    """Return the idempotency key of an attempt's capture, the same each time."""
    return f"capture-{attempt_id}"


def superseded_by(payment: Transaction) -> tuple[Earlier, ...]:
    """Return the declined intents of the same invoice, which must be closed before a charge.

    Those of other payments, and of this one's earlier attempts.
    """
    others = [
        Earlier(earlier.id, earlier.payment_method, intent_id, _is_harmless(earlier))
        for earlier in payment.superseded
        if (intent_id := earlier.provider_transaction_id)
    ]
    # Whatever was declined before an attempt was sent has been closed for it.
    sent = max((attempt.number for attempt in payment.attempts if attempt.provider_id), default=0)
    own = [
        Earlier(payment.id, attempt.provider, attempt.provider_id, _is_harmless(payment))
        for attempt in payment.attempts
        if attempt.provider_id
        and attempt.status not in OPEN_ATTEMPT
        and (attempt.number == sent or attempt.status != AttemptStatus.DECLINED)
    ]
    return (*others, *own)


def _is_harmless(payment: Transaction) -> bool:
    """Whether a declined payment surely takes no money, though its provider cannot be asked.

    An order of PayPal's takes none unless we capture it: no call may be open, or have been lost.
    """
    heard = (AttemptStatus.DECLINED, AttemptStatus.CANCELED)
    return (
        not is_set_up(payment.payment_method)
        and payment.payment_method == Provider.PAYPAL
        and all(attempt.status in heard for attempt in payment.attempts)
    )
