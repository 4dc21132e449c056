"""Payments: begun, read, listed, and the timeline of one."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import cards, dunning, invoices, search
from models.cards import Declines
from models.clock import now
from models.collection import open_payment
from models.invoices import Invoice, InvoiceStatus
from models.methods import PaymentMethod, default_method
from models.money import InvalidAmount, UnsupportedCurrency, amount_of
from models.outbox import enqueue
from models.tenants import Permission
from models.transactions import (
    KEEP_METHOD,
    RETURN_URL,
    AttemptStatus,
    Dunning,
    Provider,
    Status,
    Transaction,
    open_of_invoice,
)
from web.api import resuming
from web.api.resuming import ResumeShown
from web.auth import allowed, caller
from web.idempotency import Begun, Told, idempotent
from web.lists import answer_page, of_statuses
from web.problems import DUPLICATE, Problem, invalid, unavailable
from web.routes import Input, Routes, respond
from web.schemas import (
    Amount,
    Currency,
    ErrorAnswer,
    Exact,
    Moment,
    PageQuery,
    Search,
    cause,
)
from worker import portal, replies
from worker.breaker import breaker_of
from worker.database import error_number, transaction
from worker.settings import settings

PREFIX = "/api/v1/payments"
routes = Routes("payments", __name__, url_prefix=PREFIX)

# What the worker has still to say something about.
UNDER_WAY = (Status.PENDING, Status.PROCESSING)


class NewIntent(Input):
    """A payment of an invoice, whole or in part."""

    invoice_id: UUID
    amount: Exact
    currency: Currency | None = Field(None, description="The invoice's currency if left out.")
    payment_method_id: UUID | None = Field(
        None, description="Charged at once; without it the customer pays in the browser."
    )
    off_session: StrictBool = Field(
        default=False,
        description="The customer is not there; without a method the default one is charged.",
    )
    provider: Literal["stripe", "paypal"] | None = Field(
        None, description="Who moves the money where no method says so; stripe if left out."
    )
    save_method: StrictBool = Field(
        default=False,
        description="With PayPal: keep what the customer pays with for later payments.",
    )


class IntentAnswer(BaseModel):
    """Where the payment stands; `client_secret` is for the browser and is kept nowhere.

    `approve_url` is the provider's page on which the customer approves the payment.
    """

    transaction_id: UUID
    client_secret: str | None
    approve_url: str | None = None
    status: Status
    error: ErrorAnswer | None = None


class PaymentPath(Input):
    """Which payment."""

    transaction_id: UUID


class PaymentQuery(PageQuery):
    """Which payments."""

    search: Search | None = Field(
        None,
        description="An id, ours or the provider's, an invoice's number, or how it begins. "
        "Of other text nothing is found.",
    )
    status: list[Status] = Field([], description="Any of these.")
    invoice_id: UUID | None = None
    payment_method: Provider | None = None


class PaymentAnswer(BaseModel):
    """A payment."""

    id: UUID
    invoice_id: UUID
    status: Status
    amount: Amount
    currency: str
    amount_captured: Amount
    amount_refunded: Amount
    payment_method: Provider
    payment_method_id: UUID | None
    off_session: bool
    provider_transaction_id: str | None
    error: ErrorAnswer | None
    retry_count: int
    next_retry_at: Moment | None
    dunning: Dunning
    is_disputed: bool
    created_at: Moment
    updated_at: Moment


class PaymentRead(PaymentAnswer):
    """A payment by itself."""

    resume: ResumeShown


class PaymentsAnswer(BaseModel):
    """A page of payments, newest first."""

    data: list[PaymentAnswer]
    next_cursor: str | None


def ask_for_intent(session: Session, transaction_id: UUID) -> str | None:
    """Wait for the answer that is on its way, or have the client secret fetched again."""
    joined = replies.join(transaction_id)
    payment = session.get_one(Transaction, transaction_id)
    if payment.provider_transaction_id is not None and payment.status is not Status.FAILED:
        if joined.is_first:
            enqueue(session, "lookups.reveal", transaction_id=payment.id)
    elif payment.status not in UNDER_WAY:
        return None
    return joined.key


def tell_intent(session: Session, transaction_id: UUID, reply: dict[str, Any] | None) -> Told:
    """Tell where a payment stands, with the secret if the worker has sent it."""
    payment = session.get_one(Transaction, transaction_id)
    secret = (reply or {}).get("client_secret") or None
    approve_url = (reply or {}).get("approve_url") or None
    is_open = payment.status in (*UNDER_WAY, Status.REQUIRES_ACTION)
    has_answer = secret or approve_url or not is_open or _is_at_work(payment)
    body = {
        "transaction_id": payment.id,
        "client_secret": secret,
        "approve_url": approve_url,
        "status": payment.status,
        "error": _error(payment),
    }
    return Told(body, status=200 if has_answer else 202, location=f"{PREFIX}/{payment.id}")


def _is_at_work(payment: Transaction) -> bool:
    """Whether the provider has answered that it has still to find out."""
    attempt = payment.open_attempt
    return attempt is not None and attempt.status == AttemptStatus.PROCESSING


@routes.post("/create-intent", responses={200: IntentAnswer, 202: IntentAnswer})
@allowed(Permission.PAYMENTS_WRITE)
@idempotent(tell=tell_intent, ask_again=ask_for_intent)
def create_intent(session: Session, body: NewIntent) -> Begun:
    """Begin a payment; a worker asks the provider.

    200 once the provider has answered, also when it declined: `status` tells. 202 when it has not
    yet: ask again with the same Idempotency-Key, or read the payment at `Location`.
    """
    # Payments are locked before their invoice.
    dunning.clear_schedules(session, body.invoice_id, because=cause("the invoice is paid by hand"))
    invoice = _payable_invoice(session, body)
    method = _method(session, body)
    provider = _provider(body, method)
    amount = _amount(body, invoice, provider)
    # Read now: an error of the flush takes the row's values away.
    invoice_id = invoice.id
    refuse_second(session, invoice_id)
    try:
        payment = open_payment(
            session,
            invoice,
            amount=amount,
            provider=provider,
            method=method,
            off_session=body.off_session,
            because=cause("asked for"),
            user_id=caller().person,
            details=_details(body),
        )
    except IntegrityError as error:
        if error_number(error) != DUPLICATE:
            raise
        with transaction(company_id=caller().company_id) as another:
            refuse_second(another, invoice_id)
        raise unavailable("Another payment of the invoice has just ended.") from None
    reply_key = replies.new_key()
    enqueue(session, "payments.charge", transaction_id=payment.id, reply=reply_key)
    # Nobody is kept waiting for a provider that is known to be away.
    is_away = breaker_of(payment.payment_method).is_open()
    return Begun(payment.id, None if is_away else reply_key)


def _details(body: NewIntent) -> dict[str, Any] | None:
    details: dict[str, Any] = {KEEP_METHOD: True} if body.save_method else {}
    if caller().person is None:
        # Whoever came by a link goes on where they came from.
        details[RETURN_URL] = portal.return_url()
    return details or None


@routes.get("/<uuid:transaction_id>", responses={200: PaymentRead})
@allowed(Permission.PAYMENTS_READ)
def read_payment(path: PaymentPath) -> Response:
    """Return a payment, and whether the customer can go on with it in the browser."""
    with transaction(company_id=caller().company_id) as session:
        payment = payment_at(session, path.transaction_id)
        resume = resuming.shown(resuming.resume_of(session, payment))
        return respond({**_shown(payment), "resume": resume})


@routes.get("", responses={200: PaymentsAnswer})
@allowed(Permission.PAYMENTS_READ)
def list_payments(query: PaymentQuery) -> Response:
    """List payments, newest first."""
    company_id = caller().company_id
    wanted = select(Transaction)
    for column, value in (
        (Transaction.invoice_id, query.invoice_id),
        (Transaction.payment_method, query.payment_method),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    if query.search is not None:
        wanted = search.of_payments(wanted, query.search, company_id=company_id)
    wanted, any_of = of_statuses(
        wanted, Transaction.status, query.status, is_searched=query.search is not None
    )
    return answer_page(Transaction, wanted, query, _shown, company_id=company_id, any_of=any_of)


def payment_at(session: Session, transaction_id: UUID) -> Transaction:
    """Return the caller's payment; 404 if there is none."""
    payment = session.get(Transaction, transaction_id)
    if payment is None:
        raise Problem("not-found", "No such payment.")
    return payment


