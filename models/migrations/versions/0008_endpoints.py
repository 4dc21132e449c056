"""endpoints of tenants' own systems

Revision: 0008
Before it: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

import models.base

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("tenant_id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=True),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("description", sa.String(length=500), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("secret", sa.String(length=100), nullable=False),
        sa.Column("previous_secret", sa.String(length=100), nullable=True),
        sa.Column("previous_until", models.base.Moment(fsp=6), nullable=True),
        sa.Column("status", sa.Enum("enabled", "disabled", name="endpointstatus"), nullable=False),
        sa.Column(
            "disabled_reason",
            sa.Enum("asked", "gone", "failing", name="disabledreason"),
            nullable=True,
        ),
        sa.Column("disabled_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("disablings", sa.Integer(), nullable=False),
        sa.Column("is_proven", sa.Boolean(), nullable=False),
        sa.Column("failing_since", models.base.Moment(fsp=6), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("deleted_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("fk_endpoints_company_id")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_endpoints_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoints")),
        info={"company_owned": False},
    )
    op.create_index("idx_endpoints_company_id", "endpoints", ["company_id"], unique=False)
    op.create_index(
        "idx_endpoints_tenant_id", "endpoints", ["tenant_id", "company_id"], unique=False
    )
    op.create_table(
        "endpoint_messages",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("tenant_id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=True),
        sa.Column("source_id", models.base.Id(length=16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=100), nullable=False),
        sa.Column("payload", mysql.MEDIUMTEXT(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_endpoint_messages_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoint_messages")),
        sa.UniqueConstraint(
            "source_id", "position", name=op.f("uq_endpoint_messages_source_id_position")
        ),
        info={"company_owned": False},
    )
    op.create_index(
        "idx_endpoint_messages_company_id", "endpoint_messages", ["company_id", "id"], unique=False
    )
    op.create_index(
        "idx_endpoint_messages_created_at", "endpoint_messages", ["created_at"], unique=False
    )
    op.create_index(
        "idx_endpoint_messages_tenant_id", "endpoint_messages", ["tenant_id", "id"], unique=False
    )
    op.create_table(
        "endpoint_deliveries",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("endpoint_id", models.base.Id(length=16), nullable=False),
        sa.Column("message_id", models.base.Id(length=16), nullable=False),
        sa.Column(
            "status",
            sa.Enum("owed", "delivering", "delivered", "failed", "canceled", name="deliverystatus"),
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("status_code", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.String(length=500), nullable=True),
        sa.Column("response", sa.String(length=1024), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("delivered_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoints.id"], name=op.f("fk_endpoint_deliveries_endpoint_id")
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["endpoint_messages.id"], name=op.f("fk_endpoint_deliveries_message_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoint_deliveries")),
        sa.UniqueConstraint(
            "endpoint_id", "message_id", name=op.f("uq_endpoint_deliveries_endpoint_id_message_id")
        ),
    )
    op.create_index(
        "idx_endpoint_deliveries_due",
        "endpoint_deliveries",
        ["endpoint_id", "next_attempt_at"],
        unique=False,
    )
    op.create_index(
        "idx_endpoint_deliveries_message_id", "endpoint_deliveries", ["message_id"], unique=False
    )
    op.create_index(
        "idx_endpoint_deliveries_newest", "endpoint_deliveries", ["endpoint_id", "id"], unique=False
    )
    op.create_index(
        "idx_endpoint_deliveries_next_attempt_at",
        "endpoint_deliveries",
        ["next_attempt_at"],
        unique=False,
    )
    op.create_index(
        "idx_endpoint_deliveries_status",
        "endpoint_deliveries",
        ["endpoint_id", "status", "id"],
        unique=False,
    )
    op.create_table(
        "endpoint_attempts",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("delivery_id", models.base.Id(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status_code", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.String(length=500), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("ended_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["endpoint_deliveries.id"],
            name=op.f("fk_endpoint_attempts_delivery_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoint_attempts")),
        sa.UniqueConstraint(
            "delivery_id", "number", name=op.f("uq_endpoint_attempts_delivery_id_number")
        ),
    )


def downgrade() -> None:
    op.drop_table("endpoint_attempts")
    op.drop_table("endpoint_deliveries")
    op.drop_table("endpoint_messages")
    op.drop_table("endpoints")
