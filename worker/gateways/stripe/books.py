"""Stripe's book: its lists, newest first, as bytes over the shared wire, read by typed decoders."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
import stripe

from worker.gateways import wire
from worker.gateways.base import GatewayError, Rejected, Unavailable
from worker.gateways.books import Entry, Page, State, Subject
from worker.gateways.calls import Calls, of_a_read
from worker.gateways.stripe.failures import NOT_EXECUTED, TOO_MANY_REQUESTS
from worker.gateways.stripe.minor import THREE_DECIMAL, ZERO_DECIMAL
from worker.gateways.wire import LOST, Wire

PAGE = 100  # Stripe's largest
THREADS = 16
NOT_FOUND = 404
SERVER_ERROR = 500
LIVE = "https://api.stripe.com"
LISTS = {
    Subject.CHARGE: "/v1/charges",
    Subject.REFUND: "/v1/refunds",
    Subject.DISPUTE: "/v1/disputes",
    Subject.CUSTOMER: "/v1/customers",
    Subject.METHOD: "/v1/payment_methods",
}
# What is told whole and not as an id.
EXPANDED = {Subject.CHARGE: "balance_transaction", Subject.REFUND: "balance_transaction"}
STATES = {
    "succeeded": State.SUCCEEDED.value,
    "pending": State.PENDING.value,
    "requires_action": State.PENDING.value,
    "failed": State.FAILED.value,
    "canceled": State.FAILED.value,
}
HIGHEST_FEE = (15, 1000)
# A fee above 15 % and ten of the main unit is nobody's price: it was taken by mistake.

_Scales = {name.lower(): (100, 1) for name in ZERO_DECIMAL}
_Scales |= {name.lower(): (1, 10) for name in THREE_DECIMAL}


class Fee(msgspec.Struct, gc=False):
    """A part of what Stripe keeps."""

    amount: int


class Movement(msgspec.Struct, gc=False):
    """A balance transaction."""

    amount: int
    fee: int
    net: int
    created: int
    currency: str
    fee_details: list[Fee] = []


class Charge(msgspec.Struct, gc=False):
    """What is compared of a charge."""

    id: str
    amount: int
    currency: str
    status: str
    created: int
    amount_captured: int = 0
    amount_refunded: int = 0
    captured: bool = True
    payment_intent: str | None = None
    customer: str | None = None
    metadata: dict[str, str] = {}
    balance_transaction: Movement | str | None = None


class Refund(msgspec.Struct, gc=False):
    """What is compared of a refund."""

    id: str
    amount: int
    currency: str
    status: str
    created: int
    charge: str | None = None
    payment_intent: str | None = None
    metadata: dict[str, str] = {}
    balance_transaction: Movement | str | None = None


class Dispute(msgspec.Struct, gc=False):
    """What is compared of a dispute."""

    id: str
    amount: int
    currency: str
    status: str
    created: int
    charge: str | None = None
    payment_intent: str | None = None


class Customer(msgspec.Struct, gc=False):
    """What is compared of a customer."""

    id: str
    created: int = 0
    deleted: bool = False
    metadata: dict[str, str] = {}


class Method(msgspec.Struct, gc=False):
    """What is compared of a payment method."""

    id: str
    created: int
    customer: str | None = None


def _list_of(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    fields = [("data", list[kind]), ("has_more", bool)]  # type: ignore[valid-type]
    return msgspec.json.Decoder(msgspec.defstruct("List", fields, gc=False))


def cents_of(minor: int, currency: str) -> int:
    """Return hundredths of the main unit for Stripe's units; -1 where a row cannot hold it."""
    times, per = _Scales.get(currency, (1, 1))
    cents, rest = divmod(minor * times, per)
    return -1 if rest else cents


