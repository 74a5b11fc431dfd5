"""docs/verification.md names every header of an identity to every gateway, and its verifier verifies."""

from __future__ import annotations

import io
import json
import re
import urllib.request
from datetime import timedelta
from typing import Any

import pytest

from server.web.api import verify
from tests.support.altered import altered
from tests.support.components import REPOSITORY
from tests.support.deployment import GatepostMaker, make_gatepost, prepared_folder
from tests.support.documented_commands import FENCE
from tests.support.gateway import API_SCOPES, Gateway

__all__ = ["make_gatepost", "prepared_folder"]

PAGE = REPOSITORY / "docs" / "verification.md"
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:gatepost:params:oauth:token-type:api_key",
}


def blocks(language: str) -> list[str]:
    """The page's fenced blocks in this language."""
    return [block["text"] for block in FENCE.finditer(PAGE.read_text("utf-8")) if block["language"] == language]


def names(pattern: str, text: str) -> list[str]:
    return sorted(name.lower() for name in re.findall(pattern, text))


def test_every_gateway_takes_the_client_s_own_identity_away_and_passes_ours_on() -> None:
    identity = sorted(name.lower() for name in verify._HEADERS.values())
    nginx, _ = blocks("nginx")
    traefik, envoy = blocks("yaml")
    assert names(r"proxy_set_header (X-Auth-[A-Za-z-]+) ", nginx) == identity
    upstream = (name.replace("_", "-") for name in re.findall(r"\$upstream_http_(x_auth_\w+);", nginx))
    assert sorted({*upstream} - {verify.REFUSAL_HEADER.lower()}) == identity
    assert names(r"- (X-Auth-[A-Za-z-]+)", traefik) == identity
    assert names(r"- remove: (x-auth-[a-z-]+)", envoy) == identity
    table = re.findall(r"^\| `(X-Auth-[A-Za-z-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(name.lower() for name in table) == identity


@pytest.fixture
def gateway(make_gatepost: GatepostMaker) -> Gateway:
    return Gateway(make_gatepost(scopes=API_SCOPES))


@pytest.fixture
def verifier(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's own verifier, which fetches the keys from the deployment."""

    def fetched(url: str) -> io.BytesIO:
        return io.BytesIO(gateway.gatepost.browser().get(url.removeprefix(gateway.gatepost.settings.issuer)).data)

    monkeypatch.setattr(urllib.request, "urlopen", fetched)
    (source,) = blocks("python")
    module: dict[str, Any] = {}
    exec(compile(source, str(PAGE), "exec"), module)
    return module["verify"]


def exchanged(gateway: Gateway, key: str) -> str:
    answer = gateway.gatepost.browser().post("/oauth/token", data={**EXCHANGE, "subject_token": key})
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["access_token"])


@pytest.mark.spec("K-18")
def test_documented_verifier_takes_an_exchanged_token_and_no_other(
    gateway: Gateway, verifier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = gateway.gatepost.clock
    monkeypatch.setattr("time.time", lambda: clock.now().timestamp())
    row, key = gateway.key("users:read")
    token = exchanged(gateway, key)
    claims = verifier(token, "users:read")
    assert (claims["sub"], claims["organization_id"], claims["environment"]) == (row.id, gateway.acme.id, "live")
    with pytest.raises(PermissionError):
        verifier(token, "users:write")
    _, sandbox = gateway.key("users:read", environment="test")
    head, payload, signature = token.split(".")
    for wrong in (exchanged(gateway, sandbox), f"{head}.{payload}.{altered(signature, -4)}", f"e30.{payload}.", key):
        with pytest.raises(Exception):  # noqa: B017  # the library has a class for each
            verifier(wrong, "users:read")
    clock.advance(timedelta(minutes=16).total_seconds())
    with pytest.raises(Exception, match="expired"):
        verifier(token, "users:read")


def test_documented_answers_have_the_members_that_answers_have(gateway: Gateway) -> None:
    introspected, traded = (json.loads(block) for block in blocks("json"))
    _, key = gateway.key("users:read")
    client, secret = gateway.gatepost.add_client("machine", may_introspect_any=True)
    browser = gateway.gatepost.browser()
    credentials: Any = (client.id, secret)
    answer = browser.post("/oauth/introspect", data={"token": key}, auth=credentials).get_json()
    assert sorted(answer) == sorted(introspected)
    assert (answer["token_type"], answer["scope"]) == (introspected["token_type"], introspected["scope"])
    answer = browser.post("/oauth/token", data={**EXCHANGE, "subject_token": key}).get_json()
    assert {**answer, "access_token": traded["access_token"]} == traded
