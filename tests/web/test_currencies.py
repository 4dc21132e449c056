"""Money that the provider is known not to take is refused at the door, in this process."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from models.methods import MethodType
from models.transactions import Status, Transaction
from tests.factories import add_invoice, make_method, make_payment
from tests.web.visitor import problem_of
from worker.database import transaction

INTENTS = "/api/v1/payments/create-intent"


@pytest.fixture
def asked(owner, person, use):
    """Ask for a payment of a new invoice."""
    use(paypal_client_id="id", paypal_client_secret="secret", paypal_webhook_id="WH-1")

    def ask(amount: str, currency: str, **how: object):
        with transaction(company_id=person.company_id) as session:
            invoice_id = add_invoice(session, person.company_id, "10.50", currency)
        body = {"invoice_id": str(invoice_id), "amount": amount, **how}
        return owner.post(INTENTS, body, Prefer="respond-async")

    return ask


@pytest.mark.parametrize("by", ["its name", "the method"])
@pytest.mark.parametrize(
    ("currency", "field", "told"),
    [
        ("INR", "currency", "PayPal does not take INR"),
        ("HUF", "amount", "PayPal takes HUF without decimals"),
    ],
)
def test_what_paypal_does_not_take_is_never_begun(asked, person, by, currency, field, told):
    method = make_method(person, type=MethodType.PAYPAL, provider="paypal")
    how = {"provider": "paypal"} if by == "its name" else {"payment_method_id": str(method)}
    problem = problem_of(asked("10.50", currency, **how), 422, "invalid")
    assert problem["errors"] == [{"field": field, "detail": told}]
    with transaction(company_id=person.company_id) as session:
        assert session.scalars(select(Transaction)).all() == []


@pytest.mark.parametrize(
    ("amount", "currency", "how"),
    [
        ("10.50", "EUR", {"provider": "paypal"}),
        ("10.00", "HUF", {"provider": "paypal"}),
        ("10.50", "INR", {}),
        ("10.50", "HUF", {"provider": "stripe"}),
    ],
)
def test_what_the_provider_takes_is_begun(asked, amount, currency, how):
    assert asked(amount, currency, **how).status_code == 202


def test_a_refund_finer_than_paypal_takes_is_refused(owner, person):
    with transaction(company_id=person.company_id) as session:
        invoice_id = add_invoice(session, person.company_id, "100.00", "HUF")
    payment_id = make_payment(
        person,
        invoice_id,
        payment_method="paypal",
        currency="HUF",
        status=Status.SUCCEEDED,
        amount_captured=100,
    )
    body = {"amount": "10.50", "reason": "requested"}
    answer = owner.post(f"/api/v1/payments/{payment_id}/refund", body, Prefer="respond-async")
    problem = problem_of(answer, 422, "invalid")
    told = "PayPal takes HUF without decimals"
    assert problem["errors"] == [{"field": "amount", "detail": told}]
