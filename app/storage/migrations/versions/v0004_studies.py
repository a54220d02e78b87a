"""Studies, the files in them, and analyses that go with the last study that has them."""

import sqlalchemy as sa
from alembic import op

revision = "v0004"
down_revision = "v0003"


def upgrade() -> None:
    op.add_column("analyses", sa.Column("study_only", sa.Boolean))
    op.create_table(
        "studies",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("owner", sa.String(32)),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("body_mass_g", sa.Float),
        sa.Column("profile", sa.String(32), nullable=False),
        sa.Column("figures", sa.Boolean, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_studies_owner", "studies", ["owner"])
    op.create_table(
        "study_entries",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("study_id", sa.String(32), nullable=False),
        sa.Column("added_at", sa.DateTime, nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("body_mass_g", sa.Float),
        sa.Column("mouse_id", sa.String(100)),
        sa.Column("sex", sa.String(1)),
        sa.Column("group", sa.String(100)),
        sa.Column("analysis_id", sa.String(32)),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_detail", sa.String(1000)),
        sa.UniqueConstraint("study_id", "file_name", name="one_entry_per_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_study_entries_analysis_id", "study_entries", ["analysis_id"])
