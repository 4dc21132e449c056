"""Refunds, reversals and disputes at the stand-in for PayPal."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from sandbox.standin.control import Refused as DeskRefused
from tests.sandbox.paypal_shop import CAPTURES, DISPUTES, REFUNDS, PayPalShop, Refused


@pytest.fixture
def capture(paypal_shop: PayPalShop) -> str:
    return str(paypal_shop.capture_of(paypal_shop.pay(custom_id="t1"))["id"])


def refused(shop: PayPalShop, *given: Any, **more: Any) -> str:
    with pytest.raises(Refused) as caught:
        shop.refund(*given, **more)
    [issue] = caught.value.issues
    return issue


def test_a_capture_is_refunded_in_parts_and_never_beyond(
    paypal_shop: PayPalShop, capture: str
) -> None:
    first = paypal_shop.refund(capture, "4.00")
    assert (first["status"], first["custom_id"]) == ("COMPLETED", "t1")
    assert paypal_shop.get(f"{CAPTURES}/{capture}")["status"] == "PARTIALLY_REFUNDED"
    assert refused(paypal_shop, capture, "6.01") == "REFUND_AMOUNT_EXCEEDED"

    rest = paypal_shop.refund(capture)

    assert rest["amount"]["value"] == "6.00"
    assert rest["seller_payable_breakdown"]["total_refunded_amount"]["value"] == "10.00"
    assert paypal_shop.get(f"{CAPTURES}/{capture}")["status"] == "REFUNDED"
    assert refused(paypal_shop, capture) == "CAPTURE_FULLY_REFUNDED"
    assert paypal_shop.control.charges("t1")[0]["amount_refunded"] == 1000


def test_refunds_at_once_do_not_give_more_than_was_taken(
    paypal_shop: PayPalShop, capture: str
) -> None:
    def refund(_: int) -> str:
        try:
            return str(paypal_shop.refund(capture, "6.00")["status"])
        except Refused as error:
            return error.issues[0]

    with ThreadPoolExecutor(4) as threads:
        told = sorted(threads.map(refund, range(4)))

    assert told == ["COMPLETED", *["REFUND_AMOUNT_EXCEEDED"] * 3]


@pytest.mark.parametrize(
    ("value", "currency", "issue"),
    [
        ("1.00", "EUR", "REFUND_CAPTURE_CURRENCY_MISMATCH"),
        ("1.5", "JPY", "DECIMALS_NOT_SUPPORTED"),
        ("0", "USD", "CANNOT_BE_ZERO_OR_NEGATIVE"),
    ],
)
def test_an_amount_that_cannot_be_refunded_is_refused(
    paypal_shop: PayPalShop, capture: str, value: str, currency: str, issue: str
) -> None:
    assert refused(paypal_shop, capture, value, currency=currency) == issue


def test_an_invoice_of_a_refund_is_used_once(paypal_shop: PayPalShop, capture: str) -> None:
    paypal_shop.refund(capture, "1.00", said={"invoice_id": "r1", "custom_id": "ours"})
    issue = refused(paypal_shop, capture, "1.00", said={"invoice_id": "r1"})
    assert issue == "DUPLICATE_INVOICE_ID"
    assert paypal_shop.control.book()["refunds"][0]["custom_id"] == "ours"


def test_a_pending_capture_is_not_refunded(paypal_shop: PayPalShop) -> None:
    pending = paypal_shop.capture_of(paypal_shop.pay(token="sandbox_pending"))["id"]
    assert refused(paypal_shop, pending) == "PENDING_CAPTURE"
    paypal_shop.control.settle(pending, outcome="failed")
    assert refused(paypal_shop, pending) == "REFUND_NOT_ALLOWED"


def test_a_pending_refund_waits_until_it_is_settled(paypal_shop: PayPalShop, capture: str) -> None:
    paypal_shop.control.fault("refund_pending")
    refund = paypal_shop.refund(capture, "4.00")
    assert (refund["status"], refund["status_details"]) == ("PENDING", {"reason": "ECHECK"})

    paypal_shop.control.move_refund(refund["id"], "completed")

    assert paypal_shop.get(f"{REFUNDS}/{refund['id']}")["status"] == "COMPLETED"
    assert paypal_shop.event_types()[-2:] == ["PAYMENT.REFUND.PENDING", "PAYMENT.CAPTURE.REFUNDED"]


def test_a_refund_that_fails_after_it_succeeded_gives_the_money_back(
    paypal_shop: PayPalShop, capture: str
) -> None:
    paypal_shop.control.fault("refund_failed")

    assert paypal_shop.refund(capture)["status"] == "COMPLETED"

    assert paypal_shop.get(f"{CAPTURES}/{capture}")["status"] == "COMPLETED"
    assert paypal_shop.event_types()[-2:] == ["PAYMENT.CAPTURE.REFUNDED", "PAYMENT.REFUND.FAILED"]
    assert paypal_shop.refund(capture)["status"] == "COMPLETED"


def test_a_refund_that_is_settled_does_not_move(paypal_shop: PayPalShop, capture: str) -> None:
    paypal_shop.control.fault("refund_pending")
    refund = paypal_shop.refund(capture)["id"]
    paypal_shop.control.move_refund(refund, "cancelled")
    assert paypal_shop.control.charges("t1")[0]["amount_refunded"] == 0
    for status in ("completed", "failed"):
        with pytest.raises(DeskRefused):
            paypal_shop.control.move_refund(refund, status)


def test_a_refund_by_hand_is_told_like_any_other(paypal_shop: PayPalShop, capture: str) -> None:
    paypal_shop.control.refund(capture=capture, amount="3.00", note="By phone")

    [refund] = paypal_shop.control.book()["refunds"]
    assert (refund["amount"]["value"], refund["note_to_payer"]) == ("3.00", "By phone")
    assert paypal_shop.event_types()[-1] == "PAYMENT.CAPTURE.REFUNDED"


def test_a_reversal_takes_back_what_is_left(paypal_shop: PayPalShop, capture: str) -> None:
    paypal_shop.refund(capture, "4.00")

    taken = paypal_shop.control.reverse(capture)

    assert taken["amount"]["value"] == "6.00"
    assert paypal_shop.event_types()[-1] == "PAYMENT.CAPTURE.REVERSED"
    [charge] = paypal_shop.control.charges("t1")
    assert (charge["amount_refunded"], charge["amount_reversed"]) == (400, 600)


EVIDENCE = {"evidences": [{"evidence_type": "OTHER", "notes": "Delivered"}]}


def test_a_dispute_is_answered_with_evidence_and_won(paypal_shop: PayPalShop, capture: str) -> None:
    opened = paypal_shop.control.dispute(capture=capture, reason="UNAUTHORISED")
    path = f"{DISPUTES}/{opened['dispute_id']}"
    dispute = paypal_shop.get(path)
    assert dispute["status"] == "WAITING_FOR_SELLER_RESPONSE"
    assert dispute["disputed_transactions"][0]["seller_transaction_id"] == capture
    assert dispute["disputed_transactions"][0]["custom"] == "t1"
    assert refused(paypal_shop, capture) == "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK"

    paypal_shop.post(f"{path}/provide-evidence", EVIDENCE)
    with pytest.raises(Refused) as caught:
        paypal_shop.post(f"{path}/provide-evidence", EVIDENCE)
    assert caught.value.issues == ["ACTION_NOT_ALLOWED_IN_CURRENT_DISPUTE_STATE"]
    assert paypal_shop.get(path)["status"] == "UNDER_REVIEW"
    paypal_shop.control.end_dispute(opened["dispute_id"], "won")

    dispute = paypal_shop.get(path)
    assert dispute["dispute_outcome"] == {"outcome_code": "RESOLVED_SELLER_FAVOUR"}
    assert [(move["type"], move["reason"]) for move in dispute["money_movements"]] == [
        ("DEBIT", "DISPUTE_SETTLEMENT"),
        ("DEBIT", "CHARGEBACK_FEE"),
        ("CREDIT", "DISPUTE_SETTLEMENT"),
    ]
    assert paypal_shop.refund(capture)["status"] == "COMPLETED"
    assert [kind for kind in paypal_shop.event_types() if "DISPUTE" in kind] == [
        "CUSTOMER.DISPUTE.CREATED",
        "CUSTOMER.DISPUTE.UPDATED",
        "CUSTOMER.DISPUTE.RESOLVED",
    ]


def test_evidence_comes_as_a_form_with_files(paypal_shop: PayPalShop, capture: str) -> None:
    opened = paypal_shop.control.dispute(capture=capture)
    url = f"{paypal_shop.url}{DISPUTES}/{opened['dispute_id']}/provide-evidence"
    answer = requests.post(
        url,
        files={
            "input": (None, json.dumps(EVIDENCE), "application/json"),
            "evidence_file": ("proof.pdf", b"%PDF \x00\xff", "application/pdf"),
        },
        headers={"Authorization": f"Bearer {paypal_shop.token()['access_token']}"},
        timeout=10,
    )
    assert answer.status_code == 200
    [dispute] = paypal_shop.control.book()["disputes"]
    assert dispute["evidences"][0]["notes"] == "Delivered"


def test_an_accepted_dispute_gives_the_money_to_the_payer(
    paypal_shop: PayPalShop, capture: str
) -> None:
    opened = paypal_shop.control.dispute(capture=capture, stage="INQUIRY")
    assert refused(paypal_shop, capture, "1.00") == "TRANSACTION_DISPUTED"

    path = f"{DISPUTES}/{opened['dispute_id']}"
    paypal_shop.post(f"{path}/accept-claim", {"note": "They are right"})

    assert paypal_shop.get(path)["dispute_outcome"]["outcome_code"] == "RESOLVED_BUYER_FAVOUR"
    assert paypal_shop.event_types()[-2:] == [
        "PAYMENT.CAPTURE.REVERSED",
        "CUSTOMER.DISPUTE.RESOLVED",
    ]
    assert paypal_shop.control.charges("t1")[0]["amount_reversed"] == 1000
    with pytest.raises(Refused):
        paypal_shop.post(f"{path}/accept-claim", {})


def test_disputes_are_listed_by_payment_and_state_and_in_pages(paypal_shop: PayPalShop) -> None:
    captures = [paypal_shop.capture_of(paypal_shop.pay())["id"] for _ in range(3)]
    ids = [paypal_shop.control.dispute(capture=one)["dispute_id"] for one in captures]
    paypal_shop.control.end_dispute(ids[0], "lost")

    def listed(**query: Any) -> list[str]:
        page = paypal_shop.get(DISPUTES, **query)
        return [item["dispute_id"] for item in page["items"]]

    assert listed() == ids[::-1]
    assert listed(disputed_transaction_id=captures[1]) == [ids[1]]
    assert listed(dispute_state="RESOLVED") == [ids[0]]
    first = paypal_shop.get(DISPUTES, page_size=2)
    [following] = [link["href"] for link in first["links"] if link["rel"] == "next"]
    rest = paypal_shop.get(following.removeprefix(paypal_shop.url))
    assert [item["dispute_id"] for item in rest["items"]] == [ids[0]]
