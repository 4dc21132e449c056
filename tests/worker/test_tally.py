"""What is counted is what was committed: no try that was given up, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm.exc import StaleDataError

from worker.database import in_transaction, transaction
from worker.tally import tally
from worker.telemetry import metrics
from worker.telemetry.metrics import use_sinks
from worker.together import Together


class Sink:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, str]] = []

    def add(self, metric, number, tags) -> None:
        self.told.append((metric.name, number, tags["outcome"]))


@pytest.fixture
def sink(database) -> Iterator[Sink]:
    before = list(metrics._sinks)
    made = Sink()
    use_sinks(made)
    yield made
    use_sinks(*before)


def count(session, outcome: str) -> None:
    tally(session, "payments.charged", provider="stripe", outcome=outcome)


def test_a_counter_is_raised_with_the_commit(sink):
    with transaction() as session:
        count(session, "kept")
        assert sink.told == []
    assert sink.told == [("payments.charged", 1, "kept")]


def test_what_is_rolled_back_counts_nothing(sink):
    def work(session) -> None:
        count(session, "undone")
        raise LookupError

    with pytest.raises(LookupError):
        in_transaction(work, None)
    assert sink.told == []


def test_a_transaction_that_is_run_again_counts_once(sink):
    tries: list[int] = []

    def work(session) -> None:
        tries.append(1)
        count(session, "once")
        if len(tries) < 3:
            raise StaleDataError

    in_transaction(work, None)
    assert (len(tries), len(sink.told)) == (3, 1)


def test_a_group_that_is_given_up_counts_each_act_once(sink):
    def act(session, outcome: str) -> None:
        count(session, outcome)
        if outcome == "bad":
            raise LookupError(outcome)

    together: Together[str, None] = Together(act, lambda *_: None)
    outcomes = ["bad", *(f"good-{number}" for number in range(7))]
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(together.run, outcome) for outcome in outcomes]
    assert [run.exception() is not None for run in runs] == [True] + [False] * 7
    assert sorted(outcome for _, _, outcome in sink.told) == outcomes[1:]


def test_a_counter_that_the_table_lacks_is_told_before_the_commit(database):
    with transaction() as session:
        with pytest.raises(KeyError):
            tally(session, "payments.guessed")
        with pytest.raises(ValueError, match="outcome"):
            tally(session, "payments.charged", provider="stripe")
