"""Each invariant is broken on purpose and must be told; a healthy book breaks none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from models import modules, usage
from models.base import across_companies
from models.clock import now
from models.collecting_invariants import COLLECTING
from models.credit_notes import credit_refund
from models.deliveries import DeliveryStatus, EndpointDelivery, EndpointMessage
from models.disputes import (
    Dispute,
    DisputeAction,
    DisputeActionKind,
    DisputeActionStatus,
    DisputeStatus,
)
from models.endpoints import Endpoint
from models.ids import new_id
from models.import_invariants import IMPORTS
from models.invariants import ALLOWED, ENDS_WHERE, QUERIES, check
from models.invoices import Invoice, InvoiceStatus
from models.ledger import Account, post
from models.locks import lock_existing
from models.mail_invariants import MAIL
from models.modules import Module
from models.money import Money
from models.outbox import Owed, enqueue
from models.refunds import Refund, RefundReason, RefundStatus
from models.subscription_invariants import SUBSCRIPTIONS
from models.timeline import Cause, note
from models.transactions import Status, Transaction, start_attempt
from models.usage import Reading
from models.webhooks import PaymentWebhook, WebhookStatus
from tests.factories import make_company, make_invoice, make_method, make_payment
from worker.database import engine

BECAUSE = Cause(why="a test")


def _add_event(session, payment):
    """An event that was handled, with its line in the payment's timeline."""
    event_id = f"evt_{payment.id}"
    session.add(
        PaymentWebhook(
            event_type="payment_intent.succeeded",
            provider="stripe",
            provider_event_id=event_id,
            payload={},
            status=WebhookStatus.COMPLETED,
            company_id=payment.company_id,
            transaction_id=payment.id,
        )
    )
    note(session, payment, what="event", because=Cause(why="event", event_id=event_id))


@pytest.fixture
def book(customer):
    """A company whose invoice of 100 is paid, of which 40 were given back and 30 are disputed."""
    invoice_id = make_invoice(customer.company_id)
    payment_id = make_payment(
        customer, invoice_id, payment_method_id=make_method(customer), status=Status.FAILED
    )
    with Session(engine(), info={"company_id": customer.company_id}) as session:
        invoice = lock_existing(session, Invoice, invoice_id)
        payment = lock_existing(session, Transaction, payment_id)
        attempt = start_attempt(payment, {})
        attempt.status = "succeeded"
        payment.move_to(Status.SUCCEEDED, because=BECAUSE)
        payment.amount_captured = invoice.amount_paid = payment.amount
        invoice.move_to(InvoiceStatus.PAID, because=BECAUSE)
        ids = {"company_id": customer.company_id, "transaction_id": payment_id}
        money = Money(payment.amount, "INR")
        clearing, receivable = Account.CLEARING, Account.RECEIVABLE
        post(
            session,
            f"payment:{payment_id}",
            debit=clearing,
            credit=receivable,
            money=money,
            invoice_id=invoice_id,
            **ids,
        )
        refund = Refund(**ids, amount=40, reason=RefundReason.REFUND, provider_refund_id="re_1")
        refund.id = new_id()
        session.add(refund)
        session.flush()
        refund.move_to(RefundStatus.SUCCEEDED, because=BECAUSE)
        payment.amount_refunded = refund.amount
        payment.move_to(Status.PARTIALLY_REFUNDED, because=BECAUSE)
        given = Money(refund.amount, "INR")
        refunds = Account.REFUNDS
        post(session, f"refund:{refund.id}", debit=refunds, credit=clearing, money=given, **ids)
        credit_refund(session, invoice, refund.id, given, given_back=given.amount, because=BECAUSE)
        dispute = _add_dispute(session, payment)
        taken = Money(dispute.amount, "INR")
        ids["dispute_id"] = dispute.id
        post(
            session,
            f"dispute:{dispute.id}:txn_1",
            debit=Account.DISPUTES,
            credit=clearing,
            money=taken,
            **ids,
        )
        del ids["dispute_id"]
        _add_event(session, payment)
        _add_use(session, customer)
        _add_delivery(session, customer)
        session.flush()
        before = set(check(session, limit=100_000))
        yield session, payment, before
        session.rollback()


