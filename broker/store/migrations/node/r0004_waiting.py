"""Until when the content of a submission may be kept, so that what waits goes by itself too."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add it. What was queued before goes with its envelope, or by `kentong node erase`."""
    op.add_column("submissions", sa.Column("delete_ms", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_submissions_delete_ms"), "submissions", ["delete_ms"], unique=False)
