"""Whose key an analysis came with."""

import sqlalchemy as sa
from alembic import op

revision = "v0002"
down_revision = "v0001"


def upgrade() -> None:
    # Services from before Alembic added both by themselves, and could be killed in between.
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("analyses")}
    if "owner" not in present:
        op.add_column("analyses", sa.Column("owner", sa.String(32)))
    op.create_index("ix_analyses_owner", "analyses", ["owner"], if_not_exists=True)
