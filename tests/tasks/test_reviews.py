"""What an operator says of a payment or a refund is held against what the provider says."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select

from models import invariants
from models.alerts import Alert
from models.clock import now
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.locks import lock_existing
from models.outbox import enqueue
from models.refunds import Refund, RefundReason, RefundStatus
from models.timeline import REVIEW_REFUSED, REVIEW_SETTLED, Cause, history
from models.transactions import AttemptStatus, Provider, Status, Transaction
from tasks import refunds, reviews
from tasks.handover import hand_over, hand_over_refund
from tests.bell import ring
from worker.database import in_transaction, transaction

INTENTS = "/v1/payment_intents"
USER = new_id()
NOTE = "Seen in the dashboard."


def unheard(shop, card: UUID, kind: str = "drop_after") -> UUID:
    """A payment whose answer was lost and that was left to a person."""
    shop.sandbox.control.fault(kind, path=INTENTS)
    payment_id = shop.owe(card)
    [charge] = shop.owed("payments.charge")
    ring(charge.task, charge.id)
    leave_to_a_person(shop, payment_id)
    return payment_id


def leave_to_a_person(shop, payment_id: UUID) -> None:
    def leave(session):
        payment = lock_existing(session, Transaction, payment_id)
        assert hand_over(session, payment, because=Cause(why="not found"))

    in_transaction(leave, shop.company_id)


def settle(shop, payment_id: UUID, outcome: str, provider_id: str | None = None) -> dict:
    """Owe what an operator says, have it done, and return what the timeline says of it."""
    return said(
        shop,
        "reviews.settle",
        payment_id,
        outcome=outcome,
        transaction_id=payment_id,
        provider_transaction_id=provider_id,
    )


def said(shop, task: str, row_id: UUID, **arguments) -> dict:
    asked = str(new_id())
    with shop.session() as session:
        owed = enqueue(session, task, note=NOTE, user_id=USER, asked=asked, **arguments)
    ring(task, owed.id)
    assert not [row for row in shop.owed() if row.id == owed.id]
    with shop.session() as session:
        lines = history(session, [row_id])
        [line] = [line for line in lines if (line.detail or {}).get("asked") == asked]
        assert line.user_id == USER
        return {"what": line.what, "why": line.why, **line.detail}


def intent_of(shop, payment_id: UUID) -> dict:
    found = shop.sandbox.control.book()["payment_intents"]
    [intent] = [i for i in found if i["metadata"].get("transaction_id") == str(payment_id)]
    return intent


def stands(shop, payment_id: UUID) -> tuple:
    """The payment, its last attempt and its invoice."""
    payment = shop.payment(payment_id)
    with shop.session() as session:
        invoice = session.get_one(Invoice, payment.invoice_id)
    return payment.status, shop.attempts(payment_id)[-1].status, invoice.status


def is_told(row_id: UUID) -> bool:
    with transaction() as session:
        [alert] = session.scalars(select(Alert).where(Alert.subject_id == row_id))
        return alert.resolved_at is None


def broken(shop) -> list[str]:
    ids = {str(shop.company_id)}
    with transaction(company_id=shop.company_id) as session:
        for kind in (Transaction, Invoice, Refund):
            ids |= {str(each) for each in session.scalars(select(kind.id))}
        found = invariants.check(session, limit=100_000)
    return [str(each) for each in found if any(each_id in each.detail for each_id in ids)]


def test_a_payment_that_was_charged_is_settled_as_the_provider_tells_it(shop):
    payment_id = unheard(shop, shop.card())
    assert is_told(payment_id)
    line = settle(shop, payment_id, "succeeded", intent_of(shop, payment_id)["id"])
    assert (line["what"], line["why"]) == (REVIEW_SETTLED, f"settled by hand: {NOTE}")
    assert stands(shop, payment_id) == (
        Status.SUCCEEDED,
        AttemptStatus.SUCCEEDED,
        InvoiceStatus.PAID,
    )
    assert not is_told(payment_id)
    assert broken(shop) == []


def refused(shop, payment_id: UUID, *said_of_it: str | None) -> str:
    """Say something that is not taken; return why it was not."""
    before = stands(shop, payment_id)
    line = settle(shop, payment_id, *said_of_it)
    assert line["what"] == REVIEW_REFUSED
    assert stands(shop, payment_id) == before
    assert is_told(payment_id)
    return f"{line['kind']}: {line['why']}"


def test_what_the_provider_has_charged_cannot_be_failed_or_canceled_by_hand(shop):
    payment_id = unheard(shop, shop.card())
    intent_id = intent_of(shop, payment_id)["id"]
    for outcome in ("failed", "canceled"):
        why = refused(shop, payment_id, outcome)
        assert why == f"conflict: The provider says that {intent_id} is succeeded."


def test_what_is_being_called_for_cannot_be_failed_or_canceled_by_hand(shop):
    payment_id = unheard(shop, shop.card(), "drop_before")
    with shop.session() as session:
        owed = enqueue(session, "lookups.resolve", transaction_id=payment_id)
        lock_existing(session, Transaction, payment_id).attempts[-1].lease(now(), for_s=60)
    for outcome in ("failed", "canceled"):
        assert "unavailable: The provider is being asked" in refused(shop, payment_id, outcome)
    with shop.session() as session:
        lock_existing(session, Transaction, payment_id).attempts[-1].lease(now(), for_s=-1)
    ring(owed.task, owed.id)
    assert stands(shop, payment_id)[0] == Status.SUCCEEDED
    assert shop.charges(payment_id) == 1


def test_a_call_that_began_while_the_provider_was_asked_by_hand_is_waited_for(shop, monkeypatch):
    payment_id = unheard(shop, shop.card(), "drop_before")

    def ask_slowly(*asked):
        with shop.session() as session:
            lock_existing(session, Transaction, payment_id).attempts[-1].lease(now(), for_s=60)
        return iter(())

    monkeypatch.setattr(reviews, "_intents", ask_slowly)
    line = settle(shop, payment_id, "failed")
    assert (line["what"], line["kind"]) == (REVIEW_REFUSED, "unavailable")
    assert stands(shop, payment_id)[0] == Status.NEEDS_REVIEW


def test_what_the_provider_has_not_charged_cannot_be_settled_as_paid(shop):
    payment_id = unheard(shop, shop.card("pm_sandbox_processing"))
    intent_id = intent_of(shop, payment_id)["id"]
    assert "is processing" in refused(shop, payment_id, "succeeded", intent_id)
    assert "conflict" in refused(shop, payment_id, "succeeded", "pi_that_never_was")


def test_another_payments_charge_settles_nothing(shop):
    card = shop.card()
    other, payment_id = shop.pay(card), unheard(shop, card, "drop_before")
    other_id = shop.payment(other).provider_transaction_id
    assert "another payment's" in refused(shop, payment_id, "succeeded", other_id)


def made_in_the_dashboard(shop, amount: int, currency: str = "inr") -> str:
    params = {
        "amount": amount,
        "currency": currency,
        "payment_method": "pm_card_visa",
        "confirm": True,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    }
    return shop.sandbox.client().v1.payment_intents.create(params).id


def test_a_charge_without_our_ids_must_be_of_the_same_sum_and_be_nobody_elses(shop):
    card = shop.card()
    first, second = unheard(shop, card, "drop_before"), unheard(shop, card, "drop_before")
    assert "not 100.00 INR" in refused(shop, first, "succeeded", made_in_the_dashboard(shop, 99_00))
    assert "not 100.00 INR" in refused(
        shop, first, "succeeded", made_in_the_dashboard(shop, 100_00, "usd")
    )
    by_hand = made_in_the_dashboard(shop, 100_00)
    assert settle(shop, first, "succeeded", by_hand)["what"] == REVIEW_SETTLED
    assert "With us" in refused(shop, second, "succeeded", by_hand)
    assert stands(shop, first)[0] == Status.SUCCEEDED
    assert broken(shop) == []


@pytest.mark.parametrize(
    ("outcome", "became"),
    [
        ("failed", (Status.FAILED, AttemptStatus.REJECTED, InvoiceStatus.OPEN)),
        ("canceled", (Status.CANCELED, AttemptStatus.CANCELED, InvoiceStatus.OPEN)),
    ],
)
def test_what_never_reached_the_provider_is_ended_and_its_invoice_can_be_paid(
    shop, outcome, became
):
    card = shop.card()
    payment_id = unheard(shop, card, "drop_before")
    assert settle(shop, payment_id, outcome)["what"] == REVIEW_SETTLED
    assert stands(shop, payment_id) == became
    again = shop.pay(card, shop.payment(payment_id).invoice_id)
    assert shop.payment(again).status == Status.SUCCEEDED
    assert broken(shop) == []


def test_what_the_customer_can_still_pay_is_closed_by_canceling_and_by_nothing_else(shop):
    payment_id = unheard(shop, shop.card("pm_card_authenticationRequired"))
    assert "settle it as canceled" in refused(shop, payment_id, "failed")
    assert settle(shop, payment_id, "canceled")["what"] == REVIEW_SETTLED
    assert stands(shop, payment_id)[0] == Status.CANCELED
    assert intent_of(shop, payment_id)["status"] == "canceled"


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_a_provider_that_does_not_answer_settles_nothing(shop, outcome):
    payment_id = unheard(shop, shop.card())
    shop.sandbox.control.fault("server_error", method="GET", path="/v1/*", count=None)
    assert refused(shop, payment_id, outcome, "pi_1").startswith("unavailable: ")


def test_a_payment_that_was_settled_meanwhile_is_left_as_it_is(shop):
    payment_id = unheard(shop, shop.card())
    settle(shop, payment_id, "succeeded", intent_of(shop, payment_id)["id"])
    line = settle(shop, payment_id, "failed")
    assert (line["what"], line["why"]) == (REVIEW_REFUSED, "The payment is succeeded by now.")
    assert stands(shop, payment_id)[0] == Status.SUCCEEDED


def test_where_nobody_can_be_asked_the_operators_word_is_all_there_is(shop):
    payment_id = unheard(shop, shop.card(), "drop_before")
    with shop.session() as session:
        session.get_one(Transaction, payment_id).payment_method = Provider.BANK_TRANSFER
    assert settle(shop, payment_id, "succeeded", "slip-77")["what"] == REVIEW_SETTLED
    assert shop.payment(payment_id).provider_transaction_id == "slip-77"
    assert stands(shop, payment_id)[0] == Status.SUCCEEDED


@pytest.fixture
def payment_id(shop) -> UUID:
    return shop.pay(shop.card())


def unheard_refund(shop, payment_id: UUID, kind: str, amount: int = 40) -> UUID:
    shop.sandbox.control.fault(kind, path="/v1/refunds")
    with shop.session() as session:
        refund = Refund(
            company_id=shop.company_id,
            transaction_id=payment_id,
            amount=Decimal(amount),
            reason=RefundReason.REQUESTED,
        )
        session.add(refund)
        session.flush()
        owed = enqueue(session, "refunds.send", refund_id=refund.id)
    ring(owed.task, owed.id)

    def leave(session):
        row = lock_existing(session, Refund, refund.id)
        hand_over_refund(session, row, because=Cause(why="not found"))

    in_transaction(leave, shop.company_id)
    return refund.id


def refund_at(shop, refund_id: UUID) -> Refund:
    with shop.session() as session:
        return session.get_one(Refund, refund_id)


def settle_refund(shop, refund_id: UUID, outcome: str, provider_id: str | None = None) -> dict:
    return said(
        shop,
        "reviews.settle_refund",
        refund_id,
        outcome=outcome,
        refund_id=refund_id,
        provider_refund_id=provider_id,
    )


def test_a_refund_that_went_out_is_settled_as_the_provider_tells_it(shop, payment_id):
    refund_id = unheard_refund(shop, payment_id, "drop_after")
    [there] = shop.sandbox.control.book()["refunds"]
    line = settle_refund(shop, refund_id, "failed")
    assert (line["what"], line["kind"]) == (REVIEW_REFUSED, "conflict")
    assert line["why"] == f"The provider says that {there['id']} is succeeded."
    assert refund_at(shop, refund_id).needs_review
    assert settle_refund(shop, refund_id, "succeeded", there["id"])["what"] == REVIEW_SETTLED
    refund = refund_at(shop, refund_id)
    assert (refund.status, refund.needs_review) == (RefundStatus.SUCCEEDED, False)
    assert shop.payment(payment_id).status == Status.PARTIALLY_REFUNDED
    assert not is_told(refund_id)
    shop.work()
    assert broken(shop) == []


def test_a_refund_that_never_went_out_has_failed_and_can_be_asked_for_again(shop, payment_id):
    refund_id = unheard_refund(shop, payment_id, "drop_before", 100)
    assert settle_refund(shop, refund_id, "failed")["what"] == REVIEW_SETTLED
    assert refund_at(shop, refund_id).status == RefundStatus.FAILED
    shop.work()
    again = unheard_refund(shop, payment_id, "drop_after", 100)
    [there] = shop.sandbox.control.book()["refunds"]
    assert settle_refund(shop, again, "succeeded", there["id"])["what"] == REVIEW_SETTLED
    assert shop.payment(payment_id).status == Status.REFUNDED


def test_a_refund_that_is_being_asked_for_cannot_be_settled_by_hand(shop, payment_id, monkeypatch):
    refund_id = unheard_refund(shop, payment_id, "drop_before")
    assert not refund_at(shop, refund_id).is_leased(now())
    real = reviews.gateway_for("stripe")
    told = []

    class Meanwhile:
        """A provider that is asked for the refund while the operator's word is checked."""

        def refund(self, request):
            monkeypatch.undo()
            line = settle_refund(shop, refund_id, "failed")
            told.append((line["what"], line["kind"], line["why"]))
            return real.refund(request)

        def __getattr__(self, name):
            return getattr(real, name)

    monkeypatch.setattr(refunds, "gateway_for", lambda _: Meanwhile())
    with shop.session() as session:
        owed = enqueue(session, "refunds.send", refund_id=refund_id)
    ring(owed.task, owed.id)
    asked = "The provider is being asked just now; try again."
    assert told == [(REVIEW_REFUSED, "unavailable", asked)]
    refund = refund_at(shop, refund_id)
    assert (refund.status, refund.leased_until) == (RefundStatus.SUCCEEDED, None)


def test_a_refund_is_not_settled_by_what_is_another(shop, payment_id):
    first = unheard_refund(shop, payment_id, "drop_after")
    [there] = shop.sandbox.control.book()["refunds"]
    second = unheard_refund(shop, payment_id, "drop_before")
    assert "another refund's" in settle_refund(shop, second, "succeeded", there["id"])["why"]
    made = shop.sandbox.control.refund(
        payment_intent=shop.payment(payment_id).provider_transaction_id, amount=7_00
    )
    assert "not 40.00 INR" in settle_refund(shop, second, "succeeded", made["id"])["why"]
    assert settle_refund(shop, second, "succeeded", "re_never_was")["what"] == REVIEW_REFUSED
    assert refund_at(shop, first).needs_review
    assert refund_at(shop, second).needs_review
