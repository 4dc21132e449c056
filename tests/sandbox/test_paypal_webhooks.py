"""PayPal's events: signed under the sandbox's own root, sent until taken, listed, sent again."""

from __future__ import annotations

import base64
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from email.message import Message

import orjson
import pytest
import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.verification import PolicyBuilder, Store

from sandbox.paypal.certificates import Signer
from tests.sandbox.paypal_shop import EVENTS, PayPalShop, Refused
from tests.sandbox.webhook_catcher import Catcher, Check, catching
from tests.sandbox_fixture import PayPalProcess
from tests.waiting import wait_for

HOST = "https://api.sandbox.paypal.com"
NAMED = "messageverificationcerts.sandbox.paypal.com"
PAID = "PAYMENT.CAPTURE.COMPLETED"


def signed_by_paypal(paypal: PayPalProcess) -> Check:
    """Check as PayPal describes it, with the sandbox's root and address for PayPal's own."""
    root = x509.load_pem_x509_certificate(paypal.control.root())
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName(NAMED))

    def check(body: bytes, headers: Message) -> dict:
        url = headers["PAYPAL-CERT-URL"]
        assert url.startswith(f"{HOST}/v1/notifications/certs/CERT-")
        assert headers["PAYPAL-AUTH-ALGO"] == "SHA256withRSA"
        pem = requests.get(url.replace(HOST, paypal.url), timeout=10).content
        certificate = x509.load_pem_x509_certificate(pem)
        verifier.verify(certificate, [])
        told = (
            headers["PAYPAL-TRANSMISSION-ID"],
            headers["PAYPAL-TRANSMISSION-TIME"],
            paypal.webhook_id,
            str(zlib.crc32(body)),
        )
        certificate.public_key().verify(
            base64.b64decode(headers["PAYPAL-TRANSMISSION-SIG"]),
            "|".join(told).encode(),
            PKCS1v15(),
            SHA256(),
        )
        return orjson.loads(body)

    return check


@pytest.fixture
def caught(paypal: PayPalProcess) -> Iterator[Catcher]:
    with catching(signed_by_paypal(paypal)) as listening:
        paypal.control.webhooks(url=listening.url, retry_first_ms=5)
        yield listening
        paypal.control.reset()


def types(caught: Catcher) -> list[str]:
    return [event["event_type"] for event in caught.events]


def test_a_payment_is_told_by_an_event_that_is_signed(
    paypal_shop: PayPalShop, caught: Catcher
) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay(custom_id="t1"))

    wait_for(lambda: caught.events)
    [event] = caught.events
    assert (event["event_type"], event["resource_type"]) == (PAID, "capture")
    assert (event["resource"]["id"], event["resource"]["custom_id"]) == (capture["id"], "t1")
    assert event["resource"]["supplementary_data"]["related_ids"]["order_id"]


def test_a_body_that_was_changed_is_not_what_was_signed(paypal: PayPalProcess) -> None:
    check, kept = signed_by_paypal(paypal), []
    with catching(lambda body, headers: kept.append((body, headers)) or {}) as listening:
        paypal.control.webhooks(url=listening.url)
        PayPalShop(paypal).pay()
        wait_for(lambda: kept)
    body, headers = kept[0]
    assert check(body, headers)["event_type"] == PAID
    with pytest.raises(InvalidSignature):
        check(body + b" ", headers)
    paypal.control.reset()


def test_the_certificate_is_at_two_addresses_and_needs_no_token(paypal: PayPalProcess) -> None:
    signer = Signer(paypal.folder)
    for path in (f"/sandbox/certs/{signer.id}.pem", f"/v1/notifications/certs/{signer.id}"):
        answer = requests.get(paypal.url + path, timeout=10)
        assert answer.content == (paypal.folder / "leaf.pem").read_bytes()
    for path in ("/sandbox/certs/none.pem", "/v1/notifications/certs/none"):
        assert requests.get(paypal.url + path, timeout=10).status_code == 404
    assert (paypal.folder / "root.pem").read_bytes() == paypal.control.root()


