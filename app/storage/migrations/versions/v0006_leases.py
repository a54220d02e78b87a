"""Who works at an analysis and until when, how far it is, and which workers there are."""

import sqlalchemy as sa
from alembic import op

revision = "v0006"
down_revision = "v0005"


def upgrade() -> None:
    op.add_column("analyses", sa.Column("holder", sa.String(100)))
    op.add_column("analyses", sa.Column("lease_until", sa.DateTime))
    op.add_column("analyses", sa.Column("stage", sa.String(32)))
    op.add_column("analyses", sa.Column("fraction", sa.Float))
    op.add_column("analyses", sa.Column("sent_at", sa.DateTime))
    op.create_table(
        "workers",
        sa.Column("holder", sa.String(100), primary_key=True),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("busy", sa.Integer, nullable=False),
        sa.Column("seen_at", sa.DateTime, nullable=False),
    )
