"""How much of what a run has seen waits for a person: counted, and added up by currency."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.breaks import BreakStatus, ReconciliationBreak
from models.repairs import PAGE, way_of


@dataclass
class Waiting:
    """Breaks that nothing mends by itself. Surplus counts as well as lack: sums have no sign."""

    count: int = 0
    sums: dict[str, Decimal] = field(default_factory=dict)

    def add(self, row: ReconciliationBreak) -> None:
        """Count a break."""
        self.count += 1
        if row.amount is not None and row.currency is not None:
            before = self.sums.get(row.currency, Decimal(0))
            self.sums[row.currency] = before + abs(row.amount)

    def is_much(self, *, breaks: int, amount: int) -> bool:
        """Whether people are to be told: as many, or as much of one currency."""
        is_many = self.count >= max(breaks, 1)
        return is_many or any(each >= amount for each in self.sums.values())

    @property
    def told_sums(self) -> str:
        """Return the sums as a person reads them."""
        return ", ".join(
            f"{amount:.2f} {currency}" for currency, amount in sorted(self.sums.items())
        )


def waiting_of(session: Session, run_id: UUID) -> Waiting:
    """Return what a run has seen that is open, and is not being mended."""
    found = Waiting()
    query = (
        select(ReconciliationBreak)
        .where(ReconciliationBreak.run_id == run_id, ReconciliationBreak.status == BreakStatus.OPEN)
        .execution_options(yield_per=PAGE)
    )
    for row in session.scalars(query):
        if way_of(row) is None or row.repair_error is not None:
            found.add(row)
    return found
