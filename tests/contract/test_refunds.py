"""What every gateway must do about refunds, kept methods and webhooks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from models.clock import now
from models.ids import new_id
from models.money import Money
from tests.contract.house import (
    Delivery,
    House,
    Loss,
    charge_of,
    customer_of,
    lost,
    must_stand_in,
    refund_of,
)
from worker.gateways.base import (
    GatewayError,
    Intent,
    IntentStatus,
    RefundAnswer,
    RefundState,
    Rejected,
)
from worker.signatures import Refused


def part(house: House, amount: str) -> Money:
    return Money(Decimal(amount), house.currency)


def test_money_is_given_back_in_parts_and_never_more_than_was_taken(house: House) -> None:
    request = charge_of(house)
    paid = house.gateway.charge(request)
    first = refund_of(paid, part(house, "4.30"))
    given, again = (house.gateway.refund(first) for _ in range(2))
    assert given.provider_id == again.provider_id
    assert (given.state, given.money) == (RefundState.SUCCEEDED, part(house, "4.30"))
    with pytest.raises(Rejected):
        house.gateway.refund(refund_of(paid, part(house, "8.01")))
    rest = house.gateway.refund(refund_of(paid, part(house, "8.00")))
    with pytest.raises(Rejected):
        house.gateway.refund(refund_of(paid, part(house, "0.01")))
    found = house.gateway.find_refunds(provider_id=paid.provider_id)
    assert [each.provider_id for each in found] == [rest.provider_id, given.provider_id]
    assert found[1].metadata["refund_id"] == first.metadata["refund_id"]
    looked_up = house.gateway.retrieve_refund(given.provider_id)
    assert (looked_up.state, looked_up.money) == (given.state, given.money)
    assert house.gateway.retrieve(paid.provider_id).status is IntentStatus.SUCCEEDED
    assert house.taken(request.metadata["transaction_id"]) == [(Decimal("12.30"),) * 2]


@pytest.mark.parametrize("loss", [Loss.ANSWER, Loss.REQUEST, Loss.ERROR_AFTER])
def test_a_lost_refund_is_unknown_and_given_once(house: House, loss: Loss) -> None:
    must_stand_in(house, "does not fail on command")
    request = charge_of(house)
    paid = house.gateway.charge(request)
    asked = refund_of(paid, part(house, "5.00"))
    house.lose(loss, refund=True)
    lost(lambda: house.gateway.refund(asked))
    found = house.gateway.find_refunds(provider_id=paid.provider_id)
    if not any(each.metadata["refund_id"] == asked.metadata["refund_id"] for each in found):
        house.gateway.refund(asked)
    taken = house.taken(request.metadata["transaction_id"])
    assert taken == [(Decimal("12.30"), Decimal("5.00"))]


def test_a_refund_that_is_not_through_says_so(house: House) -> None:
    must_stand_in(house, "gives back at once")
    paid = house.gateway.charge(charge_of(house))
    house.delay_refund()
    asked = house.gateway.refund(refund_of(paid, part(house, "5.00")))
    assert asked.state is RefundState.PENDING
    assert house.gateway.retrieve_refund(asked.provider_id).state is RefundState.PENDING


def test_nothing_is_given_back_of_what_was_not_taken(house: House) -> None:
    request = charge_of(house, None)
    waiting = replace(house.gateway.charge(request), metadata=request.metadata)
    with pytest.raises(Rejected):
        house.gateway.refund(refund_of(waiting, part(house, "1.00")))


def test_money_of_every_kind_comes_back_as_it_was_meant(house: House) -> None:
    for money in house.odd_money:
        request = charge_of(house, money=money)
        paid = house.gateway.charge(request)
        back = house.gateway.refund(refund_of(paid, money))
        assert back.money == money
        assert house.taken(request.metadata["transaction_id"]) == [(money.amount,) * 2]


def test_a_method_is_kept_looked_up_and_forgotten(house: House) -> None:
    customer = customer_of(house)
    key, token = f"method-{new_id()}", house.token(customer)
    kept, again = (
        house.gateway.attach_method(key=key, customer=customer, token=token, type=house.method_type)
        for _ in range(2)
    )
    assert kept.provider_id == again.provider_id
    assert kept.type == house.method_type
    assert house.gateway.retrieve_method(kept.provider_id) is not None
    for _ in range(2):
        house.gateway.detach_method(key=f"detach-{new_id()}", method=kept.provider_id)
    assert house.gateway.retrieve_method(kept.provider_id) is None
    request = replace(charge_of(house, None, customer=customer), method=kept.provider_id)
    with pytest.raises(GatewayError):
        house.gateway.charge(request)
    assert house.taken(request.metadata["transaction_id"]) == []


def test_a_token_of_nothing_is_refused(house: House) -> None:
    with pytest.raises(Rejected):
        house.gateway.attach_method(
            key=f"method-{new_id()}",
            customer=customer_of(house),
            token="pm_that_never_was",
            type=house.method_type,
        )


def test_what_happened_is_told_signed_and_as_the_look_up_tells_it(house: House) -> None:
    must_stand_in(house, "cannot reach this machine")
    charged = house.gateway.charge(charge_of(house))
    given = house.gateway.refund(refund_of(charged, part(house, "5.00")))
    told = [house.hear(delivery)[1] for delivery in house.deliveries()]
    intents = [each for each in told if isinstance(each, Intent)]
    assert (charged.provider_id, IntentStatus.SUCCEEDED, charged.captured) in [
        (each.provider_id, each.status, each.captured) for each in intents
    ]
    refunds = [each for each in told if isinstance(each, RefundAnswer)]
    assert (given.provider_id, given.money, given.metadata["refund_id"]) in [
        (each.provider_id, each.money, each.metadata["refund_id"]) for each in refunds
    ]


def test_what_was_changed_on_its_way_is_refused(house: House) -> None:
    must_stand_in(house, "cannot reach this machine")
    house.gateway.charge(charge_of(house))
    told_of_money = 0
    for delivery in house.deliveries():
        forged = delivery.body.replace(b"12.30", b"99.30").replace(b"1230", b"9930")
        told_of_money += forged != delivery.body
        with pytest.raises(Refused):
            house.hear(Delivery(forged + b" ", delivery.headers))
        with pytest.raises(Refused):
            house.hear(Delivery(delivery.body, {}))
        house.hear(delivery)
    assert told_of_money


def test_what_was_not_taken_in_can_be_fetched(house: House) -> None:
    must_stand_in(house, "keeps no events that were not delivered")
    house.gateway.charge(charge_of(house))
    sent = {house.hear(delivery)[0] for delivery in house.deliveries()}
    since = now() - timedelta(hours=1)
    fetched = {each.event.id for page in house.gateway.missed_events(since=since) for each in page}
    assert sent
    # A provider may leave out what it knows to have come.
    assert fetched in (sent, set())
