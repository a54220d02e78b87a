"""What Alembic runs to change a database: the steps in ``versions/``, over our connection."""

from alembic import context

from app.storage import study_schema  # noqa: F401 - its tables belong to the metadata
from app.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite undoes half a change as well, in a transaction of ours
)
context.run_migrations()
