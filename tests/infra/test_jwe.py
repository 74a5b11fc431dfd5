"""Encrypted tokens: to the key a client meant, and from a client to a key of ours, with nothing inflated on the way."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwe as joserfc_jwe
from joserfc import jwk

from server.infra import jose, jwe
from server.infra.compact import MAX_HEADER_CHARACTERS
from server.infra.jose import InvalidToken, SigningKey
from server.infra.jwe import NoEncryptionKey
from tests.infra.tokens_by_hand import b64

PAYLOAD = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl — é"


def header_of(token: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
    return document


@pytest.fixture(scope="module")
def keys() -> dict[str, SigningKey]:
    """Our own keys that clients encrypt to."""
    return {algorithm: jwe.generate_encryption_key(algorithm) for algorithm in jwe.KEY_ALGORITHMS}


@pytest.fixture(scope="module")
def client_key() -> jwk.RSAKey:
    return jwk.RSAKey.generate_key(2048)


def encrypted(header: dict[str, Any], key: SigningKey, payload: str | bytes = PAYLOAD) -> str:
    """A token as some other library makes it, whatever its header says."""
    public = jwk.import_key({name: value for name, value in jose.public_jwk(key).items() if name != "alg"})
    registry = joserfc_jwe.JWERegistry(
        algorithms=[*joserfc_jwe.JWERegistry.algorithms["alg"], *joserfc_jwe.JWERegistry.algorithms["enc"], "DEF"],
        strict_check_header=False,
    )
    registry.max_protected_header_length = 1 << 20
    return joserfc_jwe.encrypt_compact(header, payload, public, registry=registry)


def kind_of(alg: str) -> str:
    return "RSA-OAEP-256" if alg.startswith("RSA") else "ECDH-ES"


# ------------------------------------------------------------------------------------------------------------ our keys


@pytest.mark.spec("RFC 7517 §4.2")
def test_key_says_that_it_is_for_encryption_when_it_is_generated(keys: dict[str, SigningKey]) -> None:
    rsa_key, curve_key = (jose.public_jwk(key) for key in keys.values())
    assert (rsa_key["kty"], rsa_key["use"], rsa_key["alg"]) == ("RSA", "enc", "RSA-OAEP-256")
    assert (curve_key["kty"], curve_key["crv"], curve_key["use"]) == ("EC", "P-256", "enc")
    assert "alg" not in curve_key
    for document, key in zip((rsa_key, curve_key), keys.values(), strict=True):
        assert document["kid"].removeprefix("k") == key.thumbprint().removeprefix("k")
        assert not {"d", "p", "q", "dp", "dq", "qi"} & set(document)


@pytest.mark.parametrize("algorithm", ["RSA-OAEP", "RSA1_5", "ECDH-ES+A128KW", "dir", "RS256", ""])
def test_key_is_not_generated_when_the_algorithm_has_none_of_its_own(algorithm: str) -> None:
    with pytest.raises(ValueError, match="is not one of RSA-OAEP-256, ECDH-ES"):
        jwe.generate_encryption_key(algorithm)


# ------------------------------------------------------------------------------------------------------------- decrypt


@pytest.mark.spec("RFC 7516 §5.2")
@pytest.mark.parametrize("enc", jwe.CONTENT_ENCRYPTIONS)
@pytest.mark.parametrize("alg", jwe.DECRYPTION_ALGORITHMS)
def test_token_is_decrypted_when_it_was_encrypted_to_a_key_of_ours(
    keys: dict[str, SigningKey], alg: str, enc: str
) -> None:
    key = jose.parse_private_key(jose.serialize_private_key(keys[kind_of(alg)]))
    for header in ({}, {"kid": key.kid}, {"cty": "JWT", "typ": "JWE", "of-another-time": 1}):
        token = encrypted({"alg": alg, "enc": enc, **header}, key)
        assert jwe.decrypt(token, list(keys.values())) == PAYLOAD


def test_token_is_decrypted_with_a_retiring_key_when_it_names_none(keys: dict[str, SigningKey]) -> None:
    for alg in ("RSA-OAEP-256", "ECDH-ES+A128KW"):
        older = jwe.generate_encryption_key(kind_of(alg))
        token = encrypted({"alg": alg, "enc": "A128GCM"}, older)
        assert jwe.decrypt(token, [*keys.values(), older]) == PAYLOAD
        with pytest.raises(InvalidToken, match="cannot be decrypted"):
            jwe.decrypt(token, list(keys.values()))


def test_token_is_refused_when_it_names_no_key_of_ours(keys: dict[str, SigningKey]) -> None:
    token = encrypted({"alg": "RSA-OAEP-256", "enc": "A128GCM", "kid": "other"}, keys["RSA-OAEP-256"])
    with pytest.raises(InvalidToken, match="cannot be decrypted"):
        jwe.decrypt(token, list(keys.values()))
    with pytest.raises(InvalidToken, match="cannot be decrypted"):
        jwe.decrypt(encrypted({"alg": "RSA-OAEP-256", "enc": "A128GCM"}, keys["RSA-OAEP-256"]), [])


@pytest.mark.spec("RFC 7517 §4.2")
def test_token_is_refused_when_it_was_encrypted_to_a_signing_key() -> None:
    key = jose.generate_key("RS256")
    public = jwk.import_key({name: jose.public_jwk(key)[name] for name in ("kty", "n", "e")})
    token = joserfc_jwe.encrypt_compact(
        {"alg": "RSA-OAEP-256", "enc": "A128GCM"}, PAYLOAD, public, algorithms=["RSA-OAEP-256", "A128GCM"]
    )
    with pytest.raises(InvalidToken, match="cannot be decrypted"):
        jwe.decrypt(token, [key])


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"alg": "RSA1_5", "enc": "A128GCM"}, id="RSA1_5"),
        pytest.param({"alg": "RSA-OAEP", "enc": "A128GCM"}, id="RSA-OAEP"),
        pytest.param({"alg": "RSA-OAEP-256", "enc": "A192GCM"}, id="A192GCM"),
        pytest.param({"alg": "RSA-OAEP-256", "enc": "A192CBC-HS384"}, id="A192CBC-HS384"),
    ],
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_token_is_refused_when_its_algorithm_is_not_offered(
    keys: dict[str, SigningKey], header: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken, match="algorithm that is not accepted"):
        jwe.decrypt(encrypted(header, keys["RSA-OAEP-256"]), list(keys.values()))


@pytest.mark.parametrize("alg", ["dir", "none", "A128KW", "PBES2-HS256+A128KW", "ECDH-ES+A192KW", "A128GCMKW"])
def test_token_is_refused_when_its_algorithm_needs_no_key_of_ours(keys: dict[str, SigningKey], alg: str) -> None:
    head = b64(json.dumps({"alg": alg, "enc": "A128GCM", "p2c": 10_000_000, "p2s": "AAAA"}))
    with pytest.raises(InvalidToken, match="algorithm that is not accepted"):
        jwe.decrypt(f"{head}.AAAA.AAAA.AAAA.AAAA", list(keys.values()))


@pytest.mark.spec("RFC 7516 §4.1.3")
def test_token_is_refused_before_it_is_inflated_when_it_is_compressed(keys: dict[str, SigningKey]) -> None:
    header = {"alg": "RSA-OAEP-256", "enc": "A128GCM", "zip": "DEF"}
    bomb = encrypted(header, keys["RSA-OAEP-256"], b"0" * 10_000_000)
    assert len(bomb) < 20_000 < len(zlib.compress(b"0" * 10_000_000)) * 3
    with pytest.raises(InvalidToken, match="header has a member that is not accepted"):
        jwe.decrypt(bomb, list(keys.values()))


@pytest.mark.spec("RFC 7516 §4.1")
@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["AAAA"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"kid": ["x"]},
        {"apu": "A" * 1000},
        {"apv": 5},
    ],
    ids="+".join,
)
@pytest.mark.parametrize("alg", ["RSA-OAEP-256", "ECDH-ES"])
def test_token_is_refused_when_its_header_brings_what_we_do_not_take(
    keys: dict[str, SigningKey], alg: str, extra: dict[str, Any]
) -> None:
    genuine = encrypted({"alg": alg, "enc": "A128GCM"}, keys[kind_of(alg)])
    head = b64(json.dumps({**header_of(genuine), **extra}))
    with pytest.raises(InvalidToken, match=r"not accepted|as text"):
        jwe.decrypt(f"{head}.{genuine.partition('.')[2]}", list(keys.values()))


@pytest.mark.spec("RFC 7518 §4.6.1.1")
@pytest.mark.parametrize(
    "ephemeral",
    [
        pytest.param(None, id="none"),
        pytest.param("AAAA", id="text"),
        pytest.param({}, id="nothing"),
        pytest.param({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}, id="short point"),
        pytest.param({"kty": "EC", "crv": "P-256", "x": b64(b"\1" * 32), "y": b64(b"\2" * 32)}, id="off the curve"),
        pytest.param({"kty": "EC", "crv": "P-384", "x": b64(b"\1" * 48), "y": b64(b"\2" * 48)}, id="another curve"),
        pytest.param({"kty": "OKP", "crv": "X25519", "x": b64(b"\0" * 32)}, id="X25519"),
        pytest.param({"kty": "OKP", "crv": "P-256", "x": b64(b"\0" * 32)}, id="confused"),
        pytest.param({"kty": "EC", "crv": "P-256", "x": 1, "y": 2}, id="numbers"),
    ],
)
def test_token_is_refused_when_its_ephemeral_key_is_not_one(keys: dict[str, SigningKey], ephemeral: Any) -> None:
    genuine = encrypted({"alg": "ECDH-ES", "enc": "A128GCM"}, keys["ECDH-ES"])
    header = {**header_of(genuine), "epk": ephemeral}
    with pytest.raises(InvalidToken):
        jwe.decrypt(f"{b64(json.dumps(header))}.{genuine.partition('.')[2]}", list(keys.values()))


def test_token_is_refused_when_its_ephemeral_key_is_private(keys: dict[str, SigningKey]) -> None:
    genuine = encrypted({"alg": "ECDH-ES", "enc": "A128GCM"}, keys["ECDH-ES"])
    header = header_of(genuine)
    header["epk"]["d"] = "AAAA"
    with pytest.raises(InvalidToken, match="ephemeral"):
        jwe.decrypt(f"{b64(json.dumps(header))}.{genuine.partition('.')[2]}", list(keys.values()))


@pytest.mark.spec("INV-17")
@pytest.mark.parametrize("alg", ["RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW"])
@pytest.mark.parametrize("enc", ["A128CBC-HS256", "A256GCM"])
def test_token_is_refused_in_the_same_words_when_a_part_is_altered(
    keys: dict[str, SigningKey], alg: str, enc: str
) -> None:
    genuine = encrypted({"alg": alg, "enc": enc}, keys[kind_of(alg)]).split(".")
    refusals = set()
    for index in range(1, 5):
        for part in (genuine[index][4:], "AAAA" + genuine[index][4:], "", "AAAA" * 200):
            if part == genuine[index]:
                continue
            with pytest.raises(InvalidToken) as caught:
                jwe.decrypt(".".join([*genuine[:index], part, *genuine[index + 1 :]]), list(keys.values()))
            refusals.add(str(caught.value))
    assert refusals == {"The token cannot be decrypted."}


@pytest.mark.spec("RFC 7516 §7.1")
@pytest.mark.parametrize(
    "token",
    [
        "",
        "....",
        "a.b.c",
        "a.b.c.d.e.f",
        f"{b64('[]')}.AAAA.AAAA.AAAA.AAAA",
        f"{b64('{}')}.AAAA.AAAA.AAAA.AAAA",
        f"{b64('{')}.AAAA.AAAA.AAAA.AAAA",
        "\ud800.\ud800.\ud800.\ud800.\ud800",
        f"{b64(json.dumps({'alg': 'dir', 'fill': 'x' * MAX_HEADER_CHARACTERS}))}.AAAA.AAAA.AAAA.AAAA",
        f"{b64('{}')}.AAAA.AAAA.{'A' * 40_000}.AAAA",
        b64('{"alg":"RSA-OAEP-256","enc":["A128GCM"]}') + ".AAAA.AAAA.AAAA.AAAA",
        b64('{"alg":"RSA-OAEP-256","alg":"dir","enc":"A128GCM"}') + ".AAAA.AAAA.AAAA.AAAA",
    ],
    ids=lambda token: ascii(token[:24]),
)
def test_token_is_refused_when_it_is_none(keys: dict[str, SigningKey], token: str) -> None:
    with pytest.raises(InvalidToken):
        jwe.decrypt(token, list(keys.values()))


def test_token_is_refused_when_what_it_holds_is_no_text(keys: dict[str, SigningKey]) -> None:
    token = encrypted({"alg": "RSA-OAEP-256", "enc": "A128GCM"}, keys["RSA-OAEP-256"], b"\xff\xfe")
    with pytest.raises(InvalidToken, match="cannot be decrypted"):
        jwe.decrypt(token, list(keys.values()))


# ------------------------------------------------------------------------------------------------------------- encrypt

CURVES = ("P-256", "P-384", "P-521")


@pytest.mark.spec("RFC 7516 §5.1")
@pytest.mark.parametrize("enc", jwe.CONTENT_ENCRYPTIONS)
@pytest.mark.parametrize("alg", jwe.ENCRYPTION_ALGORITHMS)
def test_client_decrypts_when_the_payload_was_encrypted_to_its_key(client_key: jwk.RSAKey, alg: str, enc: str) -> None:
    key = client_key if alg.startswith("RSA") else jwk.ECKey.generate_key("P-256")
    document = {**key.as_dict(private=False), "kid": "theirs"}
    token = jwe.encrypt(PAYLOAD, [{"kty": "oct"}, document], alg, enc)
    header = header_of(token)
    assert (header["alg"], header["enc"], header["kid"], header["cty"]) == (alg, enc, "theirs", "JWT")
    assert "zip" not in header
    opened = joserfc_jwe.decrypt_compact(token, key, algorithms=[alg, enc])
    assert (opened.plaintext or b"").decode() == PAYLOAD


@pytest.mark.spec("RFC 7518 §4.6")
@pytest.mark.spec("RFC 8037 §3.2")
@pytest.mark.parametrize("curve", [*CURVES, "X25519"])
def test_client_decrypts_when_its_key_is_on_another_curve(curve: str) -> None:
    key = jwk.OKPKey.generate_key("X25519") if curve == "X25519" else jwk.ECKey.generate_key(curve)
    token = jwe.encrypt(PAYLOAD, [key.as_dict(private=False)], "ECDH-ES+A128KW", "A128GCM", cty=None)
    assert not {"cty", "kid"} & set(header_of(token))
    assert joserfc_jwe.decrypt_compact(token, key, algorithms=["ECDH-ES+A128KW", "A128GCM"]).plaintext


@pytest.mark.spec("OpenID Connect Core §10.2")
def test_key_is_the_one_that_says_so_most_clearly_when_several_fit(client_key: jwk.RSAKey) -> None:
    members = client_key.as_dict(private=False)
    documents = [
        {**members, "kid": "first"},
        {**members, "kid": "for encryption", "use": "enc"},
        {**members, "kid": "to sign", "use": "sig"},
        {**members, "kid": "other", "use": "enc", "alg": "RSA-OAEP"},
        {**members, "kid": "exactly", "use": "enc", "alg": "RSA-OAEP-256"},
        {**members, "kid": "to verify", "key_ops": ["verify"]},
    ]

    def chosen(number: int) -> str:
        kid: str = header_of(jwe.encrypt("{}", documents[:number], "RSA-OAEP-256", "A128GCM"))["kid"]
        return kid

    assert [chosen(number) for number in range(1, 7)] == [
        "first",
        "for encryption",
        "for encryption",
        "for encryption",
        "exactly",
        "exactly",
    ]


@pytest.mark.parametrize(
    "documents",
    [
        pytest.param([], id="none"),
        pytest.param([{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}], id="of another type"),
        pytest.param([{"kty": "RSA", "n": b64(b"\xff" * 256), "e": "AQAB", "use": "sig"}], id="to sign"),
        pytest.param([{"kty": "RSA", "n": b64(b"\xff" * 128), "e": "AQAB"}], id="of 1024 bits"),
        pytest.param([{"kty": "RSA", "n": b64(b"\xff" * 2000), "e": "AQAB"}], id="of 16000 bits"),
        pytest.param([{"kty": "RSA", "n": "*", "e": "AQAB"}], id="unreadable"),
        pytest.param([{"kty": "RSA"}], id="empty"),
    ],
)
def test_nothing_is_encrypted_when_no_key_can_be_used(documents: list[dict[str, Any]]) -> None:
    with pytest.raises(NoEncryptionKey):
        jwe.encrypt(PAYLOAD, documents, "RSA-OAEP-256", "A128GCM")
    # Told beforehand, while there is nothing yet that it could undo.
    with pytest.raises(NoEncryptionKey):
        jwe.recipient(documents, "RSA-OAEP-256")


@pytest.mark.parametrize(
    ("alg", "enc"), [("RSA1_5", "A128GCM"), ("dir", "A128GCM"), ("A128KW", "A128GCM"), ("RSA-OAEP", "A192GCM")]
)
def test_nothing_is_encrypted_when_the_algorithm_is_not_offered(client_key: jwk.RSAKey, alg: str, enc: str) -> None:
    with pytest.raises(NoEncryptionKey, match="not offered"):
        jwe.encrypt(PAYLOAD, [client_key.as_dict(private=False)], alg, enc)


def test_same_payload_is_another_token_when_it_is_encrypted_again(client_key: jwk.RSAKey) -> None:
    documents = [client_key.as_dict(private=False)]
    first, second = (jwe.encrypt(PAYLOAD, documents, "RSA-OAEP", "A256GCM") for _ in range(2))
    assert not set(first.split(".")[1:]) & set(second.split(".")[1:])


def test_low_order_point_is_refused_as_a_recipient() -> None:
    with pytest.raises(NoEncryptionKey):
        jwe.encrypt("{}", [{"kty": "OKP", "crv": "X25519", "x": b64(b"\0" * 32)}], "ECDH-ES", "A128GCM")


def test_keys_made_here_are_as_large_as_they_should_be(keys: dict[str, SigningKey]) -> None:
    raw = keys["RSA-OAEP-256"].raw_value
    assert isinstance(raw, rsa.RSAPrivateKey)
    assert raw.key_size == 2048
