"""What Alembic runs for each command. The connection comes from the caller, inside its transaction."""

from alembic import context

from sightline.adapters.database.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
