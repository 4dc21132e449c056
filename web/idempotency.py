"""Idempotency-Key: the same key and request give the same answer, for 24 hours.

The key's row is inserted first, in the same transaction as the effect. Its unique key makes
fifty requests at once wait for one; the others find the row and tell the same answer. A request
that is refused rolls its key back too: it may be mended and sent again.

An answer that is known at the commit is stored, to the byte:

    @routes.post("", responses={201: InvoiceAnswer})
    @allowed(Permission.INVOICES_WRITE)
    @idempotent()
    def create_invoice(session: Session, body: NewInvoice) -> Made:
        invoice = ...                       # in a transaction of caller().company_id
        return Made(shown(invoice), location=f"/api/v1/invoices/{invoice.id}")

An answer that a worker gives, or that must not be stored, is told from the row each time:

    @routes.post("/create-intent", responses={200: IntentAnswer, 202: IntentAnswer})
    @allowed(Permission.PAYMENTS_WRITE)
    @idempotent(tell=tell_intent, ask_again=ask_for_intent)
    def create_intent(session: Session, body: NewIntent) -> Begun:
        payment = ...
        reply_key = replies.new_key()
        enqueue(session, "payments.create_intent", transaction_id=payment.id, reply_key=reply_key)
        return Begun(payment.id, reply_key)

    def ask_for_intent(session: Session, transaction_id: UUID) -> str | None:
        ...enqueue a look-up that replies to a new key; return the key, None if the row is enough

    def tell_intent(session: Session, transaction_id: UUID, reply: dict | None) -> Told:
        ...read the row; reply is what the worker sent, None if it did not come in time
        return Told(shown(payment), status=200 or 202, location=...)

`tell` runs after the wait, in a read transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from hashlib import sha256
from typing import Any
from uuid import UUID

from flask import Response, request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import idempotency
from models.clock import now
from models.idempotency import IdempotencyKey
from web.auth import caller
from web.bodies import canonical, write
from web.openapi import IDEMPOTENT, WAITS
from web.problems import DUPLICATE, Problem, unavailable
from web.waiting import wait_as_wished
from worker.database import error_number, in_transaction, transaction

HEADER = "Idempotency-Key"
MAX_LENGTH = 255
# A key whose first request rolled back, or that just expired, is free: the request runs again.
TRIES = 5


@dataclass(frozen=True)
class Made:
    """Something was made, and the answer is known now."""

    body: Any
    status: int = 201
    location: str | None = None


@dataclass(frozen=True)
class Begun:
    """Something was begun; `tell` makes the answer from its row and the worker's reply."""

    resource_id: UUID
    reply_key: str | None


@dataclass(frozen=True)
class Told:
    """The answer that is told from a row."""

    body: Any
    status: int = 200
    location: str | None = None


Tell = Callable[[Session, UUID, dict[str, Any] | None], Told]
AskAgain = Callable[[Session, UUID], str | None]
View = Callable[..., Made | Begun]


class _Taken(Exception):
    """Somebody used the key already."""


@dataclass(frozen=True)
class _Stored:
    """What a key's row holds; the answer is None where it is told anew."""

    answer: dict[str, Any] | None
    status: int | None
    begun: Begun | None


def idempotent(
    *, tell: Tell | None = None, ask_again: AskAgain | None = None
) -> Callable[[View], Callable[..., Response]]:
    """Run a view in one transaction, once a key. See the first lines of this module."""

    def decorate(view: View) -> Callable[..., Response]:
        @wraps(view)
        def run(**inputs: Any) -> Response:
            key, fingerprint = given_key(), _fingerprint()
            for _ in range(TRIES):
                try:
                    outcome = in_transaction(
                        _once, caller().company_id, view, inputs, key, fingerprint
                    )
                except _Taken:
                    stored = in_transaction(
                        _find, caller().company_id, str(key), fingerprint, ask_again
                    )
                    if stored is not None:
                        return _replay(stored, tell)
                else:
                    return _answer(outcome, tell)
            raise unavailable("Another request with the same key is not done yet.")

        setattr(run, IDEMPOTENT, True)
        if tell is not None:
            setattr(run, WAITS, True)
        return run

    return decorate


def keyed(view: Callable[..., Response]) -> Callable[..., Response]:
    """Mark a view that keeps keys with what it makes: for what is no company's."""
    setattr(view, IDEMPOTENT, True)
    return view


def given_key() -> str | None:
    """Return the key that the request came with.

    Raises:
        Problem: 400, it is none or there are several.
    """
    given = request.headers.getlist(HEADER)
    if not given:
        return None
    key = given[0]
    if (
        len(given) > 1
        or not 0 < len(key) <= MAX_LENGTH
        or not (key.isascii() and key.isprintable())
    ):
        raise Problem("bad-request", f"{HEADER} must be 1 to {MAX_LENGTH} ASCII characters.")
    return key


def _fingerprint() -> str:
    body = canonical(request.get_json()) if request.get_data() else b""
    what = b"\0".join([request.method.encode(), request.path.encode(), body])
    return sha256(what).hexdigest()


def _once(
    session: Session, view: View, inputs: dict[str, Any], key: str | None, fingerprint: str
) -> Made | Begun:
    row = None
    if key is not None:
        row = IdempotencyKey(
            company_id=caller().company_id, idempotency_key=key, fingerprint=fingerprint
        )
        session.add(row)
        try:
            session.flush()
        except IntegrityError as error:
            if error_number(error) == DUPLICATE:
                raise _Taken from None
            raise
    outcome = view(session, **inputs)
    if row is not None and isinstance(outcome, Made):
        row.status_code, row.answer = outcome.status, _storable(outcome)
    elif row is not None and isinstance(outcome, Begun):
        row.resource_id = outcome.resource_id
    return outcome


def _storable(made: Made) -> dict[str, Any]:
    return {"text": write(made.body).decode(), "location": made.location}


def _find(
    session: Session, key: str, fingerprint: str, ask_again: AskAgain | None
) -> _Stored | None:
    """Return what was stored; None if the key is free again."""
    row = idempotency.find(session, key)
    if row is None:
        return None
    if row.created_at < now() - idempotency.LIFE:
        session.delete(row)
        return None
    if row.fingerprint != fingerprint:
        raise Problem("key-reused")
    if row.resource_id is None:
        return _Stored(row.answer, row.status_code, None)
    reply_key = ask_again(session, row.resource_id) if ask_again else None
    return _Stored(None, None, Begun(row.resource_id, reply_key))


def _replay(stored: _Stored, tell: Tell | None) -> Response:
    if stored.begun is not None:
        response = _answer(stored.begun, tell)
    else:
        answer = stored.answer or {}
        response = _response(answer["text"], stored.status or 200, answer["location"])
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _answer(outcome: Made | Begun, tell: Tell | None) -> Response:
    if isinstance(outcome, Made):
        return _response(write(outcome.body), outcome.status, outcome.location)
    if tell is None:
        raise TypeError("a view that returns Begun needs tell")
    reply, honoured = wait_as_wished(outcome.reply_key)
    with transaction(company_id=caller().company_id) as session:
        told = tell(session, outcome.resource_id, reply)
        body = write(told.body)
    response = _response(body, told.status, told.location)
    response.headers.update(honoured)
    return response


def _response(body: bytes | str, status: int, location: str | None) -> Response:
    headers = {"Location": location} if location else None
    return Response(body, status, headers, content_type="application/json")