def _payable_invoice(session: Session, body: NewIntent) -> Invoice:
    """Return the invoice, locked, so that nobody else begins to pay it now."""
    invoice = invoices.lock(session, body.invoice_id)
    if invoice is None:
        raise Problem("not-found", "No such invoice.")
    if invoice.status is not InvoiceStatus.OPEN:
        raise Problem("conflict", f"The invoice is {invoice.status}, not open.")
    if body.currency not in (None, invoice.currency):
        raise invalid("currency", f"is not the invoice's, which is {invoice.currency}")
    return invoice


def _method(session: Session, body: NewIntent) -> PaymentMethod | None:
    """Return what is to be charged, held so that it is not removed before the payment stands."""
    method_id = body.payment_method_id
    if method_id is None:
        if not body.off_session:
            return None
        default = default_method(session)
        if default is None:
            raise invalid("payment_method_id", "is needed: the company has no default method")
        method_id = default.id
    held = {"read": True}
    method = session.get(PaymentMethod, method_id, with_for_update=held, populate_existing=True)
    if method is None or not method.is_active:
        raise invalid("payment_method_id", "is not an active payment method of the company")
    refuse_forbidden(session, method)
    return method


def refuse_forbidden(session: Session, method: PaymentMethod) -> Declines:
    """Return what a method's card has met; 409 if its bank has forbidden any other try."""
    declines = cards.declines_of(session, cards.card_of(method), moment=now())
    if declines.is_refused:
        raise Problem("conflict", "The card is refused for good. Give another one.")
    return declines


