"""What every gateway must do about charges, declines, approvals and lost answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from models.clock import now
from models.ids import new_id
from models.money import Money
from tests.contract.house import (
    House,
    Loss,
    Pays,
    charge_of,
    lost,
    must_stand_in,
    resolve,
    transaction_of,
)
from worker.gateways.base import (
    Advice,
    Declined,
    IntentStatus,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)

PAID = [(Decimal("12.30"), Decimal(0))]
RETRIES = {Advice.RETRY, Advice.RETRY_ONCE, Advice.RETRY_TWICE}
FAILS = "does not fail on command"


def book(house: House, request) -> list[tuple[Decimal, Decimal]]:
    return house.taken(request.metadata["transaction_id"])


def test_a_kept_method_is_charged_and_looked_up_alike(house: House) -> None:
    request = charge_of(house)
    charged = house.gateway.charge(request)
    assert charged.status is IntentStatus.SUCCEEDED
    assert charged.captured == charged.money == request.money
    assert charged.charge_id
    assert charged.provider_request_id
    assert dict(request.metadata).items() <= dict(charged.metadata).items()
    found = house.gateway.retrieve(charged.provider_id)
    assert (found.status, found.captured) == (charged.status, charged.captured)
    assert book(house, request) == PAID


def test_the_same_key_charges_once_however_often_it_is_sent(house: House) -> None:
    request = charge_of(house)
    intents = {house.gateway.charge(request).provider_id for _ in range(3)}
    assert len(intents) == 1
    assert book(house, request) == PAID


def test_one_key_at_the_same_time_charges_once(house: House) -> None:
    request = charge_of(house)

    def charge(_: int) -> str:
        try:
            return house.gateway.charge(request).provider_id
        except OutcomeUnknown:
            return ""

    with ThreadPoolExecutor(4) as threads:
        told = set(threads.map(charge, range(4)))
    assert len(told - {""}) == 1
    assert book(house, request) == PAID


def test_the_same_key_for_another_amount_is_our_bug_and_takes_nothing(house: House) -> None:
    request = charge_of(house)
    house.gateway.charge(request)
    with pytest.raises(Rejected, match="idempotency_error"):
        house.gateway.charge(replace(request, money=Money(Decimal(11), house.currency)))
    assert book(house, request) == PAID


@pytest.mark.parametrize(
    ("pays", "advices"),
    [
        (Pays.NOT_NOW, RETRIES),
        (Pays.NEVER, {Advice.STOP}),
        (Pays.UNLISTED, {Advice.STOP_AND_REVIEW}),
    ],
)
def test_a_decline_says_what_to_do_and_takes_nothing(house: House, pays: Pays, advices) -> None:
    request = charge_of(house, pays)
    with pytest.raises(Declined) as declined:
        house.gateway.charge(request)
    assert declined.value.advice in advices
    assert declined.value.decline_code
    if declined.value.provider_id:
        found = house.gateway.retrieve(declined.value.provider_id)
        assert found.status is IntentStatus.DECLINED
        assert found.decline is not None
        assert found.decline.advice is declined.value.advice
    assert book(house, request) == []


def test_a_declined_payment_is_charged_by_its_next_attempt(house: House) -> None:
    request = charge_of(house, Pays.NOT_NOW)
    with pytest.raises(Declined):
        house.gateway.charge(request)
    again = replace(
        request,
        key=f"attempt-{new_id()}",
        method=house.method(request.customer),
        metadata={**request.metadata, "attempt_id": str(new_id())},
    )
    assert house.gateway.charge(again).status is IntentStatus.SUCCEEDED
    assert book(house, request) == PAID


def test_without_a_method_the_customer_approves_and_then_it_is_captured_once(house: House) -> None:
    request = charge_of(house, None)
    waiting = house.gateway.charge(request)
    assert waiting.status is IntentStatus.REQUIRES_ACTION
    assert waiting.client_secret or waiting.approve_url
    for secret in filter(None, (waiting.client_secret, waiting.approve_url)):
        assert secret not in repr(waiting)
    untouched = house.gateway.capture(key="too-early", provider_id=waiting.provider_id)
    assert untouched.status is IntentStatus.REQUIRES_ACTION
    house.approve(waiting)
    for key in ("capture-1", "capture-1", "capture-2"):
        captured = house.gateway.capture(key=key, provider_id=waiting.provider_id)
        assert (captured.status, captured.captured) == (IntentStatus.SUCCEEDED, request.money)
    assert book(house, request) == PAID


def test_what_waits_is_canceled_and_what_is_paid_stays_paid(house: House) -> None:
    waiting = house.gateway.charge(charge_of(house, None))
    for key in ("cancel-1", "cancel-2"):
        canceled = house.gateway.cancel(key=f"{key}-{new_id()}", provider_id=waiting.provider_id)
        assert canceled.status is IntentStatus.CANCELED
    paid = house.gateway.charge(charge_of(house))
    kept = house.gateway.cancel(key=f"cancel-{new_id()}", provider_id=paid.provider_id)
    assert kept.status is IntentStatus.SUCCEEDED


def test_a_charge_that_is_on_its_way_is_processing_until_it_arrives(house: House) -> None:
    must_stand_in(house, "settles at its own time")
    request = charge_of(house, Pays.LATER)
    charged = house.gateway.charge(request)
    assert (charged.status, charged.captured) == (IntentStatus.PROCESSING, None)
    house.settle(charged)
    assert house.gateway.retrieve(charged.provider_id).captured == request.money


@pytest.mark.parametrize("loss", Loss)
def test_a_lost_charge_is_unknown_and_found_out_without_a_second_one(
    house: House, loss: Loss
) -> None:
    must_stand_in(house, FAILS)
    request = charge_of(house)
    house.lose(loss)
    lost(lambda: house.gateway.charge(request))
    if loss is Loss.ERROR_BEFORE and house.saves_errors:
        lost(lambda: resolve(house, request))
        assert book(house, request) == []
        return
    assert resolve(house, request).status is IntentStatus.SUCCEEDED
    assert book(house, request) == PAID


def test_a_busy_provider_took_nothing_and_charges_once_in_the_end(house: House) -> None:
    must_stand_in(house, FAILS)
    request = charge_of(house)
    house.be_busy()
    with pytest.raises(Unavailable):
        house.gateway.charge(request)
    house.be_well()
    assert house.gateway.charge(request).status is IntentStatus.SUCCEEDED
    assert book(house, request) == PAID


def test_a_look_up_without_an_answer_is_never_an_unknown_outcome(house: House) -> None:
    must_stand_in(house, FAILS)
    request = charge_of(house)
    charged = house.gateway.charge(request)
    house.be_silent()
    with pytest.raises(Unavailable):
        house.gateway.retrieve(charged.provider_id)
    with pytest.raises(Unavailable):
        house.gateway.find(
            transaction_id=transaction_of(request), customer=request.customer, key=request.key
        )


def test_past_the_keys_life_a_charge_is_found_and_only_ours(house: House) -> None:
    must_stand_in(house, "does not let its clock be advanced")
    customer = charge_of(house, None).customer
    request, other = (charge_of(house, customer=customer) for _ in range(2))
    charged = house.gateway.charge(request)
    house.gateway.charge(other)
    until = now()
    house.age(house.gateway.key_life_s / 3600 + 4)
    found = house.gateway.find(
        transaction_id=transaction_of(request), customer=customer, key=request.key, until=until
    )
    assert [(each.provider_id, each.status) for each in found] == [
        (charged.provider_id, IntentStatus.SUCCEEDED)
    ]


def test_none_is_said_of_what_was_never_sent_once_that_is_known(house: House) -> None:
    must_stand_in(house, "does not let its clock be advanced")
    request = charge_of(house)
    until = now() + timedelta(seconds=1)
    house.age(house.gateway.key_life_s / 3600 + 4)
    found = house.gateway.find(
        transaction_id=transaction_of(request),
        customer=request.customer,
        key=request.key,
        until=until,
    )
    assert found == []


def test_what_does_not_exist_is_refused(house: House) -> None:
    with pytest.raises(Rejected) as refused:
        house.gateway.retrieve("NOSUCHTHING")
    assert refused.value.http_status == 404


def test_wrong_credentials_are_refused_and_not_told(house: House) -> None:
    stranger = house.stranger()
    with pytest.raises(Rejected) as refused:
        stranger.retrieve("ANYTHING")
    assert refused.value.http_status == 401
    stranger.close()  # type: ignore[attr-defined]  # of the classes, not the protocol


def test_money_of_every_kind_arrives_as_it_was_meant(house: House) -> None:
    for money in house.odd_money:
        request = charge_of(house, money=money)
        charged = house.gateway.charge(request)
        assert charged.captured == money
        assert book(house, request) == [(money.amount, Decimal(0))]


def test_money_that_the_provider_does_not_take_is_refused_and_says_why(house: House) -> None:
    for money in house.refused_money:
        request = charge_of(house, money=money)
        with pytest.raises(Rejected, match=money.currency):
            house.gateway.charge(request)
        assert book(house, request) == []
