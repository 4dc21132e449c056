"""payouts

Revision: 0017
Before it: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

PAYOUTS = "payouts"
BREAKS = "reconciliation_breaks"


def _id(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, models.base.Id(length=16), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, models.base.Moment(fsp=6), nullable=nullable)


def _word(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length, collation="utf8mb4_bin"), nullable=False)


def upgrade() -> None:
    kinds = sa.Enum("stripe", "paypal", "bank_transfer", name="provider")
    op.create_table(
        PAYOUTS,
        _id("id"),
        _id("tenant_id"),
        sa.Column("provider", kinds, nullable=False),
        _word("account", 50),
        _word("provider_payout_id", 100),
        sa.Column("amount", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("arrival_date", sa.Date(), nullable=True),
        _moment("made_at"),
        sa.Column("is_balanced", sa.Boolean(), nullable=True),
        sa.Column("parts", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("checkpoint", sa.JSON(none_as_null=True), nullable=True),
        _id("task_id", nullable=True),
        _moment("read_at", nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f(f"fk_{PAYOUTS}_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{PAYOUTS}")),
        sa.UniqueConstraint(
            "provider", "account", "provider_payout_id", name=op.f(f"uq_{PAYOUTS}")
        ),
    )
    op.create_index(f"idx_{PAYOUTS}_tenant_id", PAYOUTS, ["tenant_id", "id"])
    # No run sees what a payout is made up of.
    op.alter_column(BREAKS, "run_id", existing_type=models.base.Id(length=16), nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM reconciliation_breaks WHERE run_id IS NULL")
    op.alter_column(BREAKS, "run_id", existing_type=models.base.Id(length=16), nullable=False)
    op.drop_table(PAYOUTS)
