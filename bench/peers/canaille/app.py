"""Canaille with one client and a crowd of people, its database on PostgreSQL.

Runs in a virtual environment of its own. `python -m bench.peers.canaille.app` makes the tables; granian serves
`application`. GET /seed/KIND?count=N makes codes, refresh_tokens, plain_refresh_tokens (without `openid`) or
access_tokens, as its pages would have, each of another person: two tokens that one person gets within a second are the
same to it, and its database refuses the second.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import cycle
from typing import Any
from urllib.parse import parse_qs

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend

PEOPLE = 256
SCOPE = ["openid", "profile", "email"]
SECRET = "a-client-secret-that-is-long-enough-for-anything"
REDIRECT_URI = "https://bench.example/callback"
_QUIET = {"version": 1, "root": {"level": "ERROR", "handlers": []}}

_flask = create_app(
    config={
        "SECRET_KEY": os.environ["SECRET_KEY"],
        "SERVER_NAME": f"localhost:{os.environ['PORT']}",
        "PREFERRED_URL_SCHEME": "http",
        "CANAILLE": {"LOGGING": _QUIET},
        "CANAILLE_SQL": {"DATABASE_URI": os.environ["DATABASE_URL"], "AUTO_MIGRATE": __name__ == "__main__"},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [json.loads(os.environ["RSA_JWK"])], "REQUIRE_NONCE": False},
    }
)
_people: Iterator[int] = cycle(range(PEOPLE))


def _make(kind: str) -> str:
    person = Backend.instance.get(models.User, user_name=f"person{next(_people)}")
    client = Backend.instance.get(models.Client, client_id="bench")
    now, value = datetime.now(UTC), secrets.token_urlsafe(36)
    scope = ["profile", "email"] if kind == "plain_refresh_tokens" else SCOPE
    common = {"client": client, "subject": person, "scope": scope, "issue_date": now}
    if kind == "codes":
        made = models.AuthorizationCode(
            authorization_code_id=secrets.token_urlsafe(36),
            code=value,
            redirect_uri=REDIRECT_URI,
            response_type="code",
            lifetime=300,
            challenge=os.environ["CODE_CHALLENGE"],
            challenge_method="S256",
            auth_time=now,
            **common,
        )
    else:
        refresh = kind.endswith("refresh_tokens")
        made = models.Token(
            token_id=secrets.token_urlsafe(36),
            access_token=secrets.token_urlsafe(36) if refresh else value,
            refresh_token=value if refresh else None,
            type="Bearer",
            lifetime=86400,
            audience=[client],
            **common,
        )
    Backend.instance.save(made)
    return value


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Canaille, and beside it what the interactions would have made."""
    if not environ["PATH_INFO"].startswith("/seed/"):
        return _flask.wsgi_app(environ, start_response)
    count = int(parse_qs(environ["QUERY_STRING"])["count"][0])
    with _flask.app_context(), Backend.instance.session():
        made = [_make(environ["PATH_INFO"].rpartition("/")[2]) for _ in range(count)]
    body = json.dumps({"made": made}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def main() -> None:
    """Makes the people and the clients; the tables came with the application."""
    with _flask.app_context(), Backend.instance.session():
        for number in range(PEOPLE):
            address = f"person{number}@bench.example"
            person = models.User(
                user_name=f"person{number}", formatted_name="Bench", family_name="Bench", emails=[address]
            )
            Backend.instance.save(person)
        resource_server, client = _client("resource-server"), _client("bench")
        # Who may introspect a token stands in its audience.
        client.audience = [client, resource_server]
        Backend.instance.save(client)


def _client(name: str) -> Any:
    client = models.Client(
        client_id=name,
        client_name=name,
        client_secret=SECRET,
        redirect_uris=[REDIRECT_URI],
        grant_types=["authorization_code", "refresh_token", "client_credentials"],
        response_types=["code"],
        token_endpoint_auth_method="client_secret_basic",
        id_token_signed_response_alg="RS256",
    )
    Backend.instance.save(client)
    return client


if __name__ == "__main__":
    main()
