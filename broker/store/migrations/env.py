"""How Alembic does the steps: on the connection it is given, or written down as SQL."""

from alembic import context

from broker.store.schema import schema_of

given = context.config.attributes
connection, tables = given.get("connection"), given["tables"]
context.configure(
    connection=connection,
    dialect_name=given.get("dialect"),
    literal_binds=connection is None,
    target_metadata=tables,
    version_table=schema_of(tables).version_table.name,
    render_as_batch=True,  # SQLite changes a column only by writing the table anew
)
with context.begin_transaction():
    context.run_migrations()
