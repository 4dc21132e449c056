"""Payouts: what a provider has sent to the bank, and the movements that it is made up of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Boolean, Date, ForeignKey, Index, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import breaks
from models.base import CURRENCY, PROVIDER_ID, Changing, words
from models.breaks import BreakKind, Finding
from models.ids import new_id
from models.outbox import Owed, enqueue
from models.transactions import Provider

READING = "payouts.read"
SUMS = ("gross", "fee", "net")


class Payout(Changing):
    """One payout of the installation's account, as the provider told it last.

    `is_balanced` is NULL until the provider has told of what it is made up, which it never does of
    what failed or was paid out by hand.
    """

    __tablename__ = "payouts"
    __table_args__ = (
        UniqueConstraint("provider", "account", "provider_payout_id", name="uq_payouts"),
        Index("idx_payouts_tenant_id", "tenant_id", "id"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    provider: Mapped[Provider] = mapped_column(words(Provider))
    account: Mapped[str] = mapped_column(String(50, collation="utf8mb4_bin"), default="")
    provider_payout_id: Mapped[str] = mapped_column(PROVIDER_ID)
    amount: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(CURRENCY)
    status: Mapped[str] = mapped_column(String(20))  # the provider's word
    arrival_date: Mapped[date | None] = mapped_column(Date)
    made_at: Mapped[datetime]
    is_balanced: Mapped[bool | None] = mapped_column(Boolean)
    # By type: how many movements, and their sums as exact text.
    parts: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    # Where the reading of the movements goes on, and the sums so far; NULL while nothing is read.
    checkpoint: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    task_id: Mapped[UUID | None]  # what is owed to read it
    read_at: Mapped[datetime | None]


def lock(session: Session, payout_id: UUID) -> Payout | None:
    """Return a payout, locked until the commit."""
    return session.scalars(
        select(Payout)
        .where(Payout.id == payout_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def keep(
    session: Session,
    *,
    tenant_id: UUID,
    provider: Provider,
    provider_payout_id: str,
    told: Mapping[str, Any],
    is_explained: bool,
) -> Payout:
    """Keep what the provider tells of a payout; owe its movements unless they are known to fit."""
    row = session.scalars(
        select(Payout)
        .where(
            Payout.provider == provider,
            Payout.account == "",
            Payout.provider_payout_id == provider_payout_id,
        )
        .with_for_update()
    ).one_or_none()
    if row is None:
        row = Payout(
            id=new_id(),
            tenant_id=tenant_id,
            provider=provider,
            account="",
            provider_payout_id=provider_payout_id,
        )
        session.add(row)
    is_other = row.amount is not None and row.amount != told["amount"]
    for name, value in told.items():
        setattr(row, name, value)
    if not is_explained:
        row.is_balanced = None
    elif (row.is_balanced is not True or is_other) and not _is_being_read(session, row):
        row.checkpoint = None
        owe_reading(session, row)
    session.flush()
    return row


def owe_reading(session: Session, row: Payout) -> None:
    """Owe the next of a locked payout's movements."""
    row.task_id = enqueue(session, READING, payout_id=row.id).id


def _is_being_read(session: Session, row: Payout) -> bool:
    return row.task_id is not None and session.get(Owed, row.task_id) is not None


def add(sums: dict[str, list[str]], movements: Iterable[tuple[str, Mapping[str, Decimal]]]) -> None:
    """Add movements, each a type and its sums, to what a checkpoint has of each type."""
    for kind, moved in movements:
        count, *before = sums.get(kind, ["0"] * (1 + len(SUMS)))
        after = [str(Decimal(was) + moved[name]) for was, name in zip(before, SUMS, strict=True)]
        sums[kind] = [str(int(count) + 1), *after]


def settle(session: Session, row: Payout, *, has_others: bool, moment: datetime) -> None:
    """End the reading of a locked payout: its parts are its amount, or there is a break.

    Args:
        has_others: some movement was in another currency, so that no sum says anything.
    """
    sums = (row.checkpoint or {}).get("sums", {})
    row.parts = [
        {"type": kind, "count": int(count), **dict(zip(SUMS, amounts, strict=True))}
        for kind, (count, *amounts) in sorted(sums.items())
    ]
    total = sum((Decimal(each["net"]) for each in row.parts), Decimal(0))
    row.is_balanced = total == row.amount and not has_others
    row.checkpoint, row.task_id, row.read_at = None, None, moment
    key: dict[str, Any] = {"provider": row.provider, "account": row.account}
    if row.is_balanced:
        kind, name = BreakKind.PAYOUT_UNBALANCED, row.provider_payout_id
        found = breaks.find(session, kind, name, **key)
        if found is not None:
            breaks.agree(found, moment=moment)
        return
    breaks.keep(session, _finding(row, total, has_others), **key, run_id=None, moment=moment)


def _finding(row: Payout, total: Decimal, has_others: bool) -> Finding:  # noqa: FBT001
    return Finding(
        kind=BreakKind.PAYOUT_UNBALANCED,
        subject="payout",
        object_id=row.provider_payout_id,
        ours={
            "amount": f"{total:.2f}",
            "currency": "several" if has_others else row.currency,
            "movements": sum(each["count"] for each in row.parts or ()),
        },
        theirs={"amount": f"{row.amount:.2f}", "currency": row.currency, "status": row.status},
        amount=abs(row.amount - total) or None,
        currency=row.currency,
        happened_at=row.made_at,
    )
