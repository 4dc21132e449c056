"""Events are signed, delivered until taken, and mishandled on command."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import stripe

from tests.sandbox.shop import Shop
from tests.sandbox.webhook_catcher import Catcher, catching, signed_by_stripe
from tests.sandbox_fixture import SandboxProcess
from tests.waiting import wait_for

PAID = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]


def test_a_payment_is_told_by_signed_events(shop: Shop, catcher: Catcher) -> None:
    intent = shop.pay(1000, "inr", key="key-1")

    catcher.wait_for(*PAID)
    shop.control.wait_quiet()
    [succeeded] = [e for e in catcher.events if e["type"] == "payment_intent.succeeded"]
    assert succeeded["data"]["object"]["id"] == intent.id
    assert succeeded["request"]["idempotency_key"] == "key-1"
    assert shop.client.v1.events.retrieve(succeeded["id"]).pending_webhooks == 0


def test_an_event_is_sent_again_until_it_is_taken(shop: Shop, catcher: Catcher) -> None:
    shop.control.webhooks(retry_first_ms=10)
    catcher.refuse = 5

    shop.pay(1000, "inr")

    catcher.wait_for(*PAID)
    shop.control.wait_quiet()
    assert Counter(entry["status"] for entry in shop.control.deliveries())[503] == 5


def test_what_was_not_taken_is_listed_as_not_delivered(shop: Shop, catcher: Catcher) -> None:
    shop.control.wait_quiet()
    shop.control.webhooks(drop=1)

    shop.pay(1000, "inr")

    shop.control.wait_quiet()
    missed = shop.client.v1.events.list({"delivery_success": False})
    assert [event.type for event in missed.data] == ["payment_intent.created"]
    assert "payment_intent.created" not in catcher.types


def test_events_come_twice_on_command(shop: Shop, catcher: Catcher) -> None:
    shop.control.wait_quiet()
    shop.control.webhooks(duplicates=2)

    shop.pay(1000, "inr")

    wait_for(lambda: len(catcher.events) >= 9)
    shop.control.wait_quiet()
    counts = Counter(event["id"] for event in catcher.events)
    assert sorted(counts.values()) == [3, 3, 3]


def test_events_come_in_reverse_on_command(shop: Shop, catcher: Catcher) -> None:
    shop.control.wait_quiet()
    shop.control.webhooks(reorder=3, one_at_a_time=True)

    shop.pay(1000, "inr")

    wait_for(lambda: len(catcher.events) == 3)
    assert catcher.types == PAID[::-1]


def test_events_wait_while_deliveries_are_paused(shop: Shop, catcher: Catcher) -> None:
    shop.control.wait_quiet()
    shop.control.webhooks(is_paused=True)
    shop.pay(1000, "inr")
    assert shop.control.webhooks()["queued"] == 3
    assert catcher.events == []

    shop.control.webhooks(is_paused=False)

    catcher.wait_for(*PAID)


def test_held_events_go_out_when_flushed(shop: Shop, catcher: Catcher) -> None:
    shop.control.webhooks(reorder=100)
    shop.pay(1000, "inr")
    assert shop.control.webhooks()["held"] == 3
    assert catcher.events == []

    shop.control.flush()

    catcher.wait_for(*PAID)


def test_a_delayed_event_comes_later(shop: Shop, catcher: Catcher) -> None:
    shop.control.webhooks(delay_ms=300)
    started = time.monotonic()

    shop.pay(1000, "inr")

    catcher.wait_for(*PAID)
    assert time.monotonic() - started >= 0.3


def test_one_event_can_be_sent_many_times_at_once(shop: Shop, catcher: Catcher) -> None:
    shop.pay(1000, "inr")
    catcher.wait_for(*PAID)
    event_id = catcher.events[-1]["id"]

    statuses = shop.control.resend(event_id, times=20)

    assert statuses == [200] * 20
    assert Counter(event["id"] for event in catcher.events)[event_id] == 21


def test_events_not_taken_outlive_a_kill(own_sandbox: SandboxProcess) -> None:
    with catching(signed_by_stripe(own_sandbox.webhook_secret)) as catcher:
        shop = Shop(own_sandbox)
        shop.control.webhooks(is_paused=True, url=catcher.url)
        shop.pay(1000, "inr")
        own_sandbox.kill()

        own_sandbox.start(webhook_url=catcher.url)

        catcher.wait_for(*PAID)


def test_a_decline_and_a_refund_are_told(shop: Shop, catcher: Catcher) -> None:
    intent = shop.pay(1000, "inr")
    shop.client.v1.refunds.create({"payment_intent": intent.id, "amount": 1})
    shop.control.fault("decline", decline_code="lost_card")
    with pytest.raises(stripe.CardError):
        shop.pay(500, "inr")

    catcher.wait_for(
        "refund.created", "charge.refunded", "charge.failed", "payment_intent.payment_failed"
    )
