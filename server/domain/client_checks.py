"""What is refused of a client's metadata, and why: what contradicts itself, the deployment, or what we can keep.

RFC 7591 §2 and §5, OpenID Connect Registration §2, the four logout specifications' metadata, RFC 9700 §2. Every
sentence is fixed ASCII: it is sent to whoever registers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from server.domain import redirect_uris, scopes
from server.domain.client_key_checks import check_has_key, check_keys
from server.domain.clients import CLIENT_ID, Client
from server.domain.errors import Invalid
from server.domain.policy.client_metadata import (
    AUTH_METHODS,
    ENCRYPTIONS,
    GRANT_TYPES,
    RESERVED_ID_PREFIXES,
    RESPONSE_TYPES,
    SUBJECT_TYPES,
    grant_types_for,
)
from server.domain.policy.environments import ENVIRONMENTS
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose, jwe
from server.infra.outbound_addresses import FetchRefused, check_fetchable

#: An https URL without user name, of the characters of RFC 3986 alone.
_HTTPS: Final = re.compile(
    r"https://[A-Za-z0-9._~-]{1,2000}(?::[0-9]{1,5})?(?:[/?#][A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{0,2000})?"
)
_MAXIMUM_URL: Final = 2008
#: What we fetch from or post to, beside `request_uris`; a logo is passed on to the pages that show it.
_FETCHED: Final = ("jwks_uri", "sector_identifier_uri", "backchannel_logout_uri", "logo_uri")
_ACR: Final = re.compile(r"[!-~]{1,200}")
_MAXIMUM_LIST: Final = 50
_MAXIMUM_SCOPES: Final = 100
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "refresh_token_policy": ("offline_access", "always"),
    "id_token_claims": ("full", "lean"),
    "access_token_claims": ("lean", "rich"),
}
#: By which algorithms a client may prove who it is, by its method (OpenID Connect Core §9).
_ASSERTION_ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = {
    "private_key_jwt": jose.SIGNING_ALGORITHMS,
    "client_secret_jwt": ("HS256",),
}


def check_metadata(work: UnitOfWork, client: Client) -> None:
    """Refuses metadata that contradicts itself or the deployment. Nothing is fetched, and no row is read.

    Raises:
        Invalid: naming the first member at fault.
    """
    _check_identity(work, client)
    _check_methods(client)
    _check_flows(client)
    _check_redirect_uris(work, client)
    _check_scope(work, client)
    _check_pages(client)
    check_keys(client)
    _check_algorithms(client)
    _check_subject(client)
    _check_request(client)
    _check_fetched(work, client)
    _check_frontchannel_logout(work, client)
    _check_texts(client)


def _check_identity(work: UnitOfWork, client: Client) -> None:
    if not client.client_name or len(client.client_name) > 100 or not client.client_name.isprintable():
        raise Invalid("client_name", "The name has 1 to 100 printable characters.")
    if not client.is_first_party and _as_read(client.client_name) == _as_read(work.settings.issuer_name):
        raise Invalid("client_name", "This is the sign-in service's own name; people could not tell them apart.")
    if not CLIENT_ID.fullmatch(client.id) or client.id.casefold().startswith(RESERVED_ID_PREFIXES):
        taken = " or ".join(RESERVED_ID_PREFIXES)
        raise Invalid("client_id", f"A client id has letters, digits and ._~- and does not begin with {taken}.")
    _check_one_of("environment", client.environment, ENVIRONMENTS)


def _as_read(name: str) -> str:
    """A name as a person reads it, whatever letters spell it."""
    return unicodedata.normalize("NFKC", name).casefold()


def _check_methods(client: Client) -> None:
    if client.token_endpoint_auth_method not in AUTH_METHODS:
        raise Invalid("token_endpoint_auth_method", f"This must be one of {', '.join(AUTH_METHODS)}.")
    for grant_type in client.grant_types:
        if grant_type not in GRANT_TYPES:
            raise Invalid("grant_types", f"These must be among {', '.join(GRANT_TYPES)}.")
    if client.is_public:
        if "client_credentials" in client.grant_types:
            raise Invalid("grant_types", "A client without a secret cannot use client_credentials.")
        if not client.require_pkce:
            raise Invalid("require_pkce", "PKCE cannot be switched off for a client without a secret.")
        if not client.rotate_refresh_tokens:
            raise Invalid("rotate_refresh_tokens", "The refresh tokens of a client without a secret always rotate.")
        if client.jwt_authentication:
            raise Invalid("jwt_authentication", "A client without a secret or key of its own cannot sign tokens.")
    for name, known in _CHOICES.items():
        _check_one_of(name, getattr(client, name), known)


def _check_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise Invalid(name, f"This must be one of {', '.join(known)}.")


def _check_flows(client: Client) -> None:
    """Response types that we speak, and the grant types that they need (RFC 7591 §2.1)."""
    for response_type in client.response_types:
        if response_type not in RESPONSE_TYPES:
            raise Invalid("response_types", f"These must be among {', '.join(RESPONSE_TYPES)}.")
    missing = grant_types_for(client.response_types) - frozenset(client.grant_types)
    if missing:
        raise Invalid("grant_types", f"The response_types need {' and '.join(sorted(missing))} too.")


def _check_redirect_uris(work: UnitOfWork, client: Client) -> None:
    local_http = not work.settings.is_https
    for field in ("redirect_uris", "post_logout_redirect_uris"):
        _check_length(field, getattr(client, field))
        for uri in getattr(client, field):
            redirect_uris.check_registrable(uri, native=client.is_native, local_http=local_http, field=field)
    is_served_to_strangers = work.settings.is_https and not work.settings.is_on_this_machine
    if "implicit" in client.grant_types and not client.is_native and is_served_to_strangers:
        # OpenID Connect Registration §2, `application_type`: any program on the person's machine could take the tokens.
        for uri in client.redirect_uris:
            if redirect_uris.describe_target(uri)[0] == "loopback":
                raise Invalid("redirect_uris", "A web client that gets tokens in the answer cannot be on localhost.")
    if _sends_people(client) and not client.redirect_uris:
        raise Invalid("redirect_uris", "A client that sends people here to sign in needs at least one redirect URI.")


def _sends_people(client: Client) -> bool:
    return bool(client.response_types) or not {"authorization_code", "implicit"}.isdisjoint(client.grant_types)


def _check_length(field: str, values: list[str]) -> None:
    if len(values) > _MAXIMUM_LIST:
        raise Invalid(field, f"This has at most {_MAXIMUM_LIST} entries.")


def _check_scope(work: UnitOfWork, client: Client) -> None:
    if len(client.allowed_scopes) > _MAXIMUM_SCOPES:
        raise Invalid("scope", f"A client has at most {_MAXIMUM_SCOPES} scopes.")
    if not all(scopes.is_known(work.settings, scope) for scope in client.allowed_scopes):
        known = ", ".join(sorted(scopes.advertised(work.settings)))
        reason = f"This deployment has no other scopes than {known}, and those that manage organizations."
        raise Invalid("scope", reason)
    if (
        not _sends_people(client)
        and "refresh_token" not in client.grant_types
        and client.allowed_scopes & scopes.PERSONAL
    ):
        raise Invalid("scope", "A client that acts for itself cannot have scopes that speak about a person.")


def _check_pages(client: Client) -> None:
    """What people's browsers are sent to, or shown links to."""
    for name in ("client_uri", "policy_uri", "tos_uri", "initiate_login_uri"):
        uri = getattr(client, name)
        if uri is not None and not (len(uri) <= _MAXIMUM_URL and _HTTPS.fullmatch(uri)):
            raise Invalid(name, "This must be an https URL.")


