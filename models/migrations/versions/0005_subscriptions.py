"""plans and subscriptions

Revision: 0005
Before it: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

import models.base

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ACCOUNTS = (
    *("receivable", "revenue", "clearing", "refunds", "disputes", "bank", "fees"),
    "bad_debt",
)


def upgrade() -> None:
    op.alter_column(
        "ledger_entries",
        "account",
        existing_type=mysql.ENUM(*ACCOUNTS),
        type_=sa.Enum(*ACCOUNTS, "credit", name="account"),
        existing_nullable=False,
    )
    op.create_table(
        "plans",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("tenant_id", models.base.Id(length=16), nullable=False),
        sa.Column("code", sa.String(length=50, collation="utf8mb4_bin"), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("billed_every", sa.Enum("month", "year", name="interval"), nullable=False),
        sa.Column("interval_count", sa.Integer(), nullable=False),
        sa.Column("trial_days", sa.Integer(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_plans_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("tenant_id", "code", name=op.f("uq_plans_tenant_id_code")),
    )
    op.create_table(
        "plan_prices",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("plan_id", models.base.Id(length=16), nullable=False),
        sa.Column("module_id", models.base.Id(length=16), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("kind", sa.Enum("flat", "per_seat", "usage", name="pricekind"), nullable=False),
        sa.Column("unit_amount", sa.DECIMAL(precision=19, scale=6), nullable=False),
        sa.Column("tiers", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("tiers_mode", sa.Enum("graduated", "volume", name="tiersmode"), nullable=True),
        sa.Column("included", sa.BigInteger(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["module_id"], ["modules.id"], name=op.f("fk_plan_prices_module_id")
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_plan_prices_plan_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_prices")),
        sa.UniqueConstraint(
            "plan_id",
            "module_id",
            "currency",
            "kind",
            name=op.f("uq_plan_prices_plan_id_module_id_currency_kind"),
        ),
    )
    op.create_index("idx_plan_prices_module_id", "plan_prices", ["module_id"], unique=False)
    op.create_table(
        "subscriptions",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("plan_id", models.base.Id(length=16), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "trialing",
                "active",
                "past_due",
                "unpaid",
                "paused",
                "canceled",
                name="subscriptionstatus",
            ),
            nullable=False,
        ),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.Column("billed_every", sa.Enum("month", "year", name="interval"), nullable=False),
        sa.Column("interval_count", sa.Integer(), nullable=False),
        sa.Column("anchor_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("period_number", sa.Integer(), nullable=False),
        sa.Column("current_period_start", models.base.Moment(fsp=6), nullable=False),
        sa.Column("current_period_end", models.base.Moment(fsp=6), nullable=False),
        sa.Column("usage_from", models.base.Moment(fsp=6), nullable=False),
        sa.Column("trial_ends_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("trial_notice_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("canceled_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("ended_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("paused_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("overdue_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("next_due_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("provider", sa.String(length=50), nullable=True),
        sa.Column(
            "provider_subscription_id",
            sa.String(length=100, collation="utf8mb4_bin"),
            nullable=True,
        ),
        sa.Column("taxes", sa.JSON(), nullable=False),
        sa.Column("discount_percent", sa.DECIMAL(precision=7, scale=4), nullable=False),
        sa.Column("payment_method_id", models.base.Id(length=16), nullable=True),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("taken_up", sa.JSON(), nullable=False),
        sa.Column("synced_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["payment_method_id"],
            ["payment_methods.id"],
            name=op.f("fk_subscriptions_payment_method_id"),
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_subscriptions_plan_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint(
            "provider_subscription_id", name=op.f("uq_subscriptions_provider_subscription_id")
        ),
    )
    op.create_index(
        "idx_subscriptions_company_id", "subscriptions", ["company_id", "id"], unique=False
    )
    op.create_index(
        "idx_subscriptions_company_status", "subscriptions", ["company_id", "status"], unique=False
    )
    op.create_index("idx_subscriptions_next_due_at", "subscriptions", ["next_due_at"], unique=False)
    op.create_table(
        "subscription_items",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("subscription_id", models.base.Id(length=16), nullable=False),
        sa.Column("module_id", models.base.Id(length=16), nullable=False),
        sa.Column("module", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.Enum("flat", "per_seat", "usage", name="pricekind"), nullable=False),
        sa.Column("unit_amount", sa.DECIMAL(precision=19, scale=6), nullable=False),
        sa.Column("tiers", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("tiers_mode", sa.Enum("graduated", "volume", name="tiersmode"), nullable=True),
        sa.Column("included", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["module_id"], ["modules.id"], name=op.f("fk_subscription_items_module_id")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscriptions.id"],
            name=op.f("fk_subscription_items_subscription_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_items")),
        sa.UniqueConstraint(
            "subscription_id",
            "module_id",
            "kind",
            name=op.f("uq_subscription_items_subscription_id_module_id_kind"),
        ),
    )
    op.create_index(
        "idx_subscription_items_company_id", "subscription_items", ["company_id"], unique=False
    )
    op.create_table(
        "subscription_periods",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("subscription_id", models.base.Id(length=16), nullable=False),
        sa.Column("starts_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("ends_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column(
            "status",
            sa.Enum("generating", "invoiced", "unbilled", "skipped", name="periodstatus"),
            nullable=False,
        ),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("usage_prices", sa.JSON(), nullable=False),
        sa.Column("usage_from", models.base.Moment(fsp=6), nullable=False),
        sa.Column("usage_until", models.base.Moment(fsp=6), nullable=False),
        sa.Column("invoice_id", models.base.Id(length=16), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoices.id"], name=op.f("fk_subscription_periods_invoice_id")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscriptions.id"],
            name=op.f("fk_subscription_periods_subscription_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_periods")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_subscription_periods_invoice_id")),
        sa.UniqueConstraint(
            "subscription_id",
            "starts_at",
            name=op.f("uq_subscription_periods_subscription_id_starts_at"),
        ),
    )
    op.create_index(
        "idx_subscription_periods_company_id", "subscription_periods", ["company_id"], unique=False
    )
    op.create_table(
        "subscription_changes",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("subscription_id", models.base.Id(length=16), nullable=False),
        sa.Column("at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("invoiced_in", models.base.Id(length=16), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["invoiced_in"], ["invoices.id"], name=op.f("fk_subscription_changes_invoiced_in")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscriptions.id"],
            name=op.f("fk_subscription_changes_subscription_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_changes")),
    )
    op.create_index(
        "idx_subscription_changes_company_id", "subscription_changes", ["company_id"], unique=False
    )
    op.create_index(
        "idx_subscription_changes_pending",
        "subscription_changes",
        ["subscription_id", "invoiced_in"],
        unique=False,
    )


def downgrade() -> None:
    for name in (
        "subscription_changes subscription_periods subscription_items subscriptions"
        " plan_prices plans".split()
    ):
        op.drop_table(name)
    # What was credited was taken off the revenue: both sides go.
    op.execute(
        "DELETE e FROM ledger_entries e JOIN (SELECT posting FROM ledger_entries"
        " WHERE account = 'credit') c ON c.posting = e.posting"
    )
    op.alter_column(
        "ledger_entries",
        "account",
        existing_type=sa.Enum(*ACCOUNTS, "credit", name="account"),
        type_=mysql.ENUM(*ACCOUNTS),
        existing_nullable=False,
    )
