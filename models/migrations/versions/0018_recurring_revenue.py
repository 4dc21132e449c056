"""recurring revenue

Revision: 0018
Before it: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TABLE = "subscriptions"


def upgrade() -> None:
    """Keep what each subscription's monthly recurring revenue is."""
    op.add_column(TABLE, sa.Column("mrr", sa.DECIMAL(15, 2), server_default="0", nullable=False))
    op.add_column(TABLE, sa.Column("recurs_since", models.base.Moment(fsp=6), nullable=True))


def downgrade() -> None:
    """Forget it: it can be told from the prices at any time."""
    op.drop_column(TABLE, "recurs_since")
    op.drop_column(TABLE, "mrr")
