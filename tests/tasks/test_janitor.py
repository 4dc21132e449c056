"""What nobody has in hand is owed again; what was abandoned is closed and its invoice free."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import delete, select

from models import clock, loose_ends
from models.alerts import Alert
from models.invoices import Invoice, InvoiceStatus
from models.outbox import Owed, OwedStatus, enqueue
from models.refunds import Refund, RefundReason, RefundStatus
from models.timeline import history
from models.transactions import (
    AttemptStatus,
    Provider,
    Status,
    Transaction,
    open_of_invoice,
)
from tasks import janitor
from tests.bell import ring
from worker.database import PUBLISH, in_transaction, transaction
from worker.gateways import gateway_for

INTENTS = "/v1/payment_intents"
CANCEL = f"{INTENTS}/*/cancel"


def sweep() -> None:
    """Ring until nothing is loose: other tests leave rows that stand first in line."""
    for _ in range(20):
        janitor.sweep()
        ends = ((end, janitor._before(end, clock.now())) for end in loose_ends.LOOSE_ENDS)
        if not any(in_transaction(loose_ends.find, None, end, before=at) for end, at in ends):
            return
    pytest.fail("there is always something loose")


def tasks_of(shop) -> list[str]:
    return sorted(row.task for row in shop.owed() if row.task != PUBLISH)


def forget_debts(shop) -> None:
    """Lose what the company is owed, as only a fault of ours could."""
    with transaction() as session:
        session.execute(delete(Owed).where(Owed.company_id == shop.company_id))


def run(shop, *tasks: str) -> None:
    for row in shop.owed(*tasks):
        ring(row.task, row.id)


def told(shop, row_id) -> list[str]:
    with shop.session() as session:
        return [line.what for line in history(session, [row_id])]


def alerts_about(row_id) -> list[Alert]:
    with transaction() as session:
        found = session.scalars(select(Alert).where(Alert.subject_id == row_id).order_by(Alert.id))
        return list(found)


def events_of(shop) -> list[dict]:
    return [event for row in shop.owed(PUBLISH) for event in row.arguments["events"]]


def unanswered(shop, card) -> object:
    """A payment whose answer was lost."""
    shop.sandbox.control.fault("drop_after", path=INTENTS)
    payment_id = shop.owe(card)
    run(shop, "payments.charge")
    assert shop.attempts(payment_id)[0].status == AttemptStatus.UNKNOWN
    return payment_id


def test_an_attempt_that_nobody_looks_up_any_more_is_looked_up(shop):
    payment_id = unanswered(shop, shop.card())
    forget_debts(shop)
    sweep()
    assert tasks_of(shop) == ["lookups.resolve"]
    shop.work()
    assert shop.payment(payment_id).status == Status.SUCCEEDED
    assert shop.charges(payment_id) == 1
    assert "swept" in told(shop, payment_id)


def test_a_caller_that_left_no_debt_behind_is_looked_up_once_its_lease_has_ended(shop):
    payment_id = unanswered(shop, shop.card())
    with shop.session() as session:
        attempt = session.merge(shop.attempts(payment_id)[0])
        attempt.lease(clock.now(), for_s=60)
    forget_debts(shop)
    sweep()
    assert tasks_of(shop) == []
    shop.advance(seconds=61)
    sweep()
    shop.work()
    assert shop.payment(payment_id).status == Status.SUCCEEDED
    assert shop.charges(payment_id) == 1


def test_an_attempt_that_waits_to_be_sent_again_is_sent(shop):
    card = shop.card()
    shop.sandbox.control.fault("rate_limit", path=INTENTS, count=3)
    payment_id = shop.owe(card)
    run(shop, "payments.charge")
    assert shop.attempts(payment_id)[0].status == AttemptStatus.WAITING
    forget_debts(shop)
    sweep()
    shop.work()
    [attempt] = shop.attempts(payment_id)
    assert (attempt.status, attempt.waits) == (AttemptStatus.SUCCEEDED, 1)
    assert shop.charges(payment_id) == 1


def test_a_payment_that_was_never_sent_is_sent(shop):
    payment_id = shop.owe(shop.card())
    forget_debts(shop)
    sweep()
    assert tasks_of(shop) == ["payments.charge"]
    shop.work()
    assert shop.payment(payment_id).status == Status.SUCCEEDED


def test_what_is_owed_already_is_left_alone_and_many_janitors_owe_once(shop):
    card = shop.card()
    in_hand, lost = shop.owe(card), shop.owe(card)
    with transaction() as session:
        [row] = [row for row in shop.owed() if row.arguments["transaction_id"] == str(lost)]
        session.delete(session.get_one(Owed, row.id))
    at = clock.now()
    found = in_transaction(loose_ends.find, None, loose_ends.UNSENT, before=at)
    [found] = [each for each in found if each.id in (in_hand, lost)]
    assert found.id == lost
    # Six janitors have all found it before the first of them owes it.
    with ThreadPoolExecutor(6) as pool:
        tied = [
            pool.submit(
                in_transaction, janitor._tie_up, shop.company_id, loose_ends.UNSENT, found, at
            )
            for _ in range(6)
        ]
        assert [each.result() for each in tied] == [None] * 6
    sweep()
    owed = [row.arguments["transaction_id"] for row in shop.owed("payments.charge")]
    assert sorted(owed) == sorted([str(in_hand), str(lost)])


@pytest.fixture
def left(shop):
    """A payment that its customer began in a browser and never confirmed."""
    payment_id = shop.pay(None)
    assert shop.payment(payment_id).status == Status.REQUIRES_ACTION
    return payment_id


def intent_of(shop, payment_id) -> dict:
    intent_id = shop.payment(payment_id).provider_transaction_id
    [found] = [i for i in shop.sandbox.control.book()["payment_intents"] if i["id"] == intent_id]
    return found


def test_a_payment_that_its_customer_left_is_canceled_and_its_invoice_is_free(shop, left):
    shop.advance(hours=23)
    sweep()
    assert tasks_of(shop) == []
    shop.advance(hours=2)
    sweep()
    shop.work()
    payment = shop.payment(left)
    assert payment.status == Status.CANCELED
    assert intent_of(shop, left)["status"] == "canceled"
    assert [e["data"]["code"] for e in events_of(shop) if e["type"] == "payment.failed"] == [
        "abandoned"
    ]
    again = shop.pay(shop.card(), payment.invoice_id)
    assert shop.payment(again).status == Status.SUCCEEDED
    assert (shop.charges(left), shop.charges(again)) == (0, 1)


def test_one_that_wants_3d_secure_is_canceled_too(shop):
    payment_id = shop.pay(shop.card("pm_card_authenticationRequired"))
    assert shop.payment(payment_id).status == Status.REQUIRES_ACTION
    shop.advance(hours=25)
    sweep()
    shop.work()
    assert shop.payment(payment_id).status == Status.CANCELED
    assert [a.status for a in shop.attempts(payment_id)] == [AttemptStatus.CANCELED]


def confirm(shop, payment_id, card: str) -> None:
    secret = intent_of(shop, payment_id)["client_secret"]
    shop.sandbox.control.confirm_in_browser(secret, payment_method=card)


@pytest.mark.parametrize(
    ("card", "status"),
    [("pm_card_visa", Status.SUCCEEDED), ("pm_sandbox_processing", Status.PROCESSING)],
)
def test_what_the_customer_has_paid_unheard_is_believed_and_not_canceled(shop, left, card, status):
    confirm(shop, left, card)
    shop.advance(hours=25)
    sweep()
    shop.work()
    assert shop.payment(left).status == status
    assert shop.charges(left) == (status is Status.SUCCEEDED)


def test_a_customer_who_comes_back_during_the_cancellation_is_looked_up(shop, left, monkeypatch):
    gateway = gateway_for(Provider.STRIPE)
    cancel = gateway.cancel

    def meanwhile(**asked):
        """The provider says that it is canceled; our row has moved on before that is recorded."""
        with shop.session() as session:
            session.get_one(Transaction, left).status = Status.PROCESSING
        return cancel(**asked)

    monkeypatch.setattr(gateway, "cancel", meanwhile)
    shop.advance(hours=25)
    sweep()
    run(shop, "payments.cancel")
    assert shop.payment(left).status == Status.PROCESSING
    assert tasks_of(shop) == ["lookups.refresh"]
    shop.work()
    assert shop.payment(left).status == Status.CANCELED


@pytest.mark.parametrize("kind", ["server_error", "drop_before", "rate_limit"])
def test_a_cancellation_that_is_not_answered_is_tried_again_under_its_own_key(shop, left, kind):
    shop.sandbox.control.fault(kind, path=CANCEL, count=3, **_not_executed(kind))
    shop.advance(hours=25)
    sweep()
    run(shop, "payments.cancel")
    [owed] = shop.owed("payments.cancel")
    assert shop.payment(left).status == Status.REQUIRES_ACTION
    assert owed.due_at - clock.now() > timedelta(seconds=30)
    sweep()
    assert tasks_of(shop) == ["payments.cancel"]
    shop.sandbox.control.clear_faults()
    shop.work()
    assert shop.payment(left).status == Status.CANCELED


def _not_executed(kind: str) -> dict[str, bool]:
    return {"executed": False} if kind == "server_error" else {}


def test_what_cannot_be_canceled_is_left_to_a_person(shop, left):
    with shop.session() as session:
        payment = session.merge(shop.payment(left))
        payment.provider_transaction_id = "pi_that_is_gone"
    shop.advance(hours=25)
    sweep()
    shop.work()
    assert shop.payment(left).status == Status.NEEDS_REVIEW
    [raised] = alerts_about(left)
    assert "cannot be canceled" in raised.message


def test_a_payment_at_work_is_asked_of_each_hour_and_left_alone(shop):
    payment_id = shop.pay(shop.card("pm_sandbox_processing"))
    for _ in range(2):
        shop.advance(minutes=61)
        sweep()
        assert tasks_of(shop) == ["lookups.refresh"]
        shop.work()
        assert shop.payment(payment_id).status == Status.PROCESSING
        sweep()
        assert tasks_of(shop) == []
    shop.sandbox.control.settle(intent_of(shop, payment_id)["id"])
    shop.advance(minutes=61)
    sweep()
    shop.work()
    assert shop.payment(payment_id).status == Status.SUCCEEDED


@pytest.fixture
def refunded(shop) -> Callable[[], object]:
    """Make a refund of 40 of a paid payment; what is owed for it is still to be rung."""
    payment_id = shop.pay(shop.card())

    def make():
        with shop.session() as session:
            refund = Refund(
                company_id=shop.company_id,
                transaction_id=payment_id,
                amount=Decimal(40),
                reason=RefundReason.REQUESTED,
            )
            session.add(refund)
            session.flush()
            enqueue(session, "refunds.send", refund_id=refund.id)
        return refund.id

    return make


def refund_at(shop, refund_id) -> Refund:
    with shop.session() as session:
        return session.get_one(Refund, refund_id)


@pytest.mark.parametrize("has_been_called", [False, True])
def test_a_refund_that_nobody_sends_is_sent_or_found(shop, refunded, has_been_called):
    refund_id = refunded()
    if has_been_called:
        shop.sandbox.control.fault("drop_after", path="/v1/refunds")
        run(shop, "refunds.send")
    forget_debts(shop)
    sweep()
    assert tasks_of(shop) == ["refunds.send"]
    shop.work()
    assert refund_at(shop, refund_id).status == RefundStatus.SUCCEEDED
    assert len(shop.sandbox.control.book()["refunds"]) == 1


def test_a_refund_that_takes_for_ever_is_asked_of_and_told_to_a_person(shop, refunded):
    shop.sandbox.control.fault("refund_pending")
    refund_id = refunded()
    shop.work()
    assert refund_at(shop, refund_id).status == RefundStatus.PROCESSING
    shop.advance(hours=2)
    sweep()
    assert tasks_of(shop) == ["refunds.collect"]
    shop.work()
    assert refund_at(shop, refund_id).review_since is None
    shop.advance(days=14)
    sweep()
    shop.work()
    assert refund_at(shop, refund_id).review_since is not None
    [raised] = alerts_about(refund_id)
    assert "14 days" in raised.message
    shop.sandbox.control.move_refund(refund_at(shop, refund_id).provider_refund_id, "succeeded")
    shop.advance(hours=2)
    sweep()
    shop.work()
    refund = refund_at(shop, refund_id)
    assert (refund.status, refund.review_since) == (RefundStatus.SUCCEEDED, None)
    sweep()
    [raised] = alerts_about(refund_id)
    assert raised.resolved_at is not None


def test_what_came_to_need_a_review_is_told_once_and_over_when_it_is_settled(shop, left):
    with shop.session() as session:
        payment = session.merge(shop.payment(left))
        payment.status = Status.NEEDS_REVIEW
    sweep()
    sweep()
    [raised] = alerts_about(left)
    assert raised.resolved_at is None
    told_of = [e["data"] for e in events_of(shop) if e["type"] == "system.alert"]
    assert [(each["kind"], each["subject_id"]) for each in told_of] == [("needs_review", str(left))]
    confirm(shop, left, "pm_card_visa")
    with shop.session() as session:
        intent_id = shop.payment(left).provider_transaction_id
        enqueue(session, "lookups.refresh", transaction_id=left, intent_id=intent_id, why="a test")
    shop.work()
    assert shop.payment(left).status == Status.SUCCEEDED
    sweep()
    [raised] = alerts_about(left)
    assert raised.resolved_at is not None
    with shop.session() as session:
        invoice = session.get_one(Invoice, shop.payment(left).invoice_id)
        assert invoice.status == InvoiceStatus.PAID
        assert open_of_invoice(session, invoice.id) is None


def test_a_decline_in_review_is_over_when_another_payment_has_paid_the_invoice(shop):
    refused = shop.pay(shop.card("pm_sandbox_decline_code_nobody_knows"))
    sweep()
    [raised] = alerts_about(refused)
    assert (raised.kind, raised.resolved_at) == ("decline_in_review", None)
    shop.pay(shop.card(), invoice_id=shop.payment(refused).invoice_id)
    sweep()
    [raised] = alerts_about(refused)
    assert raised.resolved_at is not None


def test_a_dead_debt_holds_what_it_is_about_until_it_is_dismissed(shop):
    payment_id = shop.owe(shop.card())
    with transaction() as session:
        [row] = shop.owed("payments.charge")
        session.get_one(Owed, row.id).status = OwedStatus.DEAD
    sweep()
    assert tasks_of(shop) == []
    with transaction() as session:
        session.get_one(Owed, row.id).status = OwedStatus.DISMISSED
    sweep()
    shop.work()
    assert shop.payment(payment_id).status == Status.SUCCEEDED


def test_a_process_has_one_gateway_to_a_provider():
    assert gateway_for(Provider.STRIPE) is gateway_for("stripe")
