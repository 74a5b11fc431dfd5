"""THE TABLE: what every authorization request is checked for, and in which order.

Until client and redirect URI are proven, an error is shown to the person and never redirected (RFC 6749 §3.1.2.4,
§4.1.2.1); `check_redirect_uri` sets `context.redirect_uri`, and from then on errors go to the client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from server.domain import redirect_uris, scopes
from server.domain.clients import Client, find_client, find_client_anew
from server.domain.subjects import user_id_of
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.infra.jose import InvalidToken
from server.protocol import pkce
from server.protocol.authorization import request_object
from server.protocol.authorization.claims_request import parse_claims_request
from server.protocol.authorization.context import AuthorizationContext, proven_client
from server.protocol.authorization.response_modes import RESPONSE_MODES
from server.protocol.authorization.response_types import (
    default_mode,
    find_response_type,
    gives_code,
    gives_id_token,
    grant_types_of,
)
from server.protocol.errors import (
    InvalidRequest,
    InvalidScope,
    RegistrationNotSupported,
    UnauthorizedClient,
    UnsupportedResponseType,
)
from server.protocol.tokens.id_token import verify_id_token_hint

PROMPTS: Final = ("none", "login", "consent", "select_account")
_MAXIMUM_CHARACTERS: Final = 4000
#: What the parked request keeps as it came.
_KEPT: Final = ("scope", "state", "nonce", "login_hint", "acr_values", "claims")
_MAXIMUM_MAX_AGE: Final = 10 * 365 * 86400
_MAXIMUM_ACR_VALUES: Final = 20


def check_client(context: AuthorizationContext) -> None:
    """The client is registered and may be used."""
    client_id = context.parameters.get("client_id")
    if client_id is None or context.parameters.is_repeated("client_id"):
        raise InvalidRequest("client_id is missing or repeated.", parameter="client_id")
    client = find_client(context.work, client_id)
    _check_usable(context.work, client)
    context.client = client


def _check_usable(work: UnitOfWork, client: Client | None) -> None:
    """The client exists and was not disabled."""
    if client is None or not is_usable(work.now, client):
        raise UnauthorizedClient("There is no such client.", parameter="client_id")


def check_redirect_uri(context: AuthorizationContext) -> None:
    """The redirect URI is one of the client's, character by character (RFC 9700 §4.1.3). It is never assumed.

    With a request object it may stand in there alone; then this is asked again.
    """
    uri = context.parameters.get("redirect_uri")
    if uri is None and request_object.is_sent(context.parameters):
        return
    if uri is None or context.parameters.is_repeated("redirect_uri"):
        raise InvalidRequest("redirect_uri is missing or repeated.", parameter="redirect_uri")
    client = proven_client(context)
    if not redirect_uris.is_registered(uri, client.redirect_uris, native=client.is_native):
        raise InvalidRequest("redirect_uri is not registered for this client.", parameter="redirect_uri")
    context.redirect_uri = uri


def check_request_object(context: AuthorizationContext) -> None:
    """What stands in a request object wins; its redirect URI is proven like any other (§6, RFC 9101).

    Until then errors go where the parameters outside of it led, if that was proven.
    """
    if not request_object.is_sent(context.parameters):
        return
    set_response_mode(context)
    context.parameters = request_object.unpack(context.work, proven_client(context), context.parameters)
    context.redirect_uri = None
    # Fetching takes time, in which the client may have been disabled or removed.
    context.client = find_client_anew(context.work, proven_client(context).id)
    _check_usable(context.work, context.client)
    check_redirect_uri(context)


def check_response_mode(context: AuthorizationContext) -> None:
    """The answer can be encoded as the client asks. First of all the rest, as every later error is encoded so too."""
    mode = set_response_mode(context)
    if mode is not None and mode not in RESPONSE_MODES:
        raise InvalidRequest("response_mode is not supported.", parameter="response_mode")


def set_response_mode(context: AuthorizationContext) -> str | None:
    """Decides how errors are encoded from now on; returns what the client asked for."""
    mode, response_type = context.parameters.get("response_mode"), context.parameters.get("response_type")
    context.response_type = find_response_type(response_type or "") or ""
    is_usable_mode = mode in RESPONSE_MODES and not _shows_tokens(mode, context.response_type)
    context.response_mode = mode if mode is not None and is_usable_mode else default_mode(response_type)
    return mode


def _shows_tokens(mode: str | None, response_type: str) -> bool:
    """Whether tokens would stand in a query, which servers log (OAuth 2.0 Multiple Response Types §5, JARM §2.3.1)."""
    return mode in {"query", "query.jwt"} and default_mode(response_type) == "fragment"


def check_parameters(context: AuthorizationContext) -> None:
    """No parameter is repeated (RFC 6749 §3.1); those that are kept are short enough and have no NUL.

    No text column holds a NUL; `state`, which is given back as it came, is kept in another way.
    """
    context.parameters.check_not_repeated()
    for name in _KEPT:
        value = context.parameters.get(name) or ""
        if "\0" in value and name != "state":
            raise InvalidRequest("A parameter has a NUL character.", parameter=name)
        if len(value) > _MAXIMUM_CHARACTERS:
            raise InvalidRequest("A parameter is too long.", parameter=name)


def check_registration(context: AuthorizationContext) -> None:
    """A parameter that would replace what is registered is refused, not ignored (OpenID Connect Core §7.2.1)."""
    if context.parameters.get("registration") is not None:
        raise RegistrationNotSupported("registration is not supported.", parameter="registration")


def check_response_type(context: AuthorizationContext) -> None:
    """The response type exists and the client was registered for it and for its grant types (RFC 7591 §2.1)."""
    response_type = context.parameters.get("response_type")
    if response_type is None:
        raise InvalidRequest("response_type is missing.", parameter="response_type")
    if not context.response_type:
        raise UnsupportedResponseType("This response_type is not supported.", parameter="response_type")
    client = proven_client(context)
    is_registered = context.response_type in client.response_types
    if not is_registered or not grant_types_of(context.response_type) <= frozenset(client.grant_types):
        raise UnauthorizedClient("The client may not use this response_type.", parameter="response_type")
    if _shows_tokens(context.parameters.get("response_mode"), context.response_type):
        raise InvalidRequest("This response_mode would show tokens in the URL.", parameter="response_mode")


def check_scope(context: AuthorizationContext) -> None:
    """Something remains of the requested scope; what the client or the deployment does not have is left out (§3.3)."""
    scope = context.parameters.get("scope")
    if scope is not None and not scopes.is_well_formed(scope):
        raise InvalidScope("scope is malformed.", parameter="scope")
    asked, settings = scopes.parse(scope), context.work.settings
    if not gives_code(context.response_type):
        # OpenID Connect Core §11: without a code there is nothing to refresh, and no access that could last.
        asked -= {scopes.OFFLINE_ACCESS}
    allowed = scopes.covered(settings, asked, proven_client(context).allowed_scopes)
    context.scope_set = frozenset(name for name in allowed if scopes.is_known(settings, name))
    if not context.scope_set:
        raise InvalidScope("No requested scope is known and allowed for this client.", parameter="scope")
    if gives_id_token(context.response_type) and scopes.OPENID not in context.scope_set:
        raise InvalidRequest("An ID token needs the scope openid.", parameter="scope")


def check_nonce(context: AuthorizationContext) -> None:
    """What comes through the browser is bound to the session of the client (§3.2.2.1; §3.3.2.11 for every hybrid)."""
    if default_mode(context.response_type) == "fragment" and context.parameters.get("nonce") is None:
        raise InvalidRequest("nonce is missing.", parameter="nonce")


def check_code_challenge(context: AuthorizationContext) -> None:
    """PKCE, here and not only at the token endpoint (RFC 7636 §4.4.1)."""
    is_required = proven_client(context).require_pkce and gives_code(context.response_type)
    context.code_challenge = pkce.check_code_challenge(context.parameters, required=is_required)


def check_prompt(context: AuthorizationContext) -> None:
    """Known values; `none` stands alone (OpenID Connect Core §3.1.2.1)."""
    context.prompts = frozenset((context.parameters.get("prompt") or "").split())
    if not context.prompts <= frozenset(PROMPTS):
        raise InvalidRequest("prompt has an unknown value.", parameter="prompt")
    if "none" in context.prompts and len(context.prompts) > 1:
        raise InvalidRequest("prompt=none cannot stand with another value.", parameter="prompt")


def check_max_age(context: AuthorizationContext) -> None:
    """A number of seconds; without one, what the client registered (OpenID Connect Core §3.1.2.1)."""
    text = context.parameters.get("max_age")
    if text is None:
        context.max_age = proven_client(context).default_max_age
        return
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise InvalidRequest("max_age is not a number of seconds.", parameter="max_age")
    context.max_age = min(int(text), _MAXIMUM_MAX_AGE)


def check_claims(context: AuthorizationContext) -> None:
    """Single claims (OpenID Connect Core §5.5), of which `acr` outweighs `acr_values` (§5.5.1.1)."""
    client = proven_client(context)
    text = context.parameters.get("claims")
    if text is not None:
        if scopes.OPENID not in context.scope_set:
            raise InvalidRequest("claims needs the scope openid.", parameter="claims")
        context.claims = parse_claims_request(text, client.allowed_scopes)
    voluntary = (context.parameters.get("acr_values") or " ".join(client.default_acr_values)).split()
    context.acr_values = context.claims.acr_values or tuple(voluntary[:_MAXIMUM_ACR_VALUES])
    context.is_acr_essential = context.claims.is_acr_essential


def check_subject(context: AuthorizationContext) -> None:
    """Who is meant: by an ID token of ours for this client, expired or not (§3.1.2.1), or by a claim (§5.5.1)."""
    hint, client = context.parameters.get("id_token_hint"), proven_client(context)
    subject = context.claims.subject
    if hint is not None:
        try:
            claims = verify_id_token_hint(context.work, hint)
        except InvalidToken as error:
            raise InvalidRequest(
                "id_token_hint is not an ID token of this issuer.", detail=str(error), parameter="id_token_hint"
            ) from error
        if claims["aud"] != client.id:
            raise InvalidRequest("id_token_hint was issued to another client.", parameter="id_token_hint")
        subject = claims["sub"]
    if subject is not None:
        # Nobody has an empty id: whoever is meant, it is none of the people here.
        context.hint_subject = user_id_of(context.work, client, subject) or ""


CHECKS: Final[tuple[Callable[[AuthorizationContext], None], ...]] = (
    # Errors up to here are shown, never redirected.
    check_client,
    check_redirect_uri,
    # Errors from here on are sent to the proven redirect URI. In a request object there may be another, proven anew.
    check_request_object,
    check_response_mode,
    check_parameters,
    check_registration,
    check_response_type,
    check_scope,
    check_nonce,
    check_code_challenge,
    check_prompt,
    check_max_age,
    check_claims,
    check_subject,
)


def run_checks(context: AuthorizationContext) -> None:
    """Runs the table top to bottom; the first fault ends it."""
    for check in CHECKS:
        check(context)
