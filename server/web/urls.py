"""The whole URL map on one screen. All paths stand under the issuer's path."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from werkzeug.routing import Rule

from server.config import Settings
from server.web import health, static_files
from server.web.account import invitation
from server.web.api.error_answers import MOUNTS
from server.web.api.map import URLS as API_URLS
from server.web.dashboard.application_map import APPLICATION_PAGES
from server.web.dashboard.map import PAGES
from server.web.interaction import client_logo, consent, home, login, logout, select_account
from server.web.oauth import (
    authorize,
    check_session,
    introspection,
    registration,
    revocation,
    session_alias,
    token,
    userinfo,
    well_known,
)
from server.web.transaction import View

_GET, _POST = ("GET",), ("POST",)

URLS: tuple[tuple[str, str, tuple[str, ...], View], ...] = (
    # path, endpoint, methods, view
    ("/oauth/authorize", "oauth.authorize", ("GET", "POST"), authorize.authorize),
    ("/oauth/authorize/resume/<request_id>", "oauth.authorize_resume", _GET, authorize.authorize_resume),
    ("/oauth/token", "oauth.token", _POST, token.token),
    ("/oauth/userinfo", "oauth.userinfo", ("GET", "POST"), userinfo.userinfo),
    ("/oauth/introspect", "oauth.introspect", _POST, introspection.introspect),
    ("/oauth/revoke", "oauth.revoke", _POST, revocation.revoke),
    ("/oauth/register", "oauth.register", _POST, registration.register),
    ("/oauth/register/<client_id>", "oauth.read_registration", _GET, registration.read_registration),
    ("/oauth/register/<client_id>", "oauth.replace_registration", ("PUT",), registration.replace_registration),
    ("/oauth/register/<client_id>", "oauth.delete_registration", ("DELETE",), registration.delete_registration),
    ("/oauth/check-session", "oauth.check_session", _GET, check_session.check_session),
    ("/.well-known/openid-configuration", "oauth.openid_configuration", _GET, well_known.openid_configuration),
    ("/.well-known/oauth-authorization-server", "oauth.authorization_server", _GET, well_known.authorization_server),
    ("/.well-known/jwks.json", "oauth.jwks", _GET, well_known.jwks),
    ("/login", "interaction.show_login", _GET, login.show_login),
    ("/login", "interaction.submit_login", _POST, login.submit_login),
    ("/select-account", "interaction.show_accounts", _GET, select_account.show_select_account),
    ("/select-account", "interaction.submit_account", _POST, select_account.submit_select_account),
    ("/consent", "interaction.show_consent", _GET, consent.show_consent),
    ("/consent", "interaction.submit_consent", _POST, consent.submit_consent),
    ("/logout", "interaction.show_logout", _GET, logout.show_logout),
    ("/logout", "interaction.submit_logout", _POST, logout.submit_logout),
    ("/signed-out", "interaction.signed_out", _GET, logout.show_signed_out),
    ("/invitations/<token>", "account.show_invitation", _GET, invitation.show_invitation),
    ("/invitations/<token>", "account.submit_invitation", _POST, invitation.submit_invitation),
    ("/client-logo/<client_id>", "interaction.client_logo", _GET, client_logo.client_logo),
    ("/", "interaction.home", _GET, home.home),
    ("/static/<path:path>", "static_file", _GET, static_files.static_file),
    ("/healthz", "oauth.healthz", _GET, health.healthz),
    ("/readyz", "oauth.readyz", _GET, health.readyz),
    *((page.path, page.endpoint, page.methods, page.view) for page in (*PAGES, *APPLICATION_PAGES)),
)  # fmt: skip

#: The management API stands at two places, for guides that write it either way.
API: tuple[tuple[str, str, tuple[str, ...], View], ...] = tuple(
    (mount + path, endpoint if mount == "/v1" else f"{endpoint}_at_api", methods, view)
    for mount in MOUNTS
    for path, endpoint, methods, view in API_URLS
)

#: RFC 8414 §3.1 inserts the well-known part before the issuer's path; OpenID Connect Discovery §4 appends it.
PATH_INSERTED: tuple[tuple[str, str, View], ...] = (
    ("/.well-known/oauth-authorization-server", "oauth.authorization_server_inserted", well_known.authorization_server),
    ("/.well-known/openid-configuration", "oauth.openid_configuration_inserted", well_known.openid_configuration),
)


class MatchedRule(Rule):
    """A rule that paths are matched with and no URL is built from: ours are built from the configured issuer.

    Werkzeug writes and compiles two functions for each rule that would build one, which is most of what starting takes.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        return _never_built


def _never_built(*_arguments: object, **_named: object) -> tuple[str, str]:
    raise NotImplementedError("URLs are built from the configured issuer, never from the map")


def register(app: Flask, settings: Settings) -> None:
    """Maps every path to its view.

    A path with odd slashes is not found: Werkzeug's redirects to the tidy one are 308s built from the Host header.
    """
    app.url_rule_class = MatchedRule
    app.url_map.merge_slashes = app.url_map.strict_slashes = False
    for path, endpoint, methods, view in (*URLS, *API):
        app.add_url_rule(settings.issuer_path + path, endpoint, view, methods=methods)
    if settings.session_alias_path is not None:
        alias = settings.issuer_path + settings.session_alias_path
        app.add_url_rule(alias, "oauth.session_alias", session_alias.session_alias, methods=_POST)
    if settings.issuer_path:
        for path, endpoint, view in PATH_INSERTED:
            app.add_url_rule(path + settings.issuer_path, endpoint, view, methods=_GET)
        # Load balancers look for health at the root, whatever the issuer's path.
        app.add_url_rule("/healthz", "oauth.healthz_at_root", health.healthz, methods=_GET)
        app.add_url_rule("/readyz", "oauth.readyz_at_root", health.readyz, methods=_GET)
