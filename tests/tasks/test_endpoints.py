"""The tenants' own systems are told: signed, at least once, each at its own pace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook, WebhookVerificationError

from models import clock
from models.alerts import Alert
from models.clock import now
from models.deliveries import (
    KEPT,
    DeliveryStatus,
    EndpointAttempt,
    EndpointDelivery,
)
from models.endpoints import SLOTS, DisabledReason, Endpoint, EndpointStatus
from models.outbox import Owed, enqueue
from schedules.deliveries import ATTEMPTS, FEWEST_FAILURES, GIVEN_UP_AFTER, STEPS_S
from tasks import endpoints as work
from tests.bell import ring
from tests.factories import Customer, make_company
from tests.receiving import Receiver, receiving
from tests.waiting import PATIENCE_S, wait_for
from worker.app import Debt
from worker.database import PUBLISH, in_transaction, transaction
from worker.events import announce_to
from worker.outgoing.addresses import Rules, networks
from worker.outgoing.sending import Reply, Sender
from worker.outgoing.signing import new_secret

LOOPBACK = Rules(is_http_allowed=True, allowed=networks("127.0.0.0/8"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(autouse=True)
def loopback_may_be_called(database, monkeypatch):
    monkeypatch.setattr(work, "sender", lambda: Sender(LOOPBACK, timeout_s=PATIENCE_S))


@pytest.fixture
def later(monkeypatch) -> Callable[[timedelta], None]:
    """Set this process's clock ahead."""
    ahead = [timedelta()]
    monkeypatch.setattr(clock, "_offset", lambda: ahead[0])

    def go(by: timedelta) -> None:
        ahead[0] += by

    return go


def add_endpoint(customer: Customer, url: str, *events: str, **columns: object) -> UUID:
    with transaction() as session:
        endpoint = Endpoint(
            **{
                "tenant_id": customer.tenant_id,
                "company_id": customer.company_id,
                "url": url,
                "events": list(events or ("*",)),
                "secret": new_secret(),
                **columns,
            }
        )
        session.add(endpoint)
        session.flush()
        return endpoint.id


def announce(channel: UUID, kind: str = "payment.succeeded", **data: object) -> None:
    in_transaction(announce_to, channel, channel, kind, **(data or {"amount": "1.00"}))


def owed(customer: Customer) -> list[Owed]:
    channels = [customer.company_id, customer.tenant_id]
    with transaction() as session:
        wanted = select(Owed).where(
            Owed.company_id.in_(channels), Owed.queue.in_(("events", "endpoints"))
        )
        return list(session.scalars(wanted.order_by(Owed.id)))


def work_off(customer: Customer) -> None:
    """Do all that is owed of publishing and delivering, as workers do that are rung."""
    while rows := owed(customer):
        for row in rows:
            assert row.failures == 0, row.error
            ring(row.task, row.id)


def sweep(customer: Customer) -> None:
    work.sweep()
    work_off(customer)


def endpoint_of(endpoint_id: UUID) -> Endpoint:
    with transaction() as session:
        return session.get_one(Endpoint, endpoint_id)


def deliveries_of(endpoint_id: UUID) -> list[EndpointDelivery]:
    with transaction() as session:
        wanted = select(EndpointDelivery).where(EndpointDelivery.endpoint_id == endpoint_id)
        return list(session.scalars(wanted.order_by(EndpointDelivery.id)))


def only(endpoint_id: UUID) -> EndpointDelivery:
    [delivery] = deliveries_of(endpoint_id)
    return delivery


def attempts_of(delivery: EndpointDelivery) -> list[EndpointAttempt]:
    with transaction() as session:
        wanted = select(EndpointAttempt).where(EndpointAttempt.delivery_id == delivery.id)
        return list(session.scalars(wanted.order_by(EndpointAttempt.number)))


def alerts_of(customer: Customer) -> list[Alert]:
    with transaction() as session:
        return list(session.scalars(select(Alert).where(Alert.company_id == customer.company_id)))


def notices_of(customer: Customer) -> list[tuple[str, UUID, int]]:
    """What its people are owed: the template, about what, and which time."""
    with transaction() as session:
        wanted = select(Owed.arguments).where(
            Owed.company_id == customer.company_id, Owed.task == "notifications.notify"
        )
        return [
            (each["template"], UUID(each["subject_id"]), each["number"])
            for each in session.scalars(wanted)
        ]


