"""modules, their usage and people's preferences

Revision: 0004
Before it: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "modules",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("tenant_id", models.base.Id(length=16), nullable=False),
        sa.Column("code", sa.String(length=50, collation="utf8mb4_bin"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("unit", sa.String(length=40), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("warning_at", sa.BigInteger(), nullable=True),
        sa.Column("critical_at", sa.BigInteger(), nullable=True),
        sa.Column("hard_limit", sa.BigInteger(), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_modules_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_modules")),
        sa.UniqueConstraint("tenant_id", "code", name=op.f("uq_modules_tenant_id_code")),
    )
    op.create_table(
        "company_modules",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("module_id", models.base.Id(length=16), nullable=False),
        sa.Column("subscription_id", models.base.Id(length=16), nullable=True),
        sa.Column("subscribed_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("unsubscribed_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("warning_at", sa.BigInteger(), nullable=True),
        sa.Column("critical_at", sa.BigInteger(), nullable=True),
        sa.Column("hard_limit", sa.BigInteger(), nullable=True),
        sa.Column("period_start", models.base.Moment(fsp=6), nullable=True),
        sa.Column("period_end", models.base.Moment(fsp=6), nullable=True),
        sa.Column("billed_from", models.base.Moment(fsp=6), nullable=True),
        sa.Column("billed_until", models.base.Moment(fsp=6), nullable=True),
        sa.Column("late_units", sa.BigInteger(), nullable=False),
        sa.Column(
            "active_module_id",
            models.base.Id(length=16),
            sa.Computed("CASE WHEN unsubscribed_at IS NULL THEN module_id END", persisted=True),
            nullable=True,
        ),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["module_id"], ["modules.id"], name=op.f("fk_company_modules_module_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_company_modules")),
        sa.UniqueConstraint("company_id", "active_module_id", name="unique_active_module"),
    )
    op.create_index(
        "idx_company_modules_module", "company_modules", ["company_id", "module_id"], unique=False
    )
    op.create_index(
        "idx_company_modules_subscription_id", "company_modules", ["subscription_id"], unique=False
    )
    op.create_table(
        "module_usage",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("module_id", models.base.Id(length=16), nullable=False),
        sa.Column("user_id", models.base.Id(length=16), nullable=True),
        sa.Column(
            "idempotency_key", sa.String(length=255, collation="utf8mb4_bin"), nullable=False
        ),
        sa.Column("fingerprint", sa.CHAR(length=32), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["module_id"], ["modules.id"], name=op.f("fk_module_usage_module_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_module_usage")),
        sa.UniqueConstraint(
            "company_id",
            "idempotency_key",
            name=op.f("uq_module_usage_company_id_idempotency_key"),
        ),
    )
    op.create_index(
        "idx_module_usage_at", "module_usage", ["company_id", "module_id", "at"], unique=False
    )
    op.create_table(
        "module_usage_totals",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("module_id", models.base.Id(length=16), nullable=False),
        sa.Column("period_start", models.base.Moment(fsp=6), nullable=False),
        sa.Column("period_end", models.base.Moment(fsp=6), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("warned_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("critical_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["module_id"], ["modules.id"], name=op.f("fk_module_usage_totals_module_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_module_usage_totals")),
        sa.UniqueConstraint(
            "company_id",
            "module_id",
            "period_start",
            name=op.f("uq_module_usage_totals_company_id_module_id_period_start"),
        ),
    )
    op.create_table(
        "user_preferences",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("user_id", models.base.Id(length=16), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_preferences_user_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_preferences")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_user_preferences_user_id_name")),
    )


def downgrade() -> None:
    op.drop_table("user_preferences")
    op.drop_table("module_usage_totals")
    op.drop_table("module_usage")
    op.drop_table("company_modules")
    op.drop_table("modules")
