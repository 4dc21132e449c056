"""exchange rates

Revision: 0007
Before it: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fx_rates",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("source", sa.String(length=50), nullable=False),
        sa.Column("base", sa.CHAR(length=3), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("rate", sa.DECIMAL(precision=24, scale=12), nullable=False),
        sa.Column("as_of", models.base.Moment(fsp=6), nullable=False),
        sa.Column("fetched_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fx_rates")),
        sa.UniqueConstraint(
            "source",
            "base",
            "currency",
            "as_of",
            name=op.f("uq_fx_rates_source_base_currency_as_of"),
        ),
    )
    op.create_index("idx_fx_rates_as_of", "fx_rates", ["source", "base", "as_of"], unique=False)
    op.create_table(
        "fx_fetches",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("source", sa.String(length=50), nullable=False),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("open_key", sa.String(length=80), nullable=True),
        sa.Column(
            "status",
            sa.Enum("owed", "stored", "unchanged", "refused", "failed", name="fetchstatus"),
            nullable=False,
        ),
        sa.Column("accepts_jumps", sa.Boolean(), nullable=False),
        sa.Column("asked_by", models.base.Id(length=16), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("as_of", models.base.Moment(fsp=6), nullable=True),
        sa.Column("rates", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("finished_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fx_fetches")),
        sa.UniqueConstraint("open_key", name=op.f("uq_fx_fetches_open_key")),
    )
    op.create_index("idx_fx_fetches_source", "fx_fetches", ["source", "day", "id"], unique=False)
    op.create_index(
        "idx_invoices_billed",
        "invoices",
        ["company_id", "status", "currency", "amount"],
        unique=False,
    )
    op.add_column("tenants", sa.Column("currency", sa.CHAR(length=3), nullable=True))


def downgrade() -> None:
    op.drop_column("tenants", "currency")
    op.drop_index("idx_invoices_billed", table_name="invoices")
    op.drop_table("fx_fetches")
    op.drop_table("fx_rates")
