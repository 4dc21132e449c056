"""The stand-in's clock: its own, or the application's."""

from __future__ import annotations

from datetime import datetime
from shutil import copytree

import pytest

from sandbox.standin.control import Refused
from sandbox.stripe.book import Book
from worker.shared_clock import SharedClock

A_DAY_S = 24 * 60 * 60


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ({"advance_s": 90}, 90),
        ({"advance": "24h"}, A_DAY_S),
        ({"advance": "1d12h"}, A_DAY_S * 3 // 2),
        ({"advance": "90m"}, 5400),
        ({"advance_s": 0}, 0),
    ],
)
def test_the_clock_is_advanced_by_seconds_or_in_words(sandbox, asked, seconds):
    told = sandbox.control.ask("POST", "clock", asked)
    assert told["ahead_s"] == seconds
    assert datetime.fromisoformat(told["at"]).timestamp() == told["now"]
    assert sandbox.control.clock()["ahead_s"] == seconds


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"advance_s": -1},
        {"advance_s": True},
        {"advance_s": 1.5},
        {"advance_s": "60"},
        {"advance_s": 60, "advance": "1m"},
        {"advance": "24"},
        {"advance": "-24h"},
        {"advance": "h"},
        {"advance": "1w"},
        {"advance": "999999999d"},
        {"advance": 24},
    ],
)
def test_what_is_no_step_forward_changes_nothing(sandbox, asked):
    with pytest.raises(Refused, match="clock"):
        sandbox.control.ask("POST", "clock", asked)
    assert sandbox.control.clock()["ahead_s"] == 0


def test_a_book_on_a_shared_clock_advances_all_and_keeps_it_through_a_reset(tmp_path):
    shared = SharedClock(tmp_path / "clock")
    book = Book(tmp_path / "book", shared)
    book.advance(A_DAY_S)
    assert shared.ahead_s == book.ahead_s == A_DAY_S
    book.reset()
    assert book.ahead_s == A_DAY_S


def test_a_shared_clock_that_was_lost_is_not_behind_the_book(tmp_path):
    Book(tmp_path / "book", SharedClock(tmp_path / "clock")).advance(A_DAY_S)
    copytree(tmp_path / "book", tmp_path / "copy")  # the first one holds its journal
    shared = SharedClock(tmp_path / "another")
    assert Book(tmp_path / "copy", shared).ahead_s == shared.ahead_s == A_DAY_S
