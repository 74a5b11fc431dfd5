"""`gatepost dev --conformance`: one command makes all that the conformance suite needs, and refuses what is unsafe."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from granian.constants import HTTPModes, Interfaces, SSLProtocols

from server.cli import conformance
from server.config import Settings
from server.domain.client_secrets import verify_client_secret
from server.domain.clients import get_client
from server.domain.conformance_seed import BACKCHANNEL, CLIENT, CLIENT2, CLIENT_SECRET_POST, FRONTCHANNEL
from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


class RecordedServer:
    """Stands where granian's server would: remembers how it was set up, and serves nobody."""

    started: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, target: str, **options: Any) -> None:
        self.options = {"target": target, **options}

    def serve(self, target_loader: Callable[[str], Any]) -> None:
        RecordedServer.started.append({**self.options, "target_loader": target_loader})


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    RecordedServer.started = []
    monkeypatch.setattr(conformance, "MPServer", RecordedServer)
    return RecordedServer.started


@pytest.fixture
def port() -> str:
    return str(free_port())


@pytest.fixture
def first(empty_cli: Cli, port: str) -> str:
    """What the first run prints, in an empty folder."""
    return empty_cli.ok("dev", "--conformance", "--port", port)


def settings_of(started: list[dict[str, Any]]) -> Settings:
    """The settings that the application is made with."""
    loader = started[-1]["target_loader"]
    assert isinstance(loader, partial)
    (settings,) = loader.args
    assert isinstance(settings, Settings)
    return settings


def kept(cli: Cli, name: str) -> Any:
    return json.loads((cli.folder / "var" / "conformance" / name).read_text())


def test_everything_is_made_in_an_empty_folder(empty_cli: Cli, first: str) -> None:
    credentials = kept(empty_cli, "credentials.json")
    database = f"sqlite:///{empty_cli.folder / 'var' / 'conformance.sqlite'}"
    with empty_cli.gatepost(database_url=database) as gatepost, gatepost.work() as work:
        for client_id, secret in credentials["secrets"].items():
            assert verify_client_secret(work, get_client(work, client_id), secret)
    made = {path.name for path in (empty_cli.folder / "var" / "conformance").iterdir()}
    assert made == {
        *("ca.pem", "ca-key.pem", "gatepost.pem", "gatepost-key.pem", "suite.pem", "suite-key.pem"),
        *("credentials.json", "plan.json", "plan-backchannel.json", "plan-frontchannel.json"),
    }
    for path in (empty_cli.folder / "var" / "conformance").iterdir():
        is_public = path.name in {"ca.pem", "gatepost.pem", "suite.pem"}
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or is_public, path.name


def test_block_tells_all_that_a_configuration_needs(empty_cli: Cli, first: str, port: str) -> None:
    credentials = kept(empty_cli, "credentials.json")
    issuer = f"https://op.test:{port}"
    assert f"Issuer              {issuer}\n" in first
    assert f"Discovery           {issuer}/.well-known/openid-configuration\n" in first
    assert f"Sign in             demo@example.com / {credentials['password']}\n" in first
    for label, name in (("client", CLIENT), ("client2", CLIENT2), ("client_secret_post", CLIENT_SECRET_POST)):
        assert f"{label:<20}{name} / {credentials['secrets'][name]}\n" in first


def test_application_is_served_over_tls_as_in_production(first: str, started: list[dict[str, Any]], port: str) -> None:
    (options,) = started
    assert (options["target"], options["address"], options["port"]) == (
        "server.app:create_serving_app",
        "127.0.0.1",
        int(port),
    )
    assert (options["interface"], options["http"], options["workers"]) == (Interfaces.WSGI, HTTPModes.http1, 1)
    assert options["ssl_protocol_min"] is SSLProtocols.tls12
    assert (options["ssl_cert"].name, options["ssl_key"].name) == ("gatepost.pem", "gatepost-key.pem")


def test_settings_open_what_the_suite_needs(first: str, started: list[dict[str, Any]]) -> None:
    settings = settings_of(started)
    assert (settings.environment, settings.registration) == ("development", "open")
    assert settings.outbound_allow_loopback
    assert settings.outbound_ca_file == conformance.FOLDER / "ca.pem"
    assert settings.registration_per_hour >= 10_000


