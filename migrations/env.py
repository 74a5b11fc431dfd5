"""Alembic's entry: runs the scripts on the connection that `server.infra.migrations` opened."""

from alembic import context

from server.domain.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    compare_type=True,
    # On PostgreSQL one revision's locks are gone before the next begins, and an upgrade that ended is taken up again.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
