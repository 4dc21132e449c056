"""What a dry run shows of rows, and that it keeps none of them."""

from __future__ import annotations

from sqlalchemy import update

from models.ids import new_id
from models.invoices import Invoice
from models.methods import PaymentMethod
from models.webhooks import PaymentWebhook
from tests.factories import make_invoice, make_method
from worker.app import Later
from worker.database import transaction
from worker.preview import MOST_CHANGES, foresee


def turned_to(customer, work):
    """What comes before a debt's task, for this company; there is no debt."""

    def prepare(session):
        session.info["company_id"] = customer.company_id
        work(session)

    return prepare


def test_what_is_nobodys_to_read_is_not_shown(customer):
    method_id = make_method(customer)

    def write(session):
        session.get_one(PaymentMethod, method_id).token = "tok_1aSecretOfTheirs"
        event = PaymentWebhook(
            event_type="x",
            provider="stripe",
            provider_event_id=f"evt_{new_id().hex}",
            payload={"email": "ada@example.com"},
            headers={"Stripe-Signature": "t=1,v1=abc"},
        )
        session.add(event)

    shown = str(foresee(turned_to(customer, write)).shown())
    assert "payload" in shown
    for secret in ("tok_1aSecretOfTheirs", "ada@example.com", "v1=abc"):
        assert secret not in shown


def test_a_column_is_told_from_what_it_was_to_what_it_ends_as(customer):
    invoice_id = make_invoice(customer.company_id)

    def write(session):
        invoice = session.get_one(Invoice, invoice_id)
        for memo in ("first", "then", "last"):
            invoice.memo = memo
            session.flush()

    foreseen = foresee(turned_to(customer, write))
    [change] = foreseen.changes
    assert change.columns == {"memo": [None, "last"]}
    assert foreseen.companies == {customer.company_id}
    with transaction(company_id=customer.company_id) as session:
        assert session.get_one(Invoice, invoice_id).memo is None


def test_a_statement_for_many_rows_is_told_by_its_table(customer):
    def write(session):
        session.execute(update(Invoice).values(memo="all"))

    [change] = foresee(turned_to(customer, write)).changes
    assert (change.table, change.id, change.how) == ("invoices", None, "update")


def test_no_more_is_shown_than_can_be_read(customer):
    def write(session):
        session.add_all(
            PaymentMethod(
                company_id=customer.company_id,
                user_id=customer.user_id,
                type="card",
                provider="stripe",
                status="failed",
            )
            for _ in range(MOST_CHANGES + 3)
        )

    shown = foresee(turned_to(customer, write)).shown()
    assert len(shown["changes"]) == MOST_CHANGES
    assert shown["more_changes"] == 3


def test_why_it_would_wait_is_told(customer):
    def write(_session):
        raise Later("its intent is not known yet", after_s=1)

    foreseen = foresee(turned_to(customer, write))
    assert (foreseen.waits, foreseen.error) == ("its intent is not known yet", None)