def charge_entry(each: Charge) -> Entry:
    """Return a charge in our words."""
    metadata = each.metadata
    movement = each.balance_transaction
    cents = each.amount if each.currency not in _Scales else cents_of(each.amount, each.currency)
    entry = Entry(
        "charge",
        each.id,
        each.created,
        cents,
        each.currency.upper(),
        STATES.get(each.status, each.status),
        metadata["transaction_id"].replace("-", "") if "transaction_id" in metadata else "",
        metadata["company_id"].replace("-", "") if "company_id" in metadata else "",
        "",
        each.payment_intent or "",
        "",
        each.customer or "",
        cents,
        each.amount_refunded,
    )
    if type(movement) is Movement:
        entry.settled = movement.created
        entry.fee = movement.fee
        entry.oddity = _oddity(each, movement)
    if each.status == "succeeded" and each.captured and each.amount_captured != each.amount:
        entry.taken = cents_of(each.amount_captured, each.currency)
    return entry


def _oddity(each: Charge, movement: Movement) -> str:
    if movement.net != movement.amount - movement.fee:
        return "the net is not the amount less the fee"
    details = movement.fee_details
    told = details[0].amount if len(details) == 1 else sum(part.amount for part in details)
    if details and told != movement.fee:
        return "the parts of the fee are not its sum"
    if movement.currency == each.currency and movement.amount != each.amount_captured:
        return "the balance moved by another amount"
    percent, fixed = HIGHEST_FEE
    if movement.fee * 100 > movement.amount * percent + fixed * 100 and each.status == "succeeded":
        return "the fee is higher than any price"
    return ""


def refund_entry(each: Refund) -> Entry:
    """Return a refund in our words."""
    movement = each.balance_transaction
    return Entry(
        subject="refund",
        id=each.id,
        created=each.created,
        cents=cents_of(each.amount, each.currency),
        currency=each.currency.upper(),
        state=STATES.get(each.status, each.status),
        transaction=each.metadata.get("transaction_id", "").replace("-", ""),
        company=each.metadata.get("company_id", "").replace("-", ""),
        row=each.metadata.get("refund_id", "").replace("-", ""),
        intent=each.payment_intent or "",
        of=each.charge or "",
        settled=movement.created if isinstance(movement, Movement) else 0,
    )


def dispute_entry(each: Dispute) -> Entry:
    """Return a dispute in our words."""
    return Entry(
        subject="dispute",
        id=each.id,
        created=each.created,
        cents=cents_of(each.amount, each.currency),
        currency=each.currency.upper(),
        state=each.status,
        intent=each.payment_intent or "",
        of=each.charge or "",
    )


def customer_entry(each: Customer) -> Entry:
    """Return a customer in our words."""
    return Entry(
        subject="customer",
        id=each.id,
        created=each.created,
        state="deleted" if each.deleted else "",
        company=each.metadata.get("company_id", "").replace("-", ""),
        customer=each.id,
    )


def method_entry(each: Method) -> Entry:
    """Return a payment method in our words."""
    return Entry(
        subject="method",
        id=each.id,
        created=each.created,
        of=each.customer or "",
        customer=each.customer or "",
    )


class _Reader(NamedTuple):
    many: msgspec.json.Decoder[Any]
    one: msgspec.json.Decoder[Any]
    entry: Callable[[Any], Entry]


def _reader(kind: type[Any], entry: Callable[[Any], Entry]) -> _Reader:
    return _Reader(_list_of(kind), msgspec.json.Decoder(kind), entry)


READERS = {
    Subject.CHARGE: _reader(Charge, charge_entry),
    Subject.REFUND: _reader(Refund, refund_entry),
    Subject.DISPUTE: _reader(Dispute, dispute_entry),
    Subject.CUSTOMER: _reader(Customer, customer_entry),
    Subject.METHOD: _reader(Method, method_entry),
}


def read_page(subject: Subject, raw: bytes) -> Page:
    """Return what the bytes of a list say."""
    reader = READERS[subject]
    page = reader.many.decode(raw)
    entries = [reader.entry(each) for each in page.data]
    return Page(entries, entries[-1].id if page.has_more and entries else None)


@dataclass(kw_only=True, eq=False)
class BookError(Exception):
    """What Stripe answered instead of a page; a lost connection has only a cause."""

    status: int = 0
    raw: bytes = b""
    headers: Mapping[str, str] | None = None
    cause: BaseException | None = None


class _Told(msgspec.Struct):
    type: str | None = None
    code: str | None = None


class _Refusal(msgspec.Struct):
    error: _Told = msgspec.field(default_factory=_Told)


