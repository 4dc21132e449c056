"""An operator's desk in this process: events of paid intents, work that was given up, a worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from models.ids import new_id
from models.outbox import RETRIES, Owed, OwedStatus, enqueue
from models.tables import METADATA
from models.transactions import Status, Transaction
from models.webhooks import PaymentWebhook, WebhookStatus
from tests.bell import ring
from tests.factories import Customer, make_invoice, make_payment
from worker.app import app
from worker.database import engine, transaction

LETTERS = "/api/v1/operations/dead-letters"
EVENTS = "/api/v1/operations/events"
# What signing in and asking a worker write; everything else is to stay as it is in a dry run.
NOT_JUDGED = ("user_sessions", "outbox", "idempotency_keys")


def owed_row(identity: UUID | str) -> Owed | None:
    with transaction() as session:
        return session.get(Owed, UUID(str(identity)))


def event_row(identity: UUID | str) -> PaymentWebhook:
    with transaction() as session:
        return session.get_one(PaymentWebhook, UUID(str(identity)))


def payment_row(customer: Customer, payment_id: UUID) -> Transaction:
    with transaction(company_id=customer.company_id) as session:
        return session.get_one(Transaction, payment_id)


def make_open_payment(customer: Customer) -> UUID:
    """A payment whose intent is known and which the provider works at."""
    return make_payment(
        customer,
        make_invoice(customer.company_id),
        status=Status.PROCESSING,
        provider_transaction_id=f"pi_{new_id().hex}",
    )


def store_event(
    customer: Customer,
    payment_id: UUID,
    *,
    kind: str = "payment_intent.succeeded",
    status: WebhookStatus = WebhookStatus.RECEIVED,
) -> tuple[UUID, UUID | None]:
    """Store an event as the door does; return it and its debt, if its status has one."""
    payment = payment_row(customer, payment_id)
    body = {
        "id": payment.provider_transaction_id,
        "object": "payment_intent",
        "status": "succeeded",
        "amount": 10000,
        "amount_received": 10000,
        "currency": "inr",
        "latest_charge": f"ch_{new_id().hex}",
        "metadata": {
            "transaction_id": str(payment_id),
            "company_id": str(customer.company_id),
        },
        "client_secret": "pi_1_secret_abcdefghijklmnop",
    }
    with transaction() as session:
        event = PaymentWebhook(
            id=new_id(),
            event_type=kind,
            provider="stripe",
            provider_event_id=f"evt_{new_id().hex}",
            payload={"type": kind, "data": {"object": body}},
            status=status,
        )
        session.add(event)
        session.flush()
        if status is not WebhookStatus.RECEIVED:
            return event.id, None
        return event.id, enqueue(session, "webhooks.handle", event_id=event.id).id


def die(task: str, owed_id: UUID) -> None:
    """Run a task until it is given up."""
    for _ in range(RETRIES + 1):
        ring(task, owed_id)
    row = owed_row(owed_id)
    assert row is not None
    assert row.status is OwedStatus.DEAD


def checksums() -> dict[str, int]:
    names = ", ".join(name for name in METADATA.tables if name not in NOT_JUDGED)
    with engine().connect() as connection:
        return dict(connection.execute(text(f"CHECKSUM TABLE {names}")).all())


@contextmanager
def worker_for(task: str) -> Iterator[list[Any]]:
    """Work off what is owed under a name while the block runs, as a worker beside it would."""
    app.loader.import_default_modules()
    is_over = threading.Event()
    worked: list[Any] = []

    def work() -> None:
        while not is_over.wait(0.02):
            with transaction() as session:
                owed = list(session.scalars(select(Owed.id).where(Owed.task == task)))
            for each in owed:
                ring(task, each)
                worked.append(each)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield worked
    finally:
        is_over.set()
        thread.join()
