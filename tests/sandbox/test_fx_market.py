"""The stand-in for Open Exchange Rates answers as its documentation says."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import requests

from sandbox.fx.control import Control
from sandbox.fx.market import MIDDLE, rates_at
from sandbox.standin.control import Refused
from tests.sandbox_fixture import FxProcess

HOUR_S = 3600


def get(fx: FxProcess, path: str, *, by_header: bool = False, **query: str) -> requests.Response:
    headers = {"Authorization": f"Token {fx.app_id}"} if by_header else {}
    query = query if by_header else {"app_id": fx.app_id, **query}
    return requests.get(f"{fx.url}/api/{path}", params=query, headers=headers, timeout=10)


@pytest.mark.parametrize("by_header", [True, False])
def test_the_newest_rates_are_those_of_the_hour(fx, by_header):
    told = get(fx, "latest.json", by_header=by_header).json()
    assert list(told) == ["disclaimer", "license", "timestamp", "base", "rates"]
    assert told["base"] == "USD"
    assert told["timestamp"] % HOUR_S == 0
    assert told["rates"]["USD"] == 1
    market = rates_at(told["timestamp"])
    assert told["rates"] == {currency: float(rate) for currency, rate in market.items()}


def test_a_market_moves_a_little_by_the_hour_and_the_same_way_each_time():
    first, second = rates_at(1_790_000_000), rates_at(1_790_000_000 + HOUR_S)
    assert first == rates_at(1_790_000_000)
    assert first != second
    for currency, middle in MIDDLE.items():
        assert abs(first[currency] / middle - 1) < 0.006, currency


def test_a_past_day_has_its_last_rates_and_moves_with_the_clock(fx):
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)
    told = get(fx, f"historical/{yesterday}.json").json()
    assert datetime.fromtimestamp(told["timestamp"], UTC).date() == yesterday
    tomorrow = today + timedelta(days=2)
    assert get(fx, f"historical/{tomorrow}.json").status_code == 404
    fx.control.advance("3d")
    assert get(fx, f"historical/{tomorrow}.json").status_code == 200


@pytest.mark.parametrize(
    ("path", "query", "status", "word"),
    [
        ("latest.json", {"app_id": ""}, 401, "missing_app_id"),
        ("latest.json", {"app_id": "wrong"}, 401, "invalid_app_id"),
        ("latest.json", {"base": "EUR"}, 403, "not_allowed"),
        ("nothing.json", {}, 404, "not_found"),
        ("historical/1998-12-31.json", {}, 404, "not_found"),
        ("historical/2026-02-30.json", {}, 404, "not_found"),
    ],
)
def test_errors_have_their_word_and_status(fx, path, query, status, word):
    answer = get(fx, path, **query)
    told = answer.json()
    assert (answer.status_code, told["status"], told["message"]) == (status, status, word)
    assert told["error"] is True
    assert told["description"]


def test_a_rate_can_be_held_and_the_asks_are_kept_without_the_app_id(fx):
    fx.control.set_rate("EUR", "0.25")
    assert get(fx, "latest.json").json()["rates"]["EUR"] == 0.25
    with pytest.raises(Refused, match="no XXX"):
        fx.control.set_rate("XXX", "1")
    with pytest.raises(Refused, match="number"):
        fx.control.set_rate("EUR", "much")
    assert [(each["path"], each["status"]) for each in fx.control.asks()] == [
        ("/api/latest.json", 200)
    ]
    assert fx.app_id not in str(fx.control.book())


def test_the_book_outlives_a_kill(tmp_path):
    process = FxProcess(tmp_path / "fx")
    process.control.set_rate("EUR", "0.25")
    process.kill()
    process.start()
    assert get(process, "latest.json").json()["rates"]["EUR"] == 0.25
    process.stop()


def test_its_commands_steer_it_from_a_shell(fx):
    command = [sys.executable, "-m", "sandbox.fx.control", "--url", fx.url]
    subprocess.run([*command, "fault", "garbage"], check=True, capture_output=True)
    assert Control(fx.url).faults()[0]["method"] == "GET"
    assert "<html>" in get(fx, "latest.json").text
