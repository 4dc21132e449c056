from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

from models import clock
from worker import shared_clock
from worker.settings import InvalidSettings, settings
from worker.shared_clock import MOST_S, SharedClock

A_DAY_S = 24 * 60 * 60
ASK = "from models.clock import now; import celeryconfig; print(now().timestamp())"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "made" / "clock"


@pytest.fixture
def followed(path, monkeypatch):
    """This process follows the clock in `path`, until the test is over."""
    monkeypatch.setenv("SANDBOX_CLOCK", str(path))
    settings.cache_clear()
    shared_clock.follow()
    yield path
    clock.advance_by(timedelta)
    monkeypatch.undo()
    settings.cache_clear()


def test_all_who_share_a_clock_are_advanced_by_any_of_them(path):
    one, other = SharedClock(path), SharedClock(path)
    one.advance(A_DAY_S)
    other.advance(60)
    assert one.ahead_s == A_DAY_S + 60
    assert one.ahead() == other.ahead() == timedelta(days=1, minutes=1)


def test_a_shared_clock_outlives_those_who_share_it(path):
    SharedClock(path).advance(5)
    assert SharedClock(path).ahead() == timedelta(seconds=5)


@pytest.mark.parametrize("seconds", [-1, MOST_S])
def test_a_shared_clock_goes_forward_and_not_for_ever(path, seconds):
    shared = SharedClock(path)
    shared.advance(1)
    with pytest.raises(ValueError, match="forward only"):
        shared.advance(seconds)
    assert shared.ahead_s == 1


def test_a_shared_clock_that_was_lost_comes_back_to_where_it_was(path):
    shared = SharedClock(path)
    shared.reach(100)
    shared.reach(50)
    assert shared.ahead_s == 100


def test_a_process_that_follows_is_ahead_at_once(followed):
    before = clock.now()
    SharedClock(followed).advance(A_DAY_S)
    assert timedelta(days=1) <= clock.now() - before < timedelta(days=1, seconds=5)


def test_a_process_of_celery_follows_the_clock_that_its_settings_name(path, server_environ):
    SharedClock(path).advance(A_DAY_S)
    found = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**server_environ, "SANDBOX_CLOCK": str(path)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert float(found.stdout) == pytest.approx(clock.now().timestamp() + A_DAY_S, abs=60)


def test_a_clock_that_cannot_be_used_keeps_a_process_from_starting(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SANDBOX_CLOCK", str(tmp_path / "file" / "clock"))
    settings.cache_clear()
    with pytest.raises(InvalidSettings, match="SANDBOX_CLOCK cannot be used"):
        shared_clock.follow()
    monkeypatch.undo()
    settings.cache_clear()
