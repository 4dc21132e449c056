"""Orders that their payer left, and events of PayPal's that never came."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select

from models.cursors import ProviderCursor
from models.invoices import InvoiceStatus
from models.invoices import lock as lock_invoice
from models.timeline import Cause
from models.transactions import Status, Transaction
from models.webhooks import FETCHED, PaymentWebhook
from tasks import janitor, missed
from tests.flows.paypal_till import Till
from worker.database import transaction
from worker.intake import intake


def sweep_and_work(till: Till) -> Transaction:
    for _ in range(5):
        janitor.sweep()
    till.work("payments.cancel")
    [payment] = payments(till)
    return payment


def payments(till: Till) -> list[Transaction]:
    with transaction(company_id=till.company_id) as session:
        return list(session.scalars(select(Transaction)))


def test_an_order_that_its_payer_left_is_given_up_and_never_captured(till: Till) -> None:
    payment = till.pay()
    assert payment.status == Status.REQUIRES_ACTION
    till.advance("25h")
    assert sweep_and_work(till).status == Status.CANCELED
    till.judge()
    assert till.taken() == {}


def test_an_order_that_was_approved_unheard_is_captured_and_not_given_up(till: Till) -> None:
    payment = till.pay()
    till.approve(payment)
    till.sent()  # and nobody hands it over
    till.advance("25h")
    sweep_and_work(till)
    till.work(later=True)
    assert till.payment(payment.id).status == Status.SUCCEEDED
    till.judge()
    assert till.taken() == {"eur": (10000, 0)}


def test_an_order_that_was_approved_of_an_invoice_that_is_void_is_given_up(till: Till) -> None:
    payment = till.pay()
    with transaction(company_id=till.company_id) as session:
        invoice = lock_invoice(session, payment.invoice_id)
        assert invoice is not None
        invoice.move_to(InvoiceStatus.VOID, because=Cause(why="a mistake"))
    till.approve(payment)
    till.settle()
    assert till.told(payment).count("not_captured") == 1
    till.advance("25h")
    assert sweep_and_work(till).status == Status.CANCELED
    till.work(later=True)
    assert till.told(payment).count("not_captured") == 1
    assert till.taken() == {}


@pytest.fixture
def unasked():
    """Nobody has looked for missed events yet."""
    with transaction() as session:
        session.execute(delete(ProviderCursor))
    yield
    intake().close()
    intake.cache_clear()


def test_events_that_never_came_are_fetched_and_acted_on_once(till: Till, unasked: None) -> None:
    payment = till.pay()
    till.approve(payment)
    missed.fetch("paypal")
    till.work(later=True)
    assert till.payment(payment.id).status == Status.SUCCEEDED
    with transaction() as session:
        rows = list(session.scalars(select(PaymentWebhook)))
    ours = [row for row in rows if row.transaction_id == payment.id]
    assert ours
    assert all(FETCHED in (row.headers or {}) for row in ours)
    assert till.told(payment).count("event") == len(ours)
    till.judge()  # hands over what the stand-in has sent: of those that were fetched, nothing new
    assert till.taken() == {"eur": (10000, 0)}
    with transaction() as session:
        rows = list(session.scalars(select(PaymentWebhook)))
    ours = [row for row in rows if row.transaction_id == payment.id]
    assert till.told(payment).count("event") == len(ours)
