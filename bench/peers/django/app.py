"""A Django project in one file: django-oauth-toolkit with one application and one person.

Runs in a virtual environment of its own. `python -m bench.peers.django.app` makes the tables; granian serves
`application`. GET /seed/KIND?count=N makes codes, refresh_tokens, plain_refresh_tokens (without `openid`) or
access_tokens, as its pages would have.
"""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from urllib.parse import urlsplit

import django
from django.conf import settings

DATABASE_URL = os.environ["DATABASE_URL"]
SCOPE = "openid profile email"
SECRET = "a-client-secret-that-is-long-enough-for-anything"
REDIRECT_URI = "https://bench.example/callback"


def _database() -> dict[str, object]:
    if DATABASE_URL.startswith("sqlite"):
        options = {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;", "transaction_mode": "IMMEDIATE"}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE_URL.partition(":///")[2], "OPTIONS": options}
    parts = urlsplit(DATABASE_URL)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.hostname,
        "PORT": parts.port,
        "CONN_MAX_AGE": None,
    }


settings.configure(
    SECRET_KEY=secrets.token_hex(32),
    ALLOWED_HOSTS=["localhost"],
    DATABASES={"default": _database()},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    MIDDLEWARE=[],
    ROOT_URLCONF="bench.peers.django.app",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": os.environ["RSA_KEY"],
        "SCOPES": {"openid": "", "profile": "", "email": "", "notes:read": ""},
        "PKCE_REQUIRED": True,
        "ROTATE_REFRESH_TOKEN": True,
        "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    },
)
django.setup()

# Only after the set-up, as Django wants it.
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.utils import timezone  # noqa: E402
from oauth2_provider.models import AccessToken, Application, Grant, RefreshToken  # noqa: E402


def _make(kind: str, application: Application, user: User) -> str:
    value, expires = secrets.token_urlsafe(32), timezone.now() + timedelta(hours=1)
    common = {"user": user, "application": application}
    if kind == "codes":
        challenge = {"code_challenge": os.environ["CODE_CHALLENGE"], "code_challenge_method": "S256"}
        more = {"redirect_uri": REDIRECT_URI, "scope": SCOPE, "expires": expires, **challenge}
        Grant.objects.create(code=value, **common, **more)
        return value
    scope = "profile email" if kind == "plain_refresh_tokens" else SCOPE
    token = AccessToken.objects.create(token=value, expires=expires, scope=scope, **common)
    if kind == "access_tokens":
        return value
    return str(RefreshToken.objects.create(token=secrets.token_urlsafe(32), access_token=token, **common).token)


def seed(request: HttpRequest, kind: str) -> JsonResponse:
    """What the interactions would have made."""
    application, user = Application.objects.get(client_id="bench"), User.objects.get(username="person0")
    return JsonResponse({"made": [_make(kind, application, user) for _ in range(int(request.GET["count"]))]})


urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("seed/<str:kind>", seed),
]
application = get_wsgi_application()


def main() -> None:
    """Makes the tables, the person and the applications."""
    call_command("migrate", verbosity=0)
    User.objects.create_user("person0", "person0@bench.example", "a long enough password", first_name="Bench")
    common = {"client_secret": SECRET, "client_type": "confidential", "hash_client_secret": False}
    Application.objects.create(
        client_id="bench",
        authorization_grant_type="authorization-code",
        redirect_uris=REDIRECT_URI,
        algorithm="RS256",
        skip_authorization=True,
        **common,
    )
    Application.objects.create(client_id="bench-machine", authorization_grant_type="client-credentials", **common)


if __name__ == "__main__":
    main()
