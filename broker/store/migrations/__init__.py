"""Steps between versions of tables, as Alembic reads them."""
