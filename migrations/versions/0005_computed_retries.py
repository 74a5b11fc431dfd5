"""A retried refresh is computed anew, not kept."""

import sqlalchemy as sa
from alembic import op

revision = "0005_computed_retries"
down_revision = "0004_audit_seals"


def upgrade() -> None:
    """Forgets the sealed answers: no release has kept any."""
    with op.batch_alter_table("refresh_tokens") as batch:
        batch.drop_column("replay")


def downgrade() -> None:
    """Makes room for them again."""
    with op.batch_alter_table("refresh_tokens") as batch:
        batch.add_column(sa.Column("replay", sa.String(), nullable=True))
