"""The two kinds of task against real rows: what is owed ends with its effect, or comes back."""

from datetime import timedelta
from uuid import UUID

import pymysql
import pytest
import redis
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError

from models import outbox
from models.clock import now
from models.ids import new_id
from models.invoices import Invoice
from models.outbox import RETRIES, STARTS, Owed, OwedStatus, enqueue
from tests.bell import ring
from tests.factories import make_invoice
from worker import dispatch
from worker.app import Later, calling_task, task, told
from worker.database import in_transaction, transaction
from worker.settings import settings

RAISES: dict[str, Exception] = {}
FAILURES: list[OwedStatus] = []


def remember_failure(session, owed, error):
    FAILURES.append(owed.status)


@task("outbox.test_memo", on_failure=remember_failure)
def memo(session, cause, *, invoice_id, text):
    """Write a memo; safe twice."""
    session.get_one(Invoice, UUID(invoice_id)).memo = text
    session.flush()
    if invoice_id in RAISES:
        raise RAISES[invoice_id]


@calling_task("outbox.test_call", claim=lambda session, debt, **ids: UUID(ids["invoice_id"]))
def call(debt, invoice_id):
    """Leave a mark, end."""

    def record(session):
        invoice = session.get_one(Invoice, invoice_id)
        invoice.memo = (invoice.memo or "") + "called;"
        debt.end(session)

    in_transaction(record, debt.company_id)


@pytest.fixture
def invoice_id(customer):
    return make_invoice(customer.company_id)


def owe(customer, name, **arguments) -> UUID:
    with transaction(company_id=customer.company_id) as session:
        return enqueue(session, name, **arguments).id


def row(owed_id) -> Owed | None:
    with transaction() as session:
        return session.get(Owed, owed_id)


def memo_of(customer, invoice_id):
    with transaction(company_id=customer.company_id) as session:
        return session.get_one(Invoice, invoice_id).memo


def test_an_effect_and_the_end_of_its_debt_are_one_commit(customer, invoice_id):
    owed_id = owe(customer, "outbox.test_memo", invoice_id=invoice_id, text="done")
    ring("outbox.test_memo", owed_id)
    assert memo_of(customer, invoice_id) == "done"
    assert row(owed_id) is None


def test_a_message_that_comes_twice_finds_nothing_owed(customer, invoice_id):
    owed_id = owe(customer, "outbox.test_call", invoice_id=invoice_id)
    ring("outbox.test_call", owed_id)
    ring("outbox.test_call", owed_id)
    assert memo_of(customer, invoice_id) == "called;"


def test_a_message_for_nothing_that_is_owed_does_nothing(customer):
    ring("outbox.test_memo", new_id())
    ring("outbox.test_call", new_id())
    assert row(new_id()) is None


def test_a_debt_in_other_hands_is_left_alone(customer, invoice_id):
    owed_id = owe(customer, "outbox.test_call", invoice_id=invoice_id)
    with transaction() as session:
        assert outbox.claim(session, owed_id, moment=now(), for_s=60)
    ring("outbox.test_call", owed_id)
    assert memo_of(customer, invoice_id) is None
    with transaction() as session:
        session.get_one(Owed, owed_id).claimed_until = now() - timedelta(seconds=1)
    ring("outbox.test_call", owed_id)
    assert memo_of(customer, invoice_id) == "called;"


def test_a_failure_rolls_back_and_comes_again_after_1_2_4_8_minutes_then_is_dead(
    customer, invoice_id
):
    RAISES[str(invoice_id)] = RuntimeError("sk_test_4eC39HqLyjWDarjtT1zdp7dc is wrong")
    FAILURES.clear()
    owed_id = owe(customer, "outbox.test_memo", invoice_id=invoice_id, text="lost")
    waits = []
    for failures in range(1, RETRIES + 1):
        ring("outbox.test_memo", owed_id)
        owed = row(owed_id)
        assert (owed.failures, owed.status, owed.sent_at) == (failures, OwedStatus.OWED, None)
        waits.append(round((owed.due_at - now()).total_seconds() / settings().outbox_backoff_s))
    assert waits == [1, 2, 4, 8]
    ring("outbox.test_memo", owed_id)
    owed = row(owed_id)
    assert owed.status == OwedStatus.DEAD
    assert "RuntimeError" in owed.error
    assert "sk_test_4eC39HqLyjWDarjtT1zdp7dc" not in owed.error
    assert memo_of(customer, invoice_id) is None
    assert FAILURES == [OwedStatus.OWED] * RETRIES + [OwedStatus.DEAD]


def test_later_is_no_failure(customer, invoice_id):
    RAISES[str(invoice_id)] = Later("not now", after_s=30)
    owed_id = owe(customer, "outbox.test_memo", invoice_id=invoice_id, text="later")
    ring("outbox.test_memo", owed_id)
    owed = row(owed_id)
    assert (owed.failures, owed.error) == (0, "not now")
    assert owed.due_at > now() + timedelta(seconds=25)
    del RAISES[str(invoice_id)]
    ring("outbox.test_memo", owed_id)
    assert memo_of(customer, invoice_id) == "later"


