"""Fixtures of the conformance tests: Gatepost as `gatepost dev --conformance` sets it up, and relying parties."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.cli.conformance import PORT, default_settings
from server.domain import conformance_seed
from server.domain.conformance_seed import CLIENT, CLIENT2, CLIENT_SECRET_POST, ConformanceCredentials
from tests.conformance import checks
from tests.conformance.listener import Listener
from tests.conformance.suite import BASE, CALLBACK, Provider, RelyingParty, Variant, key_set, private_key
from tests.support.application import Gatepost
from tests.support.deployment import prepared_folder

__all__ = ["prepared_folder"]


@pytest.fixture(scope="session")
def web_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    """The client's own web server, over TLS; its authority is the one that Gatepost's outbound requests trust."""
    with Listener(tmp_path_factory.mktemp("listener")) as listener:
        yield listener


@pytest.fixture
def listener(web_server: Listener) -> Listener:
    """The client's web server, which serves nothing yet and was asked for nothing."""
    web_server.documents.clear()
    web_server.received.clear()
    return web_server


@pytest.fixture(scope="session")
def seeded(
    prepared_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ConformanceCredentials, Gatepost]:
    """A database with the conformance seed, its credentials, and the deployment that stands on a copy of it."""
    seeded = tmp_path_factory.mktemp("conformance") / "seeded"
    shutil.copytree(prepared_folder, seeded)
    settings = {name: value for name, value in default_settings(PORT).items() if name != "database_url"}
    settings["outbound_ca_file"] = None
    gatepost = Gatepost(seeded, is_prepared=True, **settings)
    with gatepost.work() as work:
        credentials = conformance_seed.seed(work, BASE, None)
    gatepost.close()
    standing = seeded.with_name("standing")
    shutil.copytree(seeded, standing)
    return seeded, credentials, Gatepost(standing, is_prepared=True, **settings)


@pytest.fixture
def op(seeded: tuple[Path, ConformanceCredentials, Gatepost]) -> Iterator[Provider]:
    """Gatepost with the static clients and the person of the seed."""
    folder, credentials, gatepost = seeded
    gatepost.restore(folder)
    yield Provider(gatepost, credentials)
    gatepost.close()


@pytest.fixture
def trusting_op(
    seeded: tuple[Path, ConformanceCredentials, Gatepost], listener: Listener, tmp_path: Path
) -> Iterator[Provider]:
    """The same; its outbound requests trust the listener's authority."""
    folder, credentials, gatepost = seeded
    copy = tmp_path / "trusting"
    shutil.copytree(folder, copy)
    settings = gatepost.settings.model_dump(exclude={"database_url", "keys_dir", "outbound_ca_file"})
    trusting = Gatepost(copy, is_prepared=True, **settings, outbound_ca_file=listener.authority)
    yield Provider(trusting, credentials)
    trusting.close()


class Registrar:
    """Makes relying parties, and takes dynamically registered ones away again when the test is over."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack

    def __call__(self, op: Provider, variant: Variant, *, second: bool = False, **metadata: Any) -> RelyingParty:
        """A client for `variant`; `metadata` changes a dynamic registration, and None leaves a member out."""
        if variant.registration == "static":
            return self._static(op, variant, second=second)
        key = private_key("second" if second else "first")
        asked = {
            "client_name": f"Conformance {'second ' if second else ''}client",
            "grant_types": variant.grant_types,
            "jwks": key_set(key),
            "token_endpoint_auth_method": variant.auth_method,
            "response_types": [variant.response_type],
            "redirect_uris": [CALLBACK],
            "contacts": ["suite@suite.test"],
            **metadata,
        }
        response = op.post_registration({name: value for name, value in asked.items() if value is not None})
        registration = checks.check_registration(response)
        assert registration["redirect_uris"] == asked["redirect_uris"]
        self.stack.callback(_unregister, op, registration)
        return RelyingParty(op, variant, registration, key)

    @staticmethod
    def _static(op: Provider, variant: Variant, *, second: bool) -> RelyingParty:
        client_id = CLIENT2 if second else CLIENT
        if variant.auth_method == "client_secret_post":
            client_id = CLIENT_SECRET_POST
        registration = {
            "client_id": client_id,
            "client_secret": op.credentials.secrets[client_id],
            "redirect_uris": [CALLBACK],
            "post_logout_redirect_uris": [f"{BASE}/post_logout_redirect"],
        }
        return RelyingParty(op, variant, registration, private_key("second" if second else "first"))


def _unregister(op: Provider, registration: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {registration['registration_access_token']}"}
    response = op.http("DELETE", registration["registration_client_uri"], headers=headers)
    assert response.status_code == 204, response.text
    assert op.http("GET", registration["registration_client_uri"], headers=headers).status_code == 401


@pytest.fixture
def register() -> Iterator[Registrar]:
    """`register(op, variant)`: a relying party."""
    with ExitStack() as stack:
        yield Registrar(stack)


@pytest.fixture
def rp(op: Provider, variant: Variant, register: Registrar) -> RelyingParty:
    """The first client of the variant that the test runs with."""
    return register(op, variant)


@pytest.fixture
def rp2(op: Provider, variant: Variant, register: Registrar) -> RelyingParty:
    """The second client of the variant that the test runs with."""
    return register(op, replace(variant), second=True)
