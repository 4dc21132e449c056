"""reconciliations

Revision: 0016
Before it: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

RUNS = "reconciliation_runs"
SUSPECTS = "reconciliation_suspects"
BREAKS = "reconciliation_breaks"


def _id(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, models.base.Id(length=16), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, models.base.Moment(fsp=6), nullable=nullable)


def _word(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length, collation="utf8mb4_bin"), nullable=nullable)


def _provider() -> sa.Column[str]:
    # Its own object for each table: a type belongs to its column.
    kinds = sa.Enum("stripe", "paypal", "bank_transfer", name="provider")
    return sa.Column("provider", kinds, nullable=False)


def upgrade() -> None:
    _make_runs()
    _make_suspects()
    _make_breaks()
    op.add_column("transactions", _moment("charged_at", nullable=True))
    # When we heard of a charge is not known of those that are here; their making is near enough,
    # as a run looks up by its id whatever it does not meet in order.
    op.execute(
        "UPDATE transactions SET charged_at = created_at WHERE payment_processor_id IS NOT NULL"
    )
    op.create_index("idx_transactions_charged_at", "transactions", ["payment_method", "charged_at"])
    op.create_index("idx_refunds_created_at", "refunds", ["created_at"])
    op.create_index("idx_disputes_created_at", "disputes", ["created_at"])


def _make_runs() -> None:
    counts = "provider_rows our_rows matched suspects confirmed opened closed".split()
    op.create_table(
        RUNS,
        _id("id"),
        _id("tenant_id"),
        _provider(),
        _word("account", 50),
        _moment("starts_at"),
        _moment("ends_at"),
        sa.Column("status", sa.Enum("running", "done", "failed", name="runstatus"), nullable=False),
        sa.Column(
            "phase",
            sa.Enum(
                *("charges", "refunds", "disputes", "customers", "suspects", "open"), name="phase"
            ),
            nullable=False,
        ),
        sa.Column("running_key", sa.String(length=100), nullable=True),
        sa.Column("checkpoint", sa.JSON(none_as_null=True), nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in counts),
        _moment("waiting_until", nullable=True),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("waits", sa.Integer(), nullable=False),
        _id("task_id", nullable=True),
        _id("asked_by", nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        _moment("finished_at", nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{RUNS}_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{RUNS}")),
        sa.UniqueConstraint("running_key", name=op.f(f"uq_{RUNS}_running_key")),
    )
    op.create_index(f"idx_{RUNS}_status", RUNS, ["status", "id"])
    op.create_index(f"idx_{RUNS}_provider", RUNS, ["provider", "id"])


def _make_suspects() -> None:
    op.create_table(
        SUSPECTS,
        _id("id"),
        _id("run_id"),
        sa.Column("kind", sa.String(length=20), nullable=False),
        _word("object_id", 100),
        _moment("created_at"),
        sa.ForeignKeyConstraint(["run_id"], [f"{RUNS}.id"], name=op.f(f"fk_{SUSPECTS}_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{SUSPECTS}")),
        sa.UniqueConstraint(
            "run_id", "kind", "object_id", name=op.f(f"uq_{SUSPECTS}_run_id_kind_object_id")
        ),
    )


def _make_breaks() -> None:
    kinds = (
        "missing_locally missing_at_provider amount currency status refund_missing_locally"
        " refund_missing_at_provider refund_amount fee duplicate_charge dispute orphan_method"
        " orphan_customer wrong_company payout_unbalanced"
    ).split()
    op.create_table(
        BREAKS,
        _id("id"),
        _id("company_id", nullable=True),
        _id("run_id"),
        _provider(),
        _word("account", 50),
        sa.Column("kind", sa.Enum(*kinds, name="breakkind"), nullable=False),
        _word("object_id", 100),
        sa.Column(
            "status", sa.Enum("open", "repaired", "resolved", name="breakstatus"), nullable=False
        ),
        sa.Column("subject", sa.String(length=20), nullable=False),
        _id("transaction_id", nullable=True),
        sa.Column("amount", sa.DECIMAL(precision=15, scale=2), nullable=True),
        sa.Column("currency", sa.CHAR(length=3), nullable=True),
        sa.Column("ours", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("theirs", sa.JSON(none_as_null=True), nullable=True),
        _moment("happened_at", nullable=True),
        _moment("first_seen"),
        _moment("last_seen"),
        _id("owner_id", nullable=True),
        sa.Column("repair_error", sa.Text(), nullable=True),
        sa.Column(
            "resolution",
            sa.Enum("agreed", "repaired", "accepted", name="resolution"),
            nullable=True,
        ),
        sa.Column("note", sa.Text(), nullable=True),
        _id("resolved_by", nullable=True),
        _moment("resolved_at", nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{BREAKS}")),
        sa.UniqueConstraint("provider", "account", "kind", "object_id", name=f"uq_{BREAKS}"),
    )
    for name, columns in (
        ("run_id", ["run_id", "id"]),
        ("status", ["status", "id"]),
        ("object_id", ["object_id"]),
        ("company_id", ["company_id", "status", "id"]),
        ("owner_id", ["owner_id"]),
    ):
        op.create_index(f"idx_{BREAKS}_{name}", BREAKS, columns)


def downgrade() -> None:
    op.drop_index("idx_disputes_created_at", table_name="disputes")
    op.drop_index("idx_refunds_created_at", table_name="refunds")
    op.drop_index("idx_transactions_charged_at", table_name="transactions")
    op.drop_column("transactions", "charged_at")
    op.drop_table(BREAKS)
    op.drop_table(SUSPECTS)
    op.drop_table(RUNS)