def test_a_message_that_keeps_coming_back_is_dead_in_the_end(customer, invoice_id):
    """What is redelivered may have killed its worker: the starts are counted, not the ends."""
    owed_id = owe(customer, "outbox.test_call", invoice_id=invoice_id)
    for _ in range(STARTS - 1):
        with transaction() as session:
            assert outbox.count_start(session, owed_id, moment=now())
    ring("outbox.test_call", owed_id, redelivered=True)
    owed = row(owed_id)
    assert owed.status == OwedStatus.DEAD
    assert "worker died" in owed.error
    assert memo_of(customer, invoice_id) is None


def test_what_is_enqueued_in_a_rolled_back_transaction_is_not_owed(customer):
    def enqueue_and_fail(session):
        enqueue(session, "outbox.test_call", invoice_id=new_id())
        session.flush()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_transaction(enqueue_and_fail, customer.company_id)
    with transaction() as session:
        query = select(Owed).where(Owed.company_id == customer.company_id)
        assert session.scalars(query).all() == []


def test_a_task_that_is_owed_for_later_is_not_sent_now(customer, invoice_id):
    due_at = now() + timedelta(hours=1)
    owed_id = owe(customer, "outbox.test_call", invoice_id=invoice_id, due_at=due_at)
    owed = row(owed_id)
    assert (owed.sends, owed.sent_at) == (0, None)
    with transaction() as session:
        assert outbox.overdue(session, "outbox", moment=now(), sent_before=None) == []
        later = outbox.overdue(
            session, "outbox", moment=now() + timedelta(hours=2), sent_before=now()
        )
        assert owed_id in [row.id for row in later]


def test_what_rows_keep_of_an_error_has_no_statement_and_none_of_its_values():
    refused = pymysql.err.IntegrityError(1062, "Duplicate entry")
    error = IntegrityError("UPDATE payment_methods SET token = %s", ("tok_1",), refused)
    assert told(error) == "IntegrityError: (1062, 'Duplicate entry')"


def test_a_message_that_comes_while_its_task_runs_does_nothing(customer, invoice_id, monkeypatch):
    owed_id = owe(customer, "outbox.test_memo", invoice_id=invoice_id, text="once")
    again: list[int] = []
    act = outbox.take

    def take(session, identity):
        if not again:
            again.append(1)
            # Redelivered, it would count as a start that never ended.
            ring("outbox.test_memo", owed_id, redelivered=True)
        return act(session, identity)

    monkeypatch.setattr(outbox, "take", take)
    ring("outbox.test_memo", owed_id)
    assert memo_of(customer, invoice_id) == "once"
    assert row(owed_id) is None
    assert again == [1]


def test_a_start_that_found_the_row_in_other_hands_is_taken_back(customer, invoice_id):
    owed_id = owe(customer, "outbox.test_memo", invoice_id=invoice_id, text="later")
    with transaction() as session:
        assert outbox.claim(session, owed_id, moment=now(), for_s=60)
    take = outbox.take
    counted: list[int] = []

    def run_meanwhile(session, identity):
        owed = take(session, identity)
        if owed is not None:
            counted.append(owed.starts)
        return owed if len(counted) == 1 else None

    with transaction() as session:
        session.get_one(Owed, owed_id).claimed_until = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "take", run_meanwhile)
        ring("outbox.test_memo", owed_id, redelivered=True)
    left = row(owed_id)
    assert left is not None
    assert (left.starts, left.status) == (0, OwedStatus.OWED)
    assert counted == [0, 1]


@pytest.mark.parametrize("number", [1213, 2013])
def test_a_start_that_the_database_ended_is_taken_back(customer, invoice_id, number):
    """Whoever loses a lock or the connection has killed no worker."""
    owed_id = owe(customer, "outbox.test_memo", invoice_id=invoice_id, text="lost")
    error = OperationalError("UPDATE", {}, pymysql.err.OperationalError(number, "lost"))
    RAISES[str(invoice_id)] = error
    for _ in range(STARTS):
        ring("outbox.test_memo", owed_id, redelivered=True)
    left = row(owed_id)
    assert (left.starts, left.failures, left.status) == (0, 0, OwedStatus.OWED)


def test_what_is_committed_stays_so_whatever_the_broker_says(customer, invoice_id, monkeypatch):
    """Raised after the commit, it would have the work run again, or a caller believe in nothing."""

    class Busy:
        def ring(self, _messages):
            raise redis.ResponseError("BUSY Redis is busy running a script.")

    monkeypatch.setattr(dispatch, "doorbell", Busy)
    owed_id = owe(customer, "outbox.test_memo", invoice_id=invoice_id, text="kept")
    owed = row(owed_id)
    assert owed.sent_at is None
    assert owed.due_at <= now()
