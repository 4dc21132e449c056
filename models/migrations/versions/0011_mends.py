"""mends: use that is told late, and included units of a period that is cut short

Revision: 0011
Before it: 0010
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

PRICES = """
    SELECT module_id, module, unit_amount, tiers, tiers_mode, included FROM subscription_items
    WHERE subscription_id = :id AND kind = 'usage'
"""
# As `models.usage.used` counts it, of the time that was billed. Grouped, what is joined is made
# first: MySQL merges a plain derived table, and then refuses to change what it reads (1093).
BILLED = """
    UPDATE company_modules h JOIN (
        SELECT MAX(id) AS id, SUM(late_units) AS late_units FROM company_modules
        WHERE subscription_id IS NOT NULL GROUP BY subscription_id, module_id
    ) l ON l.id = h.id
    SET h.billed_units = COALESCE((
        SELECT SUM(u.quantity) FROM module_usage u
        WHERE u.company_id = h.company_id AND u.module_id = h.module_id
            AND u.at >= h.billed_from AND u.at < h.billed_until), 0) - l.late_units
    WHERE h.billed_from IS NOT NULL
"""


def upgrade() -> None:
    op.add_column(
        "company_modules",
        sa.Column("billed_units", sa.BigInteger(), nullable=False, server_default="0"),
    )
    op.alter_column(
        "company_modules", "billed_units", existing_type=sa.BigInteger(), server_default=None
    )
    op.add_column("company_modules", sa.Column("billed_by", sa.JSON(), nullable=True))
    connection = op.get_bind()
    connection.execute(sa.text(BILLED))
    for identity, taken_up in _taken_up(connection):
        prices = {
            row.module_id.hex(): row
            for row in connection.execute(sa.text(PRICES), {"id": identity})
        }
        accounts = {
            module_id: _account(module_id, units, prices[module_id.replace("-", "")])
            for module_id, units in taken_up.items()
            if module_id.replace("-", "") in prices
        }
        _keep(connection, identity, accounts)


def downgrade() -> None:
    connection = op.get_bind()
    for identity, taken_up in _taken_up(connection):
        _keep(connection, identity, {key: each["units"] for key, each in taken_up.items()})
    op.drop_column("company_modules", "billed_by")
    op.drop_column("company_modules", "billed_units")


def _taken_up(connection: sa.Connection) -> list[tuple[bytes, dict[str, Any]]]:
    rows = connection.execute(sa.text("SELECT id, taken_up FROM subscriptions"))
    found = [(row.id, json.loads(row.taken_up)) for row in rows]
    return [(identity, taken_up) for identity, taken_up in found if taken_up]


def _account(module_id: str, units: int, row: Any) -> dict[str, Any]:
    price = {
        "module_id": module_id,
        "module": row.module,
        "kind": "usage",
        "unit_amount": str(row.unit_amount),
        "tiers": json.loads(row.tiers or "[]"),
        "mode": row.tiers_mode or "graduated",
        "included": row.included,
    }
    charged = max(0, units - row.included)
    return {
        "price": price,
        "units": units,
        "charged": charged,
        "included": row.included,
        "free": None,
    }


def _keep(connection: sa.Connection, identity: bytes, taken_up: dict[str, Any]) -> None:
    connection.execute(
        sa.text("UPDATE subscriptions SET taken_up = :taken_up WHERE id = :id"),
        {"id": identity, "taken_up": json.dumps(taken_up)},
    )
