"""PayPal's door: it keeps what may be an event, to the byte, and owes its check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.webhooks.door import Door
from web.bodies import MAX_BYTES
from worker.settings import settings as process_settings

PATH = "/api/v1/webhooks/paypal"
HEADERS = {
    "PAYPAL-TRANSMISSION-ID": "69cd13f0-d67a-11e5-baa3-778b53f4ae55",
    "PAYPAL-TRANSMISSION-TIME": "2026-11-23T08:00:00Z",
    "PAYPAL-TRANSMISSION-SIG": "c2lnbmF0dXJl",
    "PAYPAL-CERT-URL": "https://api.paypal.com/v1/notifications/certs/CERT-1",
    "PAYPAL-AUTH-ALGO": "SHA256withRSA",
}


@pytest.fixture
def paypal_door(monkeypatch, request: pytest.FixtureRequest) -> Iterator[Door]:
    monkeypatch.setenv("PAYPAL_API_BASE", "http://127.0.0.1:1")
    door: Door = request.getfixturevalue("door")
    yield door
    monkeypatch.undo()
    process_settings.cache_clear()


def event(event_id: str = "WH-1", **fields: Any) -> bytes:
    whole = {
        "id": event_id,
        "event_type": "PAYMENT.CAPTURE.COMPLETED",
        "resource": {"id": "CAPTURE1", "amount": {"value": "1.00"}},
        **fields,
    }
    return json.dumps(whole).encode()


def post(door: Door, body: bytes, **changes: str | None):
    headers = {name: value for name, value in {**HEADERS, **changes}.items() if value is not None}
    response = door.app.test_client().post(PATH, data=body, headers=headers)
    response.close()
    return response


def test_an_event_is_kept_to_the_byte_and_its_check_is_owed(paypal_door: Door) -> None:
    body = b' {"resource":{"a":1.10,"b":"\\u00e9\xc3\xa9"} ,"event_type":"PAYMENT.CAPTURE.PENDING",'
    body += b'"id":"WH-1"}\n'
    answer = post(paypal_door, body)
    assert (answer.status_code, answer.json) == (200, {"received": True})
    [stored] = paypal_door.stored()
    assert (stored.provider, stored.provider_event_id) == ("paypal", "WH-1")
    assert stored.raw_body == body
    assert (stored.status, stored.verified_at) == ("received", None)
    kept = {name.upper(): value for name, value in stored.headers.items()}
    assert kept == HEADERS
    [owed] = paypal_door.owed()
    assert owed.task == "webhooks.verify"
    assert paypal_door.rung() == [str(owed.id)]


def test_a_copy_is_answered_alike_and_changes_nothing(paypal_door: Door) -> None:
    for _ in range(2):
        assert post(paypal_door, event()).status_code == 200
    assert len(paypal_door.stored()) == len(paypal_door.owed()) == 1


def test_what_nobody_acts_on_is_kept_and_owes_nothing(paypal_door: Door) -> None:
    assert post(paypal_door, event(event_type="BILLING.PLAN.CREATED")).status_code == 200
    [stored] = paypal_door.stored()
    assert stored.status == "ignored"
    assert paypal_door.owed() == []


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("value", [None, "", "a b", "x" * 2000])
def test_without_its_headers_nothing_is_kept(paypal_door: Door, name: str, value) -> None:
    answer = post(paypal_door, event(), **{name: value})
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert paypal_door.stored() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAYPAL-CERT-URL", "https://api.paypal.com.evil/v1/notifications/certs/CERT-1"),
        ("PAYPAL-CERT-URL", "http://169.254.169.254/latest/meta-data"),
        ("PAYPAL-AUTH-ALGO", "none"),
        ("PAYPAL-TRANSMISSION-TIME", "2999-01-01T00:00:00Z"),
    ],
)
def test_what_cannot_be_checked_is_not_kept(paypal_door: Door, name: str, value: str) -> None:
    assert post(paypal_door, event(), **{name: value}).status_code == 400
    assert paypal_door.stored() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"id":"WH-1"}',
        event(resource=None),
        event(event_id=""),
        event(event_id="x" * 101),
        event(event_type="a b"),
        b'{"id":"WH-1","event_type":"X","resource":' + b'{"a":' * 500 + b"1" + b"}" * 501,
        b"[" * 200_000,
    ],
    ids=range(11),
)
def test_what_can_be_no_event_is_refused(paypal_door: Door, body: bytes) -> None:
    assert post(paypal_door, body).status_code == 400
    assert paypal_door.stored() == []


def test_a_body_beyond_the_limit_is_refused(paypal_door: Door) -> None:
    assert post(paypal_door, b" " * (MAX_BYTES + 1)).status_code == 413
    assert paypal_door.stored() == []


def test_where_paypal_is_not_set_up_there_is_no_such_door(door: Door) -> None:
    assert post(door, event()).status_code == 404


def test_only_posts_come_in(paypal_door: Door) -> None:
    assert paypal_door.app.test_client().get(PATH).status_code == 405


WEIRD = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=60) | st.just(event()), name=st.sampled_from(list(HEADERS)), v=WEIRD)
def test_whatever_comes_is_no_error_of_ours(paypal_door: Door, body, name, v) -> None:
    assert post(paypal_door, body, **{name: v}).status_code in (200, 400)