def test_an_event_arrives_signed_as_standard_webhooks_says(customer, receiver):
    endpoint_id = add_endpoint(customer, receiver.url)
    announce(customer.company_id, amount="12.50", currency="INR")
    work_off(customer)
    [heard] = receiver.heard
    told = Webhook(endpoint_of(endpoint_id).secret).verify(heard.body, heard.headers)
    assert set(told) == {"type", "timestamp", "company_id", "data"}
    assert told["type"] == "payment.succeeded"
    assert told["company_id"] == str(customer.company_id)
    assert told["data"] == {"amount": "12.50", "currency": "INR"}
    assert heard.headers["Content-Type"] == "application/json"
    delivery = only(endpoint_id)
    assert delivery.status is DeliveryStatus.DELIVERED
    assert (delivery.status_code, delivery.response) == (200, "thanks")
    [attempt] = attempts_of(delivery)
    assert (attempt.number, attempt.status_code, attempt.error) == (1, 200, None)
    assert attempt.ended_at is not None


def test_what_could_not_be_published_at_first_is_heard_once(customer, receiver):
    add_endpoint(customer, receiver.url)
    announce(customer.company_id)
    [publishing] = owed(customer)
    with transaction() as session:
        row = session.get_one(Owed, publishing.id)
        row.failures, row.due_at = 1, now()
    ring(publishing.task, publishing.id)
    [fan_out] = owed(customer)
    for _ in range(2):
        with transaction(company_id=customer.company_id) as session:
            enqueue(session, fan_out.task, **fan_out.arguments)
    work_off(customer)
    assert len(receiver.heard) == 1


def test_an_endpoint_hears_what_its_filter_names(customer, receiver):
    add_endpoint(customer, receiver.url, "payment.*", "invoice.paid")
    for kind in ("payment.failed", "invoice.created", "payments.odd", "invoice.paid"):
        announce(customer.company_id, kind)
    work_off(customer)
    assert sorted(each.told["type"] for each in receiver.heard) == [
        "invoice.paid",
        "payment.failed",
    ]


def test_a_tenants_endpoint_hears_all_its_companies_and_the_tenant_and_no_one_else(receiver):
    ours = make_company()
    sibling, stranger = make_company(tenant_id=ours.tenant_id), make_company()
    add_endpoint(ours, receiver.url, company_id=None)
    for channel in (ours.company_id, sibling.company_id, stranger.company_id):
        announce(channel, number=str(channel))
    announce(ours.tenant_id, "system.alert", number="ours")
    for each in (ours, sibling, stranger):
        work_off(each)
    heard = {each.told["data"]["number"] for each in receiver.heard}
    assert heard == {str(ours.company_id), str(sibling.company_id), "ours"}


def test_a_companys_endpoint_hears_that_company_alone(receiver):
    ours = make_company()
    sibling = make_company(tenant_id=ours.tenant_id)
    add_endpoint(ours, receiver.url)
    for channel in (sibling.company_id, ours.tenant_id):
        announce(channel)
    announce(ours.company_id, number="mine")
    for each in (ours, sibling):
        work_off(each)
    assert [each.told["data"] for each in receiver.heard] == [{"number": "mine"}]


def test_where_nobody_has_an_endpoint_nothing_is_owed_to_one(customer):
    announce(customer.company_id)
    [debt] = owed(customer)
    ring(PUBLISH, debt.id)
    assert owed(customer) == []


def test_an_event_that_is_fanned_out_twice_is_one_message(customer, receiver):
    endpoint_id = add_endpoint(customer, receiver.url)
    announce(customer.company_id)
    ring(PUBLISH, owed(customer)[0].id)
    [debt] = owed(customer)
    with transaction(company_id=customer.company_id) as session:
        copy = enqueue(session, debt.task, **debt.arguments)
    ring(debt.task, debt.id)
    ring(copy.task, copy.id)
    work_off(customer)
    assert only(endpoint_id).status is DeliveryStatus.DELIVERED
    assert len(receiver.heard) == 1


def test_what_fails_is_sent_again_by_steps_under_the_same_id(customer, receiver, later):
    receiver.status = 500
    endpoint_id = add_endpoint(customer, receiver.url)
    announce(customer.company_id)
    work_off(customer)
    for step_s in STEPS_S:
        delivery = only(endpoint_id)
        assert delivery.status is DeliveryStatus.OWED
        wait = delivery.next_attempt_at - attempts_of(delivery)[-1].ended_at
        assert step_s <= wait.total_seconds() <= step_s * 1.1
        heard = len(receiver.heard)
        sweep(customer)
        assert len(receiver.heard) == heard, "not before its time"
        later(timedelta(seconds=step_s * 1.1 + 2))
        sweep(customer)
        assert len(receiver.heard) == heard + 1
    delivery = only(endpoint_id)
    assert (delivery.status, delivery.next_attempt_at) == (DeliveryStatus.FAILED, None)
    attempts = attempts_of(delivery)
    assert [attempt.number for attempt in attempts] == list(range(1, ATTEMPTS + 1))
    assert {attempt.error for attempt in attempts} == {"answered 500"}
    assert len({each.headers["webhook-id"] for each in receiver.heard}) == 1
    assert len({each.body for each in receiver.heard}) == 1


