"""Organizations with members, roles and invitations; API keys and their use; to which clients and audit rows belong."""

import sqlalchemy as sa
from alembic import op

revision = "0008_organizations"
down_revision = "0007_openid_provider"

_MOMENT = sa.DateTime(timezone=True)
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (
    "client_logos",
    "idempotent_responses",
    "credential_limits",
    "credential_networks",
    "credential_usage",
    "api_keys",
    "outgoing_mail",
    "invitations",
    "roles",
    "memberships",
)


def upgrade() -> None:
    """Adds tables that the version before does not know, and columns that it need not fill."""
    _create_organizations()
    _create_people()
    _create_keys()
    _add_client_columns()
    for name in ("organization_id", "environment"):
        op.add_column("audit_events", sa.Column(name, sa.String(), nullable=True))


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, _MOMENT, nullable=nullable)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _points(table: str, column: str, to: str, ondelete: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}_{to}"), ondelete=ondelete)


def _index(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def _create_organizations() -> None:
    op.create_table(
        "organizations",
        _text("id"),
        _text("name"),
        _text("slug"),
        sa.Column("is_demo", sa.Boolean(), nullable=False, server_default=sa.false()),
        _moment("created_at"),
        _moment("updated_at"),
        _moment("suspended_at", nullable=True),
        _key("organizations", "id"),
        _unique("organizations", "slug"),
    )
    # Clients are remembered together with the state of their organization (revision 0003).
    if op.get_bind().dialect.name == "postgresql":
        changes, effect = "INSERT OR UPDATE OR DELETE OR TRUNCATE", "FOR EACH STATEMENT EXECUTE FUNCTION"
        op.execute(f"CREATE TRIGGER count_change AFTER {changes} ON organizations {effect} count_registry_change()")
        return
    for change in ("insert", "update", "delete"):
        effect = "BEGIN UPDATE registry_version SET version = version + 1; END"
        op.execute(f"CREATE TRIGGER count_organizations_{change} AFTER {change} ON organizations {effect}")


def _create_people() -> None:
    op.create_table(
        "memberships",
        *(_text(name) for name in ("id", "organization_id", "user_id", "role")),
        _moment("created_at"),
        _moment("updated_at"),
        _moment("suspended_at", nullable=True),
        _points("memberships", "organization_id", "organizations"),
        _points("memberships", "user_id", "users"),
        _key("memberships", "id"),
        _unique("memberships", "organization_id", "user_id"),
    )
    _index("memberships", "user_id")
    op.create_table(
        "roles",
        *(_text(name) for name in ("id", "organization_id", "name", "description")),
        sa.Column("permissions", sa.JSON(), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        _points("roles", "organization_id", "organizations"),
        _key("roles", "id"),
        _unique("roles", "organization_id", "name"),
    )
    op.create_table(
        "invitations",
        *(_text(name) for name in ("id", "organization_id", "email", "email_key", "role", "token_digest")),
        _text("invited_by", nullable=True),
        _moment("created_at"),
        _moment("expires_at"),
        *(_moment(name, nullable=True) for name in ("accepted_at", "revoked_at", "sent_at")),
        _points("invitations", "organization_id", "organizations"),
        _points("invitations", "invited_by", "users", "SET NULL"),
        _key("invitations", "id"),
        _unique("invitations", "token_digest"),
    )
    _index("invitations", "organization_id", "invited_by", "expires_at")
    op.create_table(
        "outgoing_mail",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        _text("recipient"),
        _text("message_encrypted"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        *(_moment(name) for name in ("created_at", "next_attempt_at", "expires_at")),
        _key("outgoing_mail", "id"),
    )
    _index("outgoing_mail", "next_attempt_at", "expires_at")


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        *(_text(name) for name in ("id", "public_id", "organization_id", "environment", "kind", "name", "description")),
        *(_text(name) for name in ("prefix", "hint", "secret_mac", "pepper")),
        sa.Column("permissions", sa.JSON(), nullable=False),
        _text("owner_id", nullable=True),
        sa.Column("ip_allow_list", sa.JSON(), nullable=False),
        sa.Column("rate_limit_per_minute", sa.Integer(), nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        _moment("expires_at", nullable=True),
        _moment("revoked_at", nullable=True),
        _text("revoked_reason", nullable=True),
        _text("replaced_by_id", nullable=True),
        sa.Column("warned_days", sa.Integer(), nullable=True),
        _points("api_keys", "organization_id", "organizations"),
        _points("api_keys", "owner_id", "users"),
        _key("api_keys", "id"),
        _unique("api_keys", "public_id"),
    )
    _index("api_keys", "organization_id", "owner_id", "expires_at")
    op.create_table(
        "credential_usage",
        *(_text(name) for name in ("kind", "credential_id", "day")),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        _moment("last_used_at", nullable=True),
        _text("last_used_ip", nullable=True),
        _text("last_used_user_agent", nullable=True),
        _moment("last_failure_at", nullable=True),
        _text("last_failure_reason", nullable=True),
        _moment("written_at"),
        _moment("alerted_at", nullable=True),
        _key("credential_usage", "kind", "credential_id", "day"),
    )
    op.create_table(
        "credential_networks",
        *(_text(name) for name in ("kind", "credential_id", "network")),
        _moment("first_seen_at"),
        _key("credential_networks", "kind", "credential_id", "network"),
    )
    op.create_table(
        "credential_limits",
        _text("bucket"),
        sa.Column("requests", sa.Integer(), nullable=False),
        _moment("window_ends_at"),
        _key("credential_limits", "bucket"),
    )
    _index("credential_limits", "window_ends_at")
    if op.get_bind().dialect.name == "postgresql":
        # Counts of one minute need not survive a crash, and each costs a flush of the log otherwise.
        op.execute("ALTER TABLE credential_limits SET UNLOGGED")
    op.create_table(
        "idempotent_responses",
        _text("id"),
        _text("request_digest"),
        sa.Column("status", sa.Integer(), nullable=True),
        _text("body_encrypted", nullable=True),
        _moment("created_at"),
        _moment("expires_at"),
        _key("idempotent_responses", "id"),
    )
    _index("idempotent_responses", "expires_at")


def _add_client_columns() -> None:
    # In the words of SQL: with its constraint in the same breath, SQLite adds it without making the table anew.
    constraint = op.f("fk_clients_organization_id_organizations")
    references = f"CONSTRAINT {constraint} REFERENCES organizations (id) ON DELETE CASCADE"
    op.execute(f"ALTER TABLE clients ADD COLUMN organization_id VARCHAR {references}")
    op.add_column("clients", _text("created_by", nullable=True))
    op.add_column("clients", sa.Column("environment", sa.String(), nullable=False, server_default="live"))
    op.add_column("clients", sa.Column("jwt_authentication", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("clients", sa.Column("access_token_claims", sa.String(), nullable=False, server_default="lean"))
    op.create_table(
        "client_logos",
        _text("client_id"),
        sa.Column("image", sa.LargeBinary(), nullable=False),
        _moment("updated_at"),
        _points("client_logos", "client_id", "clients"),
        _key("client_logos", "client_id"),
    )


def downgrade() -> None:
    """Forgets all of it."""
    for name in ("organization_id", "environment"):
        op.drop_column("audit_events", name)
    for name in ("organization_id", "created_by", "environment", "jwt_authentication", "access_token_claims"):
        op.drop_column("clients", name)
    for table in _TABLES:
        op.drop_table(table)
    op.drop_table("organizations")
