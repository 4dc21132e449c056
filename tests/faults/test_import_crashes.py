"""kill -9 while a file is imported: the next worker goes on, each invoice is made once.

What a death does to an import of customers, tests/tasks shows at each step.
"""

from __future__ import annotations

import pytest
from sqlalchemy import select

from models import import_files, imports
from models.ids import new_id
from models.imports import Import, ImportKind, ImportStatus
from models.invoices import Invoice
from tests.invariants import judge

pytestmark = pytest.mark.xdist_group("tests/faults")
# Three pages.
INVOICES = 101


def begin(system, till):
    head = "number,company_id,currency,issued_on,status,unit_amount"
    lines = [f"{n},{till.company_id},EUR,2026-01-31,open,10.00" for n in range(INVOICES)]
    with system.session() as session:
        # What is owed here is rung for by the sweeper alone.
        session.info["resend_after_s"] = float(system.environ["OUTBOX_RESEND_AFTER_S"])
        whose = {"tenant_id": system.tenant_id}
        body = "\n".join([head, *lines]).encode()
        file = import_files.keep(session, body, **whose, sent_by=new_id())
        kind = ImportKind.INVOICES_CSV
        return imports.begin(session, **whose, kind=kind, asked_by=new_id(), file=file).id


@pytest.mark.parametrize("point", ["imports.taken", "imports.invoices.committed"])
def test_an_import_outlives_its_worker(system, till, marks, point):
    (marks / point).touch()
    import_id = begin(system, till)
    system.worker.wait_dead()
    assert not (marks / point).exists()
    system.worker.start()

    def found() -> Import:
        with system.session() as session:
            return session.get_one(Import, import_id)

    system.wait_until(lambda: found().status == ImportStatus.DONE)
    judge(system)
    assert (found().seen, found().made, found().pages) == (INVOICES, INVOICES, 3)
    with system.session(till.company_id) as session:
        numbers = list(session.scalars(select(Invoice.number)))
    assert sorted(numbers, key=int) == [str(n) for n in range(INVOICES)]
