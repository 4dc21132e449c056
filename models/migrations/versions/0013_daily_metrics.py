"""daily metrics

Revision: 0013
Before it: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLE = "analytics_daily_metrics"


def _word(name: str, **how: object) -> sa.Column[str]:
    kind = sa.String(length=100, collation="utf8mb4_bin")
    return sa.Column(name, kind, nullable=False, **how)  # type: ignore[arg-type]


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        _word("metric_name"),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), server_default="", nullable=False),
        _word("dimension", server_default=""),
        sa.Column("metric_value", sa.DECIMAL(precision=19, scale=4), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_daily_metrics")),
        sa.UniqueConstraint(
            *("company_id", "metric_name", "date", "currency", "dimension"),
            name="uq_analytics_daily_metrics",
        ),
    )
    op.create_index("idx_analytics_daily_metrics_day", TABLE, ["company_id", "date"])
    op.add_column("analytics_dirty_days", sa.Column("claim", models.base.Id(length=16)))
    op.add_column(
        "analytics_dirty_days",
        sa.Column(
            "claimed_until",
            models.base.Moment(fsp=6),
            server_default="2000-01-01 00:00:00",
            nullable=False,
        ),
    )
    op.create_index("idx_analytics_dirty_days_due", "analytics_dirty_days", ["claimed_until", "id"])
    op.create_table(
        "analytics_checks",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_checks")),
        sa.UniqueConstraint("day", name=op.f("uq_analytics_checks_day")),
    )


def downgrade() -> None:
    op.drop_table("analytics_checks")
    op.drop_index("idx_analytics_dirty_days_due", "analytics_dirty_days")
    for name in ("claimed_until", "claim"):
        op.drop_column("analytics_dirty_days", name)
    op.drop_table(TABLE)
