"""Answers to a client as a JWT: signed by the deployment, then encrypted to the client where it registered that.

OpenID Connect Core §5.3.2 (userinfo), §3.1.3.6 and §10.2 (ID tokens), JARM §2.2 (authorization responses).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from server.domain import signing_keys
from server.domain.client_keys import KeysUnavailable, keys_of, remembered_keys_of
from server.domain.clients import Client
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose, jwe
from server.protocol.errors import InvalidRequest

TYP: Final = "JWT"

#: The client's registered signing algorithm, and its encryption algorithm and method, which come together if at all.
Protection: TypeAlias = tuple[str, str | None, str | None]


def prepare_to_encrypt(work: UnitOfWork, client: Client) -> None:
    """Fetches the client's keys if anything it gets is encrypted. That ends the transaction: nothing is written yet.

    Raises:
        InvalidRequest: when they cannot be had, or none of them serves.
    """
    registered = {
        client.id_token_encrypted_response_alg,
        client.userinfo_encrypted_response_alg,
        client.authorization_encrypted_response_alg,
    } - {None}
    if not registered:
        return
    try:
        keys = keys_of(work, client)
        for algorithm in registered:
            jwe.recipient(keys, str(algorithm))
    except KeysUnavailable as error:
        raise _unavailable(error) from error
    except jwe.NoEncryptionKey as error:
        raise _no_key() from error


def sign_response(
    work: UnitOfWork, client: Client, claims: Mapping[str, Any], protection: Protection, at: datetime | None = None
) -> str:
    """The claims as a JWS, nested in a JWE where the client registered one.

    Args:
        work: for the keys.
        client: whose key it is encrypted to.
        claims: all of them.
        protection: what the client registered for this kind of answer.
        at: when it is issued, if not now: a repeated answer is signed by the key of then.

    Raises:
        InvalidRequest: when it is to be encrypted and the client has no key for that. `prepare_to_encrypt` comes first.
    """
    signing, encryption, method = protection
    token = jose.sign(claims, signing_keys.signing_key(work, signing, at), signing, TYP)
    if encryption is None:
        return token
    try:
        return jwe.encrypt(token, remembered_keys_of(work, client), encryption, str(method))
    except jwe.NoEncryptionKey as error:
        raise _no_key() from error
    except KeysUnavailable as error:
        raise _unavailable(error) from error


def _no_key() -> InvalidRequest:
    return InvalidRequest("The client has no key that the answer could be encrypted to.")


def _unavailable(error: KeysUnavailable) -> InvalidRequest:
    return InvalidRequest("The keys of the client cannot be fetched.", detail=str(error))
