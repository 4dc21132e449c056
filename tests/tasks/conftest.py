from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import update

from models import clock
from models.base import across_companies
from models.transactions import Dunning, Transaction
from tests.tasks.dunning_shop import Shop, use_sandbox
from worker.database import transaction
from worker.gateways import gateway_for
from worker.settings import settings


@pytest.fixture
def shop(database, sandbox, monkeypatch) -> Iterator[Shop]:
    """A company at the stand-in; nothing of other tests is scheduled, and time is set back."""
    forget_schedules()
    use_sandbox(sandbox, monkeypatch)
    yield Shop(sandbox)
    clock.advance_by(timedelta)
    monkeypatch.undo()
    for made in (settings, gateway_for):
        made.cache_clear()


def forget_schedules() -> None:
    with transaction() as session:
        session.execute(
            across_companies(
                update(Transaction)
                .where(Transaction.next_retry_at.is_not(None))
                .values(next_retry_at=None, dunning=Dunning.NONE),
                because="what other tests have left is swept by none of these",
            )
        )
