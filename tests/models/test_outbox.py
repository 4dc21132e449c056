"""The outbox: whoever ends debts waits for nobody else's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from models import outbox
from models.clock import now
from models.outbox import Owed, enqueue
from worker.database import engine, transaction

IN_AN_HOUR = timedelta(hours=1)


@pytest.mark.parametrize(("number", "ended"), [(9, 8), (34, 32), (200, 199)])
def test_debts_end_while_others_of_a_small_table_are_in_hand(customer, number, ended):
    with transaction(company_id=customer.company_id) as session:
        ids = [
            enqueue(session, "outbox.test", number=each, due_at=now() + IN_AN_HOUR).id
            for each in range(number)
        ]
    in_hand = ids.pop(number // 2)
    with engine().connect() as other:
        other.execute(
            text("SELECT id FROM outbox WHERE id = :id FOR UPDATE"), {"id": in_hand.bytes}
        )
        # A wait would end with 1205.
        with transaction() as session:
            session.connection().execute(text("SET innodb_lock_wait_timeout = 1"))
            try:
                outbox.delete_all(session, ids[:ended])
            finally:
                session.connection().execute(text("SET innodb_lock_wait_timeout = DEFAULT"))
        other.rollback()
    with transaction() as session:
        left = session.scalars(select(Owed.id).where(Owed.company_id == customer.company_id)).all()
    assert set(left) == {in_hand, *ids[ended:]}
