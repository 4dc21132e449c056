"""imports

Revision: 0010
Before it: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

import models.base

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ACCOUNTS = (
    *("receivable", "revenue", "clearing", "refunds", "disputes", "bank", "fees", "bad_debt"),
    "credit",
)
COUNTS = (
    *("pages", "seen", "made", "updated", "skipped", "refused", "refusals"),
    *("methods_made", "methods_updated", "methods_skipped"),
)


def upgrade() -> None:
    _files()
    _imports()
    _refusals()
    _invoices()
    op.add_column(
        "provider_customers", sa.Column("imported", sa.JSON(none_as_null=True), nullable=True)
    )
    op.alter_column(
        "ledger_entries",
        "account",
        existing_type=mysql.ENUM(*ACCOUNTS),
        type_=sa.Enum(*ACCOUNTS, "opening", name="account"),
        existing_nullable=False,
    )


def _id(name: str, *, is_nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, models.base.Id(length=16), nullable=is_nullable)


def _moment(name: str, *, is_nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, models.base.Moment(fsp=6), nullable=is_nullable)


def _files() -> None:
    op.create_table(
        "import_files",
        _id("id"),
        _id("tenant_id"),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("sha256", sa.CHAR(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("groups", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        _id("sent_by"),
        _moment("created_at"),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_import_files_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_files")),
    )
    op.create_index("idx_import_files_tenant_id", "import_files", ["tenant_id", "id"])
    op.create_table(
        "import_pages",
        _id("id"),
        _id("file_id"),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        _moment("created_at"),
        sa.ForeignKeyConstraint(
            ["file_id"], ["import_files.id"], name=op.f("fk_import_pages_file_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_pages")),
        sa.UniqueConstraint("file_id", "position", name=op.f("uq_import_pages_file_id_position")),
    )


def _imports() -> None:
    op.create_table(
        "imports",
        _id("id"),
        _id("tenant_id"),
        sa.Column(
            "kind",
            sa.Enum("stripe_customers", "invoices_csv", name="importkind"),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum("running", "done", "refused", "canceled", "failed", name="importstatus"),
            nullable=False,
        ),
        sa.Column("phase", sa.Enum("checking", "writing", name="importphase"), nullable=False),
        sa.Column("is_dry_run", sa.Boolean(), nullable=False),
        sa.Column("refuses_all", sa.Boolean(), nullable=False),
        sa.Column("announces", sa.Boolean(), nullable=False),
        _id("file_id", is_nullable=True),
        sa.Column("idempotency_key", sa.String(length=255, collation="utf8mb4_bin"), nullable=True),
        sa.Column("fingerprint", sa.CHAR(length=64), nullable=True),
        sa.Column("running_key", sa.String(length=80), nullable=True),
        sa.Column("cursor", sa.String(length=100, collation="utf8mb4_bin"), nullable=True),
        sa.Column("total", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        _moment("waiting_until", is_nullable=True),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("waits", sa.Integer(), nullable=False),
        _id("task_id", is_nullable=True),
        _id("asked_by"),
        sa.Column("error", sa.Text(), nullable=True),
        _moment("finished_at", is_nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_imports_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
        sa.UniqueConstraint("running_key", name=op.f("uq_imports_running_key")),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name=op.f("uq_imports_tenant_id_idempotency_key")
        ),
    )
    op.create_index("idx_imports_status", "imports", ["status", "id"])


def _refusals() -> None:
    op.create_table(
        "import_refusals",
        _id("id"),
        _id("import_id"),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("subject", sa.String(length=100), nullable=True),
        sa.Column("field", sa.String(length=40), nullable=False),
        sa.Column("value", sa.String(length=120), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        _moment("created_at"),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_refusals_import_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_refusals")),
    )
    op.create_index("idx_import_refusals_import_id", "import_refusals", ["import_id", "id"])


def _invoices() -> None:
    op.create_table(
        "imported_invoices",
        _id("id"),
        _id("company_id"),
        _id("invoice_id"),
        _id("import_id"),
        sa.Column("foreign_number", sa.String(length=40), nullable=False),
        sa.Column("paid_before", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        _moment("created_at"),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoices.id"], name=op.f("fk_imported_invoices_invoice_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imported_invoices")),
        sa.UniqueConstraint(
            "company_id",
            "foreign_number",
            name=op.f("uq_imported_invoices_company_id_foreign_number"),
        ),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_imported_invoices_invoice_id")),
    )


def downgrade() -> None:
    # What was billed elsewhere is told apart no more.
    op.execute("UPDATE ledger_entries SET account = 'bank' WHERE account = 'opening'")
    op.alter_column(
        "ledger_entries",
        "account",
        existing_type=sa.Enum(*ACCOUNTS, "opening", name="account"),
        type_=mysql.ENUM(*ACCOUNTS),
        existing_nullable=False,
    )
    op.drop_column("provider_customers", "imported")
    for table in "imported_invoices import_refusals imports import_pages import_files".split():
        op.drop_table(table)
