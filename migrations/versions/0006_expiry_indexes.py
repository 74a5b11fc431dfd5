"""Housekeeping finds what is over without reading everything else."""

from contextlib import nullcontext

from alembic import op

revision = "0006_expiry_indexes"
down_revision = "0005_computed_retries"

_COLUMNS = (("grants", "expires_at"), ("grants", "revoked_at"), ("sessions", "ends_at"), ("browsers", "last_seen_at"))


def upgrade() -> None:
    """Makes an index for each, while others write."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    # CONCURRENTLY stands outside transactions.
    with op.get_context().autocommit_block() if is_postgresql else nullcontext():
        for table, column in _COLUMNS:
            op.create_index(
                op.f(f"ix_{table}_{column}"), table, [column], postgresql_concurrently=True, if_not_exists=True
            )


def downgrade() -> None:
    """Drops them."""
    for table, column in _COLUMNS:
        op.drop_index(op.f(f"ix_{table}_{column}"), table)