def test_settings_of_the_environment_win(empty_cli: Cli, port: str, started: list[dict[str, Any]]) -> None:
    empty_cli.variables |= {
        "GATEPOST_ISSUER": "https://localhost:9999",
        "GATEPOST_DATABASE_URL": "sqlite:///elsewhere.sqlite",
        "GATEPOST_OUTBOUND_CA_FILE": "suite-ca.pem",
        "GATEPOST_REGISTRATION": "off",
    }
    assert "Issuer              https://localhost:9999\n" in empty_cli.ok("dev", "--conformance", "--port", port)
    assert (empty_cli.folder / "elsewhere.sqlite").is_file()
    settings = settings_of(started)
    assert (str(settings.outbound_ca_file), settings.registration) == ("suite-ca.pem", "off")


def test_second_run_finds_everything_again(empty_cli: Cli, first: str, port: str) -> None:
    folder = empty_cli.folder / "var" / "conformance"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    second = empty_cli.ok("dev", "--conformance", "--port", port)
    assert "ready for the conformance suite. The database was there already; --reset empties it." in second
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_reset_empties_the_database(empty_cli: Cli, first: str, port: str) -> None:
    assert "was there already" not in empty_cli.ok("dev", "--conformance", "--port", port, "--reset")


@pytest.mark.parametrize("content", ["", "[]", '{"another": "version"}'])
def test_credentials_are_renewed_when_the_kept_ones_cannot_be_read(
    empty_cli: Cli, first: str, port: str, content: str
) -> None:
    before = kept(empty_cli, "credentials.json")
    (empty_cli.folder / "var" / "conformance" / "credentials.json").write_text(content)
    empty_cli.ok("dev", "--conformance", "--port", port)
    assert not set(kept(empty_cli, "credentials.json")["secrets"].values()) & set(before["secrets"].values())


def test_plans_know_the_clients_and_the_suite(empty_cli: Cli, port: str) -> None:
    empty_cli.ok("dev", "--conformance", "--port", port, "--suite", "https://suite.test:8443/")
    secrets = kept(empty_cli, "credentials.json")["secrets"]
    for name, client in (("plan", CLIENT), ("plan-backchannel", BACKCHANNEL), ("plan-frontchannel", FRONTCHANNEL)):
        plan = kept(empty_cli, f"{name}.json")
        assert plan["client"] == {"client_id": client, "client_secret": secrets[client]}
        assert plan["client2"] == {"client_id": CLIENT2, "client_secret": secrets[CLIENT2]}
        assert plan["server"]["discoveryUrl"] == f"https://op.test:{port}/.well-known/openid-configuration"
    database = f"sqlite:///{empty_cli.folder / 'var' / 'conformance.sqlite'}"
    with empty_cli.gatepost(database_url=database) as gatepost, gatepost.work() as work:
        assert get_client(work, CLIENT).redirect_uris[0] == "https://suite.test:8443/test/a/gatepost/callback"


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("issuer", "sentence"),
    [
        ("http://localhost:9443", "The suite wants https."),
        ("https://login.example.com", "the issuer must be a test's"),
    ],
)
def test_run_is_refused_when_the_issuer_is_not_fit(
    empty_cli: Cli, port: str, started: list[dict[str, Any]], issuer: str, sentence: str
) -> None:
    empty_cli.variables["GATEPOST_ISSUER"] = issuer
    assert sentence in empty_cli.fault("dev", "--conformance", "--port", port)
    assert started == []
    assert list(empty_cli.folder.iterdir()) == []


@pytest.mark.parametrize("suite", ["http://suite.test", "suite.test", "https://"])
def test_run_is_refused_when_the_suite_is_no_https_address(empty_cli: Cli, port: str, suite: str) -> None:
    assert "--suite is the address" in empty_cli.fault("dev", "--conformance", "--port", port, "--suite", suite)


def test_run_keeps_off_a_deployments_database(cli: Cli, port: str, started: list[dict[str, Any]]) -> None:
    assert "This database is in use by a deployment" in cli.fault("dev", "--conformance", "--port", port)
    assert started == []


@pytest.mark.spec("F-01")
def test_serve_refuses_loopback_on_a_public_issuer(cli: Cli) -> None:
    """What `--conformance` opens for a test never comes into production by a variable that was left behind."""
    cli.variables |= {"GATEPOST_ISSUER": "https://login.example.com", "GATEPOST_OUTBOUND_ALLOW_LOOPBACK": "true"}
    assert cli.fault("serve").startswith("GATEPOST_OUTBOUND_ALLOW_LOOPBACK is for tests")