def _check_algorithms(client: Client) -> None:
    for name in ("id_token_signed_response_alg", "access_token_signed_response_alg", "userinfo_signed_response_alg",
                 "authorization_signed_response_alg", "request_object_signing_alg"):  # fmt: skip
        value = getattr(client, name)
        if value is not None:
            _check_one_of(name, value, jose.SIGNING_ALGORITHMS)
    for name, enc in ENCRYPTIONS:
        to_us = name == "request_object_encryption_alg"
        _check_encryption(client, name, enc, jwe.DECRYPTION_ALGORITHMS if to_us else jwe.ENCRYPTION_ALGORITHMS)
    _check_assertions(client)


def _check_encryption(client: Client, name: str, enc: str, known: tuple[str, ...]) -> None:
    alg, content = getattr(client, name), getattr(client, enc)
    if alg is None:
        if content is not None:
            raise Invalid(enc, f"This needs {name} too.")
        return
    _check_one_of(name, alg, known)
    _check_one_of(enc, content, jwe.CONTENT_ENCRYPTIONS)
    if name != "request_object_encryption_alg":
        check_has_key(client, name, (alg,), "enc")


def _check_assertions(client: Client) -> None:
    algorithms = _ASSERTION_ALGORITHMS.get(client.token_endpoint_auth_method)
    if algorithms is None:
        return
    chosen = client.token_endpoint_auth_signing_alg
    if chosen is not None:
        _check_one_of("token_endpoint_auth_signing_alg", chosen, algorithms)
    if client.token_endpoint_auth_method == "private_key_jwt":
        check_has_key(client, "token_endpoint_auth_method", (chosen,) if chosen else algorithms, "sig")


