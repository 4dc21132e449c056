"""invoices: lines, taxes, credit notes, a company's terms

Revision: 0003
Before it: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

import models.base

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ACCOUNTS = ("receivable", "revenue", "clearing", "refunds", "disputes", "bank", "fees")


def upgrade() -> None:
    _companies()
    _invoices()
    _lines()
    op.alter_column(
        "ledger_entries",
        "account",
        existing_type=mysql.ENUM(*ACCOUNTS),
        type_=sa.Enum(*ACCOUNTS, "bad_debt", name="account"),
        existing_nullable=False,
    )
    _credit_notes()


def _companies() -> None:
    op.add_column("companies", sa.Column("address", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("companies", sa.Column("tax_id", sa.String(length=50), nullable=True))
    op.add_column("companies", sa.Column("language", sa.String(length=8), nullable=False))
    op.add_column("companies", sa.Column("time_zone", sa.String(length=64), nullable=False))
    op.add_column("companies", sa.Column("last_credit_note_number", sa.Integer(), nullable=False))
    op.execute("UPDATE companies SET language = 'en', time_zone = 'UTC'")


def _invoices() -> None:
    op.alter_column("invoices", "number", existing_type=mysql.VARCHAR(length=40), nullable=True)
    for name in ("subtotal", "discount_amount", "tax_amount", "amount_credited"):
        op.add_column(
            "invoices", sa.Column(name, sa.DECIMAL(precision=15, scale=2), nullable=False)
        )
    for name in ("issued_at", "period_start", "period_end"):
        op.add_column("invoices", sa.Column(name, models.base.Moment(fsp=6), nullable=True))
    op.add_column("invoices", sa.Column("billed_to", sa.JSON(none_as_null=True), nullable=True))
    op.add_column(
        "invoices", sa.Column("subscription_id", models.base.Id(length=16), nullable=True)
    )
    op.create_index("idx_invoices_subscription_id", "invoices", ["subscription_id"], unique=False)
    # Nothing was discounted or taxed so far, and nothing was a draft for longer than its request.
    op.execute(
        "UPDATE invoices SET subtotal = amount, issued_at = IF(status = 'draft', NULL, created_at)"
    )
    op.execute(
        "UPDATE invoices i JOIN companies c ON c.id = i.company_id JOIN tenants t"
        " ON t.id = c.tenant_id SET i.billed_to = JSON_OBJECT('name', c.name, 'address', NULL,"
        " 'tax_id', NULL, 'language', c.language, 'time_zone', c.time_zone, 'issuer', t.name)"
        " WHERE i.status <> 'draft'"
    )


def _lines() -> None:
    op.alter_column(
        "invoice_lines",
        "unit_amount",
        existing_type=mysql.DECIMAL(precision=15, scale=2),
        type_=sa.DECIMAL(precision=19, scale=6),
        existing_nullable=False,
    )
    op.alter_column(
        "invoice_lines",
        "quantity",
        existing_type=mysql.DECIMAL(precision=15, scale=4),
        type_=sa.DECIMAL(precision=23, scale=4),
        existing_nullable=False,
    )
    op.add_column(
        "invoice_lines",
        sa.Column(
            "kind",
            sa.Enum("item", "plan", "seat", "usage", "proration", "credit", name="linekind"),
            nullable=False,
        ),
    )
    for name in ("discount_amount", "tax_amount", "total"):
        op.add_column(
            "invoice_lines", sa.Column(name, sa.DECIMAL(precision=15, scale=2), nullable=False)
        )
    op.add_column("invoice_lines", sa.Column("taxes", sa.JSON(), nullable=True))
    for name in ("period_start", "period_end"):
        op.add_column("invoice_lines", sa.Column(name, models.base.Moment(fsp=6), nullable=True))
    op.add_column("invoice_lines", sa.Column("module_id", models.base.Id(length=16), nullable=True))
    op.execute("UPDATE invoice_lines SET total = amount, taxes = '[]'")
    op.alter_column("invoice_lines", "taxes", existing_type=sa.JSON(), nullable=False)


def _credit_notes() -> None:
    op.create_table(
        "credit_notes",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("number", sa.String(length=40), nullable=False),
        sa.Column("invoice_id", models.base.Id(length=16), nullable=False),
        sa.Column("refund_id", models.base.Id(length=16), nullable=True),
        sa.Column("amount", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("tax_amount", sa.DECIMAL(precision=15, scale=2), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("billed_to", sa.JSON(), nullable=False),
        sa.Column("issued_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("reversed_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoices.id"], name=op.f("fk_credit_notes_invoice_id")
        ),
        sa.ForeignKeyConstraint(
            ["refund_id"], ["refunds.id"], name=op.f("fk_credit_notes_refund_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_notes")),
        sa.UniqueConstraint("company_id", "number", name=op.f("uq_credit_notes_company_id_number")),
        sa.UniqueConstraint("refund_id", name=op.f("uq_credit_notes_refund_id")),
    )
    op.create_index("idx_credit_notes_company_id", "credit_notes", ["company_id"], unique=False)
    op.create_index("idx_credit_notes_invoice_id", "credit_notes", ["invoice_id"], unique=False)


def downgrade() -> None:
    op.drop_table("credit_notes")
    # What was written off is no revenue either.
    op.execute("UPDATE ledger_entries SET account = 'revenue' WHERE account = 'bad_debt'")
    op.alter_column(
        "ledger_entries",
        "account",
        existing_type=sa.Enum(*ACCOUNTS, "bad_debt", name="account"),
        type_=mysql.ENUM(*ACCOUNTS),
        existing_nullable=False,
    )
    for (
        name
    ) in "module_id period_end period_start taxes total tax_amount discount_amount kind".split():
        op.drop_column("invoice_lines", name)
    op.alter_column(
        "invoice_lines",
        "unit_amount",
        existing_type=sa.DECIMAL(precision=19, scale=6),
        type_=mysql.DECIMAL(precision=15, scale=2),
        existing_nullable=False,
    )
    op.alter_column(
        "invoice_lines",
        "quantity",
        existing_type=sa.DECIMAL(precision=23, scale=4),
        type_=mysql.DECIMAL(precision=15, scale=4),
        existing_nullable=False,
    )
    op.drop_index("idx_invoices_subscription_id", table_name="invoices")
    for name in (
        "subscription_id billed_to period_end period_start issued_at amount_credited tax_amount"
        " discount_amount subtotal".split()
    ):
        op.drop_column("invoices", name)
    op.execute(
        "DELETE l FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id"
        " WHERE i.number IS NULL"
    )
    op.execute("DELETE FROM invoices WHERE number IS NULL")
    op.alter_column("invoices", "number", existing_type=mysql.VARCHAR(length=40), nullable=False)
    for name in ("last_credit_note_number", "time_zone", "language", "tax_id", "address"):
        op.drop_column("companies", name)
