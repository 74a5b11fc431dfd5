"""What is refused of a client's metadata: each with its member and its reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from server.domain import client_checks, redirect_uris, sector_identifiers
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Invalid
from server.domain.policy.client_metadata import RESERVED_ID_PREFIXES, ClientType
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose, jwe
from tests.domain.factories import REDIRECT_URI, audited, make_client
from tests.support.application import Gatepost


@pytest.mark.parametrize(
    ("client_type", "metadata", "field", "reason"),
    [
        ("web", {"client_name": ""}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_name": "   "}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_name": "x" * 101}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_name": "two\nlines"}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_name": "bell\a"}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_name": "turned \u202e round"}, "client_name", "1 to 100 printable characters"),
        ("web", {"client_id": "-leading"}, "client_id", "letters, digits"),
        ("web", {"client_id": "sp ace"}, "client_id", "letters, digits"),
        ("web", {"client_id": "sla/sh"}, "client_id", "letters, digits"),
        ("web", {"client_id": "café"}, "client_id", "letters, digits"),
        ("web", {"client_id": "x" * 101}, "client_id", "letters, digits"),
        ("web", {"client_id": "usr_somebody"}, "client_id", "does not begin with usr_"),
        (
            "web",
            {"token_endpoint_auth_method": "private_key_jwt"},
            "token_endpoint_auth_method",
            "needs keys of the client",
        ),
        ("web", {"token_endpoint_auth_method": "NONE"}, "token_endpoint_auth_method", "one of"),
        ("machine", {"token_endpoint_auth_method": "none"}, "grant_types", "cannot use client_credentials"),
        ("spa", {"grant_types": ("client_credentials",)}, "grant_types", "cannot use client_credentials"),
        ("spa", {"require_pkce": False}, "require_pkce", "without a secret"),
        ("native", {"require_pkce": False}, "require_pkce", "without a secret"),
        ("web", {"token_endpoint_auth_method": "none", "require_pkce": False}, "require_pkce", "without a secret"),
        ("spa", {"rotate_refresh_tokens": False}, "rotate_refresh_tokens", "always rotate"),
        ("device", {"rotate_refresh_tokens": False}, "rotate_refresh_tokens", "always rotate"),
        ("web", {"refresh_token_policy": "never"}, "refresh_token_policy", "one of offline_access, always"),
        ("web", {"id_token_claims": "some"}, "id_token_claims", "one of full, lean"),
        (
            "web",
            {"id_token_signed_response_alg": "none"},
            "id_token_signed_response_alg",
            "one of RS256, PS256, ES256, EdDSA",
        ),
        ("web", {"id_token_signed_response_alg": "HS256"}, "id_token_signed_response_alg", "one of RS256"),
        ("web", {"access_token_signed_response_alg": "RS512"}, "access_token_signed_response_alg", "one of RS256"),
        ("web", {"redirect_uris": ()}, "redirect_uris", "at least one redirect URI"),
        ("spa", {"redirect_uris": ()}, "redirect_uris", "at least one redirect URI"),
        ("native", {"redirect_uris": ()}, "redirect_uris", "at least one redirect URI"),
        (
            "web",
            {"redirect_uris": (REDIRECT_URI, "http://app.example.com/cb")},
            "redirect_uris",
            "http is only allowed",
        ),
        ("web", {"redirect_uris": ("com.example.app:/cb",)}, "redirect_uris", "Only native apps"),
        ("machine", {"redirect_uris": ("nowhere",)}, "redirect_uris", ""),
        ("web", {"post_logout_redirect_uris": ("https://x/#f",)}, "post_logout_redirect_uris", "no fragment"),
        ("web", {"post_logout_redirect_uris": ("http://x/",)}, "post_logout_redirect_uris", "http is only allowed"),
        ("web", {"scope": "openid notes:read"}, "scope", "no other scopes than address, email"),
        ("web", {"scope": "OPENID"}, "scope", "no other scopes than"),
        ("machine", {"scope": "openid"}, "scope", "cannot have scopes that speak about a person"),
        ("web", {"grant_types": ("client_credentials",)}, "scope", "cannot have scopes that speak about a person"),
        ("web", {"client_uri": "http://app.example.com"}, "client_uri", "https URL"),
        ("web", {"policy_uri": "javascript:alert(1)"}, "policy_uri", "https URL"),
        ("web", {"tos_uri": "https://app.example.com/a b"}, "tos_uri", "https URL"),
        ("web", {"tos_uri": "https://"}, "tos_uri", "https URL"),
        ("web", {"client_uri": ""}, "client_uri", "https URL"),
        ("web", {"client_uri": "https://" + "x" * 2001}, "client_uri", "https URL"),
        ("web", {"logo_uri": "http://app.example.com/logo.png"}, "logo_uri", "must be https"),
        ("web", {"logo_uri": "data:image/png;base64,AAAA"}, "logo_uri", "must be https"),
        ("web", {"policy_uri": "https://bank.example@evil.example/"}, "policy_uri", "https URL"),
        ("web", {"tos_uri": 'https://app.example.com/"onclick="x'}, "tos_uri", "https URL"),
        ("web", {"initiate_login_uri": "http://app.example.com/start"}, "initiate_login_uri", "https URL"),
        ("web", {"initiate_login_uri": "http://localhost/start"}, "initiate_login_uri", "https URL"),
        ("web", {"contacts": ("",)}, "contacts", "1 to 254"),
        ("web", {"contacts": ("a\nb",)}, "contacts", "1 to 254"),
        ("web", {"contacts": ("x" * 255,)}, "contacts", "1 to 254"),
        ("web", {"contacts": ("a@example.com",) * 51}, "contacts", "at most 50"),
        ("web", {"software_id": ""}, "software_id", "1 to 200"),
        ("web", {"software_version": "1.0\0"}, "software_version", "1 to 200"),
        ("web", {"redirect_uris": tuple(f"https://x/{number}" for number in range(51))}, "redirect_uris", "at most 50"),
        ("web", {"default_max_age": -1}, "default_max_age", "number of seconds"),
        ("web", {"default_max_age": 10**9}, "default_max_age", "ten years"),
        ("web", {"default_acr_values": ("two words",)}, "default_acr_values", "without spaces"),
        ("web", {"default_acr_values": ("1",) * 51}, "default_acr_values", "at most 50"),
        *(("web", {"client_id": f"{prefix}x"}, "client_id", "does not begin with") for prefix in RESERVED_ID_PREFIXES),
        ("web", {"client_id": "USR_x"}, "client_id", "does not begin with"),
        ("spa", {"jwt_authentication": True}, "jwt_authentication", "cannot sign tokens"),
        ("web", {"access_token_claims": "fat"}, "access_token_claims", "one of lean, rich"),
        ("web", {"environment": "staging"}, "environment", "one of live, test"),
        ("web", {"scope": " ".join(f"s{number}" for number in range(101))}, "scope", "at most 100 scopes"),
        ("machine", {"grant_types": ("urn:ietf:params:oauth:grant-type:jwt-bearer",)}, "grant_types", "among"),
        (
            "machine",
            {"token_endpoint_auth_method": "private_key_jwt", "jwt_authentication": True},
            "token_endpoint_auth_method",
            "needs keys",
        ),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_registration_is_refused_naming_the_member_when(
    work: UnitOfWork, client_type: ClientType, metadata: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(Invalid) as caught:
        make_client(work, client_type, **metadata)
    assert caught.value.field == field
    assert reason in str(caught.value)
    assert audited(work, AuditEvent.CLIENT_CREATED) == []


@pytest.mark.parametrize(
    "grant_type", ["password", "Implicit", "authorization_code ", "urn:ietf:params:oauth:grant-type:x"]
)
def test_registration_is_refused_when_it_asks_for_a_grant_type_we_do_not_speak(
    work: UnitOfWork, grant_type: str
) -> None:
    with pytest.raises(Invalid) as caught:
        make_client(work, grant_types=("authorization_code", grant_type))
    assert caught.value.field == "grant_types"


def test_registration_is_refused_when_the_id_is_taken(work: UnitOfWork) -> None:
    make_client(work, client_id="my-app")
    with pytest.raises(Conflict, match=r"There is a client my-app already\."):
        make_client(work, client_id="my-app")


def test_client_ids_differ_by_case(work: UnitOfWork) -> None:
    assert make_client(work, client_id="my-app").id != make_client(work, client_id="My-App").id


@pytest.mark.parametrize(
    ("issuer", "is_taken"), [("http://localhost:8000", True), ("https://login.example.com", False)]
)
def test_web_client_may_use_http_on_loopback_only_when_the_issuer_is_local(
    make_gatepost: Callable[..., Gatepost], issuer: str, is_taken: bool
) -> None:
    with make_gatepost(issuer=issuer).work() as work:
        if is_taken:
            assert make_client(work, redirect_uris=("http://localhost:9000/cb",))
        else:
            with pytest.raises(Invalid, match="http is only allowed"):
                make_client(work, redirect_uris=("http://localhost:9000/cb",))
        assert make_client(work, "native", redirect_uris=("http://localhost:9000/cb", "com.example.app:/cb"))


# --------------------------------------------------------------------------------------------------------------- flows


@pytest.mark.spec("RFC 7591 §2.1", "OpenID Connect Registration §2")
@pytest.mark.parametrize(
    ("response_types", "needed"),
    [
        (("code",), "authorization_code"),
        (("id_token",), "implicit"),
        (("id_token token",), "implicit"),
        (("code id_token",), "implicit"),
        (("token code id_token",), "implicit"),
        (("code", "id_token"), "authorization_code"),
    ],
)
def test_registration_is_refused_when_a_response_type_lacks_its_grant_type(
    work: UnitOfWork, response_types: tuple[str, ...], needed: str
) -> None:
    grant_types = tuple({"authorization_code", "implicit"} - {needed})
    with pytest.raises(Invalid, match=f"need {needed} too") as caught:
        make_client(work, response_types=response_types, grant_types=grant_types)
    assert caught.value.field == "grant_types"
    assert make_client(work, response_types=response_types, grant_types=(*grant_types, needed))


@pytest.mark.spec("RFC 9700 §2.1.2")
@pytest.mark.parametrize("response_type", ["token", "", "code code", "none code", "device", "id_token  x"])
def test_registration_is_refused_when_it_asks_for_a_response_type_we_do_not_speak(
    work: UnitOfWork, response_type: str
) -> None:
    with pytest.raises(Invalid) as caught:
        make_client(work, response_types=(response_type,), grant_types=("authorization_code", "implicit"))
    assert caught.value.field == "response_types"


@pytest.mark.parametrize("flows", [{"response_types": ("none",)}, {"grant_types": ("implicit",)}])
def test_redirect_uri_is_needed_when_people_are_sent_here_by_any_flow(work: UnitOfWork, flows: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        make_client(work, redirect_uris=(), **flows)
    assert caught.value.field == "redirect_uris"


# ---------------------------------------------------------------------------------------------------------------- keys


@cache
def key(algorithm: str, kid: str | None = None) -> dict[str, Any]:
    document = jose.public_jwk(jose.generate_key(algorithm))
    return document | {"kid": kid} if kid else document


def jwks(*keys: Any) -> dict[str, Any]:
    return {"keys": list(keys)}


@pytest.mark.spec("TK-24", "RFC 7591 §2", "RFC 7517 §9.2")
@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "member keys is an array"),
        ({"keys": []}, "1 to 20 keys"),
        ({"keys": {}}, "member keys is an array"),
        ({"keys": "x"}, "member keys is an array"),
        (jwks("x"), "Each key is an object"),
        (jwks({}), "Each key is an object"),
        (jwks({"kty": 5}), "Each key is an object"),
        (jwks({"kty": "oct", "k": "c2VjcmV0"}), "Only public keys"),
        (jwks({"kty": "oct"}), "Only public keys"),
        (jwks({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), "cannot be read"),
        (jwks({"kty": "RSA", "n": "A" * 172, "e": "AQAB"}), "unusual length"),
        (jwks({"kty": "RSA", "n": 5, "e": "AQAB"}), "cannot be read"),
        (jwks({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "cannot be read"),
        (jwks({"kty": "EC"}), "cannot be read"),
        (jwks({"kty": "OKP", "crv": "Ed25519", "x": "!"}), "cannot be read"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_keys_are_refused_when(work: UnitOfWork, document: dict[str, Any], reason: str) -> None:
    with pytest.raises(Invalid, match=reason) as caught:
        make_client(work, jwks=document)
    assert caught.value.field == "jwks"


@pytest.mark.spec("TK-24", "RFC 7517 §9.2")
@pytest.mark.parametrize("algorithm", jose.SIGNING_ALGORITHMS)
def test_private_key_is_refused_and_not_kept(work: UnitOfWork, algorithm: str) -> None:
    private = jose.generate_key(algorithm).as_dict(private=True)
    with pytest.raises(Invalid, match="compromised"):
        make_client(work, jwks=jwks(key("RS256"), private))


def test_keys_are_refused_when_there_are_too_many_or_two_of_one_name(work: UnitOfWork) -> None:
    with pytest.raises(Invalid, match="1 to 20 keys"):
        make_client(work, jwks=jwks(*[key("ES256", str(number)) for number in range(21)]))
    with pytest.raises(Invalid, match="same kid"):
        make_client(work, jwks=jwks(key("ES256", "one"), key("EdDSA", "one")))


@pytest.mark.spec("RFC 7517 §5")
def test_key_of_an_unknown_type_is_passed_over(work: UnitOfWork) -> None:
    document = jwks({"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"}, key("RS256"))
    assert make_client(work, jwks=document).jwks == document


@pytest.mark.spec("RFC 7591 §2")
def test_registration_is_refused_when_it_has_keys_in_two_ways(work: UnitOfWork) -> None:
    with pytest.raises(Invalid, match="not both"):
        make_client(work, jwks=jwks(key("RS256")), jwks_uri="https://app.example.com/jwks.json")


# ---------------------------------------------------------------------------------------------------------- algorithms


@pytest.mark.parametrize(
    "member",
    [
        "id_token_signed_response_alg",
        "userinfo_signed_response_alg",
        "authorization_signed_response_alg",
        "request_object_signing_alg",
        "access_token_signed_response_alg",
    ],
)
@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512", "rs256", "ES256K", ""])
def test_registration_is_refused_when_it_asks_for_a_signature_we_do_not_make(
    work: UnitOfWork, member: str, algorithm: str
) -> None:
    with pytest.raises(Invalid) as caught:
        make_client(work, **{member: algorithm})
    assert caught.value.field == member
    for offered in jose.SIGNING_ALGORITHMS:
        assert getattr(make_client(work, **{member: offered}), member) == offered


ENCRYPTED = ["id_token_encrypted_response", "userinfo_encrypted_response", "authorization_encrypted_response"]


@pytest.mark.spec("OpenID Connect Registration §2")
@pytest.mark.parametrize("member", [*ENCRYPTED, "request_object_encryption"])
def test_encryption_takes_its_default_and_is_refused_when_it_is_half_or_unknown(work: UnitOfWork, member: str) -> None:
    keys = {"jwks_uri": "https://app.example.com/jwks.json"}
    client = make_client(work, **keys, **{f"{member}_alg": "ECDH-ES"})
    assert getattr(client, f"{member}_enc") == "A128CBC-HS256"
    for wrong, field in (
        ({f"{member}_enc": "A128GCM"}, f"{member}_enc"),
        ({f"{member}_alg": "RSA1_5"}, f"{member}_alg"),
        ({f"{member}_alg": "dir"}, f"{member}_alg"),
        ({f"{member}_alg": "ECDH-ES", f"{member}_enc": "A192GCM"}, f"{member}_enc"),
    ):
        with pytest.raises(Invalid) as caught:
            make_client(work, **keys, **wrong)
        assert caught.value.field == field


@pytest.mark.parametrize("member", ENCRYPTED)
@pytest.mark.parametrize("algorithm", jwe.ENCRYPTION_ALGORITHMS)
def test_encryption_is_refused_when_the_client_has_no_key_for_it(work: UnitOfWork, member: str, algorithm: str) -> None:
    for keys in ({}, {"jwks": jwks(key("EdDSA"))}, {"jwks": jwks(key("RS256") | {"use": "sig"})}):
        with pytest.raises(Invalid) as caught:
            make_client(work, **keys, **{f"{member}_alg": algorithm})
        assert caught.value.field == f"{member}_alg"


@pytest.mark.spec("OpenID Connect Core §9")
@pytest.mark.parametrize(
    ("method", "algorithm", "is_taken"),
    [
        ("private_key_jwt", "RS256", True),
        ("private_key_jwt", "EdDSA", False),
        ("private_key_jwt", "HS256", False),
        ("private_key_jwt", "none", False),
        ("private_key_jwt", None, True),
        ("client_secret_jwt", "HS256", True),
        ("client_secret_jwt", "RS256", False),
        ("client_secret_jwt", None, True),
    ],
)
def test_assertions_are_signed_with_what_the_method_and_the_keys_fit(
    work: UnitOfWork, method: str, algorithm: str | None, is_taken: bool
) -> None:
    asked = {"token_endpoint_auth_method": method, "token_endpoint_auth_signing_alg": algorithm}
    if is_taken:
        assert make_client(work, jwks=jwks(key("RS256")), **asked).token_endpoint_auth_signing_alg == algorithm
    else:
        with pytest.raises(Invalid):
            make_client(work, jwks=jwks(key("RS256")), **asked)


def test_algorithm_of_assertions_is_dropped_when_the_client_makes_none(work: UnitOfWork) -> None:
    assert make_client(work, token_endpoint_auth_signing_alg="RS256").token_endpoint_auth_signing_alg is None


def test_private_key_jwt_needs_keys_that_sign(work: UnitOfWork) -> None:
    for keys in ({}, {"jwks": jwks(key("RS256") | {"use": "enc"})}):
        with pytest.raises(Invalid) as caught:
            make_client(work, token_endpoint_auth_method="private_key_jwt", **keys)
        assert caught.value.field == "token_endpoint_auth_method"
    keys = {"jwks_uri": "https://app.example.com/jwks.json"}
    assert not make_client(work, token_endpoint_auth_method="private_key_jwt", **keys).is_public


# ------------------------------------------------------------------------------------------------------------ subjects


@pytest.mark.spec("OpenID Connect Core §8.1")
@pytest.mark.parametrize(
    ("redirect_uris", "sector", "is_taken"),
    [
        (("https://app.example.com/a", "https://app.example.com:8443/b"), None, True),
        (("https://app.example.com/a", "https://other.example.com/b"), None, False),
        (("https://app.example.com/a", "https://other.example.com/b"), "https://sector.example.com/file.json", True),
        (("com.example.app:/cb",), None, False),
        (("com.example.app:/cb",), "https://sector.example.com/file.json", True),
    ],
)
def test_pairwise_client_names_its_sector_when_its_hosts_do_not(
    work: UnitOfWork, redirect_uris: tuple[str, ...], sector: str | None, is_taken: bool
) -> None:
    asked = {"subject_type": "pairwise", "redirect_uris": redirect_uris, "sector_identifier_uri": sector}
    client_type: ClientType = "native" if redirect_uris[0].startswith("com.") else "web"
    if is_taken:
        assert make_client(work, client_type, **asked).subject_type == "pairwise"
    else:
        with pytest.raises(Invalid) as caught:
            make_client(work, client_type, **asked)
        assert caught.value.field == "sector_identifier_uri"


@pytest.mark.spec("INV-13", "OpenID Connect Core §8.1")
@pytest.mark.parametrize(
    ("client_type", "uris"),
    [
        ("native", ("http://127.0.0.1/cb",)),
        ("native", ("http://[::1]:9000/cb",)),
        ("native", ("http://localhost:9000/cb",)),
        ("native", ("http://127.0.0.1/cb", "http://127.0.0.1/other")),
        ("native", ("https://localhost/cb",)),
        ("web", ("https://localhost/cb",)),
        ("native", ("com.example.app:/cb", "com.example.other:/cb")),
    ],
    ids=str,
)
def test_pairwise_client_names_its_sector_when_its_redirect_uris_are_on_nobodys_host(
    work: UnitOfWork, client_type: ClientType, uris: tuple[str, ...]
) -> None:
    with pytest.raises(Invalid) as caught:
        make_client(work, client_type, redirect_uris=uris, subject_type="pairwise")
    assert caught.value.field == "sector_identifier_uri"
    sector = "https://sector.example.com/file.json"
    assert make_client(
        work, client_type, redirect_uris=uris, subject_type="pairwise", sector_identifier_uri=sector
    ).sector_identifier_uri
    assert make_client(work, client_type, redirect_uris=uris).subject_type == "public"


def test_subject_type_is_one_of_two(work: UnitOfWork) -> None:
    with pytest.raises(Invalid, match="public, pairwise"):
        make_client(work, subject_type="ephemeral")


# --------------------------------------------------------------------------------------------- URLs that we shall visit


FETCHED = ["jwks_uri", "sector_identifier_uri", "backchannel_logout_uri", "logo_uri", "request_uris"]
INSIDE = [
    "http://app.example.com/x",
    "https://127.0.0.1/x",
    "https://localhost/x",
    "https://10.0.0.1/x",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://2130706433/x",
    "https://0x7f.1/x",
    "https://user@app.example.com/x",
    "https://app.example.com:22/x",
    "https://intranet/x",
    "file:///etc/passwd",
    "gopher://app.example.com/x",
    "https://app.example.com/\u00e9",
    "",
]


@pytest.mark.spec("F-01", "TK-24")
@pytest.mark.parametrize("member", FETCHED)
@pytest.mark.parametrize("uri", INSIDE, ids=ascii)
def test_registration_is_refused_when_it_would_send_us_inside(work: UnitOfWork, member: str, uri: str) -> None:
    with pytest.raises(Invalid) as caught:
        make_client(work, **{member: (uri,) if member == "request_uris" else uri})
    assert caught.value.field == member


@pytest.mark.spec("OpenID Connect Core §6.2")
def test_fragment_is_for_request_uris_alone(work: UnitOfWork) -> None:
    uri = "https://app.example.com/x#abc"
    assert make_client(work, request_uris=(uri,)).request_uris == [uri]
    for member in FETCHED[:-1]:
        with pytest.raises(Invalid, match="no fragment"):
            make_client(work, **{member: uri})


@pytest.mark.spec("OpenID Connect Front-Channel Logout §2")
@pytest.mark.parametrize(
    ("uri", "is_taken"),
    [
        ("https://app.example.com/logout", True),
        ("https://app.example.com:443/logout?x=1", True),
        ("https://app.example.com:8443/logout", False),
        ("https://other.example.com/logout", False),
        ("http://app.example.com/logout", False),
        ("https://app.example.com/logout#f", False),
        ("javascript:alert(1)", False),
    ],
)
def test_frontchannel_logout_is_of_the_origin_of_a_redirect_uri(work: UnitOfWork, uri: str, is_taken: bool) -> None:
    if is_taken:
        assert make_client(work, frontchannel_logout_uri=uri).frontchannel_logout_uri == uri
    else:
        with pytest.raises(Invalid) as caught:
            make_client(work, frontchannel_logout_uri=uri)
        assert caught.value.field == "frontchannel_logout_uri"


# ----------------------------------------------------------------------------------------------------------- sentences


@pytest.mark.spec("RFC 7591 §3.2.2")
def test_every_sentence_may_be_sent_to_a_client() -> None:
    """The error_description of RFC 6749 §5.2: ASCII without quotes and backslashes, and nothing of what came in."""
    for module in (client_checks, redirect_uris, sector_identifiers):
        sentences = re.findall(r'(?<!")"([A-Z][^"]{10,}\.)"', Path(module.__file__).read_text("utf-8"))
        assert len(sentences) > 1
        for sentence in sentences:
            assert re.fullmatch(r"[ !#-\[\]-~]+", sentence), sentence
