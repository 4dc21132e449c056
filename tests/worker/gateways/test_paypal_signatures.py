"""Whether PayPal sent it: every way to forge one is refused, and only what it signed passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zlib import crc32

import pytest

from models.clock import now
from tests.worker.gateways.authority import (
    CERTIFICATE_URL,
    DAY,
    WEBHOOK_ID,
    Authority,
)
from tests.worker.gateways.wire import Wire, answer, hang
from worker import transmissions
from worker.gateways.base import Unavailable
from worker.gateways.paypal import certificates, signatures
from worker.gateways.paypal.certificates import Certificates
from worker.settings import settings
from worker.signatures import Refused
from worker.transmissions import HEADERS, kept_headers, require_paypal, transmission_of

BODY = b'{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","x":"\xc3\xa9"}'


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def check(authority: Authority, body: bytes = BODY, **changes: object) -> None:
    given = {
        "transmission": authority.transmission(BODY),
        "chain": [authority.certify()],
        "webhook_id": WEBHOOK_ID,
        "roots": [authority.root],
        "at": now(),
        **changes,
    }
    signatures.check(body, **given)  # type: ignore[arg-type]


def test_what_paypal_signed_passes_also_with_a_wildcard_certificate(authority) -> None:
    check(authority)
    check(authority, chain=[authority.certify("*.paypal.com")])


def test_a_checksum_above_two_billion_counts_as_unsigned(authority) -> None:
    body = next(b"%d" % number for number in range(99) if crc32(b"%d" % number) > 2**31)
    check(authority, body, transmission=authority.transmission(body))


@pytest.mark.parametrize(
    "forge",
    [
        lambda a: {"body": BODY + b" "},
        lambda a: {"webhook_id": "ANOTHER"},
        lambda a: {"transmission": a.transmission(BODY, webhook_id="ANOTHER")},
        lambda a: {"transmission": replace(a.transmission(BODY), id="T-2")},
        lambda a: {"transmission": replace(a.transmission(BODY), time="2026-11-23T08:00:01Z")},
        lambda a: {"transmission": replace(a.transmission(BODY), signature="AAAA")},
        lambda a: {"transmission": replace(a.transmission(BODY), signature="not base64!")},
        lambda a: {"chain": [a.certify("messages.paypal.com.evil.example")]},
        lambda a: {"chain": [a.certify("notpaypal.com")]},
        lambda a: {"chain": [a.certify("paypal.com.evil")]},
        lambda a: {"chain": [a.certify(None)]},
        lambda a: {"chain": [a.certify(start=now() - 20 * DAY, end=now() - DAY)]},
        lambda a: {"chain": [a.certify(start=now() + DAY)]},
        lambda a: {"chain": [a.certify(is_self_signed=True)]},
        lambda a: {"roots": [Authority("Another root").root], "chain": [a.certify()]},
        lambda a: {"at": now() + 60 * DAY},
    ],
)
def test_whatever_else_is_refused(
    authority: Authority, forge: Callable[[Authority], dict[str, object]]
) -> None:
    with pytest.raises(Refused):
        check(authority, **forge(authority))  # type: ignore[arg-type]


@pytest.mark.parametrize("pem", [b"", b"not a certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(Refused):
        signatures.chain_of(pem)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://paypal.com.evil/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/x",
        "https://evilpaypal.com/x",
        "https://paypal.com/x",
        "https://user@api.paypal.com/x",
        "https://user:secret@api.paypal.com/x",
        "https://api.paypal.com:8443/x",
        "https://api.paypal.com:443/x",
        "https://evil.example/https://api.paypal.com/x",
        "https://evil.example#@api.paypal.com/x",
        "https://evil.example\\@api.paypal.com/x",
        "https://api.paypal.com./x",
        "https://[::1]/x",
        "https://127.0.0.1/x",
        "https://2130706433/x",
        "https://\u0430pi.paypal.com/x",
        "https://api.payp\u00e0l.com/x",
        "https://API.PAYPAL.COM\u3002evil.example/x",
        "https://[api.paypal.com]/x",
        "//api.paypal.com/x",
        "api.paypal.com/x",
        "file:///etc/passwd",
        "https:///x",
        "",
    ],
)
def test_a_certificate_is_only_asked_for_at_paypals_own_hosts(url: str) -> None:
    with pytest.raises(Refused):
        require_paypal(url)


@pytest.mark.parametrize("host", ["api.paypal.com", "api.sandbox.paypal.com", "a-b.c.paypal.com"])
def test_any_host_of_paypals_will_do(host: str) -> None:
    require_paypal(f"https://{host}/v1/notifications/certs/CERT-1")


def headers(authority: Authority) -> dict[str, str]:
    return kept_headers(authority.transmission(BODY))


def test_headers_are_kept_so_that_they_are_read_again_alike(authority) -> None:
    made = transmission_of(headers(authority), at=now())
    assert made == authority.transmission(BODY)


@pytest.mark.parametrize("name", HEADERS.values())
@pytest.mark.parametrize("value", [None, "", "a b", "é", "x" * 1025, "line\nbreak"])
def test_a_header_that_is_missing_or_malformed_is_refused(authority, name, value) -> None:
    given = {k: v for k, v in headers(authority).items() if k != name or value is not None}
    if value is not None:
        given[name] = value
    with pytest.raises(Refused, match=name):
        transmission_of(given, at=now())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("algorithm", "SHA1withRSA"),
        ("id", "T|2026"),
        ("time", "yesterday"),
        ("time", "9999-99-99T00:00:00Z"),
    ],
)
def test_a_transmission_of_another_kind_is_refused(authority, field, value) -> None:
    with pytest.raises(Refused):
        transmission_of({**headers(authority), HEADERS[field]: value}, at=now())


def test_a_transmission_may_be_days_old_and_not_of_the_future(authority) -> None:
    sent = datetime(2026, 11, 23, 8, tzinfo=UTC)
    transmission_of(headers(authority), at=sent + timedelta(days=3))
    transmission_of(headers(authority), at=sent - timedelta(seconds=299))
    with pytest.raises(Refused):
        transmission_of(headers(authority), at=sent - timedelta(seconds=301))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"id":"WH-1","event_type":"X"}',
        b'{"id":"WH-1","event_type":"X","resource":[]}',
        b'{"id":1,"event_type":"X","resource":{}}',
        b'{"id":"WH-1","event_type":"a b","resource":{}}',
        b'{"id":"WH-1","event_type":"X","resource":' + b'{"a":' * 40 + b"1" + b"}" * 41,
        b"[" * 100_000,
    ],
)
def test_what_can_be_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        transmissions.event_of(body)


@pytest.fixture
def fetched(wire: Wire):
    made = Certificates(api_base=wire.url, timeout_s=0.3)
    yield made
    made.close()


def test_a_certificate_is_fetched_once_from_the_path_that_paypal_names(
    wire: Wire, fetched: Certificates, authority: Authority
) -> None:
    wire.says(answer(raw=authority.pem(authority.certify())))
    assert fetched.at(CERTIFICATE_URL) == fetched.at(CERTIFICATE_URL)
    [seen] = wire.seen
    assert seen.path == "/v1/notifications/certs/CERT-1"
    assert "authorization" not in seen.headers


@pytest.mark.parametrize(
    "fault",
    [
        hang,
        answer(raw=b"busy", status=503),
        answer(raw=b"", status=302, headers={"Location": "http://127.0.0.1/"}),
        answer(raw=b"x" * 70_000),
    ],
    ids=["silent", "503", "redirect", "huge"],
)
def test_a_certificate_that_cannot_be_fetched_is_tried_again(
    wire: Wire, fetched: Certificates, authority: Authority, fault
) -> None:
    wire.says(fault)
    with pytest.raises(Unavailable):
        fetched.at(CERTIFICATE_URL)
    assert len(wire.seen) == 1, "no redirect is followed"
    wire.says(answer(raw=authority.pem(authority.certify())))
    assert fetched.at(CERTIFICATE_URL)


@pytest.mark.parametrize("found", [answer(raw=b"", status=404), answer(raw=b"<html>")])
def test_where_there_is_no_certificate_the_event_is_refused(wire, fetched, found) -> None:
    wire.says(found)
    with pytest.raises(Refused):
        fetched.at(CERTIFICATE_URL)


def test_an_address_that_is_not_paypals_is_never_asked(wire, fetched) -> None:
    wire.says(hang)
    with pytest.raises(Refused):
        fetched.at("https://paypal.com.evil/v1/notifications/certs/CERT-1")
    assert wire.seen == []


@pytest.mark.parametrize("setting", ["PAYPAL_TRUST_STORE", "SSL_CERT_FILE"])
def test_the_trust_store_is_the_settings_or_the_systems(
    authority, tmp_path, monkeypatch, setting
) -> None:
    path = tmp_path / "root.pem"
    path.write_bytes(authority.pem(authority.root))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    monkeypatch.setenv(setting, str(path))
    settings.cache_clear()
    certificates.roots.cache_clear()
    assert list(certificates.roots()) == [authority.root]
    monkeypatch.setenv(setting, "" if setting == "PAYPAL_TRUST_STORE" else str(tmp_path / "no"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "no"))
    settings.cache_clear()
    certificates.roots.cache_clear()
    with pytest.raises(certificates.NoRoots):
        certificates.roots()
    monkeypatch.undo()
    settings.cache_clear()
    certificates.roots.cache_clear()
