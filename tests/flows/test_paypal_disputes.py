"""Disputes at PayPal: heard of, answered, and their money booked once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from models.disputes import Dispute, DisputeStatus
from models.ledger import Account, LedgerEntry
from models.transactions import Status, Transaction
from tests.flows.paypal_till import Till
from worker.database import transaction


def paid(till: Till) -> Transaction:
    return till.pay(payment_method_id=str(till.keep()))


def dispute_of(till: Till) -> Dispute:
    with transaction(company_id=till.company_id) as session:
        return session.scalars(select(Dispute)).one()


def answer(till: Till, deed: str, body: dict[str, Any] | None = None) -> None:
    path = f"/api/v1/disputes/{dispute_of(till).id}/{deed}"
    told = till.owner.post(path, body, Prefer="respond-async")
    assert told.status_code == 202, told.text
    till.settle()


def test_a_chargeback_takes_the_money_and_gives_it_back_when_it_is_won(till: Till) -> None:
    payment = paid(till)
    till.book.dispute(capture=payment.payment_processor_id, stage="CHARGEBACK")
    till.judge()
    opened = dispute_of(till)
    assert (opened.status, opened.amount_withdrawn) == (DisputeStatus.NEEDS_RESPONSE, Decimal(100))
    assert opened.evidence_due_at is not None
    assert till.payment(payment.id).is_disputed
    evidence = {"shipping_tracking_number": "1Z", "uncategorized_text": "It was delivered. " * 200}
    answer(till, "evidence", {"evidence": evidence, "submit": True})
    assert dispute_of(till).status == DisputeStatus.UNDER_REVIEW
    [told] = till.book.book()["disputes"]
    kinds = [each["evidence_type"] for each in told["evidences"]]
    assert kinds == ["PROOF_OF_FULFILLMENT", "OTHER", "OTHER", "OTHER"]
    till.book.end_dispute(opened.provider_dispute_id, "won")
    till.judge()
    ended = dispute_of(till)
    assert (ended.status, ended.amount_reinstated) == (DisputeStatus.WON, Decimal(100))
    assert not till.payment(payment.id).is_disputed
    with transaction(company_id=till.company_id) as session:
        fees = select(LedgerEntry.amount).where(LedgerEntry.account == Account.FEES)
        assert session.scalars(fees).all() == [Decimal(20)]


def test_a_lost_chargeback_is_booked_once_though_it_is_told_twice(till: Till) -> None:
    """PayPal tells it as a movement of the dispute and as a reversal of the capture."""
    payment = paid(till)
    till.book.dispute(capture=payment.payment_processor_id, stage="CHARGEBACK")
    till.settle()
    till.book.end_dispute(dispute_of(till).provider_dispute_id, "lost")
    till.judge()
    ended = dispute_of(till)
    assert (ended.status, ended.amount_withdrawn) == (DisputeStatus.LOST, Decimal(100))
    payment = till.payment(payment.id)
    assert (payment.status, payment.amount_refunded) == (Status.SUCCEEDED, Decimal(0))
    assert "reversed" in till.told(payment)


def test_what_a_dispute_of_a_part_has_left_is_refunded(till: Till) -> None:
    payment = paid(till)
    till.book.dispute(capture=payment.payment_processor_id, amount="40.00")
    till.settle()
    till.book.end_dispute(dispute_of(till).provider_dispute_id, "lost")
    till.settle()
    assert dispute_of(till).amount_withdrawn == Decimal(40)
    assert till.refund(payment, "60.01").status_code == 422
    assert till.refund(payment, "60.00").status_code == 202
    till.judge()
    assert till.payment(payment.id).amount_refunded == Decimal(60)


def test_an_inquiry_that_is_accepted_is_lost_and_one_that_is_won_took_nothing(till: Till) -> None:
    payment = paid(till)
    till.book.dispute(capture=payment.payment_processor_id, stage="INQUIRY")
    till.settle()
    assert dispute_of(till).status == DisputeStatus.WARNING_NEEDS_RESPONSE
    answer(till, "accept")
    till.judge()
    ended = dispute_of(till)
    assert (ended.status, ended.amount_withdrawn) == (DisputeStatus.LOST, Decimal(100))


def test_an_inquiry_that_ends_well_is_closed(till: Till) -> None:
    payment = paid(till)
    till.book.dispute(capture=payment.payment_processor_id, stage="INQUIRY")
    till.settle()
    till.book.end_dispute(dispute_of(till).provider_dispute_id, "won")
    till.judge()
    ended = dispute_of(till)
    assert (ended.status, ended.amount_withdrawn) == (DisputeStatus.WARNING_CLOSED, Decimal(0))


def test_a_reversal_that_is_told_before_its_dispute_is_booked_once(till: Till) -> None:
    payment = paid(till)
    till.book.dispute(capture=payment.payment_processor_id, stage="CHARGEBACK")
    till.book.end_dispute(till.book.book()["disputes"][0]["dispute_id"], "lost")
    for event in till.sent():
        if event["type"] == "PAYMENT.CAPTURE.REVERSED":
            assert till.post(event["body"], event["headers"]).status_code == 200
    till.work()
    assert till.payment(payment.id).amount_refunded == 0
    till.settle()
    till.advance("2h")
    till.work(later=True)
    till.judge()
    assert dispute_of(till).amount_withdrawn == Decimal(100)
    assert till.payment(payment.id).amount_refunded == 0
    assert "reversed" in till.told(payment)


def test_a_reversal_without_a_dispute_is_money_that_is_gone(till: Till) -> None:
    payment = paid(till)
    till.book.reverse(payment.payment_processor_id)
    till.settle()
    assert till.payment(payment.id).status == Status.SUCCEEDED
    till.advance("2h")
    till.work(later=True)
    payment = till.payment(payment.id)
    assert (payment.status, payment.amount_refunded) == (Status.REFUNDED, Decimal(100))
    assert till.violations() == []


def test_a_draft_of_evidence_is_refused_as_paypal_keeps_none(till: Till) -> None:
    payment = paid(till)
    till.book.dispute(capture=payment.payment_processor_id, stage="CHARGEBACK")
    till.settle()
    answer(till, "evidence", {"evidence": {"uncategorized_text": "Later."}, "submit": False})
    assert dispute_of(till).status == DisputeStatus.NEEDS_RESPONSE
    [told] = till.book.book()["disputes"]
    assert "evidences" not in told


@pytest.mark.parametrize("events", [1, 3])
def test_a_dispute_that_is_told_several_times_is_one(till: Till, events: int) -> None:
    till.book.webhooks(duplicates=events)
    payment = paid(till)
    till.book.dispute(capture=payment.payment_processor_id, stage="CHARGEBACK")
    till.judge()
    assert dispute_of(till).amount_withdrawn == Decimal(100)
