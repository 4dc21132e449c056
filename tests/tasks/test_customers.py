"""A company becomes a provider's customer, whatever its first try met."""

from __future__ import annotations

from models.methods import customer_of
from models.tenants import Company
from models.transactions import Status


def customers(shop):
    found = shop.sandbox.control.book()["customers"]
    return [one["id"] for one in found if one["metadata"]["company_id"] == str(shop.company_id)]


def kept(shop) -> str | None:
    with shop.session() as session:
        row = customer_of(session, shop.company_id, "stripe")
        return row.provider_id if row else None


def test_an_error_that_the_key_has_saved_keeps_nobody_from_paying(shop):
    shop.sandbox.control.fault("server_error", path="/v1/customers", executed=False)
    payment_id = shop.pay(shop.card())
    assert shop.payment(payment_id).status == Status.SUCCEEDED
    assert customers(shop) == [kept(shop)]


def test_a_company_that_was_renamed_after_a_lost_answer_can_pay(shop):
    shop.sandbox.control.fault("drop_after", path="/v1/customers")
    payment_id = shop.pay(None)
    assert kept(shop) is None
    with shop.session() as session:
        session.get_one(Company, shop.company_id).name = "Another name"
    shop.work_once()
    assert kept(shop) in customers(shop)
    assert len(customers(shop)) == 2
    assert shop.payment(payment_id).provider_transaction_id
