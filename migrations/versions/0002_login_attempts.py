"""Login attempts are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0002_login_attempts"
down_revision = "0001_initial"


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "login_attempts",
        sa.Column("bucket", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("window_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_login_attempts")),
    )
    op.create_index(op.f("ix_login_attempts_window_ends_at"), "login_attempts", ["window_ends_at"])


def downgrade() -> None:
    """Drops it."""
    op.drop_table("login_attempts")
