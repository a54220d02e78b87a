"""The table of analyses, as it was first."""

import sqlalchemy as sa
from alembic import op

revision = "v0001"
down_revision = None

_REUSABLE = sa.text("status IN ('queued', 'running', 'succeeded')")


def upgrade() -> None:
    op.create_table(
        "analyses",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("acknowledged", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("started_at", sa.DateTime),
        sa.Column("finished_at", sa.DateTime),
        sa.Column("file_name", sa.String(255)),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("body_mass_g", sa.Float),
        sa.Column("profile", sa.String(32), nullable=False),
        sa.Column("figures", sa.Boolean, nullable=False),
        sa.Column("total_ms", sa.Float),
        sa.Column("render_ms", sa.Float, nullable=False),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_detail", sa.String(1000)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_analyses_status", "analyses", ["status"])
    op.create_index(
        "one_analysis_per_fingerprint",
        "analyses",
        ["fingerprint"],
        unique=True,
        sqlite_where=_REUSABLE,
        postgresql_where=_REUSABLE,
    )
