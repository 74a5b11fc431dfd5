"""Request objects: the authorization request as a token that the client signed (OpenID Connect Core §6, RFC 9101).

It comes by value in `request` or by reference in `request_uri`, which is fetched only if the client registered exactly
that URI. What it says wins over the same parameter outside of it. One that calls itself RFC 9101's, and every one of a
strict client, stands alone: what is outside of it counts for nothing (RFC 9101 §6.3). The others may leave parameters
that change each time to the outside, as OpenID Connect Core §6.1 has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from server.domain.client_keys import KeysUnavailable, verify_signed_by
from server.domain.clients import Client
from server.domain.fetch_payers import payer_of
from server.domain.signing_keys import decryption_keys
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose, jwe
from server.infra.database import commit_attempt
from server.infra.outbound_http import FetchFailed, FetchRefused
from server.infra.turns import stepping_aside
from server.protocol.client_authentication.token_times import why_untimely
from server.protocol.errors import (
    InvalidRequest,
    InvalidRequestObject,
    InvalidRequestUri,
    RequestNotSupported,
    RequestUriNotSupported,
)
from server.protocol.request import Parameters

#: What `request_object_signing_alg_values_supported` tells; one without a signature is none (RFC 9101 §4).
SIGNING_ALGORITHMS: Final = jose.SIGNING_ALGORITHMS
#: What `request_uri` may lead to (RFC 9101 §5.2.3).
CONTENT_TYPES: Final = ("application/oauth-authz-req+jwt", "application/jwt", "application/jose")
_STANDALONE_TYPE: Final = "oauth-authz-req+jwt"
#: No other kind of token that a client signs passes for a request object (RFC 9101 §10.8).
_TYPES: Final = frozenset({"jwt", _STANDALONE_TYPE})
_BY_VALUE, _BY_REFERENCE = "request", "request_uri"
#: What is said about the token, not by it.
_ABOUT_THE_TOKEN: Final = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
#: Objects and arrays here, and their JSON as text in a request without a request object.
_JSON: Final = frozenset({"claims", "registration", "authorization_details"})
_REPEATABLE: Final = frozenset({"resource", "audience"})
_TEXTS: Final = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "response_mode", "prompt", "display"}
    | {"max_age", "ui_locales", "claims_locales", "id_token_hint", "login_hint", "acr_values", "dpop_jkt"}
    | {"code_challenge", "code_challenge_method"}
)
_MAXIMUM_NUMBER: Final = 10**15


def is_sent(parameters: Parameters) -> bool:
    """Whether the request comes with a request object, by value or by reference."""
    return parameters.get(_BY_VALUE) is not None or parameters.get(_BY_REFERENCE) is not None


def unpack(work: UnitOfWork, client: Client, parameters: Parameters) -> Parameters:
    """The parameters that count: those of the request object, and of the others what it leaves to them.

    It may have to fetch what `request_uri` leads to, or the client's keys. Whoever waits for that holds no transaction:
    if the work has begun one it is committed first, so nothing may be written before.

    Raises:
        InvalidRequest: when parameters stand twice, or both ways to send a request object are used.
        InvalidRequestUri: when `request_uri` is not registered or cannot be fetched.
        InvalidRequestObject: when the object is not this client's, or not for this request.
        RequestNotSupported: when it is unsigned, and came by value.
        RequestUriNotSupported: when it is unsigned, and came by reference.
    """
    if not is_sent(parameters):
        return parameters
    parameters.check_not_repeated()
    by_value, uri = parameters.get(_BY_VALUE), parameters.get(_BY_REFERENCE)
    if by_value is not None and uri is not None:
        raise InvalidRequest("request and request_uri cannot stand together.", parameter=_BY_REFERENCE)
    source = _BY_VALUE if by_value is not None else _BY_REFERENCE
    token = by_value if by_value is not None else _fetch(work, client, uri or "")
    try:
        decoded = _verify(work, client, token, source)
    except KeysUnavailable as error:
        raise _invalid("The keys of the client cannot be fetched.", source, str(error)) from error
    except jose.InvalidToken as error:
        raise _invalid("The request object is not signed by the client.", source, str(error)) from error
    fault = _why_refused(work, client, decoded, parameters)
    if fault is not None:
        raise _invalid("The request object is not valid for this request.", source, fault)
    return _merged(client, decoded, parameters, source)


def _fetch(work: UnitOfWork, client: Client, uri: str) -> str:
    if uri not in client.request_uris:
        raise InvalidRequestUri("request_uri is not registered for this client.", parameter=_BY_REFERENCE)
    payer = payer_of(client, "pages")
    if work.is_in_transaction:
        commit_attempt(work.db)
    try:
        with stepping_aside():
            # The fragment only tells one version of the file from the next (OpenID Connect Core §6.2).
            return work.runtime.outbound_http.get_text(uri.partition("#")[0], CONTENT_TYPES, payer=payer).strip()
    except (FetchFailed, FetchRefused) as error:
        raise InvalidRequestUri("request_uri cannot be fetched.", detail=str(error), parameter=_BY_REFERENCE) from error


def _verify(work: UnitOfWork, client: Client, token: str, source: str) -> jose.DecodedToken:
    is_encrypted = token.count(".") == 4
    signed = jwe.decrypt(token, decryption_keys(work)) if is_encrypted else token
    registered = client.request_object_signing_alg
    if registered is None and jose.peek_header(signed).get("alg") == "none":
        if source == _BY_VALUE:
            raise RequestNotSupported("Request objects have to be signed.", parameter=source)
        raise RequestUriNotSupported("Request objects have to be signed.", parameter=source)
    return verify_signed_by(work, client, signed, SIGNING_ALGORITHMS if registered is None else (registered,))


def _why_refused(work: UnitOfWork, client: Client, decoded: jose.DecodedToken, parameters: Parameters) -> str | None:
    """What is wrong with a request object whose signature holds, in fixed words for the log, or None."""
    claims = decoded.claims
    if _type_of(decoded) not in _TYPES or claims.get("sub") == client.id:
        # Signed by the same key, an assertion has the client as its subject.
        return "it is another kind of token"
    if _BY_VALUE in claims or _BY_REFERENCE in claims:
        return "a request object stands inside the request object"
    if claims.get("iss", client.id) != client.id or claims.get("client_id", client.id) != client.id:
        return "it is of another client"
    audience = claims.get("aud", work.settings.issuer)
    if work.settings.issuer not in (audience if isinstance(audience, list) else [audience]):
        return "it is for another audience"
    if not _is_same_response_type(claims.get("response_type"), parameters.get("response_type")):
        return "response_type differs inside and outside"
    return why_untimely(claims, work.now.timestamp())


def _type_of(decoded: jose.DecodedToken) -> str:
    """The media type of the token without what they all begin with (RFC 7515 §4.1.9)."""
    return str(decoded.header.get("typ", "JWT")).lower().removeprefix("application/")


def _is_same_response_type(inside: object, outside: str | None) -> bool:
    if inside is None or outside is None:
        return True
    return isinstance(inside, str) and sorted(inside.split()) == sorted(outside.split())


def _merged(client: Client, decoded: jose.DecodedToken, parameters: Parameters, source: str) -> Parameters:
    inside = _as_parameters(decoded.claims, source)
    if client.strict_assertion_audience or _type_of(decoded) == _STANDALONE_TYPE:
        return Parameters({"client_id": [client.id], **inside})
    outside = {name: found for name, found in parameters.datalist.items() if name not in {_BY_VALUE, _BY_REFERENCE}}
    return Parameters({**outside, **inside})


def _as_parameters(claims: Mapping[str, Any], source: str) -> dict[str, list[str]]:
    """The claims as the form's parameters would have been, all text (RFC 9101 §4)."""
    found = {name: _as_texts(name, value) for name, value in claims.items() if name not in _ABOUT_THE_TOKEN}
    for name in found.keys() & _TEXTS:
        if found[name] is None:
            raise _invalid("A member of the request object has the wrong type.", source)
    return {name: texts for name, texts in found.items() if texts is not None}


def _as_texts(name: str, value: object) -> list[str] | None:
    """The values of one parameter, or None for what no parameter can be."""
    if isinstance(value, str):
        return [value]
    if name in _JSON and isinstance(value, dict | list):
        return [json.dumps(value)]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAXIMUM_NUMBER:
        return [str(value)]
    if name in _REPEATABLE and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return list(value)
    return None


def _invalid(description: str, source: str, detail: str = "") -> InvalidRequestObject:
    return InvalidRequestObject(description, detail=detail, parameter=source)
