"""mail: letters and the addresses that get none

Revision: 0006
Before it: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mails",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("company_id", models.base.Id(length=16), nullable=False),
        sa.Column("notification_id", models.base.Id(length=16), nullable=False),
        sa.Column("template", sa.String(length=50), nullable=False),
        sa.Column("entity", sa.String(length=20), nullable=False),
        sa.Column("entity_id", models.base.Id(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("recipient", sa.String(length=255, collation="utf8mb4_bin"), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "owed",
                "sending",
                "unknown",
                "sent",
                "deferred",
                "delivered",
                "bounced",
                "dropped",
                "complained",
                "failed",
                "suppressed",
                name="mailstatus",
            ),
            nullable=False,
        ),
        sa.Column("provider", sa.String(length=20), nullable=True),
        sa.Column("provider_message_id", sa.String(length=100), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("leased_until", models.base.Moment(fsp=6), nullable=True),
        sa.Column("told_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("sent_at", models.base.Moment(fsp=6), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.Column("updated_at", models.base.Moment(fsp=6), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mails")),
        sa.UniqueConstraint("template", "entity_id", "number", "recipient", name="uq_mails_letter"),
    )
    op.create_index("idx_mails_company_id", "mails", ["company_id", "id"])
    op.create_index("idx_mails_company_status", "mails", ["company_id", "status", "id"])
    op.create_index("idx_mails_entity_id", "mails", ["entity_id"])
    op.create_index("idx_mails_status", "mails", ["status", "updated_at"])
    op.create_table(
        "mail_suppressions",
        sa.Column("id", models.base.Id(length=16), nullable=False),
        sa.Column("tenant_id", models.base.Id(length=16), nullable=False),
        sa.Column("address", sa.String(length=255, collation="utf8mb4_bin"), nullable=False),
        sa.Column("scope", sa.String(length=50), nullable=False),
        sa.Column(
            "reason",
            sa.Enum("unsubscribed", "bounced", "complained", "manual", name="suppressionreason"),
            nullable=False,
        ),
        sa.Column("created_at", models.base.Moment(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_mail_suppressions_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_suppressions")),
        sa.UniqueConstraint(
            "tenant_id",
            "address",
            "scope",
            name=op.f("uq_mail_suppressions_tenant_id_address_scope"),
        ),
    )


def downgrade() -> None:
    op.drop_table("mail_suppressions")
    op.drop_table("mails")
