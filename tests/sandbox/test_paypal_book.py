"""PayPal's book, read over HTTP from its stand-in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from models.clock import now
from tests.sandbox.paypal_shop import PayPalShop
from worker.gateways.base import Unavailable
from worker.gateways.books import Entry, Subject
from worker.gateways.paypal import report
from worker.gateways.paypal.books import PayPalBook

DAY = datetime(2026, 3, 1, tzinfo=UTC)
AT = int(DAY.timestamp())


@pytest.fixture
def book(paypal_shop: PayPalShop) -> PayPalBook:
    return PayPalBook(
        client_id="client", client_secret="secret", api_base=paypal_shop.url, timeout_s=10
    )


def read(
    book: PayPalBook, subject: Subject, *, start: datetime = DAY, days: int = 1
) -> list[Entry]:
    found: list[Entry] = []
    end, after = start + timedelta(days=days), None
    while True:
        page = book.page(subject, start=start, end=end, after=after)
        found += page.entries
        after = page.next
        if after is None:
            return found


def test_a_crowded_second_and_a_refused_search_lose_nothing(
    book: PayPalBook, paypal_shop: PayPalShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "PAGE", 20)
    paypal_shop.control.report_at_most(70)
    planted = {
        each
        for at, count in ((AT, 1), (AT + 7, 65), (AT + 40_000, 30), (AT + 86_399, 2))
        for each in paypal_shop.control.plant(at=at, count=count)["ids"]
    }
    paypal_shop.control.plant(at=AT + 86_400)
    assert {each.id for each in read(book, Subject.CHARGE)} == planted


def test_only_payments_and_refunds_are_read(book: PayPalBook, paypal_shop: PayPalShop) -> None:
    [capture] = paypal_shop.control.plant(at=AT, fee="40.00", value="20.00")["ids"]
    refund = paypal_shop.refund(capture)["id"]
    paypal_shop.control.date(AT + 1, refund)
    [paid], [back] = read(book, Subject.CHARGE), read(book, Subject.REFUND)
    assert (paid.id, paid.state, paid.cents, paid.oddity) == (
        capture,
        "succeeded",
        2000,
        "the fee is higher than any price",
    )
    assert (back.id, back.of, back.cents) == (refund, capture, 2000)
    looked = book.one(Subject.CHARGE, capture)
    assert looked is not None
    assert looked.returned == 2000


def test_disputes_are_listed_with_their_ids(book: PayPalBook, paypal_shop: PayPalShop) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay())["id"]
    dispute = paypal_shop.control.dispute(capture=capture)["dispute_id"]
    [listed] = read(book, Subject.DISPUTE, start=now() - timedelta(hours=1))
    looked = book.one(Subject.DISPUTE, dispute)
    assert looked is not None
    assert (listed.id, listed.state, listed.cents) == (dispute, "needs_response", 1000)
    assert (looked.of, looked.state) == (capture, "needs_response")


def test_what_the_report_does_not_reach_yet_is_waited_for(
    book: PayPalBook, paypal_shop: PayPalShop
) -> None:
    paypal_shop.control.fault("reporting_late", delay_ms=3 * 60 * 60 * 1000, count=None)
    with pytest.raises(Unavailable, match="knows nothing after"):
        read(book, Subject.CHARGE, start=now() - timedelta(hours=24))
