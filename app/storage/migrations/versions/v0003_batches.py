"""What batches need: who is waited for, drawings that break, and keys of requests sent again."""

import sqlalchemy as sa
from alembic import op

revision = "v0003"
down_revision = "v0002"


def upgrade() -> None:
    op.add_column("analyses", sa.Column("interactive", sa.Boolean))
    op.add_column("analyses", sa.Column("render_attempts", sa.Integer))
    op.create_table(
        "idempotency_keys",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("analysis_id", sa.String(32), nullable=False),
        sa.UniqueConstraint("owner", "key_sha256", name="one_request_per_key"),
    )
    op.create_index("ix_idempotency_keys_analysis_id", "idempotency_keys", ["analysis_id"])
