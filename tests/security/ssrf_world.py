"""Gatepost in a network of its own, made to fetch from every URL of the corpus by every way that there is.

`python -m tests.security.ssrf_world FOLDER`, as root of its own namespaces of network and mounts; prints as JSON what
came of it. What was connected to is none of this process's business: the canary tells.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from server.domain.clients import Client
from server.domain.outbox import Leased
from server.infra import fetch_budget, jose, outbound_http
from server.infra.fetch_payer import FetchFailed
from server.infra.outbound_http import OutboundHttp
from server.protocol.backchannel_logout import LogoutRequest
from server.web.outbox_worker import OutboxWorker
from tests.security.ssrf_corpus import INNER_ADDRESSES, NAMED_URLS, OWN_HOST, PUBLIC_HOST, REFUSED_URLS
from tests.support.application import Gatepost
from tests.support.flow import Flow, form_fields

CALLBACK = "https://app.example.com/callback"
ISSUER = f"https://{OWN_HOST}"
#: Every member of a client's registration that is a URL and that Gatepost asks itself.
FETCHED = ("jwks_uri", "sector_identifier_uri", "request_uris", "backchannel_logout_uri", "logo_uri")
#: And those that it only hands on.
SHOWN = ("client_uri", "policy_uri", "tos_uri", "initiate_login_uri", "frontchannel_logout_uri")
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@contextmanager
def canary(folder: Path) -> Iterator[None]:
    """The network in which every address is here, and the process that watches it."""
    for command in ("ip route add local 0.0.0.0/0 dev lo", "ip -6 route add local ::/0 dev lo"):
        subprocess.run(command.split(), check=True)
    for path, text in (("/etc/resolv.conf", "nameserver 127.0.0.1\n"), ("/etc/nsswitch.conf", "hosts: files dns\n")):
        own = folder / Path(path).name
        own.write_text(text)
        subprocess.run(["mount", "--bind", str(own), path], check=True)
    process = subprocess.Popen([sys.executable, "-m", "tests.security.ssrf_canary", str(folder)])
    try:
        deadline = time.monotonic() + 20
        while not (folder / "ready").exists():
            assert process.poll() is None, "the canary is dead"
            assert time.monotonic() < deadline, "the canary does not sing"
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


def seen(folder: Path) -> dict[str, int]:
    """The connections asked for so far, `address port` and how often."""
    # The canary reads the wire a moment after it was used.
    time.sleep(2)
    return dict(Counter((folder / "connections").read_text().splitlines()))


class World:
    """One deployment, and clients that are all out for the same."""

    def __init__(self, folder: Path) -> None:
        self.gatepost = Gatepost(
            folder / "gatepost",
            issuer=ISSUER,
            allowed_hosts="localhost",
            outbound_ca_file=folder / "ca.pem",
            registration="open",
            registration_per_hour=100_000,
            registration_maximum=100_000,
        )
        self.gatepost.app.testing = False
        self.gatepost.add_user()
        self.key = jose.generate_key("ES256")
        (folder / "site").mkdir()
        (folder / "site" / "jwks.json").write_text(json.dumps({"keys": [jose.public_jwk(self.key)]}))
        self.browser = self.gatepost.browser()
        self.statuses: Counter[str] = Counter()

    def note(self, way: str, status: int) -> None:
        self.statuses[f"{way} {status}"] += 1

    # ------------------------------------------------------------------------------------------------- registration

    def register(self, member: str, url: str) -> int:
        """Registers a client with this URL for this member; the status of the answer."""
        document: dict[str, Any] = {
            "redirect_uris": [CALLBACK],
            member: [url] if member == "request_uris" else url,
        }
        if member == "sector_identifier_uri":
            document["subject_type"] = "pairwise"
        if member == "jwks_uri":
            document["token_endpoint_auth_method"] = "private_key_jwt"
        response = self.client().post("/oauth/register", json=document)
        self.note("register", response.status_code)
        return response.status_code

    def client(self) -> FlaskClient:
        return self.gatepost.app.test_client()

    # ------------------------------------------------------------------------------- clients that slipped through

    def plant(self, number: int, url: str) -> Client:
        """A client whose URLs, all of them, nobody checked: as if the rules had been laxer when it came."""
        client, _ = self.gatepost.add_client(
            client_id=f"planted-{number}",
            scope="openid",
            redirect_uris=(CALLBACK,),
            token_endpoint_auth_method="client_secret_post",
        )
        values = {name: [url] if name == "request_uris" else url for name in (*FETCHED, *SHOWN)}
        self.gatepost.change_client(client.id, **values, require_pkce=False)
        return client

    def assertion(self, client: Client) -> int:
        """A token request that the key at `jwks_uri` would have to prove."""
        now = int(self.gatepost.clock.now().timestamp())
        claims = {"iss": client.id, "sub": client.id, "aud": ISSUER, "jti": "1", "iat": now, "exp": now + 60}
        token = jose.sign(claims, self.key, "ES256", "JWT")
        form = {"grant_type": "client_credentials", "client_assertion_type": _ASSERTION, "client_assertion": token}
        status = self.client().post("/oauth/token", data=form).status_code
        self.note("jwks_uri", status)
        return status

    def provoke(self, client: Client, url: str) -> None:
        """Everything that makes Gatepost ask one of the client's URLs, but for its sign-out."""
        self.gatepost.change_client(client.id, token_endpoint_auth_method="private_key_jwt")
        self.assertion(client)
        parameters = {"client_id": client.id, "response_type": "code", "scope": "openid", "request_uri": url}
        self.note("request_uri", self.client().get("/oauth/authorize", query_string=parameters).status_code)
        self.note("logo_uri", self.client().get(f"/client-logo/{client.id}").status_code)

    def sign_in(self, client: Client) -> None:
        """A grant of the one session, so that its end is to be told to the client; the pages show its links."""
        flow = Flow(self.gatepost, client, None, self.browser, scope="openid")
        assert flow.code()

    def sign_out(self, expected: int) -> int:
        """Ends the session, and lets the outbox send what it has; to how many clients it tried, of so many."""
        page = self.browser.get("/logout")
        answer = self.browser.post("/logout", data={**form_fields(page.text), "decision": "sign_out"})
        assert answer.status_code < 400, answer.text
        worker = _Worker(self.gatepost.runtime, 0.05)
        worker.start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(worker.tried) < expected:
            time.sleep(0.1)
        # For anybody else, whom it should not know of.
        time.sleep(1.5)
        worker.stop()
        worker.join(10)
        return len(worker.tried)


