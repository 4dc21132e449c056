from itertools import product

import pytest
from sqlalchemy.orm import Session

from models import locks
from models.clock import now
from models.disputes import Dispute, DisputeStatus
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.plans import Plan
from models.refunds import Refund, RefundReason, RefundStatus
from models.states import IllegalMove, NotLocked
from models.subscriptions import Subscription, SubscriptionStatus
from models.timeline import Cause, history
from models.transactions import OPEN, SETTLED, Status, Transaction, lock_existing
from schedules.periods import Interval
from tests.factories import make_invoice, make_payment
from worker.database import engine, transaction

MACHINES = [
    (Transaction, Status),
    (Invoice, InvoiceStatus),
    (Refund, RefundStatus),
    (Dispute, DisputeStatus),
    (Subscription, SubscriptionStatus),
]
PAIRS = [
    (machine, was, becomes)
    for machine, statuses in MACHINES
    for was, becomes in product(statuses, repeat=2)
]
CAUSE = Cause(why="a test", request_id="req-1")


def make_row(session, machine, customer, status):
    if machine is Invoice:
        invoice_id = make_invoice(customer.company_id)
        row = locks.lock_existing(session, Invoice, invoice_id)
    elif machine is Subscription:
        row = make_subscription(session, customer)
    else:
        payment_id = make_payment(customer, make_invoice(customer.company_id))
        row = lock_existing(session, payment_id)
        if machine is Refund:
            row = Refund(
                company_id=customer.company_id,
                transaction_id=payment_id,
                amount=1,
                reason=RefundReason.REFUND,
            )
            session.add(row)
        elif machine is Dispute:
            row = Dispute(
                company_id=customer.company_id,
                transaction_id=payment_id,
                provider="stripe",
                provider_dispute_id=str(new_id()),
                amount=1,
                currency="INR",
                reason="fraudulent",
            )
            session.add(row)
    row.status = status
    session.flush()
    return row


def make_subscription(session, customer):
    moment = now()
    plan = Plan(
        tenant_id=customer.tenant_id, code=str(new_id()), name="Plan", interval=Interval.MONTH
    )
    session.add(plan)
    session.flush()
    row = Subscription(
        company_id=customer.company_id,
        plan_id=plan.id,
        status=SubscriptionStatus.ACTIVE,
        currency="INR",
        interval=plan.interval,
        time_zone="UTC",
        anchor_at=moment,
        current_period_start=moment,
        current_period_end=moment,
        usage_from=moment,
        provider="stripe",
    )
    session.add(row)
    return row


@pytest.mark.parametrize(
    ("machine", "was", "becomes"), PAIRS, ids=lambda v: getattr(v, "__name__", str(v))
)
def test_a_move_goes_through_the_table_or_not_at_all(customer, machine, was, becomes):
    with transaction(company_id=customer.company_id) as session:
        row = make_row(session, machine, customer, was)
        if becomes in machine.MOVES[was]:
            row.move_to(becomes, because=CAUSE)
            session.flush()
            line = history(session, [row.id])[-1]
            assert (line.was, line.became, line.why) == (was, becomes, "a test")
            assert line.request_id == "req-1"
        else:
            with pytest.raises(IllegalMove):
                row.move_to(becomes, because=CAUSE)
            assert row.status == was
            assert history(session, [row.id]) == []


@pytest.mark.parametrize("machine", [machine for machine, _ in MACHINES])
def test_every_status_has_its_line_in_the_table(machine):
    statuses = dict(MACHINES)[machine]
    assert set(machine.MOVES) == set(statuses)


def test_a_settled_payment_never_becomes_unsettled():
    for status in SETTLED:
        assert Transaction.MOVES[status] <= SETTLED


def test_an_end_is_an_end():
    assert Transaction.MOVES[Status.CANCELED] == frozenset()
    assert not SETTLED & set(OPEN)


def test_a_move_that_nobody_could_write_down_is_not_made():
    payment = Transaction(status=Status.PENDING)
    with pytest.raises(RuntimeError, match="in no session"):
        payment.move_to(Status.FAILED, because=CAUSE)
    assert payment.status == Status.PENDING


def test_what_must_exist_and_does_not_is_not_passed_over(customer):
    with transaction(company_id=customer.company_id) as session, pytest.raises(LookupError):
        lock_existing(session, new_id())


def test_two_writers_that_read_the_same_row_cannot_both_win(customer):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    with transaction(company_id=customer.company_id) as late:
        read_first = late.get_one(Transaction, payment_id)
        with transaction(company_id=customer.company_id) as early:
            lock_existing(early, payment_id).move_to(Status.FAILED, because=CAUSE)
        with pytest.raises(NotLocked):
            read_first.move_to(Status.SUCCEEDED, because=CAUSE)
        locked = lock_existing(late, payment_id)
        assert locked is read_first
        assert (locked.status, locked.version) == (Status.FAILED, 2)


def test_a_lock_ends_with_its_transaction(customer):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    with Session(engine(), info={"company_id": customer.company_id}) as session:
        lock_existing(session, payment_id)
        session.rollback()
        with pytest.raises(NotLocked):
            session.get_one(Transaction, payment_id).move_to(Status.FAILED, because=CAUSE)