def _provider(body: NewIntent, method: PaymentMethod | None) -> Provider:
    """Return who moves the money: whoever keeps the method, else as asked."""
    provider = Provider(method.provider if method else body.provider or Provider.STRIPE)
    if body.provider not in (None, provider):
        raise invalid("provider", f"is not the method's, which is {provider}")
    if provider is Provider.PAYPAL and not settings().has_paypal:
        raise invalid("provider", "is not set up here")
    if body.save_method and (provider is not Provider.PAYPAL or method is not None):
        raise invalid("save_method", "is for a payment that the customer approves at PayPal")
    return provider


def _amount(body: NewIntent, invoice: Invoice, provider: Provider) -> Any:
    try:
        amount = amount_of(body.amount, invoice.currency, provider=provider)
    except UnsupportedCurrency as error:
        raise invalid("currency", str(error)) from None
    except InvalidAmount as error:
        raise invalid("amount", str(error)) from None
    if amount > invoice.due.amount:
        raise invalid("amount", f"is more than the {invoice.due} that is due")
    return amount


def refuse_second(session: Session, invoice_id: UUID) -> None:
    """Refuse to pay an invoice beside a payment that is under way."""
    other = open_of_invoice(session, invoice_id)
    if other is None:
        return
    told = f"The invoice has another payment under way: {other}."
    if session.get_one(Transaction, other).status == Status.REQUIRES_ACTION:
        told += f" It waits for the customer; POST {PREFIX}/{other}/cancel gives it up."
    raise Problem(
        "conflict",
        told,
        extra={"transaction_id": str(other)},
        headers={"Location": f"{PREFIX}/{other}"},
    )


# What has ended without the money, or may have.
_UNPAID = (Status.FAILED, Status.CANCELED, Status.NEEDS_REVIEW)


def _error(payment: Transaction) -> dict[str, Any] | None:
    if payment.status not in _UNPAID or payment.error_message is None:
        return None
    return {"code": payment.error_code, "message": payment.error_message}


def _shown(payment: Transaction) -> dict[str, Any]:
    return {
        "id": payment.id,
        "invoice_id": payment.invoice_id,
        "status": payment.status,
        "amount": payment.amount,
        "currency": payment.currency,
        "amount_captured": payment.amount_captured,
        "amount_refunded": payment.amount_refunded,
        "payment_method": payment.payment_method,
        "payment_method_id": payment.payment_method_id,
        "off_session": payment.off_session,
        "provider_transaction_id": payment.provider_transaction_id,
        "error": _error(payment),
        "retry_count": payment.retry_count,
        "next_retry_at": payment.next_retry_at,
        "dunning": payment.dunning,
        "is_disputed": payment.is_disputed,
        "created_at": payment.created_at,
        "updated_at": payment.updated_at,
    }