def _add_use(session, customer):
    """A module that is taken, and a use of it."""
    module = Module(tenant_id=customer.tenant_id, code="a-module", name="A module")
    session.add(module)
    session.flush()
    modules.subscribe(session, customer.company_id, module.id, because=BECAUSE)
    reading = Reading(module_id=module.id, key="one", quantity=5)
    usage.record(session, customer.company_id, [reading], moment=now())


def _add_delivery(session, customer):
    """An endpoint of the company's, and a message that has arrived there."""
    ours = {"tenant_id": customer.tenant_id, "company_id": customer.company_id}
    endpoint = Endpoint(**ours, url="https://example.com/", events=["*"], secret="whsec_x")
    message = EndpointMessage(**ours, source_id=new_id(), position=0, type="a.b", payload="{}")
    session.add_all([endpoint, message])
    session.flush()
    done = {"status": DeliveryStatus.DELIVERED, "delivered_at": now()}
    session.add(EndpointDelivery(endpoint_id=endpoint.id, message_id=message.id, **done))


def _add_dispute(session, payment):
    dispute = Dispute(
        company_id=payment.company_id,
        transaction_id=payment.id,
        provider="stripe",
        provider_dispute_id=f"du_{payment.id}",
        amount=30,
        currency="INR",
        reason="fraudulent",
        status=DisputeStatus.WARNING_NEEDS_RESPONSE,
        amount_withdrawn=30,
    )
    session.add(dispute)
    session.flush()
    dispute.move_to(DisputeStatus.NEEDS_RESPONSE, because=BECAUSE)
    payment.is_disputed = True
    session.add(
        DisputeAction(
            company_id=payment.company_id,
            dispute_id=dispute.id,
            kind=DisputeActionKind.EVIDENCE,
            status=DisputeActionStatus.SENT,
            request={},
        )
    )
    return dispute


def told(session, before, within=None):
    found = set(check(session, limit=100_000, within=within))
    return {violation.invariant for violation in found - before}


def test_a_healthy_book_breaks_none(book):
    _, payment, before = book
    assert not [violation for violation in before if str(payment.id) in violation.detail]


OURS = "transaction_id = :payment"


def more_attempts(values: str, number: int) -> str:
    """Add attempts, a second after each other: status, trigger, card and advice."""
    numbers = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(number))
    return (
        "INSERT INTO payment_attempts (id, company_id, transaction_id, number, provider,"
        " idempotency_key, request, waits, wait_at_least_s, created_at, updated_at, finished_at,"
        " status, made_by, fingerprint, advice)"
        " SELECT UNHEX(MD5(CONCAT(HEX(id), n))), company_id, transaction_id, number + 1 + n,"
        " provider, CONCAT(idempotency_key, n), request, 0, 0, created_at + INTERVAL n SECOND,"
        " updated_at, created_at + INTERVAL n SECOND + INTERVAL 1 MICROSECOND,"
        f" {values} FROM payment_attempts JOIN ({numbers}) AS numbers WHERE {OURS}"
    )


def a_line(amount_and_discount: str, total: str, company: str = "company_id") -> str:
    return (
        "INSERT INTO invoice_lines (id, company_id, invoice_id, position, description, quantity,"
        " unit_amount, kind, taxes, tax_amount, amount, discount_amount, total, created_at)"
        f" SELECT :new, {company}, id, 1, 'a line', 1, 1, 'item', '[]', 0, {amount_and_discount},"
        f" {total}, created_at FROM invoices WHERE id = :invoice"
    )


OF_OURS = "endpoint_id IN (SELECT id FROM endpoints WHERE company_id = :company)"

