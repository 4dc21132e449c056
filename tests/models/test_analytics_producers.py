"""Numbers of accepted events: what arrived, what is missing, and what of that is lost."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.analytics_producers import Fate, Gap, Numbers, Producer, count, land, settle, tell
from models.base import across_companies
from models.clock import wall
from models.collecting_invariants import COLLECTING
from models.ids import new_id
from models.invariants import check
from worker.database import engine, in_transaction, transaction

LATER = timedelta(minutes=5)


class Told:
    """A producer of a test's own."""

    def __init__(self):
        self.id = new_id()

    def land(self, *pairs, fate=Fate.STORED):
        numbers = [Numbers(self.id, "test", first, last) for first, last in pairs]
        in_transaction(land, None, numbers, fate)

    def tell(self, accepted, *withdrawn):
        numbers = [Numbers(self.id, "test", first, last) for first, last in withdrawn]
        in_transaction(tell, None, self.id, "test", accepted, numbers)

    def row(self):
        with transaction() as session:
            return session.get_one(Producer, self.id)

    def gaps(self):
        with transaction() as session:
            query = select(Gap).where(Gap.producer_id == self.id).order_by(Gap.first)
            return [(gap.first, gap.last) for gap in session.scalars(query)]

    def settle(self, before=None):
        """Settle everything, of whomever: others of this database have nothing that waits."""
        in_transaction(settle, None, before=before or wall() + LATER)
        return self.row().lost


@pytest.fixture
def told(database):
    return Told()


def test_what_comes_in_order_leaves_no_gap(told):
    told.land((1, 100))
    told.land((101, 101), (102, 150))
    row = told.row()
    assert (row.highest, row.stored, row.accepted, told.gaps()) == (150, 150, 150, [])


def test_what_comes_out_of_order_closes_its_gap(told):
    told.land((11, 20), (31, 40))
    assert told.gaps() == [(1, 10), (21, 30)]
    told.land((24, 26))
    assert told.gaps() == [(1, 10), (21, 23), (27, 30)]
    told.land((21, 40))
    told.land((1, 10))
    assert (told.gaps(), told.row().stored) == ([], 40)


def test_numbers_that_come_again_are_counted_once(told):
    told.land((1, 10))
    told.land((5, 12), (1, 3), (12, 12))
    assert (told.row().highest, told.row().stored, told.gaps()) == (12, 12, [])


@pytest.mark.parametrize("seed", range(5))
def test_in_any_order_and_however_often_the_sum_is_the_same(told, seed):
    rng = random.Random(seed)
    parts = [(first, first + 4) for first in range(1, 100, 5)] * 2
    rng.shuffle(parts)
    missing = rng.sample(range(1, 90, 5), 3)
    for part in parts:
        if part[0] not in missing:
            told.land(part)
    row = told.row()
    assert row.stored == 100 - 15
    assert row.highest - row.stored == sum(last - first + 1 for first, last in told.gaps()) == 15


def test_a_gap_that_cannot_come_any_more_is_lost_and_counted_once(told):
    told.land((1, 10), (21, 30))
    assert told.settle(before=wall() - LATER) == 0
    assert told.settle() == 10
    assert told.settle() == 10


def test_the_end_that_a_producer_told_of_is_lost_too(told):
    told.land((1, 10))
    told.tell(25)
    assert told.settle(before=wall() - LATER) == 0
    assert (told.row().highest, told.gaps()) == (10, [])
    assert told.settle() == 15
    assert told.gaps() == [(11, 25)]


def test_all_of_a_producer_of_which_nothing_arrived_is_lost(told):
    told.tell(7)
    assert told.settle() == 7


def test_what_was_counted_as_lost_and_comes_after_all_is_counted_back(told):
    told.land((21, 30))
    assert told.settle() == 20
    told.land((5, 9))
    assert (told.row().lost, told.row().stored, told.gaps()) == (15, 15, [(1, 4), (10, 20)])
    told.land((1, 20))
    assert (told.row().lost, told.row().stored, told.gaps()) == (0, 30, [])


def test_what_was_taken_back_or_refused_is_not_lost(told):
    told.land((1, 5))
    told.land((6, 6), fate=Fate.REFUSED)
    told.tell(10, (8, 9))
    assert told.settle() == 2
    row = told.row()
    assert (row.stored, row.refused, row.withdrawn, row.lost) == (5, 1, 2, 2)


BREAKS = {
    "each number that a producer gave arrived, was taken back or stands in a gap": (
        "UPDATE analytics_producers SET stored = stored + 1 WHERE id = :id"
    ),
    "what was lost of a producer's events stands in its gaps": (
        "UPDATE analytics_gaps SET lost_at = NULL WHERE producer_id = :id"
    ),
}


def test_every_invariant_is_broken_once_here():
    assert BREAKS.keys() == COLLECTING.keys()


@pytest.mark.parametrize("sentence", BREAKS)
def test_what_breaks_an_invariant_is_told(told, sentence):
    told.land((11, 20), (25, 30))
    told.land((26, 27), fate=Fate.REFUSED)
    told.settle()
    with Session(engine()) as session:
        assert not of(session, told)
        broken = across_companies(text(BREAKS[sentence]), because="a test breaks it")
        session.execute(broken, {"id": told.id.bytes})
        assert of(session, told) == {sentence}
        session.rollback()


def of(session, told):
    return {each.invariant for each in check(session) if str(told.id) in each.detail}


def test_the_count_adds_all_producers_up(told):
    with transaction() as session:
        before = count(session)
    told.land((1, 5), (8, 10))
    told.tell(12)
    with transaction() as session:
        after = count(session)
    assert after.accepted - before.accepted == 12
    assert after.stored - before.stored == 8
    assert after.outstanding - before.outstanding == 4
    assert after.producers - before.producers == 1
