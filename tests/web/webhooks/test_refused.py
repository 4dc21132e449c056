"""What Stripe did not sign, or what is no event, is refused and leaves nothing behind."""

from __future__ import annotations

import json
import time

import pytest

from tests.web.webhooks.door import KEY, OLD_KEY, PATH, Door, event, signature
from worker.signatures import DEPTH

NOW = time.time()


def nested(levels: int) -> bytes:
    """Return an event whose deepest array stands on level `levels`; the event is level 1."""
    arrays = levels - 3
    deep = json.loads("[" * arrays + "]" * arrays) if arrays < 900 else None
    if deep is None:
        return event().replace(b'"amount": 1099', b'"deep": ' + b"[" * arrays + b"]" * arrays)
    return event(data={"object": {"id": "pi_1", "deep": deep}})


def assert_refused(door: Door, response, status: int = 400) -> None:
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    assert response.json["status"] == status
    assert door.stored() == []
    assert door.owed() == []
    assert door.rung() == []


SIGNATURES = {
    "missing": lambda body: None,
    "empty": lambda body: "",
    "of another secret": lambda body: signature(body, key="whsec_of_somebody_else"),
    "of an empty secret": lambda body: signature(body, key=""),
    "of both secrets as they stand in the setting": lambda body: signature(
        body, key=f"{KEY}, {OLD_KEY}"
    ),
    "of another body": lambda body: signature(body + b" "),
    "too old": lambda body: signature(body, at=time.time() - 310),
    "too far in the future": lambda body: signature(body, at=time.time() + 310),
    "far in the future": lambda body: signature(body, at="999999999999"),
    "before the epoch": lambda body: signature(body, at=f"-{int(time.time())}"),
    "of a moment with digits that are not ASCII": lambda body: signature(body).replace(
        "t=1", "t=\u0661"
    ),
    "of a moment with an underscore": lambda body: signature(body, at="1_795_000_000"),
    "of a moment with a fraction": lambda body: signature(body, at=f"{time.time():.3f}"),
    "of a moment with a space": lambda body: signature(body, at=f" {int(time.time())}"),
    "of a moment of 4,000 digits": lambda body: signature(body, at="1" * 4000),
    "of no moment": lambda body: signature(body).partition(",")[2],
    "of two moments": lambda body: f"t={int(time.time())}," + signature(body),
    "without a scheme": lambda body: signature(body).replace("v1=", ""),
    "of the test scheme only": lambda body: signature(body).replace("v1=", "v0="),
    "truncated": lambda body: signature(body)[:-1],
    "in capitals": lambda body: signature(body).upper().replace("T=", "t=").replace("V1=", "v1="),
    "not ASCII": lambda body: signature(body)[:-1] + "\xe9",
    "not ASCII, and its like": lambda body: signature(body) + ",v1=\xff\xfe",
    "longer than headers are": lambda body: signature(body) + ",v1=" + "0" * 5000,
    "without sense": lambda body: "=,=,,t,v1,=t,=v1",
}


@pytest.mark.parametrize("sign", SIGNATURES.values(), ids=SIGNATURES)
def test_a_signature_that_does_not_hold_is_refused(door: Door, sign) -> None:
    body = event()
    signed = sign(body)
    headers = {} if signed is None else {"Stripe-Signature": signed}
    assert_refused(door, door.post(body, headers=headers))


BODIES = {
    "nothing": b"",
    "blank": b" \n",
    "truncated": event()[:-1],
    "followed by more": event() + b"{}",
    "not JSON": b"id=evt_1&type=payment_intent.succeeded",
    "not UTF-8": event().replace(b"pi_1", b"pi_\xff"),
    "UTF-16": event().decode().encode("utf-16"),
    "marked as UTF-8": b"\xef\xbb\xbf" + event(),
    "a NUL": b"\x00",
    "with a NUL inside": event().replace(b"pi_1", b"pi\x00"),
    "with a lone surrogate": event().replace(b"pi_1", rb"pi_\ud800"),
    "NaN": event().replace(b"1099", b"NaN"),
    "beyond numbers": event().replace(b"1099", b"1" * 5000),
    "null": b"null",
    "a number": b"1",
    "text": b'"evt_1"',
    "an array": b"[" + event() + b"]",
    "an array of 100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "an object of 100,000 levels": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "one level too deep": nested(DEPTH + 1),
    "1,000 levels deep": nested(1000),
    "an empty object": b"{}",
    "another object": event(object="charge"),
    "an object of an array": event(object=["event"]),
    "no id": event().replace(b'"id": "evt_1", ', b""),
    "an id of null": event(id=None),
    "an id of a number": event(id=1),
    "an id of true": event(id=True),
    "an id of an array": event(id=["evt_1"]),
    "an id of an object": event(id={"id": "evt_1"}),
    "an empty id": event(""),
    "an id longer than its column": event("evt_" + "1" * 97),
    "an id with a NUL": event("evt_\x00"),
    "an id with a space at its end": event("evt_1 "),
    "an id with a line break": event("evt_1\n"),
    "an id that is not ASCII": event("evt_\u00e9"),
    "no type": event().replace(b'"type": ', b'"kind": '),
    "a type of a number": event(type=1),
    "a type longer than its column": event(type="a." + "b" * 99),
    "a type with a NUL": event(type="payment_intent.\x00"),
    "no data": event(data=None),
    "data of an array": event(data=[{"object": {}}]),
    "data without an object": event(data={}),
    "data of text": event(data={"object": "pi_1"}),
    "an account of a number": event(account=1),
    "an empty account": event(account=""),
    "an account longer than its column": event(account="acct_" + "1" * 46),
    "an account of an object": event(account={}),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_signed_body_that_is_no_event_is_refused(door: Door, body: bytes) -> None:
    assert_refused(door, door.post(body))


def test_a_body_of_more_than_a_mebibyte_is_refused(door: Door) -> None:
    body = event(padding="a" * (1 << 20))
    assert_refused(door, door.post(body), 413)


def test_another_method_is_told_which_one_is_allowed(door: Door) -> None:
    response = door.app.test_client().get(PATH)
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]


def test_a_refusal_quotes_nothing_of_what_came(door: Door) -> None:
    canary = "canary-in-the-body"
    response = door.post(event(canary), signed="t=1,v1=canary-in-the-header")
    assert response.status_code == 400
    assert "canary" not in response.text
