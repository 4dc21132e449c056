"""analytics events

Revision: 0012
Before it: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def _id(name: str, *, is_nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, models.base.Id(length=16), nullable=is_nullable)


def _moment(name: str, *, is_nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, models.base.Moment(fsp=6), nullable=is_nullable)


def _word(name: str, **how: object) -> sa.Column[str]:
    kind = sa.String(length=100, collation="utf8mb4_bin")
    return sa.Column(name, kind, nullable=False, **how)  # type: ignore[arg-type]


def upgrade() -> None:
    op.create_table(
        "analytics_events",
        _id("id"),
        _id("company_id"),
        _word("event_type"),
        _word("name"),
        sa.Column("source", sa.Enum("own", "api", name="source"), nullable=False),
        _id("user_id", is_nullable=True),
        _id("module_id", is_nullable=True),
        sa.Column("amount", sa.DECIMAL(precision=15, scale=2), nullable=True),
        sa.Column("currency", sa.CHAR(length=3), nullable=True),
        sa.Column("quantity", sa.DECIMAL(precision=15, scale=4), nullable=True),
        _word("dimension", server_default=""),
        sa.Column("metadata", sa.JSON(none_as_null=True), nullable=True),
        _moment("timestamp"),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("arrivals", sa.Integer(), server_default="1", nullable=False),
        _moment("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_events")),
    )
    op.create_index("idx_company_timestamp", "analytics_events", ["company_id", "timestamp"])
    op.create_index("idx_event_type", "analytics_events", ["event_type"])
    op.create_index("idx_module_id", "analytics_events", ["module_id"])
    op.create_index(
        "idx_analytics_events_day",
        "analytics_events",
        [
            *("company_id", "date", "name", "source", "currency", "dimension"),
            *("amount", "quantity"),
        ],
    )
    op.create_table(
        "analytics_dirty_days",
        _id("id"),
        _id("company_id"),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("marked", sa.BigInteger(), nullable=False),
        _moment("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_dirty_days")),
        sa.UniqueConstraint(
            "company_id", "date", name=op.f("uq_analytics_dirty_days_company_id_date")
        ),
    )
    _producers()


def _producers() -> None:
    counts = ("accepted", "highest", "stored", "refused", "withdrawn", "lost")
    op.create_table(
        "analytics_producers",
        _id("id"),
        sa.Column("name", sa.String(length=100), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
        _moment("told_at"),
        _moment("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_producers")),
    )
    op.create_index("idx_analytics_producers_told_at", "analytics_producers", ["told_at"])
    op.create_table(
        "analytics_gaps",
        _id("id"),
        _id("producer_id"),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        _moment("noticed_at"),
        _moment("lost_at", is_nullable=True),
        _moment("created_at"),
        sa.ForeignKeyConstraint(
            ["producer_id"],
            ["analytics_producers.id"],
            name=op.f("fk_analytics_gaps_producer_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_gaps")),
    )
    op.create_index("idx_analytics_gaps_producer", "analytics_gaps", ["producer_id", "last"])
    op.create_index("idx_analytics_gaps_lost_at", "analytics_gaps", ["lost_at", "noticed_at"])


def downgrade() -> None:
    for table in (
        *("analytics_gaps", "analytics_producers"),
        *("analytics_dirty_days", "analytics_events"),
    ):
        op.drop_table(table)
