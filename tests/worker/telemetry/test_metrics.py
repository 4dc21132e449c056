from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from worker import dry_run
from worker.telemetry import count, gauge, timed, timing
from worker.telemetry import metrics as door
from worker.telemetry.metrics import METRICS, Kind, Metric, use_sinks
from worker.telemetry.prometheus import exposed_name

ROOT = Path(__file__).parents[3]
ROOMS = ("web", "tasks", "worker")


class Kept:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, dict[str, str]]] = []

    def add(self, metric: Metric, number: int, tags: Mapping[str, str]) -> None:
        self.told.append((metric.name, number, dict(tags)))

    def time(self, metric: Metric, seconds: float, tags: Mapping[str, str]) -> None:
        self.told.append((metric.name, seconds, dict(tags)))

    def put(self, metric: Metric, number: float, tags: Mapping[str, str]) -> None:
        self.told.append((metric.name, number, dict(tags)))


class Broken(Kept):
    """A sink whose network is away."""

    def add(self, metric: Metric, number: int, tags: Mapping[str, str]) -> None:
        raise OSError("no route")


@pytest.fixture
def kept() -> Iterator[Kept]:
    before = list(door._sinks)
    sink = Kept()
    use_sinks(Broken(), sink)
    yield sink
    use_sinks(*before)


def test_a_broken_sink_harms_neither_the_caller_nor_the_others(kept):
    count("login.attempts", outcome="succeeded")
    assert kept.told == [("login.attempts", 1, {"outcome": "succeeded"})]


def test_a_block_is_timed_even_when_it_fails(kept):
    def fail() -> None:
        with timed("provider.seconds", provider="stripe", call="charge") as tags:
            tags["outcome"] = "declined"
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    ((name, seconds, tags),) = kept.told
    assert name == "provider.seconds"
    assert 0 <= seconds < 5
    assert tags == {"provider": "stripe", "call": "charge", "outcome": "declined"}


def test_a_gauge_tells_how_much_there_is(kept):
    gauge("outbox.dead_letters", 3, queue="webhooks")
    assert kept.told == [("outbox.dead_letters", 3, {"queue": "webhooks"})]


def test_a_dry_run_is_neither_counted_nor_timed(kept):
    with dry_run.only_trying():
        count("login.attempts", outcome="succeeded")
        timing("http.seconds", 1.0, method="GET", status="200")
    assert kept.told == []


def test_a_tag_is_redacted(kept):
    count("login.attempts", outcome="sk_live_abcdefgh")
    assert kept.told[0][2] == {"outcome": "[redacted]"}


def test_a_name_that_the_table_lacks_is_refused():
    with pytest.raises(KeyError):
        count("payments.imagined")


def test_other_tags_than_the_tables_are_refused():
    with pytest.raises(ValueError, match=r"login\.attempts is a count with the tags outcome"):
        count("login.attempts", user="ada")


def test_a_timing_is_no_counter():
    with pytest.raises(ValueError, match="is a timing"):
        count("http.seconds", method="GET", status="200")
    with pytest.raises(ValueError, match="is a count"):
        timing("http.requests", 1.0, method="GET", status="200")


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_is_named_and_tagged_for_all_who_show_it(metric):
    assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", metric.name)
    assert metric.meaning.endswith(".")
    assert not [tag for tag in metric.tags if tag.endswith("id")], "an id makes endless series"


def test_no_two_metrics_show_alike():
    assert len({exposed_name(metric) for metric in METRICS.values()}) == len(METRICS)


OF_KIND = {
    "count": Kind.COUNT,
    "tally": Kind.COUNT,
    "timing": Kind.TIMING,
    "timed": Kind.TIMING,
    "gauge": Kind.GAUGE,
}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of ours to a metric, with where it stands."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            if "telemetry" in path.parts and path.name != "wsgi.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _name_of(node) in OF_KIND:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def _name_of(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.attr if function.value.id == "telemetry" else ""
    return function.id if isinstance(function, ast.Name) else ""


def test_every_metric_that_the_code_tells_stands_in_the_table():
    seen = 0
    for where, call in calls():
        # A session comes first where the metric is told with its commit.
        name = call.args[1] if _name_of(call) == "tally" else call.args[0]
        assert isinstance(name, ast.Constant), f"{where}: the name must be written out"
        assert name.value in METRICS, f"{where}: {name.value} is not in the table"
        metric = METRICS[name.value]
        assert metric.kind is OF_KIND[_name_of(call)], where
        tags = {keyword.arg for keyword in call.keywords}
        if None not in tags and _name_of(call) != "timed":  # a block may learn its tags
            assert tags == set(metric.tags), where
        seen += 1
    assert seen, "nothing was found to check"
