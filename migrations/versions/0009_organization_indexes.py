"""What belongs to an organization, and what a person made, is found without reading everything else."""

from contextlib import nullcontext

from alembic import op

revision = "0009_organization_indexes"
down_revision = "0008_organizations"

_INDEXES = (
    ("audit_events", ("organization_id", "at")),
    ("clients", ("organization_id",)),
    ("clients", ("created_by",)),
)


def upgrade() -> None:
    """Makes an index for each, while others write."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    # CONCURRENTLY stands outside transactions.
    with op.get_context().autocommit_block() if is_postgresql else nullcontext():
        for table, columns in _INDEXES:
            name = op.f(f"ix_{table}_{'_'.join(columns)}")
            op.create_index(name, table, list(columns), postgresql_concurrently=True, if_not_exists=True)


def downgrade() -> None:
    """Drops them."""
    for table, columns in _INDEXES:
        op.drop_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table)
