"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "log_lock",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "log_marks",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "log_numbers",
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("boot", sa.String(length=16), nullable=False),
        sa.Column("seq", sa.String(length=16), nullable=False),
        sa.Column("said", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("gateway", "boot", "seq"),
    )
    op.create_table(
        "log_streams",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created", sa.String(length=64), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.Column("tail", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "log_subjects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_log_subjects_year"), "log_subjects", ["year"], unique=False)
