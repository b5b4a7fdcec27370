"""When an envelope was handed in again for a peer, and which of the outbox are such repetitions."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add them. What was handed in again before may be once more."""
    op.add_column("outbox", sa.Column("again", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "sent", sa.Column("again_ms", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column(
        "sent", sa.Column("again_for", sa.BigInteger(), nullable=False, server_default="0")
    )
