"""ladder, disputes, alerts, notices and cursors

Revision: 0002
Before it: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

import models.base

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=True),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column(
            "severity", sa.Enum("info", "warning", "critical", name="severity"), nullable=False
        ),
        sa.Column("subject", sa.String(length=20), nullable=True),
        sa.Column("subject_id", models.base.Id(length=16), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("open_key", sa.String(length=150, collation="utf8mb4_bin"), nullable=True),
        sa.Column("resolved_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("resolved_by", models.base.Id(length=16), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("open_key", name=op.f("uq_alerts_open_key")),
        info={"company_owned": False},
    )
    op.create_index("idx_alerts_company_id", "alerts", ["company_id", "id"], unique=False)
    op.create_index("idx_alerts_resolved_at", "alerts", ["resolved_at"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("template", sa.String(length=50), nullable=False),
        sa.Column("subject", sa.String(length=20), nullable=False),
        sa.Column("subject_id", models.base.Id(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column(
            "status", sa.Enum("owed", "sent", "failed", name="notificationstatus"), nullable=False
        ),
        sa.Column("sent_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint(
            "template",
            "subject_id",
            "number",
            name=op.f("uq_notifications_template_subject_id_number"),
        ),
    )
    op.create_index(
        "idx_notifications_company_id", "notifications", ["company_id", "id"], unique=False
    )
    op.create_index("idx_notifications_subject_id", "notifications", ["subject_id"], unique=False)
    op.create_table(
        "provider_cursors",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("provider", sa.String(length=50), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("position", sa.String(length=255), nullable=True),
        sa.Column("looked_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_cursors")),
        sa.UniqueConstraint("provider", "name", name=op.f("uq_provider_cursors_provider_name")),
    )
    op.create_table(
        "operator_acts",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("tenant_id", models.base.Id(length=16), nullable=False),
        sa.Column("user_id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=True),
        sa.Column(
            "action",
            sa.Enum("replay", "dismiss", "resolve", "settle", name="action"),
            nullable=False,
        ),
        sa.Column("subject", sa.String(length=20), nullable=False),
        sa.Column("subject_id", models.base.Id(length=16), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("request_id", sa.String(length=100), nullable=True),
        sa.Column("detail", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_acts")),
        info={"company_owned": False},
    )
    op.create_index(
        "idx_operator_acts_subject_id", "operator_acts", ["subject_id", "id"], unique=False
    )
    op.create_index(
        "idx_operator_acts_tenant_id", "operator_acts", ["tenant_id", "id"], unique=False
    )
    op.create_table(
        "retry_policies",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("delays_h", sa.JSON(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retry_policies")),
        sa.UniqueConstraint("company_id", name=op.f("uq_retry_policies_company_id")),
    )
    op.create_table(
        "disputes",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("transaction_id", models.base.Id(length=16), nullable=False),
        sa.Column("provider", sa.String(length=50), nullable=False),
        sa.Column(
            "provider_dispute_id", sa.String(length=100, collation="utf8mb4_bin"), nullable=False
        ),
        sa.Column("amount", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("reason", sa.String(length=100), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "warning_needs_response",
                "warning_under_review",
                "warning_closed",
                "needs_response",
                "under_review",
                "won",
                "lost",
                "prevented",
                name="disputestatus",
            ),
            nullable=False,
        ),
        sa.Column("evidence_due_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=True),
        sa.Column("evidence_submitted_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("is_refundable", sa.Boolean(), nullable=False),
        sa.Column("amount_withdrawn", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("amount_reinstated", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("closed_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("due_told_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name=op.f("fk_disputes_transaction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disputes")),
        sa.UniqueConstraint(
            "provider", "provider_dispute_id", name=op.f("uq_disputes_provider_provider_dispute_id")
        ),
    )
    op.create_index("idx_disputes_company_id", "disputes", ["company_id", "status"], unique=False)
    op.create_index(
        "idx_disputes_evidence_due_at", "disputes", ["status", "evidence_due_at"], unique=False
    )
    op.create_index("idx_disputes_transaction_id", "disputes", ["transaction_id"], unique=False)
    op.create_table(
        "dispute_actions",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("dispute_id", models.base.Id(length=16), nullable=False),
        sa.Column("kind", sa.Enum("evidence", "accept", name="disputeactionkind"), nullable=False),
        sa.Column(
            "status",
            sa.Enum("pending", "sent", "failed", name="disputeactionstatus"),
            nullable=False,
        ),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("user_id", models.base.Id(length=16), nullable=True),
        sa.Column("first_called_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("provider_request_id", sa.String(length=100), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["dispute_id"], ["disputes.id"], name=op.f("fk_dispute_actions_dispute_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispute_actions")),
    )
    op.create_index(
        "idx_dispute_actions_company_id", "dispute_actions", ["company_id"], unique=False
    )
    op.create_index(
        "idx_dispute_actions_dispute_id", "dispute_actions", ["dispute_id"], unique=False
    )
    op.add_column(
        "ledger_entries", sa.Column("dispute_id", models.base.Id(length=16), nullable=True)
    )
    op.alter_column(
        "ledger_entries",
        "account",
        existing_type=mysql.ENUM("receivable", "revenue", "clearing", "refunds"),
        type_=sa.Enum(
            "receivable",
            "revenue",
            "clearing",
            "refunds",
            "disputes",
            "bank",
            "fees",
            name="account",
        ),
        existing_nullable=False,
    )
    op.add_column(
        "payment_attempts",
        sa.Column("made_by", sa.Enum("first", "ladder", "manual", name="trigger"), nullable=False),
    )
    op.add_column(
        "payment_attempts", sa.Column("payment_method_id", models.base.Id(length=16), nullable=True)
    )
    op.add_column(
        "payment_attempts", sa.Column("fingerprint", sa.String(length=100), nullable=True)
    )
    op.add_column("payment_attempts", sa.Column("wait_at_least_s", sa.Integer(), nullable=False))
    op.create_index(
        "idx_payment_attempts_fingerprint",
        "payment_attempts",
        ["fingerprint", "created_at"],
        unique=False,
    )
    op.add_column(
        "payment_methods", sa.Column("removed_at", models.base.Moment(fsp=6), nullable=True)
    )
    op.add_column(
        "payment_methods", sa.Column("replaced_by_id", models.base.Id(length=16), nullable=True)
    )
    op.add_column(
        "payment_methods", sa.Column("replaces_id", models.base.Id(length=16), nullable=True)
    )
    op.create_index(
        "idx_payment_methods_expiry", "payment_methods", ["exp_year", "exp_month"], unique=False
    )
    op.create_index(
        "idx_payment_methods_fingerprint", "payment_methods", ["fingerprint"], unique=False
    )
    op.add_column("payment_webhooks", sa.Column("raw_body", mysql.MEDIUMBLOB(), nullable=True))
    op.add_column(
        "payment_webhooks", sa.Column("verified_at", models.base.Moment(fsp=6), nullable=True)
    )
    op.add_column(
        "payment_webhooks", sa.Column("subject_id", models.base.Id(length=16), nullable=True)
    )
    op.alter_column(
        "payment_webhooks",
        "status",
        existing_type=mysql.ENUM("received", "processing", "completed", "failed", "ignored"),
        type_=sa.Enum(
            "received",
            "processing",
            "completed",
            "failed",
            "ignored",
            "refused",
            name="webhookstatus",
        ),
        existing_nullable=False,
    )
    op.alter_column(
        "refunds",
        "status",
        existing_type=mysql.ENUM("pending", "processing", "succeeded", "failed"),
        type_=sa.Enum(
            "pending",
            "processing",
            "requires_action",
            "succeeded",
            "failed",
            name="refundstatus",
        ),
        existing_nullable=False,
    )
    op.alter_column(
        "outbox",
        "status",
        existing_type=mysql.ENUM("owed", "dead"),
        type_=sa.Enum("owed", "dead", "dismissed", name="owedstatus"),
        existing_nullable=False,
    )
    op.add_column("refunds", sa.Column("reopens_invoice", sa.Boolean(), nullable=False))
    op.add_column("refunds", sa.Column("review_since", models.base.Moment(fsp=6), nullable=True))
    op.add_column("refunds", sa.Column("looked_up_at", models.base.Moment(fsp=6), nullable=True))
    op.add_column(
        "transactions",
        sa.Column(
            "dunning",
            sa.Enum(
                "none",
                "scheduled",
                "asked",
                "stopped",
                "exhausted",
                "in_review",
                "cleared",
                name="dunning",
            ),
            nullable=False,
        ),
    )
    op.add_column("tenants", sa.Column("is_platform", sa.Boolean(), nullable=False))
    op.add_column("transactions", sa.Column("is_disputed", sa.Boolean(), nullable=False))
    op.add_column(
        "transactions", sa.Column("looked_up_at", models.base.Moment(fsp=6), nullable=True)
    )
    op.create_index(
        "idx_transactions_payment_processor_id",
        "transactions",
        ["payment_processor_id"],
        unique=False,
    )
    op.create_index(
        "idx_transactions_company_status", "transactions", ["company_id", "status"], unique=False
    )
    op.create_index(
        "idx_transactions_company_retry",
        "transactions",
        ["company_id", "next_retry_at"],
        unique=False,
    )
    op.create_index("idx_invoices_company_id", "invoices", ["company_id"], unique=False)
    op.create_index("idx_companies_name", "companies", ["tenant_id", "name"], unique=False)
    op.drop_index("idx_ledger_entries_company_id", table_name="ledger_entries")
    op.create_index(
        "idx_ledger_entries_company_id",
        "ledger_entries",
        ["company_id", "account", "created_at"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index("idx_ledger_entries_company_id", table_name="ledger_entries")
    op.create_index(
        "idx_ledger_entries_company_id", "ledger_entries", ["company_id", "account"], unique=False
    )
    op.drop_index("idx_companies_name", table_name="companies")
    op.drop_index("idx_invoices_company_id", table_name="invoices")
    op.drop_index("idx_transactions_company_retry", table_name="transactions")
    op.drop_index("idx_transactions_company_status", table_name="transactions")
    op.drop_index("idx_transactions_payment_processor_id", table_name="transactions")
    op.drop_column("transactions", "looked_up_at")
    op.drop_column("transactions", "is_disputed")
    op.drop_column("transactions", "dunning")
    op.drop_column("tenants", "is_platform")
    op.execute("UPDATE outbox SET status = 'dead' WHERE status = 'dismissed'")
    op.alter_column(
        "outbox",
        "status",
        existing_type=sa.Enum("owed", "dead", "dismissed", name="owedstatus"),
        type_=mysql.ENUM("owed", "dead"),
        existing_nullable=False,
    )
    op.drop_column("refunds", "looked_up_at")
    op.drop_column("refunds", "review_since")
    op.drop_column("refunds", "reopens_invoice")
    op.alter_column(
        "refunds",
        "status",
        existing_type=sa.Enum(
            "pending",
            "processing",
            "requires_action",
            "succeeded",
            "failed",
            name="refundstatus",
        ),
        type_=mysql.ENUM("pending", "processing", "succeeded", "failed"),
        existing_nullable=False,
    )
    op.execute("UPDATE payment_webhooks SET status = 'ignored' WHERE status = 'refused'")
    op.alter_column(
        "payment_webhooks",
        "status",
        existing_type=sa.Enum(
            "received",
            "processing",
            "completed",
            "failed",
            "ignored",
            "refused",
            name="webhookstatus",
        ),
        type_=mysql.ENUM("received", "processing", "completed", "failed", "ignored"),
        existing_nullable=False,
    )
    op.drop_column("payment_webhooks", "subject_id")
    op.drop_column("payment_webhooks", "verified_at")
    op.drop_column("payment_webhooks", "raw_body")
    op.drop_index("idx_payment_methods_fingerprint", table_name="payment_methods")
    op.drop_index("idx_payment_methods_expiry", table_name="payment_methods")
    op.drop_column("payment_methods", "replaces_id")
    op.drop_column("payment_methods", "replaced_by_id")
    op.drop_column("payment_methods", "removed_at")
    op.drop_index("idx_payment_attempts_fingerprint", table_name="payment_attempts")
    op.drop_column("payment_attempts", "wait_at_least_s")
    op.drop_column("payment_attempts", "fingerprint")
    op.drop_column("payment_attempts", "payment_method_id")
    op.drop_column("payment_attempts", "made_by")
    op.alter_column(
        "ledger_entries",
        "account",
        existing_type=sa.Enum(
            "receivable",
            "revenue",
            "clearing",
            "refunds",
            "disputes",
            "bank",
            "fees",
            name="account",
        ),
        type_=mysql.ENUM("receivable", "revenue", "clearing", "refunds"),
        existing_nullable=False,
    )
    op.drop_column("ledger_entries", "dispute_id")
    op.drop_table("dispute_actions")
    op.drop_table("disputes")
    op.drop_table("retry_policies")
    op.drop_table("operator_acts")
    op.drop_table("provider_cursors")
    op.drop_table("notifications")
    op.drop_table("alerts")
