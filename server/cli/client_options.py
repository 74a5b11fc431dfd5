"""The options of `gatepost clients create` and `update`: one for each member of a client's metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from server.domain.policy.client_metadata import (
    AUTH_METHODS,
    CLIENT_TYPES,
    GRANT_TYPES,
    RESPONSE_TYPES,
    SUBJECT_TYPES,
)
from server.domain.policy.environments import ENVIRONMENTS
from server.infra.compact import InvalidToken, decode_object
from server.infra.jose import SIGNING_ALGORITHMS
from server.infra.jwe import CONTENT_ENCRYPTIONS, DECRYPTION_ALGORITHMS, ENCRYPTION_ALGORITHMS

_SIGNED: Final = click.Choice(SIGNING_ALGORITHMS)
_CONTENT: Final = click.Choice(CONTENT_ENCRYPTIONS)


class JwksFile(click.ParamType[dict[str, Any]]):
    """A file that holds a JWK Set."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """The document in the file; whether it is a JWK Set is checked with all the rest."""
        try:
            return decode_object(Path(str(value)).read_bytes())
        except (OSError, InvalidToken):
            self.fail(f"{value} cannot be read as a JSON object.", param, ctx)


def _encryption(name: str, member: str, what: str, algorithms: tuple[str, ...] = ENCRYPTION_ALGORITHMS) -> list[Any]:
    return [
        click.option(f"--{name}-encryption-alg", f"{member}_alg", type=click.Choice(algorithms),
                     help=f"How the key is agreed on that encrypts {what}."),
        click.option(f"--{name}-encryption-enc", f"{member}_enc", type=_CONTENT, help=f"What encrypts {what} then."),
    ]  # fmt: skip


_IDENTITY: Final = [
    click.option("--type", "client_type", type=click.Choice(CLIENT_TYPES), required=True,
                 help="web: has a server; spa: runs in the browser; native: on a phone or desktop; "
                 "machine: acts for itself; device: has no browser."),
    click.option("--client-id", help="Choose the id; by default a random one."),
    click.option("--organization", help="The id or slug of the organization that it belongs to, for good."),
    click.option("--environment", type=click.Choice(ENVIRONMENTS), default="live", show_default=True,
                 help="The world that it belongs to, for good."),
]  # fmt: skip
_OPTIONS: Final = [
    click.option("--redirect-uri", "redirect_uris", multiple=True, help="Where people return to. May be repeated."),
    click.option("--post-logout-redirect-uri", "post_logout_redirect_uris", multiple=True, help="May be repeated."),
    click.option("--scope", help="What it may ask for, separated by spaces."),
    click.option("--grant-type", "grant_types", type=click.Choice(GRANT_TYPES), multiple=True,
                 help="By default what suits its type and response types. May be repeated."),
    click.option("--response-type", "response_types", type=click.Choice(RESPONSE_TYPES), multiple=True,
                 help="By default code. May be repeated."),
    click.option("--auth-method", "token_endpoint_auth_method", type=click.Choice(AUTH_METHODS),
                 help="How it authenticates; by default what suits its type."),
    click.option("--auth-signing-alg", "token_endpoint_auth_signing_alg",
                 type=click.Choice([*SIGNING_ALGORITHMS, "HS256"]), help="What its assertions are signed with."),
    click.option("--strict-audience", "strict_assertion_audience", is_flag=True,
                 help="Its assertions name the issuer alone as audience (FAPI 2.0)."),
    click.option("--jwks", type=JwksFile(), help="A file with its public keys, as a JWK Set."),
    click.option("--jwks-uri", help="The URL where it publishes its keys instead."),
    click.option("--client-uri", help="The application's home page."),
    click.option("--logo-uri", help="Its logo."),
    click.option("--policy-uri", help="Its privacy policy, shown on sign-in."),
    click.option("--tos-uri", help="Its terms of service, shown on sign-in."),
    click.option("--contact", "contacts", multiple=True, help="Whom to ask about it. May be repeated."),
    click.option("--subject-type", type=click.Choice(SUBJECT_TYPES), default="public", show_default=True,
                 help="pairwise: knows people by an identifier that other sectors do not see."),
    click.option("--sector-identifier-uri", help="The file that names all redirect URIs of its sector."),
    click.option("--id-token-alg", "id_token_signed_response_alg", type=_SIGNED,
                 default="RS256", show_default=True, help="What ID tokens are signed with."),
    *_encryption("id-token", "id_token_encrypted_response", "ID tokens"),
    click.option("--userinfo-alg", "userinfo_signed_response_alg", type=_SIGNED,
                 help="What userinfo is signed with; by default it is plain JSON."),
    *_encryption("userinfo", "userinfo_encrypted_response", "userinfo"),
    click.option("--authorization-alg", "authorization_signed_response_alg", type=_SIGNED, default="RS256",
                 show_default=True, help="What authorization responses are signed with in the modes that end in jwt."),
    *_encryption("authorization", "authorization_encrypted_response", "such responses"),
    click.option("--request-object-alg", "request_object_signing_alg", type=_SIGNED,
                 help="The one that its request objects are signed with; by default any that its keys fit."),
    *_encryption("request-object", "request_object_encryption", "its request objects", DECRYPTION_ALGORITHMS),
    click.option("--request-uri", "request_uris", multiple=True,
                 help="Where it publishes request objects. May be repeated."),
    click.option("--access-token-alg", "access_token_signed_response_alg", type=_SIGNED,
                 default="RS256", show_default=True, help="What access tokens are signed with."),
    click.option("--default-max-age", type=click.IntRange(min=0),
                 help="Seconds after which people sign in again when a request does not say."),
    click.option("--require-auth-time", is_flag=True, help="Its ID tokens always say when the person signed in."),
    click.option("--default-acr-value", "default_acr_values", multiple=True,
                 help="The sign-in it wishes when a request does not say, best first. May be repeated."),
    click.option("--initiate-login-uri", help="Where others send people who shall sign in to it."),
    click.option("--backchannel-logout-uri", help="Where its server is told that somebody signed out."),
    click.option("--backchannel-logout-session-required", is_flag=True, help="It must be told which session."),
    click.option("--frontchannel-logout-uri", help="What is loaded in people's browsers when they sign out."),
    click.option("--frontchannel-logout-session-required", is_flag=True, help="It must be told which session."),
    click.option("--software-id", help="The software's own name, the same wherever it is installed."),
    click.option("--software-version", help="Its version."),
    click.option("--first-party", "is_first_party", is_flag=True, help="Our own application: people are not asked."),
    click.option("--introspect-any", "may_introspect_any", is_flag=True,
                 help="A resource server: may introspect tokens of all clients."),
    click.option("--jwt-authentication", is_flag=True,
                 help="It may sign tokens of its own, with its secret or key, and send them as bearer tokens."),
    click.option("--access-token-claims", type=click.Choice(["lean", "rich"]), default="lean", show_default=True,
                 help="rich: access tokens tell the person's name, address, organization and permissions."),
    click.option("--no-pkce", is_flag=True, help="For old confidential clients that cannot do PKCE."),
    click.option("--no-rotation", is_flag=True, help="Keep one refresh token; confidential clients only."),
    click.option("--refresh-token-policy", type=click.Choice(["offline_access", "always"]), default="offline_access",
                 show_default=True, help="When refresh tokens are given."),
    click.option("--id-token-claims", type=click.Choice(["full", "lean"]), default="full", show_default=True,
                 help="full: granted profile and email claims stand in the ID token too."),
]  # fmt: skip


def metadata_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command all of them but those that are said once."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def identity_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command those that no later command changes."""
    for option in reversed(_IDENTITY):
        command = option(command)
    return command


def values_of(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `ClientMetadata` that the options stand for."""
    values = {name: value for name, value in options.items() if name not in _SWITCHED_OFF}
    return values | {member: not options[name] for name, member in _SWITCHED_OFF.items() if name in options}


#: Options that take something away which is there unless somebody says so.
_SWITCHED_OFF: Final = {"no_pkce": "require_pkce", "no_rotation": "rotate_refresh_tokens"}
