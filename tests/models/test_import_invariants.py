"""Each invariant of imports is broken on purpose and must be told."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from models.base import across_companies
from models.import_invariants import IMPORTS
from models.invariants import check
from tests.factories import make_company
from tests.tasks.import_desk import Desk, csv_of
from worker.database import engine

BREAKS = {
    "an import that runs holds its place, and one that has ended holds none": (
        "UPDATE imports SET running_key = 'kept' WHERE id = :import"
    ),
    "everything that an import has seen became something": (
        "UPDATE imports SET seen = seen + 1 WHERE id = :import"
    ),
    "a dry run's import has made nothing": "UPDATE imports SET is_dry_run = 1 WHERE id = :import",
    "an imported invoice is of its company and of the import's tenant": (
        "UPDATE imported_invoices SET company_id = :other WHERE import_id = :import"
    ),
    "no revenue of ours is in what was billed and paid before an invoice was imported": (
        "DELETE FROM ledger_entries WHERE company_id = :company AND account = 'opening'"
    ),
}


def test_every_invariant_is_broken_once_here():
    assert BREAKS.keys() == IMPORTS.keys()


@pytest.mark.parametrize("sentence", BREAKS)
def test_what_breaks_an_invariant_is_told(database, sentence):
    desk = Desk()
    done = desk.import_csv(csv_of(desk, {"number": "1"}, {"number": "2", "status": "paid"}))
    values = {
        "import": done.id.bytes,
        "company": desk.company_id.bytes,
        "other": make_company().company_id.bytes,
    }
    broken = text(BREAKS[sentence])
    named = {name: value for name, value in values.items() if f":{name}" in BREAKS[sentence]}
    with Session(engine()) as session:
        before = told(session, sentence)
        session.execute(across_companies(broken, because="a test breaks it"), named)
        assert told(session, sentence) - before
        session.rollback()


def told(session: Session, sentence: str) -> set[str]:
    found = check(session, limit=1_000_000)
    return {each.detail for each in found if each.invariant == sentence}
