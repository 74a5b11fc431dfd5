"""A client's public keys, from its registration or from the URL it named there (RFC 7591 §2)."""

from __future__ import annotations

from collections.abc import Collection

from server.domain.clients import Client
from server.domain.fetch_payers import payer_of
from server.domain.unit_of_work import UnitOfWork
from server.infra import foreign_tokens, jose
from server.infra.database import commit_attempt
from server.infra.remote_keys import Keys
from server.infra.remote_keys import KeysUnavailable as KeysUnavailable


def keys_of(work: UnitOfWork, client: Client, *, fresh: bool = False) -> Keys:
    """The client's public keys.

    They may have to be fetched, and whoever waits for that holds no transaction: if the work has begun one it is
    committed first. Ask before anything is written.

    Args:
        work: the work.
        client: whose keys.
        fresh: whether what is remembered of its URL has been found wanting.

    Raises:
        KeysUnavailable: when its URL does not answer.
    """
    if client.jwks_uri is None:
        keys: Keys = (client.jwks or {}).get("keys", ())
        return keys
    remote_keys = work.runtime.remote_keys
    known = remote_keys.known(client.jwks_uri, fresh=fresh)
    if known is not None:
        return known
    if work.is_in_transaction:
        commit_attempt(work.db)
    return remote_keys.fetch(client.jwks_uri, fresh=fresh, payer=payer_of(client, "keys"))


def remembered_keys_of(work: UnitOfWork, client: Client) -> Keys:
    """The keys that `keys_of` gave a moment ago: nothing is fetched, so the work's transaction goes on.

    Raises:
        KeysUnavailable: when nobody has asked for them.
    """
    return keys_of(work, client) if client.jwks_uri is None else work.runtime.remote_keys.remembered(client.jwks_uri)


def verify_signed_by(work: UnitOfWork, client: Client, token: str, algorithms: Collection[str]) -> jose.DecodedToken:
    """Verifies what the client signed with one of its keys, also with one that it has published only now.

    Raises:
        InvalidToken: when it is not signed by this client, or not with one of `algorithms`.
        KeysUnavailable: as `keys_of`.
    """
    try:
        return foreign_tokens.verify_signed(token, keys_of(work, client), algorithms)
    except foreign_tokens.UnknownKey:
        if client.jwks_uri is None:
            raise
    return foreign_tokens.verify_signed(token, keys_of(work, client, fresh=True), algorithms)
