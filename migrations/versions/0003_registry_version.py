"""The registry (clients, their secrets, signing keys) has a version that each change counts up."""

import sqlalchemy as sa
from alembic import op

revision = "0003_registry_version"
down_revision = "0002_login_attempts"

_REGISTRY = ("clients", "client_secrets", "signing_keys")


def upgrade() -> None:
    """Counts every change of the registry by triggers, so that no writer can forget to."""
    op.create_table(
        "registry_version",
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_registry_version")),
    )
    op.execute("INSERT INTO registry_version (version) VALUES (1)")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION count_registry_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "UPDATE registry_version SET version = version + 1; "
            "PERFORM pg_notify('gatepost_registry', ''); RETURN NULL; END $$"
        )
    for table in _REGISTRY:
        _create_triggers(table)


def _create_triggers(table: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        changes = "INSERT OR UPDATE OR DELETE OR TRUNCATE"
        effect = "FOR EACH STATEMENT EXECUTE FUNCTION count_registry_change()"
        op.execute(f"CREATE TRIGGER count_change AFTER {changes} ON {table} {effect}")
        return
    for change in ("insert", "update", "delete"):
        effect = "BEGIN UPDATE registry_version SET version = version + 1; END"
        op.execute(f"CREATE TRIGGER count_{table}_{change} AFTER {change} ON {table} {effect}")


def downgrade() -> None:
    """Stops counting."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for table in _REGISTRY:
        if is_postgresql:
            op.execute(f"DROP TRIGGER count_change ON {table}")
        else:
            for change in ("insert", "update", "delete"):
                op.execute(f"DROP TRIGGER count_{table}_{change}")
    if is_postgresql:
        op.execute("DROP FUNCTION count_registry_change()")
    op.drop_table("registry_version")
