"""Client secrets: random, shown once, stored as digests; several may live at once, so that rotation needs no outage.

Those of clients that sign with them are kept readable beside the digest, encrypted under the keyring: an HMAC cannot be
checked against a digest (OpenID Connect Core §9, client_secret_jwt; RFC 7523 §3 for the tokens that a client makes).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ForeignKey, bindparam, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.audit_events import AuditEvent
from server.domain.clients import Client, record_of_client
from server.domain.errors import NotFound
from server.domain.policy.lifetimes import is_expired
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, columns_of, snapshot

#: The method whose secret is a key.
CLIENT_SECRET_JWT: Final = "client_secret_jwt"
#: The method of those that have a key of their own instead.
PRIVATE_KEY_JWT: Final = "private_key_jwt"
_PREFIX: Final = "cs_"
_WITHOUT_SECRET: Final = frozenset({"none", PRIVATE_KEY_JWT})


class ClientSecret(Base):
    """One secret of one client. SHA-256 suffices: the secret has 256 random bits (RFC 6749 §10.10)."""

    __tablename__ = "client_secrets"

    id: Mapped[str] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), index=True)
    secret_digest: Mapped[str]
    #: The secret itself, under the keyring; only where the client signs with it.
    secret_encrypted: Mapped[str | None]
    #: The last four characters, by which a person tells secrets apart.
    hint: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


def needs_secret(client: Client) -> bool:
    """Whether the client's way to prove itself takes a secret."""
    return client.token_endpoint_auth_method not in _WITHOUT_SECRET


def signs_with_secret(client: Client) -> bool:
    """Whether the client's secret is a key too: for proving itself, or for tokens that it makes."""
    return needs_secret(client) and (
        client.token_endpoint_auth_method == CLIENT_SECRET_JWT or client.jwt_authentication
    )


def issue_client_secret(work: UnitOfWork, client: Client) -> str:
    """Adds a secret and returns it, this once."""
    secret, secret_id = secrets.new_secret(_PREFIX), secrets.new_id()
    work.db.add(
        ClientSecret(
            id=secret_id,
            client_id=client.id,
            secret_digest=secrets.digest(secret),
            secret_encrypted=work.runtime.keyring.encrypt(secret.encode(), _context(secret_id))
            if signs_with_secret(client)
            else None,
            hint=secret[-4:],
            created_at=work.now,
            expires_at=None,
        )
    )
    work.db.flush()
    record_of_client(work, AuditEvent.CLIENT_SECRET_ISSUED, client)
    return secret


def rotate_client_secret(work: UnitOfWork, client: Client, overlap_seconds: int) -> str:
    """Issues a new secret; the old ones go on working for `overlap_seconds`, 0 ending them at once."""
    end = work.now + timedelta(seconds=overlap_seconds)
    for old in list_client_secrets(work, client):
        old.expires_at = end if old.expires_at is None else min(old.expires_at, end)
    secret = issue_client_secret(work, client)
    record_of_client(work, AuditEvent.CLIENT_SECRET_ROTATED, client, overlap_seconds=overlap_seconds)
    return secret


def end_client_secret(work: UnitOfWork, client: Client, secret_id: str) -> None:
    """Ends one of the client's secrets now. Idempotent.

    Raises:
        NotFound: when the client has none of this id.
    """
    secret = work.db.get(ClientSecret, secret_id)
    if secret is None or secret.client_id != client.id:
        raise NotFound("The client has no such secret.")
    if secret.expires_at is None or not is_expired(work.now, secret.expires_at):
        secret.expires_at = work.now
        record_of_client(work, AuditEvent.CLIENT_SECRET_ENDED, client, hint=secret.hint)


def forget_readable_secrets(work: UnitOfWork, client: Client) -> None:
    """Keeps the digests alone: nothing that the client signs with its secrets counts any more."""
    for secret in list_client_secrets(work, client):
        secret.secret_encrypted = None


def list_client_secrets(work: UnitOfWork, client: Client) -> Sequence[ClientSecret]:
    """The client's secrets, live and expired, oldest first."""
    query = select(ClientSecret).where(ClientSecret.client_id == client.id)
    return work.db.scalars(query.order_by(ClientSecret.created_at, ClientSecret.id)).all()


_OF_CLIENT: Final = select(*columns_of(ClientSecret)).where(ClientSecret.client_id == bindparam("client_id"))


def verify_client_secret(work: UnitOfWork, client: Client, presented: str) -> bool:
    """Whether `presented` is a live secret of the client."""
    digest = secrets.digest(presented)
    is_valid = False
    for secret in _remembered_secrets(work, client):
        is_live = secret.expires_at is None or not is_expired(work.now, secret.expires_at)
        is_valid |= secrets.equal(secret.secret_digest, digest) and is_live
    return is_valid


def readable_client_secrets(work: UnitOfWork, client: Client) -> Sequence[str]:
    """The client's live secrets in clear, to verify what it signed with one of them."""
    return [
        work.runtime.keyring.decrypt(secret.secret_encrypted, _context(secret.id)).decode()
        for secret in _remembered_secrets(work, client)
        if secret.secret_encrypted is not None
        and (secret.expires_at is None or not is_expired(work.now, secret.expires_at))
    ]


def _remembered_secrets(work: UnitOfWork, client: Client) -> Sequence[ClientSecret]:
    def load() -> Sequence[ClientSecret]:
        return [snapshot(ClientSecret, row) for row in work.read(_OF_CLIENT, {"client_id": client.id})]

    return work.from_registry((ClientSecret, client.id), load) or ()


def _context(secret_id: str) -> str:
    return f"client_secrets.secret_encrypted:{secret_id}"