def failure_of(error: BookError, *, is_read: bool) -> GatewayError:  # noqa: ARG001  all are reads
    """Return what a failed page means: all but a refusal may be asked for again."""
    if error.cause is not None:
        return of_a_read(wire.failure_of(error.cause))
    try:
        told = msgspec.json.decode(error.raw, type=_Refusal).error
    except (msgspec.DecodeError, ValueError):
        told = _Told()
    code = told.code or told.type or ""
    about: dict[str, Any] = {
        "message": f"Stripe answers {error.status}",
        "code": code,
        "provider_request_id": (error.headers or {}).get("request-id", ""),
        "http_status": error.status,
    }
    if error.status in (TOO_MANY_REQUESTS, 409) or error.status >= SERVER_ERROR:
        return Unavailable(**about, retry_after_s=wire.retry_after_s(error.headers))
    return Rejected(**about)


calls = Calls(
    provider="stripe",
    errors=(BookError,),
    failure_of=failure_of,
    answer_of=lambda answer: answer,
    not_executed=NOT_EXECUTED,
)


class StripeBook:
    """Stripe's lists at `api_base` (empty for Stripe itself). Thread-safe; it only ever GETs."""

    provider = "stripe"
    is_newest_first = True

    def __init__(self, *, api_key: str, api_base: str, timeout_s: float) -> None:
        self._base = (api_base or LIVE).rstrip("/")
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "Stripe-Version": stripe.api_version,
            "Accept": "application/json",
        }
        self._timeout_s = timeout_s
        self._wire = Wire(threads=THREADS, ca_certs=stripe.ca_bundle_path)

    def page(self, subject: Subject, *, start: datetime, end: datetime, after: str | None) -> Page:
        """Return the next page of what was made from `start` until before `end`."""
        query = {
            "limit": str(PAGE),
            "created[gte]": str(int(start.timestamp())),
            "created[lt]": str(int(end.timestamp())),
        }
        if subject in EXPANDED:
            query["expand[]"] = f"data.{EXPANDED[subject]}"
        if after:
            query["starting_after"] = after
        return calls.read(
            f"{subject}s.book",
            lambda: self.get(LISTS[subject], query),
            lambda raw, _: read_page(subject, raw),  # type: ignore[arg-type]  # bytes here
        )

    def one(self, subject: Subject, object_id: str) -> Entry | None:
        """Return one object as it is now; None if Stripe does not know it."""
        query = {"expand[]": EXPANDED[subject]} if subject in EXPANDED else {}
        reader = READERS[subject]
        try:
            return calls.read(
                f"{subject}s.look",
                lambda: self.get(f"{LISTS[subject]}/{quote(object_id, safe='')}", query),
                lambda raw, _: reader.entry(reader.one.decode(raw)),  # type: ignore[arg-type]  # bytes here
            )
        except Rejected as refusal:
            if refusal.http_status != NOT_FOUND:
                raise
        return None

    def methods(self, customer: str) -> Sequence[Entry]:
        """Return what a customer's payment methods are; a hundred at most."""
        path = f"{LISTS[Subject.CUSTOMER]}/{quote(customer, safe='')}/payment_methods"
        return calls.read(
            "customers.methods",
            lambda: self.get(path, {"limit": str(PAGE)}),
            lambda raw, _: read_page(Subject.METHOD, raw).entries,  # type: ignore[arg-type]  # bytes here
        )

    def get(self, path: str, query: Mapping[str, str]) -> tuple[bytes, str]:
        """Return the bytes of a success."""
        url = f"{self._base}{path}?{urlencode(query)}" if query else f"{self._base}{path}"
        lost: Exception | None = None
        try:
            raw, status, headers = self._wire.send(
                "GET",
                url,
                headers=self._headers,
                body=None,
                deadline=time.monotonic() + self._timeout_s,
            )
        except LOST as error:
            lost = error
        if lost is not None:
            raise BookError(cause=lost)
        if status != 200:  # noqa: PLR2004  HTTP's success
            raise BookError(status=status, raw=raw, headers=headers)
        return raw, str(headers.get("request-id") or "")
