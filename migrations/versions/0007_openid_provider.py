"""What an OpenID Provider keeps: more client metadata, requested claims, pairwise subjects, registration, outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0007_openid_provider"
down_revision = "0006_expiry_indexes"

_TEXTS = (
    "jwks_uri",
    "sector_identifier_uri",
    "logo_uri",
    "id_token_encrypted_response_alg",
    "id_token_encrypted_response_enc",
    "userinfo_signed_response_alg",
    "userinfo_encrypted_response_alg",
    "userinfo_encrypted_response_enc",
    "request_object_signing_alg",
    "request_object_encryption_alg",
    "request_object_encryption_enc",
    "authorization_encrypted_response_alg",
    "authorization_encrypted_response_enc",
    "token_endpoint_auth_signing_alg",
    "initiate_login_uri",
    "backchannel_logout_uri",
    "frontchannel_logout_uri",
    "software_id",
    "software_version",
)
_TEXTS_WITH_DEFAULT = (("subject_type", "public"), ("authorization_signed_response_alg", "RS256"))
_LISTS = ("contacts", "default_acr_values", "request_uris")
_SWITCHES = (
    "require_auth_time",
    "backchannel_logout_session_required",
    "frontchannel_logout_session_required",
    "strict_assertion_audience",
    "registered_dynamically",
)


def upgrade() -> None:
    """Adds columns with defaults, so that the version before goes on inserting, and tables it does not know."""
    _add_client_metadata()
    op.add_column("client_secrets", sa.Column("secret_encrypted", sa.String(), nullable=True))
    op.add_column("grants", sa.Column("requested_claims", sa.JSON(), nullable=True))
    op.create_table(
        "pairwise_subjects",
        sa.Column("sector", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_pairwise_subjects_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sector", "user_id", name=op.f("pk_pairwise_subjects")),
        sa.UniqueConstraint("subject", name=op.f("uq_pairwise_subjects_subject")),
    )
    op.create_index(op.f("ix_pairwise_subjects_user_id"), "pairwise_subjects", ["user_id"])
    op.create_table(
        "used_assertions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_used_assertions")),
    )
    op.create_index(op.f("ix_used_assertions_expires_at"), "used_assertions", ["expires_at"])
    op.create_table(
        "registration_tokens",
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("token_digest", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.id"], name=op.f("fk_registration_tokens_client_id_clients"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_registration_tokens")),
    )
    op.create_table(
        "initial_access_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("token_digest", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_initial_access_tokens")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_initial_access_tokens_token_digest")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.id"], name=op.f("fk_outbox_client_id_clients"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    for column in ("client_id", "next_attempt_at", "expires_at"):
        op.create_index(op.f(f"ix_outbox_{column}"), "outbox", [column])


def _add_client_metadata() -> None:
    op.add_column("clients", sa.Column("jwks", sa.JSON(), nullable=True))
    op.add_column("clients", sa.Column("default_max_age", sa.Integer(), nullable=True))
    for name in _TEXTS:
        op.add_column("clients", sa.Column(name, sa.String(), nullable=True))
    for name, default in _TEXTS_WITH_DEFAULT:
        op.add_column("clients", sa.Column(name, sa.String(), nullable=False, server_default=default))
    for name in _LISTS:
        op.add_column("clients", sa.Column(name, sa.JSON(), nullable=False, server_default="[]"))
    for name in _SWITCHES:
        op.add_column("clients", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Forgets all of it."""
    for table in ("outbox", "initial_access_tokens", "registration_tokens", "used_assertions", "pairwise_subjects"):
        op.drop_table(table)
    op.drop_column("grants", "requested_claims")
    op.drop_column("client_secrets", "secret_encrypted")
    for name in ("jwks", "default_max_age", *_TEXTS, *dict(_TEXTS_WITH_DEFAULT), *_LISTS, *_SWITCHES):
        op.drop_column("clients", name)