def _check_subject(client: Client) -> None:
    """A pairwise client names its sector unless one host of its owner's stands for it (OpenID Connect Core §8.1).

    Everybody's apps are on localhost: as one sector, their owners could tell that they know the same person.
    """
    _check_one_of("subject_type", client.subject_type, SUBJECT_TYPES)
    if client.subject_type != "pairwise" or client.sector_identifier_uri is not None:
        return
    hosts = {urlsplit(uri).hostname for uri in client.redirect_uris}
    if len(hosts) != 1 or any(redirect_uris.describe_target(uri)[0] != "web" for uri in client.redirect_uris):
        reason = "Pairwise subjects need it unless all redirect URIs are on one host, and not on localhost."
        raise Invalid("sector_identifier_uri", reason)


def _check_request(client: Client) -> None:
    if client.default_max_age is not None and not 0 <= client.default_max_age <= 10 * 365 * 86400:
        raise Invalid("default_max_age", "This is a number of seconds, ten years at most.")
    _check_length("default_acr_values", client.default_acr_values)
    if not all(_ACR.fullmatch(value) for value in client.default_acr_values):
        raise Invalid("default_acr_values", "Each has 1 to 200 characters of ASCII without spaces.")


def _check_fetched(work: UnitOfWork, client: Client) -> None:
    """What we ourselves shall fetch from, or post to, leads outside: by its syntax now, by its address each time."""
    _check_length("request_uris", client.request_uris)
    uris = [(name, getattr(client, name)) for name in _FETCHED]
    uris += [("request_uris", uri) for uri in client.request_uris]
    for name, uri in uris:
        if uri is None:
            continue
        try:
            check_fetchable(uri, work.settings, allow_fragment=name == "request_uris")
        except FetchRefused as error:
            raise Invalid(name, error.reason) from error


def _check_frontchannel_logout(work: UnitOfWork, client: Client) -> None:
    """It stands in a frame of our page, so it is of the origin of a redirect URI (Front-Channel Logout §2)."""
    uri = client.frontchannel_logout_uri
    if uri is None:
        return
    redirect_uris.check_registrable(
        uri, native=False, local_http=not work.settings.is_https, field="frontchannel_logout_uri"
    )
    if redirect_uris.origin_of(uri) not in {redirect_uris.origin_of(each) for each in client.redirect_uris}:
        raise Invalid("frontchannel_logout_uri", "This has scheme, host and port of one of the redirect URIs.")


def _check_texts(client: Client) -> None:
    _check_length("contacts", client.contacts)
    if not all(0 < len(contact) <= 254 and contact.isprintable() for contact in client.contacts):
        raise Invalid("contacts", "Each has 1 to 254 printable characters.")
    for name in ("software_id", "software_version"):
        text = getattr(client, name)
        if text is not None and not (0 < len(text) <= 200 and text.isprintable()):
            raise Invalid(name, "This has 1 to 200 printable characters.")