def test_an_event_is_sent_again_until_it_is_taken(paypal_shop: PayPalShop, caught: Catcher) -> None:
    caught.refuse = 3
    paypal_shop.pay()
    wait_for(lambda: caught.events)
    paypal_shop.control.wait_quiet()
    statuses = Counter(entry["status"] for entry in paypal_shop.control.deliveries())
    assert statuses == {503: 3, 200: 1}


def test_after_25_tries_paypal_gives_up(paypal_shop: PayPalShop, caught: Catcher) -> None:
    paypal_shop.control.webhooks(retry_most_ms=1)
    caught.refuse = 100
    paypal_shop.pay()
    wait_for(lambda: len(paypal_shop.control.deliveries()) >= 25)
    paypal_shop.control.wait_quiet()
    assert len(paypal_shop.control.deliveries()) == 25
    assert caught.events == []


def test_what_was_lost_is_listed_and_sent_again(paypal_shop: PayPalShop, caught: Catcher) -> None:
    paypal_shop.control.webhooks(drop=1)
    capture = paypal_shop.capture_of(paypal_shop.pay())["id"]
    paypal_shop.pay()
    wait_for(lambda: caught.events)

    listed = paypal_shop.get(EVENTS, transaction_id=capture)
    [event] = listed["events"]
    assert (event["event_type"], event["resource"]["id"]) == (PAID, capture)
    assert event["id"] not in [one["id"] for one in caught.events]
    paypal_shop.post(f"{EVENTS}/{event['id']}/resend", {})

    wait_for(lambda: event["id"] in [one["id"] for one in caught.events])
    assert paypal_shop.get(f"{EVENTS}/{event['id']}") == event


def test_events_are_listed_by_type_and_time_and_in_pages(paypal_shop: PayPalShop) -> None:
    for _ in range(3):
        capture = paypal_shop.capture_of(paypal_shop.pay())["id"]
    paypal_shop.refund(capture)
    now = paypal_shop.get(EVENTS)["events"][0]["create_time"]

    assert paypal_shop.get(EVENTS, event_type="PAYMENT.CAPTURE.REFUNDED")["count"] == 1
    assert paypal_shop.get(EVENTS, start_time=now, end_time=now)["count"] >= 1
    assert paypal_shop.get(EVENTS, end_time="2020-01-01T00:00:00Z")["events"] == []
    page, seen = paypal_shop.get(EVENTS, page_size=3), []
    while page:
        seen += [event["id"] for event in page["events"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        page = following and paypal_shop.get(following[0].removeprefix(paypal_shop.url))
    assert seen == [event["id"] for event in paypal_shop.control.events()][::-1]


def test_events_are_kept_for_30_days(paypal: PayPalProcess, paypal_shop: PayPalShop) -> None:
    paypal_shop.pay()
    paypal_shop.control.advance(30 * 24 * 60 * 60 + 1)
    assert PayPalShop(paypal).get(EVENTS)["events"] == []


def test_an_event_that_nobody_made_is_not_found(paypal_shop: PayPalShop) -> None:
    for ask in (paypal_shop.get, paypal_shop.post):
        with pytest.raises(Refused) as refused:
            ask(f"{EVENTS}/WH-1" + ("/resend" if ask == paypal_shop.post else ""))
        assert refused.value.status == 404


def test_the_ids_of_events_look_like_paypals(paypal_shop: PayPalShop) -> None:
    paypal_shop.pay()
    [event] = paypal_shop.control.events()
    assert re.fullmatch(r"WH-[0-9A-Z]{17}-[0-9A-Z]{17}", event["id"])


def test_events_come_twice_and_in_reverse_on_command(
    paypal_shop: PayPalShop, caught: Catcher
) -> None:
    paypal_shop.control.webhooks(duplicates=1, reorder=4, one_at_a_time=True)
    capture = paypal_shop.capture_of(paypal_shop.pay())["id"]
    paypal_shop.refund(capture)
    wait_for(lambda: len(caught.events) == 4)
    assert types(caught) == ["PAYMENT.CAPTURE.REFUNDED"] * 2 + [PAID] * 2
    assert len({event["id"] for event in caught.events}) == 2
