"""exports

Revision: 0015
Before it: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "analytics_exports",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=True),
        sa.Column("written_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("indexed_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("write_task_id", models.base.Id(length=16), nullable=True),
        sa.Column("index_task_id", models.base.Id(length=16), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_exports")),
        sa.UniqueConstraint("number", name=op.f("uq_analytics_exports_number")),
    )
    for name in ("written_at", "indexed_at"):
        op.create_index(
            f"idx_analytics_exports_{name}", "analytics_exports", [name, "number"], unique=False
        )
    op.add_column("analytics_events", sa.Column("export_id", sa.BigInteger(), nullable=True))
    op.create_index(
        "idx_analytics_events_export",
        "analytics_events",
        ["export_id", "date", "id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index("idx_analytics_events_export", table_name="analytics_events")
    op.drop_column("analytics_events", "export_id")
    op.drop_table("analytics_exports")
