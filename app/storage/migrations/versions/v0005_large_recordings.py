"""Room for the size of a recording of 2 GiB and more, which an Integer has not everywhere."""

import sqlalchemy as sa
from alembic import op

revision = "v0005"
down_revision = "v0004"


def upgrade() -> None:
    # SQLite keeps 64 bits in any INTEGER, and would have to write the whole table anew.
    if op.get_context().dialect.name != "sqlite":
        op.alter_column(
            "analyses",
            "size_bytes",
            existing_type=sa.Integer(),
            existing_nullable=False,
            type_=sa.BigInteger(),
        )