BREAKS = {
    "a delivery has a date to be made if and only if it is pending": (
        f"UPDATE endpoint_deliveries SET status = 'owed' WHERE {OF_OURS}"
    ),
    "a message is delivered to endpoints of its own tenant, and of its company or all": (
        "UPDATE endpoint_messages SET company_id = :other WHERE company_id = :company"
    ),
    "the ledger sums to zero per currency": f"UPDATE ledger_entries SET amount = amount + 1"
    f" WHERE {OURS} AND account = 'refunds'",
    "each posting has two sides of one company and currency that sum to zero": (
        f"DELETE FROM ledger_entries WHERE {OURS} AND account = 'refunds'"
    ),
    "the ledger's clearing of a payment, and fees, are what was captured less what has gone": (
        f"DELETE FROM ledger_entries WHERE {OURS} AND posting LIKE 'refund:%'"
    ),
    "a fee is taken from the clearing, for a dispute": (
        f"UPDATE ledger_entries SET account = 'fees' WHERE {OURS} AND account = 'refunds'"
    ),
    "the ledger's bank of a payment is what came by transfer less what went back": (
        "UPDATE transactions SET payment_method = 'bank_transfer' WHERE id = :payment"
    ),
    "a dispute's ledger agrees with its row": (
        f"UPDATE disputes SET amount_withdrawn = 29 WHERE {OURS}"
    ),
    "a dispute gives back no more than it took": (
        f"UPDATE disputes SET amount_reinstated = 31 WHERE {OURS}"
    ),
    "a payment is flagged as disputed if and only if a dispute of it is open": (
        "UPDATE transactions SET is_disputed = FALSE WHERE id = :payment"
    ),
    "only a bank transfer that was recorded by mistake reopens its invoice": (
        f"UPDATE refunds SET reopens_invoice = TRUE WHERE {OURS}"
    ),
    "what is asked of the provider about a dispute is owed until it is sent": (
        "UPDATE dispute_actions a JOIN disputes d ON d.id = a.dispute_id"
        " SET a.status = 'pending' WHERE d.transaction_id = :payment"
    ),
    "dispute_actions are of the company of their disputes": (
        "UPDATE dispute_actions a JOIN disputes d ON d.id = a.dispute_id"
        " SET a.company_id = :other WHERE d.transaction_id = :payment"
    ),
    "ledger_entries are of the company of their disputes": (
        f"UPDATE ledger_entries SET company_id = :other WHERE {OURS} AND dispute_id IS NOT NULL"
    ),
    "the ledger's receivable of an issued invoice is what is still due": (
        f"DELETE FROM ledger_entries WHERE {OURS} AND posting LIKE 'payment:%'"
    ),
    "refunds, pending and succeeded, never exceed what was captured": (
        f"UPDATE refunds SET amount = 101 WHERE {OURS}"
    ),
    "a payment's refunded amount is the sum of its refunds that succeeded": (
        f"UPDATE refunds SET amount = 39 WHERE {OURS}"
    ),
    "a payment is settled if and only if something was captured": (
        "UPDATE transactions SET status = 'failed' WHERE id = :payment"
    ),
    "a payment's status says how much of it was refunded": (
        "UPDATE transactions SET status = 'refunded' WHERE id = :payment"
    ),
    "an invoice's paid amount is what its payments captured and were not reversed": (
        "UPDATE invoices SET amount_paid = 99 WHERE id = :invoice"
    ),
    "an invoice is paid if and only if its paid and credited amounts cover it": (
        "UPDATE invoices SET status = 'open' WHERE id = :invoice"
    ),
    "nothing is receivable of an invoice that is void, but what was paid goes back": (
        "UPDATE invoices SET status = 'void', amount_paid = 1 WHERE id = :invoice"
    ),
    "what is due of an uncollectible invoice is a bad debt, and of no other": (
        "UPDATE invoices SET status = 'uncollectible', amount_paid = 1 WHERE id = :invoice"
    ),
    "the ledger's revenue of an invoice is what was billed and not credited": (
        "DELETE FROM ledger_entries WHERE invoice_id = :invoice AND posting LIKE 'credit_note:%'"
    ),
    "a refund's credit note stands in the ledger against the refund": (
        "UPDATE credit_notes SET amount = 39 WHERE invoice_id = :invoice"
    ),
    "an invoice's credited amount is that of its credit notes for no refund": (
        "UPDATE invoices SET amount_credited = 1 WHERE id = :invoice"
    ),
    "no more of an invoice is credited than was billed": (
        "UPDATE credit_notes SET amount = 101 WHERE invoice_id = :invoice"
    ),
    "a credit note is of no more than the refund that it is for": (
        "UPDATE credit_notes SET reversed_at = issued_at WHERE invoice_id = :invoice"
    ),
    "an invoice has its number, its date and whom it bills once it is issued": (
        "UPDATE invoices SET billed_to = NULL WHERE id = :invoice"
    ),
    "an invoice's amount is its subtotal less discounts plus taxes": (
        "UPDATE invoices SET tax_amount = 1 WHERE id = :invoice"
    ),
    "a line's total is its amount less its discount plus its taxes": a_line("100, 5", "100"),
    "an invoice's totals are the sums of its lines": a_line("99, 0", "99"),
    "the credit that an invoice gave or used is in the ledger until it is undone": (
        a_line("-10, 0", "-10").replace("'item'", "'credit'")
    ),
    "the numbers of a company's invoices have no gap and no twin": (
        "UPDATE invoices SET number = 'INV-000002' WHERE id = :invoice"
    ),
    "the numbers of a company's credit notes have no gap and no twin": (
        "UPDATE companies SET last_credit_note_number = 2 WHERE id = :company"
    ),
    "a payment has at most one attempt that succeeded": (
        "INSERT INTO payment_attempts (id, company_id, transaction_id, number, provider, status,"
        " made_by, idempotency_key, request, waits, wait_at_least_s, created_at, updated_at)"
        " SELECT :new, company_id, transaction_id, 2, provider, status, made_by, 'another',"
        " request, 0, 0, created_at, updated_at"
        f" FROM payment_attempts WHERE {OURS}"
    ),
    "invoice_lines are of the company of their invoices": a_line("100, 0", "100", ":other"),
    "credit_notes are of the company of their invoices": (
        "UPDATE credit_notes SET company_id = :other WHERE invoice_id = :invoice"
    ),
    "credit_notes are of the company of their refunds": (
        "UPDATE credit_notes n SET n.company_id = :other WHERE n.invoice_id = :invoice"
    ),
    "transactions are of the company of their invoices": (
        "UPDATE invoices SET company_id = :other WHERE id = :invoice"
    ),
    "transactions are of the company of their payment_methods": (
        "UPDATE payment_methods m JOIN transactions t ON t.payment_method_id = m.id"
        " SET m.company_id = :other WHERE t.id = :payment"
    ),
    "transactions are of the company of their users": (
        "UPDATE transactions SET user_id = :other_user WHERE id = :payment"
    ),
    **{
        f"{table} are of the company of their transactions": (
            f"UPDATE {table} SET company_id = :other WHERE {OURS}"
        )
        for table in (
            "payment_attempts",
            "refunds",
            "payment_webhooks",
            "ledger_entries",
            "disputes",
        )
    },
    "ledger_entries are of the company of their invoices": (
        "UPDATE ledger_entries SET company_id = :other WHERE invoice_id = :invoice"
    ),
    "ledger_entries are of the company of their refunds": (
        "UPDATE ledger_entries e JOIN refunds r ON r.transaction_id = e.transaction_id"
        " SET e.refund_id = r.id, e.company_id = :other WHERE e.transaction_id = :payment"
    ),
    "a payment that has not been sent is owed": (
        "UPDATE transactions SET status = 'pending' WHERE id = :payment"
    ),
    "an attempt without an outcome is owed a call or a look-up": (
        f"UPDATE payment_attempts SET status = 'unknown' WHERE {OURS}"
    ),
    "a payment has a date to be tried again if and only if it is scheduled": (
        "UPDATE transactions SET dunning = 'stopped', next_retry_at = created_at"
        " WHERE id = :payment"
    ),
    "a retry that was begun was made, or is owed": (
        "UPDATE transactions SET status = 'processing',"
        " last_retry_at = created_at + INTERVAL 1 DAY WHERE id = :payment"
    ),
    "an invoice is tried again by the ladder at most three times with a card": more_attempts(
        "'declined', 'ladder', 'a card', NULL", 4
    ),
    "no attempt is made on a card that was declined ten times in 30 days": more_attempts(
        "'declined', 'first', 'a card', 'retry'", 11
    ),
    "what is refused for good, or is the customer's to mend, is not climbed from": more_attempts(
        "'declined', 'ladder', 'a card', 'stop'", 2
    ),
    "a refund that has not been sent is owed": (
        f"UPDATE refunds SET status = 'processing', provider_refund_id = NULL WHERE {OURS}"
    ),
    "a payment method that has not been attached is owed": (
        "UPDATE payment_methods m JOIN transactions t ON t.payment_method_id = m.id"
        " SET m.status = 'pending' WHERE t.id = :payment"
    ),
    "an event that was received is owed, and one that was handled is not": (
        f"UPDATE payment_webhooks SET status = 'received' WHERE {OURS}"
    ),
    "an event that was handled had exactly one effect": (
        "UPDATE timeline SET event_id = 'evt_other' WHERE subject_id = :payment AND what = 'event'"
    ),
    "each use is counted in exactly one period": (
        "UPDATE module_usage SET at = at - INTERVAL 1 YEAR WHERE company_id = :company"
    ),
    "the use of a period is the sum of what was recorded in it": (
        "UPDATE module_usage_totals SET used = used + 1 WHERE company_id = :company"
    ),
    "use of a time that a subscription has billed was billed, or waits as late": (
        "UPDATE company_modules SET subscription_id = id, billed_from = created_at - INTERVAL"
        " 1 YEAR, billed_until = created_at + INTERVAL 1 YEAR WHERE company_id = :company"
    ),
    "a company has modules of its own tenant": (
        "UPDATE company_modules SET company_id = :other WHERE company_id = :company"
    ),
    ALLOWED: (
        "UPDATE timeline SET was = 'failed', became = 'pending'"
        " WHERE subject_id = :payment AND became = 'succeeded'"
    ),
    ENDS_WHERE: "UPDATE transactions SET status = 'canceled' WHERE id = :payment",
}
# Unique keys make these impossible; the queries stand for a schema that lost them.
IMPOSSIBLE = {"an invoice has at most one open payment", "a payment has at most one open attempt"}


