"""Refunds that are heard of before the payment's own intent is known."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from models.outbox import Owed, enqueue
from models.transactions import Status
from tasks import refunds
from tests.bell import ring
from tests.factories import make_invoice, make_payment
from worker.database import transaction


def test_refunds_are_not_asked_for_before_the_intent_is_known(customer, monkeypatch):
    monkeypatch.setattr(refunds, "gateway_for", lambda _: pytest.fail("of which intent?"))
    company_id = customer.company_id
    payment_id = make_payment(customer, make_invoice(company_id), status=Status.PROCESSING)
    with transaction(company_id=company_id) as session:
        owed = enqueue(session, "refunds.collect", transaction_id=payment_id)
    ring("refunds.collect", owed.id)
    with transaction() as session:
        row = session.get_one(Owed, owed.id)
    assert (row.error, row.failures) == ("its intent is not known yet", 0)
    with transaction() as session:
        assert session.scalars(select(Owed.id).where(Owed.company_id == company_id)).all() == [
            owed.id
        ]
