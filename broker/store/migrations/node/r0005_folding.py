"""What each alert says, by a name, so that the same alert under another id is known again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add it. What came before is not known again: its items hold less than the name is made of."""
    op.add_column("received", sa.Column("said", sa.LargeBinary(), nullable=True))
    op.add_column("received", sa.Column("item", sa.String(length=36), nullable=True))
    op.create_index(op.f("ix_received_said"), "received", ["said"], unique=False)
    op.create_index(op.f("ix_received_item"), "received", ["item"], unique=False)
