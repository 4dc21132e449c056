"""Subscriptions that Stripe bills: its events in any order, and what is fetched is believed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from models import invariants
from models.clock import now
from models.methods import customer_of
from models.plans import Plan
from models.subscriptions import Subscription, SubscriptionStatus, lock_existing
from models.timeline import Cause
from models.webhooks import WebhookStatus
from tasks.subscriptions import sweep
from tests.factories import make_module, make_plan
from tests.tasks.dunning_shop import Shop
from tests.tasks.provider_events import deliver, events_of
from tests.tasks.subscription_shop import Subscriber
from worker.database import transaction
from worker.subscribing import Refused

PREFIX = "customer.subscription."


class Counter:
    """A company that Stripe bills, and what Stripe has told of its subscription."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.company = Subscriber(customer=shop.customer)
        self.client = shop.sandbox.client().v1
        self.module_id = make_module(shop.customer, is_taken=False)
        plan_id = make_plan(shop.customer, self.module_id)
        with transaction() as session:
            self.plan = session.get_one(Plan, plan_id).code

    def begin(self, customer: str | None = None, **more):
        metadata = {"company_id": str(self.shop.company_id), "plan": self.plan}
        stranger = self.client.customers.create({"name": "Somebody"}).id
        params = {
            "customer": customer or stranger,
            "currency": "inr",
            "items": [{"price": "price_1", "quantity": 3}],
            "metadata": metadata,
        }
        return self.client.subscriptions.create(params | more).id

    def told(self, subscription_id):
        return [
            event
            for event in events_of(self.shop, PREFIX)
            if event["data"]["object"]["id"] == subscription_id
        ]

    def row(self) -> Subscription | None:
        with self.shop.session() as session:
            return session.scalars(select(Subscription)).one_or_none()


@pytest.fixture
def counter(shop: Shop) -> Counter:
    return Counter(shop)


def test_a_subscription_of_stripes_is_activated_and_never_billed_by_us(counter):
    subscription_id = counter.begin()
    assert deliver(counter.shop, counter.told(subscription_id)) == [WebhookStatus.COMPLETED]
    row = counter.row()
    assert (row.provider, row.provider_subscription_id) == ("stripe", subscription_id)
    assert (row.status, row.seats, row.currency) == (SubscriptionStatus.ACTIVE, 3, "INR")
    assert counter.company.has(counter.module_id)
    counter.shop.advance(days=70)
    sweep()
    counter.company.work()
    assert counter.company.invoices() == []
    with transaction() as session:
        found = invariants.check(session, limit=1000)
    assert not [each for each in found if str(row.id) in each.detail]


def test_events_in_the_wrong_order_and_twice_end_where_stripe_is(counter):
    subscription_id = counter.begin(trial_period_days=10)
    control = counter.shop.sandbox.control
    control.move_subscription(subscription_id, "trial_will_end")
    counter.client.subscriptions.update(
        subscription_id,
        {"items": [{"quantity": 9}], "cancel_at_period_end": True},
    )
    control.move_subscription(subscription_id, "past_due")
    events = counter.told(subscription_id)
    deliver(counter.shop, [*reversed(events), *events])
    row = counter.row()
    assert (row.status, row.seats) == (SubscriptionStatus.PAST_DUE, 9)
    assert row.cancel_at_period_end
    for status in ("unpaid", "active", "paused", "active"):
        control.move_subscription(subscription_id, status)
        deliver(counter.shop, counter.told(subscription_id)[-1:])
        assert counter.row().status == status
        assert counter.company.has(counter.module_id) == (status == "active")
    counter.client.subscriptions.cancel(subscription_id)
    deliver(counter.shop, counter.told(subscription_id))
    assert counter.row().status == SubscriptionStatus.CANCELED
    assert counter.row().ended_at is not None
    assert not counter.company.has(counter.module_id)
    assert len(counter.company.notices("subscription_canceled")) == 1


def test_the_company_is_known_by_its_customer_too(counter):
    counter.shop.card()
    with counter.shop.session() as session:
        customer = customer_of(session, counter.shop.company_id, "stripe")
    metadata = {"plan": counter.plan}
    subscription_id = counter.begin(customer.provider_id, metadata=metadata, trial_period_days=2)
    counter.shop.sandbox.control.move_subscription(subscription_id, "trial_will_end")
    deliver(counter.shop, counter.told(subscription_id) * 2)
    assert counter.row().status == SubscriptionStatus.TRIALING
    [notice] = counter.company.notices("trial_ending")
    assert notice.arguments["plan"] == "A plan"


@pytest.mark.parametrize(
    "metadata", [{}, {"company_id": "nobody", "plan": "any"}, {"plan": "nobody-has-it"}]
)
def test_what_is_nobodys_or_of_no_plan_of_ours_is_ignored(counter, metadata):
    if "plan" in metadata:
        metadata = {"company_id": str(counter.shop.company_id), **metadata}
    subscription_id = counter.begin(metadata=metadata)
    assert deliver(counter.shop, counter.told(subscription_id)) == [WebhookStatus.IGNORED]
    assert counter.row() is None


def test_another_plan_takes_the_old_ones_modules_along(counter):
    subscription_id = counter.begin()
    deliver(counter.shop, counter.told(subscription_id))
    other_module = make_module(counter.shop.customer, is_taken=False)
    other_plan = make_plan(counter.shop.customer, other_module)
    counter.client.subscriptions.update(subscription_id, {"metadata": {"plan": str(other_plan)}})
    deliver(counter.shop, counter.told(subscription_id)[-1:])
    assert counter.row().plan_id == other_plan
    assert counter.company.has(other_module)
    assert not counter.company.has(counter.module_id)


def test_an_answer_that_was_asked_for_earlier_changes_nothing(counter):
    subscription_id = counter.begin()
    deliver(counter.shop, counter.told(subscription_id))
    counter.client.subscriptions.update(subscription_id, {"items": [{"quantity": 9}]})
    with counter.shop.session() as session:
        row = session.scalars(select(Subscription)).one()
        row.synced_at = now() + timedelta(hours=1)  # somebody has asked since, and was quicker
    deliver(counter.shop, counter.told(subscription_id)[-1:])
    assert counter.row().seats == 3
    counter.shop.advance(hours=2)
    counter.client.subscriptions.update(subscription_id, {"items": [{"quantity": 7}]})
    deliver(counter.shop, counter.told(subscription_id)[-1:])
    assert counter.row().seats == 7
    with counter.shop.session() as session:
        held = lock_existing(session, row.id)
        held.move_to(SubscriptionStatus.CANCELED, because=Cause(why="a test"))
    counter.client.subscriptions.update(subscription_id, {"items": [{"quantity": 1}]})
    deliver(counter.shop, counter.told(subscription_id)[-1:])
    assert (counter.row().seats, counter.row().status) == (7, SubscriptionStatus.CANCELED)


def test_what_stripe_bills_is_changed_there(counter):
    deliver(counter.shop, counter.told(counter.begin()))
    with pytest.raises(Refused, match="billed by stripe"):
        counter.company.act("pause", counter.row().id)
    counter.shop.sandbox.control.move_subscription(counter.row().provider_subscription_id, "paused")
    deliver(counter.shop, counter.told(counter.row().provider_subscription_id)[-1:])
    with pytest.raises(Refused, match="billed by stripe"):
        counter.company.act("resume", counter.row().id)
    assert counter.row().status == SubscriptionStatus.PAUSED
