"""Look-ups while their provider is away or switched off: they are owed and none is given up."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from types import ModuleType
from typing import Any, NoReturn

import pytest

from models.disputes import DisputeAction, DisputeActionKind
from models.methods import PaymentMethod
from models.outbox import Owed, OwedStatus, enqueue
from models.refunds import Refund, RefundReason
from tasks import disputes, lookups, methods, refunds
from tests.bell import ring
from tests.tasks.provider_events import deliver, disputes_of, events_of, refunds_at
from worker.gateways import UnknownProvider
from worker.gateways.base import Unavailable

TRIES = 12  # every ten minutes, for two hours


class Away:
    """A provider that answers nothing."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        def answer(*_: Any, **__: Any) -> NoReturn:
            raise Unavailable(message=f"{name} was not answered")

        return answer


def is_away(_: str) -> Away:
    return Away()


def is_switched_off(provider: str) -> NoReturn:
    raise UnknownProvider(message=f"{provider} is not set up here")


@pytest.fixture(params=[is_away, is_switched_off])
def gone(request) -> Callable[[str], Away]:
    """What the door to a provider answers that cannot be asked."""
    way: Callable[[str], Away] = request.param
    return way


@pytest.fixture
def outlives(shop, monkeypatch, gone):
    """Owe a look-up while the provider is away; do it once it is there again."""

    def outlive(task: str, where: ModuleType, name: str, **arguments: Any) -> None:
        with shop.session() as session:
            owed_id = enqueue(session, task, **arguments).id
        with monkeypatch.context() as patch:
            patch.setattr(where, name, gone)
            for _ in range(TRIES):
                ring(task, owed_id)
                with shop.session() as session:
                    owed = session.get_one(Owed, owed_id)
                assert (owed.status, owed.failures) == (OwedStatus.OWED, 0)
                shop.advance(minutes=10)
        ring(task, owed_id)
        assert shop.owed(task) == []

    return outlive


def test_a_state_that_is_in_doubt_is_asked_for_until_it_is_known(shop, outlives):
    payment_id = shop.pay(shop.card("pm_sandbox_processing"))
    intent_id = shop.payment(payment_id).provider_transaction_id
    shop.sandbox.control.settle(intent_id)
    about = {"transaction_id": payment_id, "intent_id": intent_id, "why": "a test"}
    outlives("lookups.refresh", lookups, "gateway_for", **about)
    assert shop.payment(payment_id).status == "succeeded"


def test_a_secret_that_is_asked_for_again_is_fetched_once_it_can_be(shop, outlives):
    payment_id = shop.pay(None)
    outlives("lookups.reveal", lookups, "gateway_for", transaction_id=payment_id)


@pytest.mark.parametrize("gone", [is_switched_off], indirect=True)
def test_a_refund_waits_for_its_provider_to_be_set_up_again(shop, outlives):
    payment_id = shop.pay(shop.card())
    with shop.session() as session:
        refund = Refund(
            company_id=shop.company_id,
            transaction_id=payment_id,
            amount=Decimal(25),
            reason=RefundReason.REQUESTED,
        )
        session.add(refund)
        session.flush()
    outlives("refunds.send", refunds, "gateway_for", refund_id=refund.id)
    assert [each.status for each in refunds_at(shop, payment_id)] == ["succeeded"]


@pytest.mark.parametrize("gone", [is_switched_off], indirect=True)
def test_what_is_told_of_a_dispute_waits_for_its_provider_to_be_set_up_again(shop, outlives):
    intent_id = shop.payment(shop.pay(shop.card())).provider_transaction_id
    shop.sandbox.control.dispute(payment_intent=intent_id)
    deliver(shop, events_of(shop, "charge.dispute."))
    [dispute] = disputes_of(shop)
    with shop.session() as session:
        action = DisputeAction(
            company_id=shop.company_id,
            dispute_id=dispute.id,
            kind=DisputeActionKind.ACCEPT,
            request={},
        )
        session.add(action)
        session.flush()
    outlives("disputes.send", disputes, "disputes_at", action_id=action.id)
    assert disputes_of(shop)[0].status == "lost"


def test_refunds_are_asked_for_until_they_are_known(shop, outlives):
    payment_id = shop.pay(shop.card())
    intent_id = shop.payment(payment_id).provider_transaction_id
    shop.sandbox.control.refund(payment_intent=intent_id, amount=2500)
    outlives("refunds.collect", refunds, "gateway_for", transaction_id=payment_id)
    assert [refund.amount for refund in refunds_at(shop, payment_id)] == [25]


def test_a_dispute_is_asked_for_until_it_is_known(shop, outlives):
    intent_id = shop.payment(shop.pay(shop.card())).provider_transaction_id
    told = shop.sandbox.control.dispute(payment_intent=intent_id)
    traced = {"provider": "stripe", "dispute_id": told["id"], "intent_id": intent_id}
    outlives("disputes.trace", disputes, "disputes_at", **traced)
    shop.sandbox.control.move_dispute(told["id"], "under_review")
    [dispute] = disputes_of(shop)
    about = {"dispute_id": dispute.id, "why": "a test"}
    outlives("disputes.refresh", disputes, "disputes_at", **about)
    assert disputes_of(shop)[0].status == "under_review"


def test_a_method_is_asked_for_until_it_is_known(shop, outlives):
    method_id = shop.card()
    with shop.session() as session:
        provider_id = session.get_one(PaymentMethod, method_id).provider_id
    shop.sandbox.control.renew(provider_id, exp_year=2044)
    outlives("methods.refresh", methods, "gateway_for", method_id=method_id)
    with shop.session() as session:
        assert session.get_one(PaymentMethod, method_id).exp_year == 2044
