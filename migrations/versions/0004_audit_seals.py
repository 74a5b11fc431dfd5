"""Audit rows are sealed: a chain of keyed digests beside them."""

import sqlalchemy as sa
from alembic import op

revision = "0004_audit_seals"
down_revision = "0003_registry_version"


_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes the table; the rows there are already are sealed by the next round of housekeeping."""
    op.create_table(
        "audit_seals",
        sa.Column("sequence", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("audit_id", _NUMBER, nullable=False),
        sa.Column("key_name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_seals")),
        sa.UniqueConstraint("audit_id", name=op.f("uq_audit_seals_audit_id")),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("audit_seals")