def test_an_endpoint_may_ask_for_more_time(customer, receiver):
    receiver.status, receiver.headers = 503, {"Retry-After": "1200"}
    endpoint_id = add_endpoint(customer, receiver.url)
    announce(customer.company_id)
    work_off(customer)
    delivery = only(endpoint_id)
    [attempt] = attempts_of(delivery)
    assert delivery.next_attempt_at - attempt.ended_at == timedelta(seconds=1200)


def test_a_redirect_is_a_failure(customer, receiver):
    receiver.status, receiver.headers = 302, {"Location": receiver.url}
    endpoint_id = add_endpoint(customer, receiver.url)
    announce(customer.company_id)
    work_off(customer)
    assert len(receiver.heard) == 1
    assert only(endpoint_id).error == "answered 302: redirects are not followed"


def test_one_that_is_gone_is_disabled_and_its_people_are_told(customer, receiver):
    receiver.status = 410
    endpoint_id = add_endpoint(customer, receiver.url)
    announce(customer.company_id)
    work_off(customer)
    endpoint = endpoint_of(endpoint_id)
    assert endpoint.status is EndpointStatus.DISABLED
    assert endpoint.disabled_reason is DisabledReason.GONE
    [alert] = alerts_of(customer)
    assert alert.kind == "endpoint_disabled"
    assert "key=1" not in alert.message, "an address may hold a secret"
    assert notices_of(customer) == [("endpoint_disabled", endpoint_id, 1)]
    # The alert's own event came while it was disabled.
    assert [each.status for each in deliveries_of(endpoint_id)] == [DeliveryStatus.CANCELED] * 2
    assert len(receiver.heard) == 1


def test_days_of_nothing_but_failures_disable_it(customer, receiver, later):
    receiver.status = 500
    endpoint_id = add_endpoint(customer, receiver.url)
    announce(customer.company_id)
    work_off(customer)
    for _ in range(FEWEST_FAILURES - 2):
        announce(customer.company_id)
    work_off(customer)
    later(GIVEN_UP_AFTER - timedelta(hours=1))
    assert endpoint_of(endpoint_id).is_enabled, "many failures are not yet days of them"
    announce(customer.company_id)
    work_off(customer)
    assert endpoint_of(endpoint_id).is_enabled
    later(timedelta(hours=2))
    sweep(customer)
    endpoint = endpoint_of(endpoint_id)
    assert endpoint.disabled_reason is DisabledReason.FAILING
    assert {each.status for each in deliveries_of(endpoint_id)} == {DeliveryStatus.CANCELED}


def test_one_success_makes_up_for_days_of_failures(customer, receiver, later):
    receiver.status = 500
    endpoint_id = add_endpoint(customer, receiver.url)
    for _ in range(FEWEST_FAILURES):
        announce(customer.company_id)
    work_off(customer)
    later(GIVEN_UP_AFTER + timedelta(hours=1))
    receiver.status = 200
    sweep(customer)
    endpoint = endpoint_of(endpoint_id)
    assert (endpoint.is_enabled, endpoint.failing_since, endpoint.failures) == (True, None, 0)
    assert {each.status for each in deliveries_of(endpoint_id)} == {DeliveryStatus.DELIVERED}


def test_a_tenants_operators_hear_that_its_endpoint_was_disabled(customer, receiver):
    receiver.status = 410
    with receiving() as other:
        add_endpoint(customer, other.url, "system.*", company_id=None)
        add_endpoint(customer, receiver.url, "payment.*", company_id=None)
        announce(customer.company_id)
        work_off(customer)
        [heard] = other.heard
    assert heard.told["type"] == "system.alert"
    assert heard.told["data"]["kind"] == "endpoint_disabled"
    assert heard.told["company_id"] == str(customer.tenant_id)


