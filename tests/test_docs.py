"""What docs/payments.md draws is what the code says."""

from __future__ import annotations

import re

import pytest

from docs import generate
from models.refunds import Refund, RefundStatus
from models.states import Moving


def test_the_page_is_as_the_code_is():
    assert generate.page_of(generate.PAGE.read_text()) == generate.PAGE.read_text(), "make docs"


def test_every_block_stands_on_the_page():
    begun = re.findall(r"<!-- begin ([\w ]+) -->", generate.PAGE.read_text())
    assert sorted(begun) == sorted(generate.BLOCKS)


def test_every_machine_is_drawn():
    drawn = {name.removesuffix("s") for name in generate.BLOCKS}
    machines = {table.__tablename__.removesuffix("s") for table in Moving.__subclasses__()}
    assert machines <= drawn


def test_a_move_that_changes_changes_the_page(monkeypatch):
    moves = {**Refund.MOVES, RefundStatus.FAILED: frozenset({RefundStatus.PENDING})}
    monkeypatch.setattr(Refund, "MOVES", moves)
    assert generate.page_of(generate.PAGE.read_text()) != generate.PAGE.read_text()
    assert "failed --> pending" in generate.BLOCKS["refunds"]()


def test_a_block_that_nothing_draws_is_an_error():
    with pytest.raises(KeyError):
        generate.page_of("<!-- begin nothing -->\n<!-- end nothing -->")
