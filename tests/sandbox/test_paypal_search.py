"""The search for transactions at the stand-in for PayPal: what reconciliation reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sandbox.paypal_shop import CAPTURES, TRANSACTIONS, PayPalShop, Refused

HOUR = timedelta(hours=1)


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def window(shop: PayPalShop, length: timedelta = HOUR) -> dict[str, str]:
    now = datetime.fromtimestamp(shop.control.ask("GET", "clock")["now"], UTC)
    return {"start_date": text(now - length), "end_date": text(now)}


def found(shop: PayPalShop, **query: Any) -> list[dict[str, Any]]:
    page = shop.get(TRANSACTIONS, **(window(shop) | query))
    return [one["transaction_info"] for one in page["transaction_details"]]


def test_a_payment_and_its_refund_are_found_with_our_ids(paypal_shop: PayPalShop) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay(custom_id="t1", invoice_id="i1"))["id"]
    refund = paypal_shop.refund(capture, "4.00")["id"]

    paid, back = found(paypal_shop)

    assert (paid["transaction_id"], paid["transaction_event_code"]) == (capture, "T0006")
    assert paid["transaction_amount"] == {"currency_code": "USD", "value": "10.00"}
    assert paid["fee_amount"]["value"] == "-0.84"
    assert (paid["custom_field"], paid["invoice_id"]) == ("t1", "i1")
    assert (back["transaction_id"], back["transaction_event_code"]) == (refund, "T1107")
    assert back["transaction_amount"]["value"] == "-4.00"
    assert (back["paypal_reference_id"], back["paypal_reference_id_type"]) == (capture, "TXN")


def test_a_reversal_is_no_refund(paypal_shop: PayPalShop) -> None:
    paypal_shop.control.reverse(paypal_shop.capture_of(paypal_shop.pay())["id"])
    assert found(paypal_shop)[1]["transaction_event_code"] == "T1106"


@pytest.mark.parametrize(
    ("token", "status"),
    [("sandbox_well", "S"), ("sandbox_pending", "P"), ("sandbox_denied_5120", "D")],
)
def test_the_status_is_told_and_filtered_by(
    paypal_shop: PayPalShop, token: str, status: str
) -> None:
    paypal_shop.pay(token=token)
    assert [info["transaction_status"] for info in found(paypal_shop)] == [status]
    for other in ("D", "P", "S"):
        assert len(found(paypal_shop, transaction_status=other)) == (other == status)


def test_what_is_late_is_not_there_yet(paypal_shop: PayPalShop) -> None:
    paypal_shop.control.fault("reporting_late", delay_ms=3 * 60 * 60 * 1000, count=None)
    paypal_shop.pay()
    asked = window(paypal_shop)
    page = paypal_shop.get(TRANSACTIONS, **asked)
    assert page["transaction_details"] == []
    assert page["last_refreshed_datetime"] < asked["start_date"]

    paypal_shop.control.advance(3 * 60 * 60)

    assert len(found(paypal_shop, **window(paypal_shop, 4 * HOUR))) == 1


def test_only_the_window_is_listed(paypal_shop: PayPalShop) -> None:
    paypal_shop.pay()
    early = window(paypal_shop)
    paypal_shop.control.advance(7200)
    paypal_shop.pay("20.00")
    assert [info["transaction_amount"]["value"] for info in found(paypal_shop, **early)] == [
        "10.00"
    ]
    assert [info["transaction_amount"]["value"] for info in found(paypal_shop)] == ["20.00"]


def test_pages_hold_what_they_are_asked_to(paypal_shop: PayPalShop) -> None:
    ids = [paypal_shop.capture_of(paypal_shop.pay())["id"] for _ in range(3)]

    page = paypal_shop.get(TRANSACTIONS, **window(paypal_shop), page_size=2)
    assert (page["total_items"], page["total_pages"], page["page"]) == (3, 2, 1)
    [following] = [link["href"] for link in page["links"] if link["rel"] == "next"]
    last = paypal_shop.get(following.removeprefix(paypal_shop.url))

    listed = page["transaction_details"] + last["transaction_details"]
    assert [one["transaction_info"]["transaction_id"] for one in listed] == ids


@pytest.mark.parametrize(
    ("query", "issue"),
    [
        (
            {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-02-01T00:00:01Z"},
            "INVALID_DATE_RANGE",
        ),
        (
            {"start_date": "2026-01-02T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"},
            "INVALID_DATE_RANGE",
        ),
        ({"page_size": 501}, "INVALID_PARAMETER_SYNTAX"),
        ({"start_date": "yesterday"}, "INVALID_STRING_LENGTH"),
        ({"surprise": 1}, "NOT_SUPPORTED"),
    ],
)
def test_a_search_that_paypal_refuses_is_refused(
    paypal_shop: PayPalShop, query: dict[str, Any], issue: str
) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.get(TRANSACTIONS, **(window(paypal_shop) | query))
    assert (caught.value.status, caught.value.issues) == (400, [issue])


def test_31_days_may_be_asked_for(paypal_shop: PayPalShop) -> None:
    paypal_shop.pay()
    assert len(found(paypal_shop, **window(paypal_shop, timedelta(days=31)))) == 1


def test_more_than_the_report_can_list_is_refused_in_paypals_words(paypal_shop: PayPalShop) -> None:
    paypal_shop.control.report_at_most(3)
    paypal_shop.control.plant(count=3)
    assert len(found(paypal_shop)) == 3
    paypal_shop.control.plant()
    with pytest.raises(Refused) as caught:
        found(paypal_shop)
    assert (caught.value.status, caught.value.name) == (400, "RESULTSET_TOO_LARGE")


def test_what_is_planted_on_a_day_is_of_that_day_for_every_call(paypal_shop: PayPalShop) -> None:
    at = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
    told = {"fee": "9.00", "invoice_id": "i1", "custom_id": "t1"}
    [capture] = paypal_shop.control.plant(at=at, value="20.00", currency="EUR", **told)["ids"]
    paypal_shop.control.plant(at=at, count=2)
    refund = paypal_shop.refund(capture, "4.00", currency="EUR")["id"]
    paypal_shop.control.date(at + 1, refund)

    day = {"start_date": "2026-03-01T00:00:00Z", "end_date": "2026-03-02T00:00:00Z"}
    [info, *_, back] = found(paypal_shop, **day)
    assert (info["transaction_id"], info["fee_amount"]["value"]) == (capture, "-9.00")
    assert info["transaction_initiation_date"] == "2026-03-01T00:00:00Z"
    assert (back["transaction_id"], len(found(paypal_shop, **day))) == (refund, 4)
    assert paypal_shop.get(f"{CAPTURES}/{capture}")["create_time"] == "2026-03-01T00:00:00Z"
    assert paypal_shop.event_types() == ["PAYMENT.CAPTURE.REFUNDED"]


def test_a_payment_that_went_back_whole_is_told_as_reversed(paypal_shop: PayPalShop) -> None:
    paypal_shop.refund(paypal_shop.capture_of(paypal_shop.pay())["id"])
    assert [info["transaction_status"] for info in found(paypal_shop)] == ["V", "S"]


def test_a_chargeback_is_listed_with_its_fee_and_given_back_when_won(
    paypal_shop: PayPalShop,
) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay(invoice_id="i1"))["id"]
    dispute = paypal_shop.control.dispute(capture=capture)["dispute_id"]
    paypal_shop.control.end_dispute(dispute, "won")
    listed = {info["transaction_event_code"]: info for info in found(paypal_shop)}
    values = {code: info["transaction_amount"]["value"] for code, info in listed.items()}
    assert values == {"T0006": "10.00", "T1201": "-10.00", "T0106": "-20.00", "T1202": "10.00"}
    back = listed["T1201"]
    assert (back["paypal_reference_id"], back["invoice_id"]) == (capture, "i1")


def test_a_lost_chargeback_is_listed_once(paypal_shop: PayPalShop) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay())["id"]
    dispute = paypal_shop.control.dispute(capture=capture)["dispute_id"]
    paypal_shop.control.end_dispute(dispute, "lost")
    codes = [info["transaction_event_code"] for info in found(paypal_shop)]
    assert codes == ["T0006", "T1201", "T0106"]
