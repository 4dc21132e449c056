"""Exchange rates in tests: rows made directly, and tasks run here at the stand-in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import delete, select

from models import clock
from models.alerts import Alert
from models.clock import now
from models.fx import BASE, OPEN_EXCHANGE_RATES, FxFetch, FxRate
from models.fx_fetches import Sheet, store
from models.outbox import Owed
from tasks import fx as fx_tasks
from tests.bell import ring
from tests.sandbox_fixture import FxProcess
from worker.database import transaction
from worker.fx.client import source
from worker.settings import settings

SOME = {"EUR": "0.9", "INR": "84", "JPY": "150", "GBP": "0.8"}


def forget_rates() -> None:
    """Rates are everybody's: a test that says which there are begins with none."""
    with transaction() as session:
        session.execute(delete(FxRate))
        session.execute(delete(FxFetch))
        session.execute(delete(Owed).where(Owed.queue == "fx"))
        session.execute(delete(Alert).where(Alert.kind.startswith("fx_")))


def keep_rates(rates: Mapping[str, str] = SOME, *, as_of: datetime | None = None) -> datetime:
    """Keep what one dollar is in each; return of when."""
    as_of = (as_of or now()).replace(microsecond=0)
    numbers = {currency: Decimal(rate) for currency, rate in rates.items()}
    with transaction() as session:
        store(session, Sheet(OPEN_EXCHANGE_RATES, BASE, as_of, numbers), moment=now())
    return as_of


class Exchange:
    """The source as our tasks meet it."""

    def __init__(self, fx: FxProcess) -> None:
        self.control = fx.control

    def watch(self) -> None:
        fx_tasks.watch()

    def owed(self) -> list[Owed]:
        with transaction() as session:
            return list(session.scalars(select(Owed).where(Owed.queue == "fx").order_by(Owed.id)))

    def work(self) -> None:
        """Run what is owed now, once."""
        for owed in self.owed():
            ring(owed.task, owed.id)

    def fetches(self) -> list[FxFetch]:
        with transaction() as session:
            return list(session.scalars(select(FxFetch).order_by(FxFetch.id)))

    def rates(self) -> list[FxRate]:
        with transaction() as session:
            return list(session.scalars(select(FxRate).order_by(FxRate.id)))

    def alerts(self) -> list[str]:
        """The kinds of our alerts that are open."""
        with transaction() as session:
            ours = select(Alert).where(Alert.kind.startswith("fx_"), Alert.open_key.is_not(None))
            return [alert.kind for alert in session.scalars(ours.order_by(Alert.id))]

    def advance(self, **by: float) -> None:
        """Set both clocks forward; the fixture sets ours back, and its reset the source's."""
        ahead = clock._offset() + timedelta(**by)
        clock.advance_by(lambda: ahead)
        self.control.advance(round(timedelta(**by).total_seconds()))


@contextmanager
def opened(fx: FxProcess, monkeypatch: Any) -> Iterator[Exchange]:
    """The source is set up in this process, and no rate is known."""
    monkeypatch.setenv("OPENEXCHANGERATES_BASE", fx.url)
    monkeypatch.setenv("OPENEXCHANGERATES_APP_ID", fx.app_id)
    made = (settings, source)
    for each in made:
        each.cache_clear()
    forget_rates()
    yield Exchange(fx)
    clock.advance_by(timedelta)
    forget_rates()
    monkeypatch.undo()
    for each in made:
        each.cache_clear()
