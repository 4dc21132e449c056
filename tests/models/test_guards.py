"""The promises that are unique keys and not checks."""

from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError

from models.idempotency import IdempotencyKey
from models.ids import new_id
from models.invoices import next_number
from models.ledger import Account, LedgerEntry, is_posted, post, sums
from models.methods import ProviderCustomer
from models.money import Money
from models.timeline import Cause
from models.transactions import AttemptStatus, Status, Transaction, lock_existing, start_attempt
from models.webhooks import PaymentWebhook
from tests.factories import make_company, make_invoice, make_method, make_payment
from worker.database import in_transaction, transaction


def test_an_invoice_has_one_open_payment(customer):
    invoice_id = make_invoice(customer.company_id)
    first = make_payment(customer, invoice_id)
    with pytest.raises(IntegrityError, match="open_invoice"):
        make_payment(customer, invoice_id)
    with transaction(company_id=customer.company_id) as session:
        lock_existing(session, first).move_to(Status.FAILED, because=Cause(why="declined"))
    assert make_payment(customer, invoice_id) != first


def test_a_payment_has_one_open_attempt(customer):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    with transaction(company_id=customer.company_id) as session:
        payment = session.get_one(Transaction, payment_id)
        start_attempt(payment, {}).status = AttemptStatus.DECLINED
        session.flush()
        second = start_attempt(payment, {})
        session.flush()
        assert second.number == 2
    with (
        pytest.raises(IntegrityError, match="open_transaction"),
        transaction(company_id=customer.company_id) as session,
    ):
        start_attempt(session.get_one(Transaction, payment_id), {})


def test_a_company_has_one_default_method(customer):
    make_method(customer, is_default=True)
    make_method(customer)
    make_method(make_company(), is_default=True)
    with pytest.raises(IntegrityError, match="unique_default"):
        make_method(customer, is_default=True)


@pytest.mark.parametrize(
    "make_row",
    [
        lambda company_id: ProviderCustomer(company_id=company_id, provider="stripe"),
        lambda company_id: IdempotencyKey(
            company_id=company_id, idempotency_key="key", fingerprint="f" * 64
        ),
        lambda company_id: PaymentWebhook(
            provider="stripe",
            account=str(company_id),
            provider_event_id="evt_1",
            event_type="t",
            payload={},
        ),
        lambda company_id: LedgerEntry(
            company_id=company_id,
            posting=f"payment:{company_id}",
            account=Account.CLEARING,
            amount=Decimal(1),
            currency="INR",
        ),
    ],
    ids=["customer", "idempotency key", "event", "posting"],
)
def test_the_same_thing_is_kept_once(customer, make_row):
    with transaction(company_id=customer.company_id) as session:
        session.add(make_row(customer.company_id))
    try:
        with (
            pytest.raises(IntegrityError, match="Duplicate"),
            transaction(company_id=customer.company_id) as session,
        ):
            session.add(make_row(customer.company_id))
    finally:
        # A ledger of one side is for this test only: the sums of the others must be zero.
        with transaction() as session:
            session.connection().exec_driver_sql(
                "DELETE FROM ledger_entries WHERE posting = %s", (f"payment:{customer.company_id}",)
            )


def test_idempotency_keys_differ_by_case(customer):
    with transaction(company_id=customer.company_id) as session:
        for key in ("key", "KEY", "kEy"):
            session.add(
                IdempotencyKey(
                    company_id=customer.company_id, idempotency_key=key, fingerprint="f" * 64
                )
            )


def test_invoice_numbers_have_no_gaps_and_a_rollback_takes_none(customer):
    make_invoice(customer.company_id)

    def take_and_fail(session):
        assert next_number(session, customer.company_id) == "INV-000002"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_transaction(take_and_fail, customer.company_id)
    with transaction(company_id=customer.company_id) as session:
        assert next_number(session, customer.company_id) == "INV-000002"


def test_a_posting_has_two_sides_that_sum_to_zero(customer):
    name = f"invoice:{new_id()}"
    with transaction(company_id=customer.company_id) as session:
        assert not is_posted(session, name)
        post(
            session,
            name,
            company_id=customer.company_id,
            debit=Account.RECEIVABLE,
            credit=Account.REVENUE,
            money=Money(Decimal("12.34"), "CHF"),
        )
        session.flush()
        assert is_posted(session, name)
        assert sums(session)["CHF"] == 0
