"""A column, an index and a table more than the newest version of a node."""

import sqlalchemy as sa
from alembic import op

revision = "test2"
down_revision = "0007"


def upgrade() -> None:
    with op.batch_alter_table("meta") as batch:
        batch.add_column(
            sa.Column("since", sa.String(20), nullable=False, server_default="unknown")
        )
        batch.create_index("ix_meta_since", ["since"])
    op.create_table("novelties", sa.Column("id", sa.Integer(), primary_key=True))