class _Worker(OutboxWorker):
    """Notes whom it sends to."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.tried: set[str] = set()

    def _send(self, message: Leased, request: LogoutRequest) -> None:
        super()._send(message, request)
        self.tried.add(message.client_id)


def run(folder: Path) -> dict[str, Any]:
    """Sets every trap, springs it, and tells what happened."""
    # How long a failure takes, and how many fetches a minute has, is shown elsewhere; here are thousands.
    outbound_http.time = _Hurried()  # type: ignore[assignment]
    fetch_budget.OVER_ALL = 1_000_000  # type: ignore[misc]
    world = World(folder)
    report: dict[str, Any] = {}
    report["accepted"] = [
        [member, url] for url in REFUSED_URLS for member in FETCHED if world.register(member, url) != 400
    ]
    for url in NAMED_URLS[::5]:
        for member in FETCHED:
            world.register(member, url)
    planted = []
    urls = [*REFUSED_URLS, *NAMED_URLS]
    for number, url in enumerate(urls):
        client = world.plant(number, url)
        planted.append(client)
        world.provoke(client, url)
    for client in planted[::5]:
        world.sign_in(client)
    report["signed_out"] = world.sign_out(len(planted[::5]))
    report["connections"] = seen(folder)
    report["statuses"] = dict(world.statuses)
    return {**report, **controls(world, folder)}


class _Hurried:
    """Time as it is, without the pauses."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def sleep(seconds: float) -> None:
        """Does not."""


def controls(world: World, folder: Path) -> dict[str, Any]:
    """That the canary sees what there is to see, and that what is allowed is fetched."""
    good, _ = world.gatepost.add_client("machine", client_id="good")
    world.gatepost.change_client(
        good.id, token_endpoint_auth_method="private_key_jwt", jwks_uri=f"https://{PUBLIC_HOST}/jwks.json"
    )
    status = world.assertion(good)
    settings = world.gatepost.settings.model_copy(update={"outbound_allow_loopback": True})
    before = seen(folder)
    document = [
        OutboundHttp(settings).get_json(f"https://inner-{INNER_ADDRESSES.index(address)}.corpus.test/x")
        for address in ("127.0.0.1", "::1")
    ]
    after = seen(folder)
    try:
        OutboundHttp(settings).get_json(f"https://inner-{INNER_ADDRESSES.index('10.0.0.1')}.corpus.test/x")
    except FetchFailed:
        raise AssertionError("an inner address was tried") from None
    except outbound_http.FetchRefused:
        pass
    return {"good_status": status, "control_document": document, "control_before": before, "control_after": after}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    threading.stack_size(1 << 20)
    with canary(Path(sys.argv[1])):
        print(json.dumps(run(Path(sys.argv[1]))))
