"""reports

Revision: 0014
Before it: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "analytics_reports",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=True),
        sa.Column("tenant_id", models.base.Id(length=16), nullable=False),
        sa.Column("report_name", sa.String(length=255), nullable=False),
        sa.Column("report_type", sa.String(length=50), nullable=False),
        sa.Column("query_params", sa.JSON(), nullable=False),
        sa.Column("results", sa.JSON(), nullable=True),
        sa.Column("row_count", sa.Integer(), nullable=True),
        sa.Column("is_cut", sa.Boolean(), nullable=False),
        sa.Column(
            "status", sa.Enum("pending", "done", "failed", name="reportstatus"), nullable=False
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("asked_by", models.base.Id(length=16), nullable=False),
        sa.Column("schedule_id", models.base.Id(length=16), nullable=True),
        sa.Column("due_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("fresh_key", sa.CHAR(length=64), nullable=True),
        sa.Column("generated_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("expires_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_analytics_reports_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_reports")),
        sa.UniqueConstraint("fresh_key", name=op.f("uq_analytics_reports_fresh_key")),
        sa.UniqueConstraint(
            "schedule_id", "due_at", name=op.f("uq_analytics_reports_schedule_id_due_at")
        ),
    )
    for name, columns in (
        ("idx_company_created", ["company_id", "created_at"]),
        ("idx_analytics_reports_company_id", ["company_id", "id"]),
        ("idx_analytics_reports_tenant_id", ["tenant_id", "id"]),
        ("idx_analytics_reports_expires_at", ["expires_at"]),
    ):
        op.create_index(name, "analytics_reports", columns, unique=False)
    op.create_table(
        "report_schedules",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=True),
        sa.Column("tenant_id", models.base.Id(length=16), nullable=False),
        sa.Column("report_name", sa.String(length=255), nullable=False),
        sa.Column("report_type", sa.String(length=50), nullable=False),
        sa.Column("query_params", sa.JSON(), nullable=False),
        sa.Column("cron", sa.String(length=100), nullable=False),
        sa.Column("sends_mail", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Enum("active", "paused", name="schedulestatus"), nullable=False),
        sa.Column("asked_by", models.base.Id(length=16), nullable=False),
        sa.Column("next_run_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("last_run_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_report_schedules_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_schedules")),
    )
    for name, columns in (
        ("idx_report_schedules_company_id", ["company_id", "id"]),
        ("idx_report_schedules_tenant_id", ["tenant_id", "id"]),
        ("idx_report_schedules_due", ["status", "next_run_at"]),
    ):
        op.create_index(name, "report_schedules", columns, unique=False)


def downgrade() -> None:
    op.drop_table("report_schedules")
    op.drop_table("analytics_reports")