def test_every_invariant_is_broken_once_here():
    elsewhere = SUBSCRIPTIONS.keys() | MAIL.keys() | IMPORTS.keys() | COLLECTING.keys()
    assert BREAKS.keys() | IMPOSSIBLE | elsewhere == QUERIES.keys() | {ALLOWED, ENDS_WHERE}


@pytest.mark.parametrize("sentence", BREAKS)
def test_what_breaks_an_invariant_is_told(book, sentence):
    session, payment, before = book
    other = make_company()
    values = {
        "payment": payment.id.bytes,
        "invoice": payment.invoice_id.bytes,
        "new": new_id().bytes,
        "company": payment.company_id.bytes,
        "other": other.company_id.bytes,
        "other_user": other.user_id.bytes,
    }
    query = text(BREAKS[sentence])
    named = {name: value for name, value in values.items() if f":{name}" in BREAKS[sentence]}
    done = session.execute(across_companies(query, because="a test breaks it"), named)
    assert done.rowcount
    assert sentence in told(session, before)
    assert sentence in told(session, before, within=timedelta(hours=1))


def test_what_nobody_touched_of_late_is_not_looked_at_in_a_window(book):
    session, payment, before = book
    query = text(f"UPDATE refunds SET amount = 39 WHERE {OURS}")
    named = {"payment": payment.id.bytes}
    session.execute(across_companies(query, because="a test breaks it"), named)
    assert told(session, before)
    assert not told(session, before, within=timedelta(seconds=-1))


def test_no_more_than_the_limit_is_told_of_a_sentence(book):
    session, payment, _ = book
    query = text("UPDATE timeline SET was = 'canceled' WHERE subject_id = :payment")
    named = {"payment": payment.id.bytes}
    session.execute(across_companies(query, because="a test breaks it"), named)
    hour = timedelta(hours=1)
    for limit in (1, 2):
        found = [v for v in check(session, limit=limit, within=hour) if v.invariant == ALLOWED]
        assert len(found) == limit


@pytest.mark.parametrize("is_dead", [False, True])
def test_what_is_owed_or_dead_is_not_forgotten(book, is_dead):
    session, payment, before = book
    refund = Refund(
        company_id=payment.company_id,
        transaction_id=payment.id,
        amount=1,
        reason=RefundReason.REFUND,
    )
    session.add(refund)
    session.flush()
    assert told(session, before) == {"a refund that has not been sent is owed"}
    owed = enqueue(session, "refunds.send", refund_id=refund.id)
    session.flush()
    if is_dead:
        session.get_one(Owed, owed.id).status = "dead"
        session.flush()
    assert not told(session, before)