def test_a_secret_that_was_replaced_signs_for_a_day(customer, receiver, later):
    endpoint_id = add_endpoint(customer, receiver.url)
    old = endpoint_of(endpoint_id).secret
    new = new_secret()
    with transaction() as session:
        session.get_one(Endpoint, endpoint_id).rotate(new, moment=clock.now())
    announce(customer.company_id)
    work_off(customer)
    later(timedelta(hours=25))
    announce(customer.company_id)
    work_off(customer)
    first, second = receiver.heard
    for secret in (old, new):
        Webhook(secret).verify(first.body, first.headers)
    Webhook(new).verify(second.body, second.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(second.body, second.headers)


def claimed(customer: Customer) -> tuple[Owed, work.Shipment]:
    """Claim the one delivery that is owed, as a worker does that then dies."""
    announce(customer.company_id)
    while (debt := owed(customer)[0]).task != "endpoints.deliver":
        ring(debt.task, debt.id)
    with transaction() as session:
        shipment = work._next(session, UUID(debt.arguments["endpoint_id"]))
    assert shipment is not None
    return debt, shipment


def test_a_worker_that_died_leaves_an_attempt_without_outcome_and_another_sends(
    customer, receiver, later
):
    endpoint_id = add_endpoint(customer, receiver.url)
    claimed(customer)
    work_off(customer)
    assert receiver.heard == [], "the lease of whoever claimed it still runs"
    later(timedelta(seconds=work.lease_s() + 1))
    sweep(customer)
    assert len(receiver.heard) == 1
    lost, made = attempts_of(only(endpoint_id))
    assert (lost.status_code, lost.error) == (None, work.NO_OUTCOME)
    assert (made.number, made.status_code) == (2, 200)


def test_a_success_counts_though_its_worker_was_given_up(customer, receiver, later):
    endpoint_id = add_endpoint(customer, receiver.url)
    debt, shipment = claimed(customer)
    held = Debt(debt.id, debt.company_id, None, debt.arguments)
    later(timedelta(seconds=work.lease_s() + 1))
    receiver.status = 500
    sweep(customer)
    assert only(endpoint_id).status is DeliveryStatus.OWED
    good = Reply(200, None, "", 5)
    in_transaction(work._record, None, held, shipment, good, stays=False)
    delivery = only(endpoint_id)
    assert (delivery.status, delivery.next_attempt_at) == (DeliveryStatus.DELIVERED, None)
    bad = Reply(500, "answered 500", "", 5)
    in_transaction(work._record, None, held, shipment, bad, stays=False)
    assert only(endpoint_id).status is DeliveryStatus.DELIVERED


def test_one_that_hangs_holds_its_own_slots_and_the_quick_one_hears_all(customer, receiver):
    with receiving() as hanging, ThreadPoolExecutor(SLOTS + 2) as pool:
        hanging.hold = threading.Event()
        try:
            add_endpoint(customer, hanging.url, is_proven=True)
            add_endpoint(customer, receiver.url)
            for number in range(SLOTS * 2):
                announce(customer.company_id, number=number)
                while bells := [each for each in owed(customer) if each.queue == "events"]:
                    ring(PUBLISH, bells[0].id)
                for debt in owed(customer):
                    if debt.task == "endpoints.fan_out":
                        ring(debt.task, debt.id)
            bells = [each for each in owed(customer) if each.task == "endpoints.deliver"]
            assert len(bells) == SLOTS * 4
            rung = [pool.submit(ring, each.task, each.id) for each in bells]
            wait_for(lambda: len(receiver.heard) == SLOTS * 2)
            wait_for(lambda: len(hanging.heard) == SLOTS)
        finally:
            hanging.hold.set()
        for each in rung:
            each.result(PATIENCE_S)
        work_off(customer)
        heard = {each.told["data"]["number"] for each in hanging.heard}
        assert heard == set(range(SLOTS * 2))


def test_those_that_only_fail_leave_threads_for_the_others(customer, receiver, monkeypatch):
    receiver.status = 500
    endpoint_id = add_endpoint(customer, receiver.url, failing_since=clock.now(), failures=1)
    monkeypatch.setattr(work, "_failing", threading.BoundedSemaphore(1))
    with work._failing:
        announce(customer.company_id)
        work_off(customer)
        delivery = only(endpoint_id)
        assert (delivery.status, delivery.attempts) == (DeliveryStatus.OWED, 0)
        assert attempts_of(delivery) == receiver.heard == []
    sweep(customer)
    assert len(receiver.heard) == 1


def test_what_is_a_month_old_is_forgotten(customer, receiver, later):
    endpoint_id = add_endpoint(customer, receiver.url)
    announce(customer.company_id)
    work_off(customer)
    delivery = only(endpoint_id)
    later(KEPT - timedelta(hours=1))
    announce(customer.company_id)
    work_off(customer)
    work.forget()
    assert len(deliveries_of(endpoint_id)) == 2
    later(timedelta(hours=2))
    work.forget()
    assert only(endpoint_id).id != delivery.id
    assert attempts_of(delivery) == []
