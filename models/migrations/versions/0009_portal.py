"""the customer portal

Revision: 0009
Before it: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "portals",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("revoked_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portals")),
        sa.UniqueConstraint("company_id", name=op.f("uq_portals_company_id")),
    )
    # Who comes by a link is no user.
    op.alter_column(
        "payment_methods", "user_id", existing_type=models.base.Id(length=16), nullable=True
    )


def downgrade() -> None:
    op.execute("UPDATE payment_methods SET user_id = UNHEX(REPEAT('0', 32)) WHERE user_id IS NULL")
    op.alter_column(
        "payment_methods", "user_id", existing_type=models.base.Id(length=16), nullable=False
    )
    op.drop_table("portals")
