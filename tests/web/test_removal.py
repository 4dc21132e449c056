"""A payment that begins in the moment of its card's removal, in this process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from models import wallet
from models.methods import PaymentMethod
from models.timeline import Cause
from models.transactions import Transaction
from tests.factories import make_invoice, make_method
from tests.waiting import PATIENCE_S
from tests.web.visitor import problem_of
from worker.database import transaction

INTENTS = "/api/v1/payments/create-intent"


@pytest.mark.parametrize("by", ["its id", "being the default"])
def test_a_payment_waits_for_its_cards_removal_and_is_refused(owner, person, by):
    card = make_method(person, is_default=True)
    named = {"payment_method_id": str(card)} if by == "its id" else {"off_session": True}
    body = {"invoice_id": str(make_invoice(person.company_id)), "amount": "100.00", **named}
    with ThreadPoolExecutor(1) as pool:
        with transaction(company_id=person.company_id) as session:
            wallet.hold(session, person.company_id)
            assert not wallet.is_paying(session, card)
            method = session.get_one(PaymentMethod, card)
            wallet.remove(session, method, because=Cause(why="a test"))
            paying = pool.submit(owner.post, INTENTS, body, Prefer="respond-async")
            with pytest.raises(TimeoutError):
                paying.result(0.5)
        problem_of(paying.result(PATIENCE_S), 422, "invalid")
    with transaction(company_id=person.company_id) as session:
        assert session.scalars(select(Transaction)).all() == []


def test_a_removal_waits_for_a_payment_that_begins_and_is_refused(owner, person):
    card = make_method(person)
    invoice_id = make_invoice(person.company_id)
    with ThreadPoolExecutor(1) as pool:
        with transaction(company_id=person.company_id) as session:
            held = {"read": True}
            method = session.get_one(PaymentMethod, card, with_for_update=held)
            session.add(
                Transaction(
                    company_id=person.company_id,
                    invoice_id=invoice_id,
                    amount=100,
                    payment_method="stripe",
                    payment_method_id=method.id,
                )
            )
            session.flush()
            removing = pool.submit(owner.send, "DELETE", f"/api/v1/payment-methods/{card}")
            with pytest.raises(TimeoutError):
                removing.result(0.5)
        problem_of(removing.result(PATIENCE_S), 409, "conflict")
