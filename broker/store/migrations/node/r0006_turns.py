"""How urgent files are, and the indexes by which the next of them is found however many wait."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add them. How urgent a file is stands sealed: what waits already counts as not urgent."""
    op.add_column("uploads", sa.Column("urgency", sa.Integer(), nullable=False, server_default="1"))
    op.create_index(
        "uploads_due", "uploads", ["decided", "urgency", "due_ms", "envelope_id"], unique=False
    )
    op.add_column("arrivals", sa.Column("urgent", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index(op.f("ix_arrivals_state"), table_name="arrivals")
    op.create_index(
        "arrivals_due",
        "arrivals",
        ["state", "sender", "urgent", "due_ms", "envelope_id", "number"],
        unique=False,
    )
    op.create_index(
        "arrivals_untold", "arrivals", ["told", "state", "chunks", "due_ms"], unique=False
    )
