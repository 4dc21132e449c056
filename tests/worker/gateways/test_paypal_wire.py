"""The PayPal gateway at a wire that answers as it is told: tokens, deadlines, unknown outcomes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from models.clock import now
from models.ids import new_id
from models.money import Money
from tests.worker.gateways.wire import Behaviour, Wire, answer, drop, hang, trickle
from worker.gateways.base import (
    Advice,
    ChargeRequest,
    Declined,
    GatewayError,
    IntentStatus,
    OutcomeUnknown,
    RefundRequest,
    Rejected,
    Unavailable,
)
from worker.gateways.paypal.client import PayPalGateway

TRANSACTION = new_id()
IDS = {"transaction_id": str(TRANSACTION), "company_id": str(new_id()), "attempt_id": str(new_id())}
REQUEST = ChargeRequest(
    key="attempt-1",
    money=Money(Decimal("12.30"), "EUR"),
    customer="customer-1",
    method="TOKEN",
    off_session=True,
    metadata=IDS,
)


@pytest.fixture
def gateway(wire: Wire) -> Iterator[PayPalGateway]:
    made = PayPalGateway(
        client_id="id",
        client_secret="hush",
        api_base=wire.url,
        timeout_s=0.5,
        return_url="https://shop.example/paid",
        cancel_url="",
    )
    yield made
    made.close()


def token(life_s: int = 32400, text: str = "A21.token") -> Behaviour:
    return answer({"access_token": text, "token_type": "Bearer", "expires_in": life_s})


def told(body: Any, status: int = 201) -> Behaviour:
    return answer(body, status=status, headers={"Paypal-Debug-Id": "debug-1"})


def refused(status: int, issue: str) -> Behaviour:
    details = [{"issue": issue, "description": "No."}]
    return told({"name": "NAME", "details": details}, status)


def order(status: str = "COMPLETED", capture: str | None = "COMPLETED") -> dict[str, Any]:
    amount = {"currency_code": "EUR", "value": "12.30"}
    unit: dict[str, Any] = {"amount": amount}
    if capture:
        payments = {"captures": [{"id": "CAPTURE1", "status": capture, "amount": amount}]}
        unit["payments"] = payments
    links = [{"rel": "payer-action", "href": "https://paypal.example/approve"}]
    return {"id": "ORDER1", "status": status, "purchase_units": [unit], "links": links}


def paths(wire: Wire) -> list[tuple[str, str]]:
    return [(seen.method, seen.path) for seen in wire.seen if "oauth2" not in seen.path]


def test_a_vaulted_charge_is_one_call_under_the_attempts_key(wire, gateway) -> None:
    wire.says(token(), told(order()))
    intent = gateway.charge(REQUEST)
    assert intent.status is IntentStatus.SUCCEEDED
    assert (intent.charge_id, intent.provider_request_id) == ("CAPTURE1", "debug-1")
    asked, sent = wire.seen
    assert asked.form == {"grant_type": "client_credentials"}
    assert asked.headers["authorization"].startswith("Basic ")
    assert sent.headers["authorization"] == "Bearer A21.token"
    assert sent.headers["paypal-request-id"] == "attempt-1"
    assert sent.headers["prefer"] == "return=representation"
    assert json.loads(sent.body)["payment_source"] == {"paypal": {"vault_id": "TOKEN"}}


def test_the_same_charge_sends_the_same_bytes_again(wire, gateway) -> None:
    wire.says(token(), told(order()))
    gateway.charge(REQUEST)
    gateway.charge(REQUEST)
    first, second = wire.seen[1:]
    assert first.body == second.body
    assert first.headers["paypal-request-id"] == second.headers["paypal-request-id"]


def test_a_token_is_fetched_once_for_all_threads_and_anew_when_it_ends(wire, gateway) -> None:
    wire.says(token(), told(order()))
    threads = [threading.Thread(target=gateway.retrieve, args=("ORDER1",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [seen.path for seen in wire.seen].count("/v1/oauth2/token") == 1
    assert len(wire.seen) == 9


def test_a_token_that_is_about_to_end_is_not_used(wire, gateway) -> None:
    wire.says(token(life_s=0), told(order()), token(life_s=0), told(order()))
    gateway.retrieve("ORDER1")
    gateway.retrieve("ORDER1")
    assert [seen.path for seen in wire.seen].count("/v1/oauth2/token") == 2


def test_a_token_that_paypal_refuses_is_renewed_once(wire, gateway) -> None:
    wire.says(token(), refused(401, "INVALID"), token(text="new"), told(order()))
    gateway.charge(REQUEST)
    assert wire.seen[-1].headers["authorization"] == "Bearer new"
    assert wire.seen[-1].headers["paypal-request-id"] == "attempt-1"
    wire.says(refused(401, "INVALID"), token(), refused(401, "INVALID"), told(order()))
    with pytest.raises(Rejected):
        gateway.charge(REQUEST)


@pytest.mark.parametrize("fault", [hang, drop, answer(raw=b"<html>", status=502)])
def test_without_a_token_nothing_was_sent(wire, gateway, fault: Behaviour) -> None:
    wire.says(fault)
    with pytest.raises(Unavailable):
        gateway.charge(REQUEST)
    assert paths(wire) == []


def test_wrong_credentials_are_our_fault_and_not_told(wire, gateway) -> None:
    wire.says(told({"error": "invalid_client", "error_description": "Wrong."}, 401))
    with pytest.raises(Rejected) as refusal:
        gateway.charge(REQUEST)
    assert refusal.value.code == "no_token"
    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize(
    "fault",
    [hang, drop, trickle, refused(500, "INTERNAL_SERVER_ERROR"), answer(raw=b"<html>", status=502)],
    ids=["silent", "cut", "trickling", "500", "proxy"],
)
def test_what_may_have_been_captured_is_unknown_and_sent_once(wire, gateway, fault) -> None:
    wire.says(token(), fault)
    with pytest.raises(OutcomeUnknown):
        gateway.charge(REQUEST)
    assert paths(wire) == [("POST", "/v2/checkout/orders")]
    wire.says(fault)
    with pytest.raises(Unavailable):
        gateway.retrieve("ORDER1")


def test_an_answer_that_is_no_order_is_unknown(wire, gateway) -> None:
    wire.says(token(), told({"id": "ORDER1"}))
    with pytest.raises(OutcomeUnknown):
        gateway.charge(REQUEST)


def test_an_unreachable_paypal_is_tried_again_and_then_unavailable() -> None:
    away = PayPalGateway(
        client_id="",
        client_secret="",
        api_base="http://127.0.0.1:1",
        timeout_s=1,
        return_url="",
        cancel_url="",
    )
    with pytest.raises(Unavailable) as failure:
        away.charge(REQUEST)
    assert failure.value.code == "not_connected"


def test_a_vaulted_order_that_waits_for_its_capture_is_captured(wire, gateway) -> None:
    wire.says(token(), told(order("APPROVED", None)), told(order()))
    assert gateway.charge(REQUEST).status is IntentStatus.SUCCEEDED
    assert paths(wire)[-1] == ("POST", "/v2/checkout/orders/ORDER1/capture")
    assert wire.seen[-1].headers["paypal-request-id"] == "attempt-1:capture"


def test_a_payer_who_must_approve_off_session_is_asked_for_the_same_order(wire, gateway) -> None:
    wire.says(token(), told(order("PAYER_ACTION_REQUIRED", None)))
    with pytest.raises(Declined) as declined:
        gateway.charge(REQUEST)
    assert declined.value.advice is Advice.ASK
    assert declined.value.provider_id == "ORDER1"
    intent = gateway.charge(replace(REQUEST, off_session=False))
    assert intent.approve_url == "https://paypal.example/approve"


def test_a_capture_that_was_made_and_declined_is_a_decline(wire, gateway) -> None:
    wire.says(token(), told(order("COMPLETED", "DECLINED")))
    with pytest.raises(Declined) as declined:
        gateway.charge(REQUEST)
    assert declined.value.provider_id == "ORDER1"


@pytest.mark.parametrize("issue", ["ORDER_ALREADY_CAPTURED", "ORDER_NOT_APPROVED"])
def test_an_order_that_is_not_to_be_captured_is_returned_as_it_is(wire, gateway, issue) -> None:
    wire.says(token(), refused(422, issue), told(order(), 200))
    assert gateway.capture(key="k", provider_id="ORDER1").status is IntentStatus.SUCCEEDED


def test_a_declined_capture_names_its_order(wire, gateway) -> None:
    wire.says(token(), refused(422, "INSTRUMENT_DECLINED"))
    with pytest.raises(Declined) as declined:
        gateway.capture(key="k", provider_id="ORDER1")
    assert (declined.value.advice, declined.value.provider_id) == (Advice.ASK, "ORDER1")


def searched(until: datetime, *infos: dict[str, Any], pages: int = 1) -> Behaviour:
    return told(
        {
            "transaction_details": [{"transaction_info": info} for info in infos],
            "last_refreshed_datetime": until.isoformat(),
            "total_pages": pages,
        },
        200,
    )


def info(**changes: Any) -> dict[str, Any]:
    return {
        "transaction_id": "CAPTURE1",
        "invoice_id": str(TRANSACTION),
        "transaction_event_code": "T0006",
        **changes,
    }


CAPTURE = {
    "id": "CAPTURE1",
    "status": "COMPLETED",
    "supplementary_data": {"related_ids": {"order_id": "ORDER1"}},
}


def test_a_second_completed_capture_is_refused_by_paypal_and_the_first_one_found(
    wire, gateway
) -> None:
    wire.says(
        token(),
        refused(422, "DUPLICATE_INVOICE_ID"),
        searched(now(), info(transaction_event_code="T1107"), info()),
        told(CAPTURE, 200),
        told(order(), 200),
    )
    assert gateway.charge(REQUEST).charge_id == "CAPTURE1"


def test_while_the_search_is_behind_a_duplicate_stays_unknown(wire, gateway) -> None:
    wire.says(token(), refused(422, "DUPLICATE_INVOICE_ID"), searched(now()))
    with pytest.raises(OutcomeUnknown) as unknown:
        gateway.charge(REQUEST)
    assert unknown.value.code == "DUPLICATE_INVOICE_ID"


def find(gateway: PayPalGateway, until: datetime | None = None):
    return gateway.find(transaction_id=TRANSACTION, customer="", key="", until=until)


def test_none_is_said_only_of_the_time_that_the_search_covers(wire, gateway) -> None:
    reached = now() - timedelta(hours=3)
    wire.says(token(), searched(reached))
    assert find(gateway, until=reached - timedelta(seconds=1)) == []
    for until in (None, reached + timedelta(seconds=1)):
        with pytest.raises(Unavailable) as lagging:
            find(gateway, until=until)
        assert lagging.value.code == "look_up_lags"


def test_every_page_of_the_search_is_read(wire, gateway) -> None:
    wire.says(
        token(),
        searched(now(), info(invoice_id="another"), pages=2),
        searched(now(), info(), pages=2),
        told(CAPTURE, 200),
        told(order(), 200),
    )
    assert [intent.provider_id for intent in find(gateway)] == ["ORDER1"]
    pages = [seen.query["page"] for seen in wire.seen if "reporting" in seen.path]
    assert pages == ["1", "2"]


def test_an_order_that_took_no_money_counts_as_canceled_and_another_as_it_is(wire, gateway) -> None:
    wire.says(
        token(),
        told(order("APPROVED", None), 200),
        refused(404, "RESOURCE_NOT_FOUND"),
        told(order("COMPLETED", "PENDING"), 200),
    )
    statuses = [gateway.cancel(key="k", provider_id="ORDER1").status for _ in range(3)]
    assert statuses == [IntentStatus.CANCELED, IntentStatus.CANCELED, IntentStatus.PROCESSING]
    assert all(seen.method == "GET" for seen in wire.seen[1:])


def test_a_refund_is_of_the_orders_capture_and_in_money_that_paypal_takes(wire, gateway) -> None:
    refund = {"id": "R", "status": "COMPLETED", "amount": order()["purchase_units"][0]["amount"]}
    wire.says(token(), told(order(), 200), told(refund))
    request = RefundRequest(
        key="refund-1", provider_id="ORDER1", money=REQUEST.money, reason="", metadata={}
    )
    gateway.refund(request)
    assert paths(wire)[-1] == ("POST", "/v2/payments/captures/CAPTURE1/refund")
    assert wire.seen[-1].headers["paypal-request-id"] == "refund-1"
    with pytest.raises(Rejected, match="without decimals"):
        gateway.refund(replace(request, money=Money(Decimal("1.50"), "HUF")))
    wire.says(told(order("APPROVED", None), 200))
    with pytest.raises(Rejected, match="nothing of it was captured"):
        gateway.refund(request)


@pytest.mark.parametrize("currency", ["INR", "KWD", "ISK"])
def test_money_that_paypal_does_not_take_is_never_sent(wire, gateway, currency) -> None:
    with pytest.raises(Rejected) as refusal:
        gateway.charge(replace(REQUEST, money=Money(Decimal(10), currency)))
    assert refusal.value.code == "currency_not_supported"
    assert wire.seen == []


def test_a_key_that_paypal_would_not_keep_is_never_sent(wire, gateway) -> None:
    wire.says(token(), told(order()))
    with pytest.raises(GatewayError):
        gateway.charge(replace(REQUEST, key="k" * 109))
    assert wire.seen == []


def test_a_path_is_never_the_providers_to_choose(wire, gateway) -> None:
    wire.says(token(), told(order(), 200))
    gateway.retrieve("../../v1/oauth2?x=#")
    assert wire.seen[-1].path == "/v2/checkout/orders/..%2F..%2Fv1%2Foauth2%3Fx%3D%23"


def test_missed_events_are_read_to_the_last_page(wire, gateway) -> None:
    event = {
        "id": "WH-1",
        "event_type": "PAYMENT.CAPTURE.COMPLETED",
        "create_time": "2026-11-23T08:00:00Z",
        "resource": {"id": "CAPTURE1"},
    }
    following = {"rel": "next", "href": "https://elsewhere.example/v1/notifications/x?page=2"}
    wire.says(
        token(),
        told({"events": [event, {"id": "broken"}], "links": [following]}, 200),
        told({"events": [], "links": []}, 200),
    )
    [page, last] = gateway.missed_events(since=now() - timedelta(days=1))
    assert [each.event.id for each in page] == ["WH-1"]
    assert page[0].created_at == datetime(2026, 11, 23, 8, tzinfo=UTC)
    assert last == []
    assert wire.seen[-1].path == "/v1/notifications/x"
