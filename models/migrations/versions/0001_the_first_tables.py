"""the first tables

Revision: 0001
Before it:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column(
            "idempotency_key", sa.String(length=255, collation="utf8mb4_bin"), nullable=False
        ),
        sa.Column("fingerprint", sa.CHAR(length=64), nullable=False),
        sa.Column("resource_id", models.base.Id(length=16), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("answer", sa.JSON(), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint(
            "company_id",
            "idempotency_key",
            name=op.f("uq_idempotency_keys_company_id_idempotency_key"),
        ),
    )
    op.create_index(
        "idx_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "invoices",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("number", sa.String(length=40), nullable=False),
        sa.Column(
            "status",
            sa.Enum("draft", "open", "paid", "void", "uncollectible", name="invoicestatus"),
            nullable=False,
        ),
        sa.Column("amount", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("amount_paid", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("paid_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("memo", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("company_id", "number", name=op.f("uq_invoices_company_id_number")),
    )
    op.create_index(
        "idx_invoices_company_status", "invoices", ["company_id", "status"], unique=False
    )
    op.create_index("idx_invoices_created_at", "invoices", ["created_at"], unique=False)
    op.create_table(
        "ledger_entries",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("posting", sa.String(length=120), nullable=False),
        sa.Column(
            "account",
            sa.Enum("receivable", "revenue", "clearing", "refunds", name="account"),
            nullable=False,
        ),
        sa.Column("amount", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("invoice_id", models.base.Id(length=16), nullable=True),
        sa.Column("transaction_id", models.base.Id(length=16), nullable=True),
        sa.Column("refund_id", models.base.Id(length=16), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("posting", "account", name=op.f("uq_ledger_entries_posting_account")),
    )
    op.create_index(
        "idx_ledger_entries_company_id", "ledger_entries", ["company_id", "account"], unique=False
    )
    op.create_index("idx_ledger_entries_invoice_id", "ledger_entries", ["invoice_id"], unique=False)
    op.create_index(
        "idx_ledger_entries_transaction_id", "ledger_entries", ["transaction_id"], unique=False
    )
    op.create_table(
        "outbox",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("task", sa.String(length=100), nullable=False),
        sa.Column("queue", sa.String(length=40), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=True),
        sa.Column("request_id", sa.String(length=100), nullable=True),
        sa.Column("status", sa.Enum("owed", "dead", name="owedstatus"), nullable=False),
        sa.Column("due_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("sent_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("claimed_until", models.base.Moment(fsp=6), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        info={"company_owned": False},
    )
    op.create_index("idx_outbox_queue", "outbox", ["queue", "status"], unique=False)
    op.create_index("idx_outbox_due", "outbox", ["status", "queue", "due_at"], unique=False)
    op.create_table(
        "payment_methods",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("user_id", models.base.Id(length=16), nullable=False),
        sa.Column(
            "type", sa.Enum("card", "bank_account", "paypal", name="methodtype"), nullable=False
        ),
        sa.Column("provider", sa.String(length=50), nullable=False),
        sa.Column("provider_id", sa.String(length=100, collation="utf8mb4_bin"), nullable=True),
        sa.Column(
            "status",
            sa.Enum("pending", "active", "failed", "removed", name="methodstatus"),
            nullable=False,
        ),
        sa.Column("token", sa.String(length=255), nullable=True),
        sa.Column("last_four", sa.String(length=4), nullable=True),
        sa.Column("brand", sa.String(length=50), nullable=True),
        sa.Column("exp_month", sa.Integer(), nullable=True),
        sa.Column("exp_year", sa.Integer(), nullable=True),
        sa.Column("fingerprint", sa.String(length=100), nullable=True),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("first_called_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("error_code", sa.String(length=100), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column(
            "default_company_id",
            models.base.Id(length=16),
            sa.Computed("CASE WHEN is_default = 1 THEN company_id END", persisted=True),
            nullable=True,
        ),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_methods")),
        sa.UniqueConstraint("default_company_id", name="unique_default"),
        sa.UniqueConstraint("provider_id", name=op.f("uq_payment_methods_provider_id")),
    )
    op.create_index(
        "idx_payment_methods_company_id", "payment_methods", ["company_id"], unique=False
    )
    op.create_index("idx_payment_methods_user_id", "payment_methods", ["user_id"], unique=False)
    op.create_table(
        "payment_webhooks",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("event_type", sa.String(length=100), nullable=False),
        sa.Column("provider", sa.String(length=50), nullable=False),
        sa.Column("account", sa.String(length=50, collation="utf8mb4_bin"), nullable=False),
        sa.Column(
            "provider_event_id", sa.String(length=100, collation="utf8mb4_bin"), nullable=False
        ),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "received", "processing", "completed", "failed", "ignored", name="webhookstatus"
            ),
            nullable=False,
        ),
        sa.Column("company_id", models.base.Id(length=16), nullable=True),
        sa.Column("transaction_id", models.base.Id(length=16), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("next_retry_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("handled_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_webhooks")),
        sa.UniqueConstraint("provider", "account", "provider_event_id", name="uq_payment_webhooks"),
        info={"company_owned": False},
    )
    op.create_index("idx_created_at", "payment_webhooks", ["created_at"], unique=False)
    op.create_index("idx_event_type", "payment_webhooks", ["event_type"], unique=False)
    op.create_index(
        "idx_payment_webhooks_transaction_id", "payment_webhooks", ["transaction_id"], unique=False
    )
    op.create_index("idx_provider", "payment_webhooks", ["provider"], unique=False)
    op.create_table(
        "provider_customers",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("provider", sa.String(length=50), nullable=False),
        sa.Column("provider_id", sa.String(length=100, collation="utf8mb4_bin"), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_customers")),
        sa.UniqueConstraint(
            "company_id", "provider", name=op.f("uq_provider_customers_company_id_provider")
        ),
        sa.UniqueConstraint(
            "provider", "provider_id", name=op.f("uq_provider_customers_provider_provider_id")
        ),
    )
    op.create_table(
        "tenants",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
    )
    op.create_table(
        "timeline",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("subject", sa.String(length=20), nullable=False),
        sa.Column("subject_id", models.base.Id(length=16), nullable=False),
        sa.Column("what", sa.String(length=40), nullable=False),
        sa.Column("was", sa.String(length=30), nullable=True),
        sa.Column("became", sa.String(length=30), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(length=100), nullable=True),
        sa.Column("task_id", models.base.Id(length=16), nullable=True),
        sa.Column("attempt_id", models.base.Id(length=16), nullable=True),
        sa.Column("provider_request_id", sa.String(length=100), nullable=True),
        sa.Column("event_id", sa.String(length=100), nullable=True),
        sa.Column("user_id", models.base.Id(length=16), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timeline")),
    )
    op.create_index("idx_timeline_company_id", "timeline", ["company_id"], unique=False)
    op.create_index("idx_timeline_subject", "timeline", ["subject_id", "id"], unique=False)
    op.create_table(
        "companies",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("tenant_id", models.base.Id(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("last_invoice_number", sa.Integer(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_companies_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_companies")),
    )
    op.create_index("idx_companies_tenant", "companies", ["tenant_id"], unique=False)
    op.create_table(
        "invoice_lines",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("invoice_id", models.base.Id(length=16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("description", sa.String(length=500), nullable=False),
        sa.Column("quantity", sa.DECIMAL(precision=15, scale=4), nullable=False),
        sa.Column("unit_amount", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("amount", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoices.id"], name=op.f("fk_invoice_lines_invoice_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_lines")),
        sa.UniqueConstraint(
            "invoice_id", "position", name=op.f("uq_invoice_lines_invoice_id_position")
        ),
    )
    op.create_index("idx_invoice_lines_company_id", "invoice_lines", ["company_id"], unique=False)
    op.create_table(
        "transactions",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("invoice_id", models.base.Id(length=16), nullable=False),
        sa.Column("user_id", models.base.Id(length=16), nullable=True),
        sa.Column("amount", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "processing",
                "requires_action",
                "succeeded",
                "failed",
                "canceled",
                "partially_refunded",
                "refunded",
                "needs_review",
                name="status",
            ),
            nullable=False,
        ),
        sa.Column(
            "payment_method",
            sa.Enum("stripe", "paypal", "bank_transfer", name="provider"),
            nullable=False,
        ),
        sa.Column("payment_method_id", models.base.Id(length=16), nullable=True),
        sa.Column("off_session", sa.Boolean(), nullable=False),
        sa.Column(
            "payment_processor_id", sa.String(length=100, collation="utf8mb4_bin"), nullable=True
        ),
        sa.Column(
            "provider_transaction_id", sa.String(length=100, collation="utf8mb4_bin"), nullable=True
        ),
        sa.Column("amount_captured", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("amount_refunded", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("last_retry_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("next_retry_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("error_code", sa.String(length=100), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "open_invoice_id",
            models.base.Id(length=16),
            sa.Computed(
                "CASE WHEN status IN ('pending', 'processing', 'requires_action', 'needs_review') THEN invoice_id END",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoices.id"], name=op.f("fk_transactions_invoice_id")
        ),
        sa.ForeignKeyConstraint(
            ["payment_method_id"],
            ["payment_methods.id"],
            name=op.f("fk_transactions_payment_method_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
        sa.UniqueConstraint("open_invoice_id", name=op.f("uq_transactions_open_invoice_id")),
        sa.UniqueConstraint(
            "provider_transaction_id", name=op.f("uq_transactions_provider_transaction_id")
        ),
    )
    op.create_index("idx_company_id", "transactions", ["company_id"], unique=False)
    op.create_index("idx_created_at", "transactions", ["created_at"], unique=False)
    op.create_index("idx_invoice_id", "transactions", ["invoice_id"], unique=False)
    op.create_index("idx_status", "transactions", ["status"], unique=False)
    op.create_index(
        "idx_transactions_next_retry_at", "transactions", ["next_retry_at"], unique=False
    )
    op.create_table(
        "payment_attempts",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("transaction_id", models.base.Id(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "provider",
            sa.Enum("stripe", "paypal", "bank_transfer", name="provider"),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "calling",
                "waiting",
                "unknown",
                "requires_action",
                "processing",
                "succeeded",
                "declined",
                "rejected",
                "canceled",
                name="attemptstatus",
            ),
            nullable=False,
        ),
        sa.Column("idempotency_key", sa.String(length=100), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("waits", sa.Integer(), nullable=False),
        sa.Column("leased_until", models.base.Moment(fsp=6), nullable=True),
        sa.Column("first_called_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("provider_id", sa.String(length=100, collation="utf8mb4_bin"), nullable=True),
        sa.Column("provider_request_id", sa.String(length=100), nullable=True),
        sa.Column("decline_code", sa.String(length=100), nullable=True),
        sa.Column("advice_code", sa.String(length=100), nullable=True),
        sa.Column("network_advice_code", sa.String(length=10), nullable=True),
        sa.Column("network_decline_code", sa.String(length=10), nullable=True),
        sa.Column("advice", sa.String(length=30), nullable=True),
        sa.Column("error_code", sa.String(length=100), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("finished_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column(
            "open_transaction_id",
            models.base.Id(length=16),
            sa.Computed(
                "CASE WHEN status IN ('calling', 'waiting', 'unknown', 'requires_action', 'processing') THEN transaction_id END",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name=op.f("fk_payment_attempts_transaction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_attempts")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_payment_attempts_idempotency_key")),
        sa.UniqueConstraint(
            "open_transaction_id", name=op.f("uq_payment_attempts_open_transaction_id")
        ),
        sa.UniqueConstraint(
            "transaction_id", "number", name=op.f("uq_payment_attempts_transaction_id_number")
        ),
    )
    op.create_index(
        "idx_payment_attempts_company_id", "payment_attempts", ["company_id"], unique=False
    )
    op.create_index(
        "idx_payment_attempts_provider_id", "payment_attempts", ["provider_id"], unique=False
    )
    op.create_index(
        "idx_payment_attempts_status", "payment_attempts", ["status", "leased_until"], unique=False
    )
    op.create_table(
        "refunds",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("transaction_id", models.base.Id(length=16), nullable=False),
        sa.Column("amount", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column(
            "reason",
            sa.Enum("requested", "chargeback", "refund", name="refundreason"),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum("pending", "processing", "succeeded", "failed", name="refundstatus"),
            nullable=False,
        ),
        sa.Column(
            "provider_refund_id", sa.String(length=100, collation="utf8mb4_bin"), nullable=True
        ),
        sa.Column("provider_request_id", sa.String(length=100), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("user_id", models.base.Id(length=16), nullable=True),
        sa.Column("first_called_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("leased_until", models.base.Moment(fsp=6), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name=op.f("fk_refunds_transaction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("provider_refund_id", name=op.f("uq_refunds_provider_refund_id")),
    )
    op.create_index("idx_refunds_company_id", "refunds", ["company_id"], unique=False)
    op.create_index("idx_status", "refunds", ["status"], unique=False)
    op.create_index("idx_transaction_id", "refunds", ["transaction_id"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("tenant_id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=True),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column(
            "role",
            sa.Enum("owner", "billing_admin", "member", "operator", name="role"),
            nullable=False,
        ),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(["company_id"], ["companies.id"], name=op.f("fk_users_company_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_users_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        info={"company_owned": False},
    )
    op.create_index("idx_users_company_id", "users", ["company_id"], unique=False)
    op.create_index("idx_users_tenant", "users", ["tenant_id"], unique=False)
    op.create_table(
        "user_sessions",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("user_id", models.base.Id(length=16), nullable=False),
        sa.Column("expires_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("ended_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_sessions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_sessions")),
    )
    op.create_index("idx_user_sessions_user_id", "user_sessions", ["user_id"], unique=False)


def downgrade() -> None:
    op.drop_table("user_sessions")
    op.drop_table("users")
    op.drop_table("refunds")
    op.drop_table("payment_attempts")
    op.drop_table("transactions")
    op.drop_table("invoice_lines")
    op.drop_table("companies")
    op.drop_table("timeline")
    op.drop_table("tenants")
    op.drop_table("provider_customers")
    op.drop_table("payment_webhooks")
    op.drop_table("payment_methods")
    op.drop_table("outbox")
    op.drop_table("ledger_entries")
    op.drop_table("invoices")
    op.drop_table("idempotency_keys")
