"""`gatepost clients`: every command, for people and for programs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from server.infra import jose
from server.infra.outbound_http import OutboundHttp

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

REDIRECT_URI = "https://app.example.com/callback"
WEB = ("clients", "create", "My app", "--type", "web", "--client-id", "my-app", "--redirect-uri", REDIRECT_URI)


@pytest.mark.parametrize(
    ("client_type", "has_secret"),
    [("web", True), ("spa", False), ("native", False), ("machine", True), ("device", False)],
)
def test_client_of_each_type_is_registered_and_its_secret_shown_once(
    cli: Cli, client_type: str, has_secret: bool
) -> None:
    redirect = ["--redirect-uri", REDIRECT_URI] if client_type in {"web", "spa", "native"} else []
    made = cli.json("clients", "create", "My app", "--type", client_type, *redirect)
    assert (made["client_name"], made["client_type"]) == ("My app", client_type)
    assert ("client_secret" in made) is has_secret
    again = cli.json("clients", "show", made["client_id"])
    assert "client_secret" not in again
    assert len(again.pop("client_secrets")) == has_secret
    assert {**made, "client_secret": None} == {**again, "client_secret": None}
    assert [row.client_id for row in cli.audit_rows("client.created")] == [made["client_id"]]


@pytest.mark.spec("RFC 7591 §3.2.1")
def test_every_option_finds_its_place_in_the_registration(cli: Cli) -> None:
    made = cli.json(
        *WEB,
        *(
            "--redirect-uri",
            "https://app.example.com/other",
            "--post-logout-redirect-uri",
            "https://app.example.com/bye",
        ),
        *("--scope", "openid email", "--auth-method", "client_secret_post", "--client-uri", "https://app.example.com"),
        *("--policy-uri", "https://app.example.com/privacy", "--tos-uri", "https://app.example.com/terms"),
        *("--first-party", "--introspect-any", "--no-pkce", "--no-rotation", "--refresh-token-policy", "always"),
        *("--id-token-claims", "lean", "--id-token-alg", "ES256", "--access-token-alg", "EdDSA"),
    )
    assert made["client_secret"].startswith("cs_")
    expected = {
        "client_id": "my-app",
        "client_name": "My app",
        "client_type": "web",
        "application_type": "web",
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "redirect_uris": [REDIRECT_URI, "https://app.example.com/other"],
        "post_logout_redirect_uris": ["https://app.example.com/bye"],
        "scope": "openid email",
        "client_uri": "https://app.example.com",
        "policy_uri": "https://app.example.com/privacy",
        "tos_uri": "https://app.example.com/terms",
        "require_pkce": False,
        "rotate_refresh_tokens": False,
        "refresh_token_policy": "always",
        "id_token_claims": "lean",
        "id_token_signed_response_alg": "ES256",
        "access_token_signed_response_alg": "EdDSA",
        "is_first_party": True,
        "may_introspect_any": True,
        "is_disabled": False,
    }
    assert expected.items() <= made.items()


@pytest.mark.spec("RFC 7591 §3.2.1")
def test_every_further_option_finds_its_place_too(cli: Cli) -> None:
    values = {
        "--response-type": ("response_types", ["code id_token"]),
        "--auth-method": ("token_endpoint_auth_method", "private_key_jwt"),
        "--auth-signing-alg": ("token_endpoint_auth_signing_alg", "PS256"),
        "--jwks-uri": ("jwks_uri", "https://app.example.com/jwks.json"),
        "--logo-uri": ("logo_uri", "https://app.example.com/logo.png"),
        "--contact": ("contacts", ["ops@example.com"]),
        "--subject-type": ("subject_type", "pairwise"),
        "--id-token-encryption-alg": ("id_token_encrypted_response_alg", "RSA-OAEP"),
        "--id-token-encryption-enc": ("id_token_encrypted_response_enc", "A256GCM"),
        "--userinfo-alg": ("userinfo_signed_response_alg", "PS256"),
        "--userinfo-encryption-alg": ("userinfo_encrypted_response_alg", "ECDH-ES"),
        "--userinfo-encryption-enc": ("userinfo_encrypted_response_enc", "A128GCM"),
        "--request-object-alg": ("request_object_signing_alg", "EdDSA"),
        "--request-object-encryption-alg": ("request_object_encryption_alg", "RSA-OAEP-256"),
        "--request-object-encryption-enc": ("request_object_encryption_enc", "A128CBC-HS256"),
        "--authorization-alg": ("authorization_signed_response_alg", "ES256"),
        "--authorization-encryption-alg": ("authorization_encrypted_response_alg", "ECDH-ES+A256KW"),
        "--authorization-encryption-enc": ("authorization_encrypted_response_enc", "A256CBC-HS512"),
        "--request-uri": ("request_uris", ["https://app.example.com/request.jwt#abc"]),
        "--default-max-age": ("default_max_age", 3600),
        "--default-acr-value": ("default_acr_values", ["1"]),
        "--initiate-login-uri": ("initiate_login_uri", "https://app.example.com/start"),
        "--backchannel-logout-uri": ("backchannel_logout_uri", "https://app.example.com/backchannel"),
        "--frontchannel-logout-uri": ("frontchannel_logout_uri", "https://app.example.com/frontchannel"),
        "--software-id": ("software_id", "4NRB1"),
        "--software-version": ("software_version", "2.1"),
    }
    switches = {
        "--strict-audience": "strict_assertion_audience",
        "--require-auth-time": "require_auth_time",
        "--backchannel-logout-session-required": "backchannel_logout_session_required",
        "--frontchannel-logout-session-required": "frontchannel_logout_session_required",
    }
    options = [
        part
        for name, (_, value) in values.items()
        for part in (name, str(value[0] if isinstance(value, list) else value))
    ]
    made = cli.json(*WEB, *options, *switches)
    assert {**dict(values.values()), **dict.fromkeys(switches.values(), True)}.items() <= made.items()
    assert made["grant_types"] == ["authorization_code", "refresh_token", "implicit"]
    assert not {"client_secret", "sector_identifier_uri"} & set(made)
    assert cli.json("clients", "show", "my-app")["client_secrets"] == []
    assert (
        cli.fault("clients", "rotate-secret", "my-app") == "This client has no secret: it signs with a key of its own."
    )


def test_what_is_said_is_changed_and_all_else_stays(cli: Cli) -> None:
    made = cli.json(*WEB, "--logo-uri", "https://app.example.com/logo.png", "--no-pkce", "--default-max-age", "5")
    options = ("--response-type", "id_token", "--response-type", "code", "--grant-type", "implicit", "--grant-type")
    changed = cli.json(
        "clients", "update", "my-app", *options, "authorization_code", "--name", "New name", "--first-party"
    )
    expected = {
        "client_name": "New name",
        "response_types": ["id_token", "code"],
        "grant_types": ["implicit", "authorization_code"],
        "is_first_party": True,
    }
    assert changed == {name: value for name, value in {**made, **expected}.items() if name != "client_secret"}
    (row,) = cli.audit_rows("client.updated")
    assert row.details == {"changed": ["client_name", "grant_types", "is_first_party", "response_types"]}
    unset = (
        "--unset",
        "logo_uri",
        "--unset",
        "require_pkce",
        "--unset",
        "is_first_party",
        "--unset",
        "default_max_age",
    )
    after = cli.json("clients", "update", "my-app", *unset)
    assert not {"logo_uri", "default_max_age"} & set(after)
    assert (after["require_pkce"], after["is_first_party"]) == (True, False)


def register_itself(cli: Cli) -> tuple[str, str]:
    """The id of a client that did, and the token by which it manages its registration."""
    with cli.gatepost(is_prepared=True, registration="open") as gatepost:
        answer = gatepost.browser().post("/oauth/register", json={"redirect_uris": [REDIRECT_URI]}).get_json()
    return answer["client_id"], answer["registration_access_token"]


def status_of_managing(cli: Cli, client_id: str, token: str) -> int:
    with cli.gatepost(is_prepared=True) as gatepost:
        headers = {"Authorization": f"Bearer {token}"}
        return gatepost.browser().get(f"/oauth/register/{client_id}", headers=headers).status_code


@pytest.mark.spec("TK-24")
def test_client_that_registered_itself_becomes_the_operators_own(cli: Cli) -> None:
    client_id, token = register_itself(cli)
    assert status_of_managing(cli, client_id, token) == 200
    assert cli.json("clients", "show", client_id)["registered_dynamically"] is True
    changed = cli.json("clients", "update", client_id, "--unset", "registered_dynamically")
    assert (changed["registered_dynamically"], changed["id_token_claims"]) == (False, "lean")
    assert status_of_managing(cli, client_id, token) == 401


@pytest.mark.spec("TK-24")
def test_client_changes_itself_no_longer_when_its_registration_is_revoked(cli: Cli) -> None:
    client_id, token = register_itself(cli)
    document = cli.json("clients", "revoke-registration", client_id)
    assert (document["client_id"], document["registration_revoked"]) == (client_id, True)
    assert status_of_managing(cli, client_id, token) == 401
    assert cli.json("clients", "show", client_id)["is_disabled"] is False
    assert [row.client_id for row in cli.audit_rows("registration_token.revoked")] == [client_id]
    fault = "This client has no registration access token."
    assert cli.fault("clients", "revoke-registration", client_id) == fault


def test_new_secret_is_shown_when_a_change_needs_one(cli: Cli) -> None:
    cli.ok(*WEB)
    assert "client_secret" not in cli.json("clients", "update", "my-app", "--auth-method", "client_secret_post")
    assert "client_secret" in cli.json("clients", "update", "my-app", "--auth-method", "client_secret_jwt")


def test_change_is_refused_when_the_whole_would_not_hold(cli: Cli) -> None:
    cli.ok(*WEB)
    assert cli.fault("clients", "update", "my-app", "--response-type", "id_token").startswith("grant_types: ")
    assert cli.fault("clients", "update", "nobody", "--first-party") == "There is no client nobody."
    assert cli.run("clients", "update", "my-app", "--unset", "client_id").exit_code == 2
    assert cli.audit_rows("client.updated") == []


def test_keys_are_read_from_a_file(cli: Cli) -> None:
    keys = {"keys": [jose.public_jwk(jose.generate_key("ES256"))]}
    (cli.folder / "jwks.json").write_text(json.dumps(keys))
    made = cli.json(*WEB, "--auth-method", "private_key_jwt", "--jwks", "jwks.json")
    assert made["jwks"] == keys
    (cli.folder / "jwks.json").write_text("[]")
    assert "cannot be read as a JSON object" in cli.run(*WEB, "--jwks", "jwks.json").stderr


@pytest.mark.spec("OpenID Connect Core §8.1")
def test_sector_file_is_asked_for_when_a_client_names_one(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    sector = ("--sector-identifier-uri", "https://sector.example.com/uris.json")
    monkeypatch.setattr(OutboundHttp, "get_json", lambda *_, **__: ["https://other.example.com/cb"])
    assert cli.fault(*WEB, *sector).startswith("sector_identifier_uri: The file there does not name every")
    assert cli.json("clients", "list") == []
    monkeypatch.setattr(OutboundHttp, "get_json", lambda *_, **__: [REDIRECT_URI])
    assert cli.json(*WEB, *sector)["sector_identifier_uri"] == sector[1]


def test_registration_is_shown_as_lines_for_people(cli: Cli) -> None:
    text = cli.ok(*WEB)
    assert re.search(r"^client_id +my-app$", text, re.MULTILINE)
    assert re.search(r"^client_secret +cs_[0-9A-Za-z]{43}$", text, re.MULTILINE)
    assert re.search(r"^require_pkce +yes$", text, re.MULTILINE)
    assert re.search(r"^grant_types +authorization_code refresh_token$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--policy-uri", "http://x"), "policy_uri: This must be an https URL."),
        (
            ("--redirect-uri", "http://x/"),
            "redirect_uris: http is only allowed for localhost, and only",
        ),
        (("--post-logout-redirect-uri", "nowhere"), "post_logout_redirect_uris: A redirect URI is absolute"),
        (("--scope", "openid nonsense"), "scope: This deployment has no other scopes than address"),
        (("--client-id", "usr_x"), "client_id: A client id has letters"),
        (("--auth-method", "none", "--no-pkce"), "require_pkce: PKCE cannot be switched off"),
    ],
)
def test_refusal_names_the_member_when_metadata_is_wrong(cli: Cli, options: tuple[str, ...], sentence: str) -> None:
    assert cli.fault(*WEB, *options).startswith(sentence)
    assert cli.json("clients", "list") == []


def test_registration_is_refused_when_the_id_is_taken(cli: Cli) -> None:
    cli.ok(*WEB)
    assert cli.fault(*WEB) == "There is a client my-app already."


@pytest.mark.parametrize(
    "options",
    [
        ("--type", "robot"),
        (),
        ("--type", "web", "--auth-method", "tls_client_auth"),
        ("--type", "web", "--response-type", "token"),
        ("--type", "web", "--jwks", "nowhere.json"),
        ("--type", "web", "--id-token-alg", "none"),
        ("--type", "web", "--refresh-token-policy", "never"),
    ],
)
def test_option_is_a_usage_error_when_its_value_is_none_of_ours(cli: Cli, options: tuple[str, ...]) -> None:
    assert cli.run("clients", "create", "My app", *options).exit_code == 2


def test_list_says_how_to_begin_when_there_are_no_clients(cli: Cli) -> None:
    assert "gatepost clients create" in cli.ok("clients", "list")
    assert cli.json("clients", "list") == []


def test_list_is_a_table_for_people_and_complete_for_programs(cli: Cli) -> None:
    cli.ok(*WEB)
    cli.ok("clients", "create", "A machine", "--type", "machine", "--client-id", "robot")
    head, *rows = cli.ok("clients", "list").splitlines()
    names = ["client_id", "client_name", "client_type", "token_endpoint_auth_method", "environment", "is_disabled"]
    assert head.split() == names
    assert [row.split()[0] for row in rows] == ["my-app", "robot"]
    documents = cli.json("clients", "list")
    assert [document["client_id"] for document in documents] == ["my-app", "robot"]
    assert documents[0]["redirect_uris"] == [REDIRECT_URI]
    assert "secret" not in str(
        [value for document in documents for value in document.values() if value != "client_secret_basic"]
    )


def test_secret_is_rotated_with_an_overlap_and_both_are_listed(cli: Cli) -> None:
    first = cli.json(*WEB)["client_secret"]
    rotated = cli.json("clients", "rotate-secret", "my-app", "--overlap", "3600")
    assert (rotated["client_id"], rotated["old_secrets_end_in"]) == ("my-app", 3600)
    assert rotated["client_secret"] != first
    old, new = cli.json("clients", "show", "my-app")["client_secrets"]
    assert re.fullmatch(rf"…{first[-4:]} until \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ", old)
    assert new == f"…{rotated['client_secret'][-4:]} (current)"
    assert cli.audit_rows("client.secret.rotated")[0].details == {"overlap_seconds": 3600}
    assert "(current)" in cli.ok("clients", "show", "my-app")
    assert rotated["client_secret"] not in cli.ok("clients", "show", "my-app")


def test_secret_is_rotated_with_a_day_of_overlap_when_nothing_is_said(cli: Cli) -> None:
    cli.ok(*WEB)
    assert re.search(r"^old_secrets_end_in +86400$", cli.ok("clients", "rotate-secret", "my-app"), re.MULTILINE)


def test_rotation_is_refused_when_the_client_is_public(cli: Cli) -> None:
    cli.ok("clients", "create", "My app", "--type", "spa", "--client-id", "spa", "--redirect-uri", REDIRECT_URI)
    assert cli.fault("clients", "rotate-secret", "spa") == "This client has no secret: it is public."


def test_rotation_is_a_usage_error_when_the_overlap_is_negative(cli: Cli) -> None:
    assert cli.run("clients", "rotate-secret", "my-app", "--overlap", "-1").exit_code == 2


def test_client_is_suspended_and_let_in_again(cli: Cli) -> None:
    cli.ok(*WEB)
    assert cli.json("clients", "disable", "my-app")["is_disabled"] is True
    assert re.search(r"^is_disabled +yes$", cli.ok("clients", "disable", "my-app"), re.MULTILINE)
    assert cli.json("clients", "enable", "my-app")["is_disabled"] is False
    assert re.search(r"^is_disabled +no$", cli.ok("clients", "enable", "my-app"), re.MULTILINE)
    assert len(cli.audit_rows("client.disabled")) == len(cli.audit_rows("client.enabled")) == 1


def test_client_is_removed_when_the_operator_is_sure(cli: Cli) -> None:
    cli.ok(*WEB)
    aborted = cli.run("clients", "delete", "my-app", stdin="n\n")
    assert aborted.exit_code == 1
    assert "Go on?" in aborted.stderr
    assert len(cli.json("clients", "list")) == 1
    assert "deleted" in cli.run("clients", "delete", "my-app", stdin="y\n").stdout
    assert cli.json("clients", "list") == []
    cli.ok(*WEB)
    removed = cli.json("clients", "delete", "my-app", "--yes")
    assert (removed["client_id"], removed["deleted"]) == ("my-app", True)
    assert [row.client_id for row in cli.audit_rows("client.deleted")] == ["my-app", "my-app"]


@pytest.mark.parametrize("command", ["show", "rotate-secret", "revoke-registration", "disable", "enable", "delete"])
def test_command_says_so_when_there_is_no_such_client(cli: Cli, command: str) -> None:
    sure = ["--yes"] if command == "delete" else []
    assert cli.fault("clients", command, "nobody", *sure) == "There is no client nobody."


# Organizations, and tokens that clients make ------------------------------------------------------------------------


def test_client_belongs_to_the_organization_that_is_named_for_good(cli: Cli) -> None:
    organization = cli.json("organizations", "create", "Acme")
    options = ("--type", "machine", "--organization", "acme", "--environment", "test")
    client = cli.json("clients", "create", "Importer", *options)
    assert (client["organization_id"], client["environment"]) == (organization["id"], "test")
    assert cli.run("clients", "update", client["client_id"], "--environment", "live").exit_code == 2
    assert cli.fault("clients", "create", "X", "--type", "machine", "--organization", "nobody") == (
        "There is no organization nobody."
    )


def test_client_may_make_tokens_and_tell_apis_of_people_when_it_is_said(cli: Cli) -> None:
    cli.ok("clients", "create", "A machine", "--type", "machine", "--client-id", "robot")
    changed = cli.json("clients", "update", "robot", "--jwt-authentication", "--access-token-claims", "rich")
    assert (changed["jwt_authentication"], changed["access_token_claims"]) == (True, "rich")
    assert changed["client_secret"].startswith("cs_")
    back = cli.json("clients", "update", "robot", "--unset", "jwt_authentication")
    assert back["jwt_authentication"] is False
    assert "client_secret" not in back
