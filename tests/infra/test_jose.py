"""Keys and signed tokens: four algorithms, one per key, and nothing that a token could choose for itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from server.infra import jose, jwe
from server.infra.jose import InvalidToken, SigningKey
from tests.infra.tokens_by_hand import b64

# RFC 9864 gives EdDSA another name; OpenID Connect knows this one.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


@pytest.fixture(scope="module")
def published(keys: dict[str, SigningKey]) -> list[dict[str, Any]]:
    return [jose.public_jwk(key) for key in keys.values()]


@pytest.fixture(scope="module")
def tokens(keys: dict[str, SigningKey]) -> dict[str, str]:
    claims = {"iss": "https://login.example.com", "sub": "usr_1"}
    return {name: jose.sign(claims, key, name, "at+jwt") for name, key in keys.items()}


@pytest.fixture(scope="module")
def sign_by_hand(keys: dict[str, SigningKey]) -> Callable[..., str]:
    """A token truly signed with the RSA key, whatever its header and payload."""
    private = keys["RS256"].raw_value
    assert isinstance(private, rsa.RSAPrivateKey)

    def sign(header: Any, payload: str = '{"sub":"usr_1"}') -> str:
        signed = b64(json.dumps(header)) + "." + b64(payload)
        return signed + "." + b64(private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))

    return sign


# ---------------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("algorithm", "members"),
    [
        ("RS256", {"kty": "RSA", "e": "AQAB"}),
        ("PS256", {"kty": "RSA", "e": "AQAB"}),
        ("ES256", {"kty": "EC", "crv": "P-256"}),
        ("EdDSA", {"kty": "OKP", "crv": "Ed25519"}),
    ],
)
def test_key_is_of_its_algorithms_kind_when_it_is_generated(
    keys: dict[str, SigningKey], algorithm: str, members: dict[str, str]
) -> None:
    document = jose.public_jwk(keys[algorithm])
    assert members.items() <= document.items()
    assert (document["alg"], document["use"]) == (algorithm, "sig")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_rsa_key_has_2048_bits_when_it_is_generated(keys: dict[str, SigningKey], algorithm: str) -> None:
    assert len(base64.urlsafe_b64decode(jose.public_jwk(keys[algorithm])["n"] + "==")) == 256


@pytest.mark.parametrize("algorithm", ["none", "HS256", "PS384", "ES384", "rs256", ""])
def test_key_is_not_generated_when_the_algorithm_is_none_of_ours(algorithm: str) -> None:
    with pytest.raises(ValueError, match="is not one of RS256, PS256, ES256, EdDSA"):
        jose.generate_key(algorithm)


def without_dash(thumbprint: str) -> str:
    """The key id that a thumbprint gives."""
    return f"k{thumbprint}" if thumbprint.startswith("-") else thumbprint


@pytest.mark.spec("RFC 7638 §3")
@pytest.mark.parametrize(
    ("algorithm", "required"),
    [("RS256", "e kty n"), ("PS256", "e kty n"), ("ES256", "crv kty x y"), ("EdDSA", "crv kty x")],
)
def test_kid_is_the_thumbprint_of_the_public_key(keys: dict[str, SigningKey], algorithm: str, required: str) -> None:
    document = jose.public_jwk(keys[algorithm])
    canonical = json.dumps({name: document[name] for name in required.split()}, separators=(",", ":"), sort_keys=True)
    assert document["kid"] == without_dash(b64(hashlib.sha256(canonical.encode()).digest()))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_public_half_holds_nothing_private(keys: dict[str, SigningKey], algorithm: str) -> None:
    document = jose.public_jwk(keys[algorithm])
    assert not PRIVATE_MEMBERS & set(document)
    assert "key_ops" not in document


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_key_is_the_same_when_it_was_serialized_and_parsed(keys: dict[str, SigningKey], algorithm: str) -> None:
    again = jose.parse_private_key(jose.serialize_private_key(keys[algorithm]))
    assert jose.public_jwk(again) == jose.public_jwk(keys[algorithm])
    token = jose.sign({"sub": "usr_1"}, again, algorithm, "JWT")
    assert jose.verify(token, [jose.public_jwk(keys[algorithm])]).claims == {"sub": "usr_1"}


# -------------------------------------------------------------------------------------------------------------- import


def pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("algorithm", "make", "form"),
    [
        pytest.param("RS256", lambda: rsa.generate_private_key(65537, 2048), PrivateFormat.PKCS8, id="RSA, PKCS 8"),
        pytest.param(
            "RS256", lambda: rsa.generate_private_key(65537, 2048), PrivateFormat.TraditionalOpenSSL, id="RSA, PKCS 1"
        ),
        pytest.param("PS256", lambda: rsa.generate_private_key(65537, 2048), PrivateFormat.PKCS8, id="RSA for PS256"),
        pytest.param("ES256", lambda: ec.generate_private_key(ec.SECP256R1()), PrivateFormat.PKCS8, id="P-256, PKCS 8"),
        pytest.param(
            "ES256",
            lambda: ec.generate_private_key(ec.SECP256R1()),
            PrivateFormat.TraditionalOpenSSL,
            id="P-256, SEC 1",
        ),
        pytest.param("EdDSA", ed25519.Ed25519PrivateKey.generate, PrivateFormat.PKCS8, id="Ed25519"),
    ],
)
def test_key_signs_when_it_was_imported(algorithm: str, make: Callable[[], Any], form: PrivateFormat) -> None:
    key = jose.import_pem(pem(make(), form), algorithm)
    document = jose.public_jwk(key)
    assert (document["alg"], document["use"], document["kid"]) == (algorithm, "sig", without_dash(key.thumbprint()))
    token = jose.sign({"sub": "usr_1"}, key, algorithm, "JWT")
    assert jose.verify(token, [document]).claims == {"sub": "usr_1"}


@pytest.mark.parametrize(
    ("algorithm", "make", "reason"),
    [
        pytest.param("RS256", lambda: pem(rsa.generate_private_key(65537, 1024)), "at least 2048 bits", id="RSA 1024"),
        pytest.param(
            "PS256", lambda: pem(rsa.generate_private_key(65537, 1024)), "at least 2048 bits", id="1024, PS256"
        ),
        pytest.param("ES256", lambda: pem(ec.generate_private_key(ec.SECP384R1())), "curve P-256", id="P-384"),
        pytest.param("ES256", lambda: pem(ec.generate_private_key(ec.SECP256K1())), "curve P-256", id="secp256k1"),
        pytest.param("EdDSA", lambda: pem(ed448.Ed448PrivateKey.generate()), "Ed25519", id="Ed448"),
        pytest.param("EdDSA", lambda: pem(x25519.X25519PrivateKey.generate()), "Ed25519", id="X25519"),
        pytest.param(
            "RS256", lambda: public_pem(rsa.generate_private_key(65537, 2048)), "public key", id="public RSA key"
        ),
        pytest.param(
            "ES256", lambda: public_pem(ec.generate_private_key(ec.SECP256R1())), "public key", id="public P-256 key"
        ),
        pytest.param(
            "EdDSA", lambda: public_pem(ed25519.Ed25519PrivateKey.generate()), "public key", id="public Ed25519 key"
        ),
        pytest.param("RS256", lambda: pem(ec.generate_private_key(ec.SECP256R1())), "RS256", id="EC key for RS256"),
        pytest.param("ES256", lambda: pem(ed25519.Ed25519PrivateKey.generate()), "ES256", id="Ed25519 key for ES256"),
        pytest.param("EdDSA", lambda: pem(ec.generate_private_key(ec.SECP256R1())), "EdDSA", id="EC key for EdDSA"),
        pytest.param("RS256", lambda: pem(dsa.generate_private_key(1024)), "RS256", id="DSA key"),
        pytest.param("RS256", lambda: b"", "RS256", id="empty"),
        pytest.param("ES256", lambda: b"not a key", "ES256", id="text"),
        pytest.param("EdDSA", lambda: b"\xff\xfe\x00\x01", "EdDSA", id="bytes"),
        pytest.param(
            "RS256",
            lambda: b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "RS256",
            id="garbage in PEM",
        ),
        pytest.param(
            "ES256",
            lambda: ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase")
            ),
            "ES256",
            id="behind a passphrase",
        ),
        pytest.param(
            "RS256",
            lambda: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "RS256",
            id="certificate",
        ),
    ],
)
def test_import_is_refused_when(algorithm: str, make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        jose.import_pem(make(), algorithm)
    assert reason in str(caught.value)


# ----------------------------------------------------------------------------------------------------- sign and verify


@pytest.mark.spec("RFC 7515 §4.1")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_verifies_against_the_published_keys(
    keys: dict[str, SigningKey], tokens: dict[str, str], published: list[dict[str, Any]], algorithm: str
) -> None:
    decoded = jose.verify(tokens[algorithm], published)
    assert decoded.header == {"alg": algorithm, "kid": keys[algorithm].kid, "typ": "at+jwt"}
    assert decoded.claims == {"iss": "https://login.example.com", "sub": "usr_1"}
    assert jose.peek_header(tokens[algorithm]) == decoded.header
    assert jose.peek_claims(tokens[algorithm]) == decoded.claims


def test_public_key_is_parsed_once_however_many_tokens_it_verifies(
    keys: dict[str, SigningKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    real = jose.jwk.import_key
    monkeypatch.setattr(jose.jwk, "import_key", lambda document: parsed.append(document["kid"]) or real(document))
    key = jose.generate_key("ES256")
    document = jose.public_jwk(key)
    del parsed[:]
    for number in range(3):
        token = jose.sign({"n": number}, key, "ES256", "JWT")
        assert jose.verify(token, [dict(document)]).claims == {"n": number}
    assert parsed == [document["kid"]]


@pytest.mark.spec("TK-18")
def test_rsa_signature_holds_when_another_library_checks_it(
    tokens: dict[str, str], keys: dict[str, SigningKey]
) -> None:
    signed, _, signature = tokens["RS256"].rpartition(".")
    private = keys["RS256"].raw_value
    assert isinstance(private, rsa.RSAPrivateKey)
    raw = base64.urlsafe_b64decode(signature + "==")
    private.public_key().verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.spec("RFC 7518 §3.5")
def test_pss_signature_holds_with_a_salt_of_32_bytes_when_another_library_checks_it(
    tokens: dict[str, str], keys: dict[str, SigningKey]
) -> None:
    signed, _, signature = tokens["PS256"].rpartition(".")
    private = keys["PS256"].raw_value
    assert isinstance(private, rsa.RSAPrivateKey)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    private.public_key().verify(base64.urlsafe_b64decode(signature + "=="), signed.encode(), scheme, hashes.SHA256())


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_token_is_the_same_when_the_same_claims_are_signed_again(
    keys: dict[str, SigningKey], tokens: dict[str, str], algorithm: str
) -> None:
    claims = jose.peek_claims(tokens[algorithm])
    assert jose.sign(claims, keys[algorithm], algorithm, "at+jwt") == tokens[algorithm]


@pytest.mark.spec("RFC 7517 §4.2")
def test_token_is_refused_when_it_names_an_encryption_key_of_ours(sign_by_hand: Callable[..., str]) -> None:
    for document in (jose.public_jwk(jwe.generate_encryption_key(algorithm)) for algorithm in jwe.KEY_ALGORITHMS):
        for alg in (document.get("alg"), "RS256", "RSA-OAEP-256", "ECDH-ES", None):
            with pytest.raises(InvalidToken, match="not signed by a key of this issuer"):
                jose.verify(sign_by_hand({"alg": alg, "kid": document["kid"]}), [document])


def test_token_made_by_hand_verifies_as_the_refusals_below_need(
    keys: dict[str, SigningKey], sign_by_hand: Callable[..., str], published: list[dict[str, Any]]
) -> None:
    token = sign_by_hand({"alg": "RS256", "kid": keys["RS256"].kid})
    assert jose.verify(token, published).claims == {"sub": "usr_1"}


@pytest.mark.spec("RFC 7515 §4")
def test_header_member_that_nobody_knows_is_ignored(
    keys: dict[str, SigningKey], sign_by_hand: Callable[..., str], published: list[dict[str, Any]]
) -> None:
    token = sign_by_hand({"alg": "RS256", "kid": keys["RS256"].kid, "of-another-time": [1, 2]})
    assert jose.verify(token, published).claims == {"sub": "usr_1"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.spec("INV-17")
def test_token_is_refused_at_every_altered_character(
    tokens: dict[str, str], published: list[dict[str, Any]], algorithm: str
) -> None:
    token = tokens[algorithm]
    for index, character in enumerate(token):
        altered = token[:index] + ("A" if character != "A" else "B") + token[index + 1 :]
        with pytest.raises(InvalidToken):
            jose.verify(altered, published)


@pytest.mark.spec("RFC 7515 §5.2")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.spec("INV-17")
def test_token_is_refused_when_unused_bits_are_set_at_the_end_of_a_segment(
    tokens: dict[str, str], published: list[dict[str, Any]], algorithm: str
) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twins = 0
    for position in range(3):
        parts = tokens[algorithm].split(".")
        if len(parts[position]) % 4 == 0:
            continue
        original = base64.urlsafe_b64decode(parts[position] + "==")
        for character in alphabet:
            twin = parts[position][:-1] + character
            if twin != parts[position] and base64.urlsafe_b64decode(twin + "==") == original:
                twins += 1
                with pytest.raises(InvalidToken, match="not canonically encoded"):
                    jose.verify(".".join([*parts[:position], twin, *parts[position + 1 :]]), published)
    assert twins >= 3


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda token: token + "=", id="padding"),
        pytest.param(lambda token: token + "==", id="more padding"),
        pytest.param(lambda token: token + "\n", id="line break after it"),
        pytest.param(lambda token: " " + token, id="space before it"),
        pytest.param(lambda token: token.replace(".", ". ", 1), id="space inside"),
        pytest.param(lambda token: token.replace("-", "+").replace("_", "/"), id="the alphabet of plain base64"),
        pytest.param(lambda token: token + ".", id="a fourth part"),
        pytest.param(lambda token: token + ".a.b", id="five parts, as an encrypted token has"),
        pytest.param(lambda token: token.rpartition(".")[0], id="two parts"),
        pytest.param(lambda token: token.rpartition(".")[0] + ".", id="no signature"),
        pytest.param(lambda token: "." + token.partition(".")[2], id="no header"),
        pytest.param(lambda token: token.split(".")[0] + ".." + token.split(".")[2], id="no payload"),
        pytest.param(lambda token: token[:-1], id="one character short"),
        pytest.param(lambda token: token.replace(".", "․"), id="another dot"),
        pytest.param(lambda token: token + "é", id="not ASCII"),
    ],
)
def test_token_is_refused_when_its_encoding_is_not_the_one(
    keys: dict[str, SigningKey], published: list[dict[str, Any]], spoil: Callable[[str], str]
) -> None:
    made = (jose.sign({"n": number}, keys["ES256"], "ES256", "JWT") for number in range(1000))
    token = next(token for token in made if "-" in token or "_" in token)
    assert jose.verify(token, published)
    with pytest.raises(InvalidToken):
        jose.verify(spoil(token), published)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "opaque-token",
        f"{b64('[]')}.{b64('{}')}.AAAA",
        f"{b64('null')}.{b64('{}')}.AAAA",
        f"{b64('5')}.{b64('{}')}.AAAA",
        f"{b64('{')}.{b64('{}')}.AAAA",
        f"{b64('')}.{b64('{}')}.AAAA",
        f"{b64(bytes([0xFF, 0xFE]))}.{b64('{}')}.AAAA",
        f"{b64('[' * 12000)}.{b64('{}')}.AAAA",
        b64('{"alg":' + "9" * 5000 + "}") + f".{b64('{}')}.AAAA",
        "\ud800.\ud800.\ud800",
    ],
    ids=lambda token: ascii(token[:24]),
)
def test_token_is_refused_when_it_is_none(published: list[dict[str, Any]], token: str) -> None:
    with pytest.raises(InvalidToken):
        jose.verify(token, published)
    with pytest.raises(InvalidToken):
        jose.peek_header(token)


def test_claims_are_not_shown_when_there_are_none(tokens: dict[str, str]) -> None:
    head, _, tail = tokens["ES256"].split(".")
    for payload in ("", b64("[]"), b64("{"), "*"):
        with pytest.raises(InvalidToken):
            jose.peek_claims(f"{head}.{payload}.{tail}")


def test_token_is_refused_when_it_is_oversized(
    keys: dict[str, SigningKey], sign_by_hand: Callable[..., str], published: list[dict[str, Any]]
) -> None:
    header = {"alg": "RS256", "kid": keys["RS256"].kid}
    assert jose.verify(sign_by_hand(header, json.dumps({"fill": "x" * 11000})), published)
    # Three bytes more are four characters more; which lengths there are hangs on how long the header is.
    near = 11000 + (16384 - len(sign_by_hand(header, json.dumps({"fill": "x" * 11000})))) // 4 * 3 - 6
    tokens = [sign_by_hand(header, json.dumps({"fill": "x" * (near + more)})) for more in range(12)]
    largest = max((token for token in tokens if len(token) <= 16384), key=len)
    oversized = min((token for token in tokens if len(token) > 16384), key=len)
    assert 16384 - len(largest) < 2
    assert jose.verify(largest, published)
    with pytest.raises(InvalidToken, match="not a signed token"):
        jose.verify(oversized, published)


@pytest.mark.spec("RFC 7519 §7.2")
@pytest.mark.parametrize("payload", ["[]", '"text"', "5", "null", "{", "", '{"sub":NaN'])
def test_token_is_refused_when_its_payload_is_no_object_though_truly_signed(
    keys: dict[str, SigningKey], sign_by_hand: Callable[..., str], published: list[dict[str, Any]], payload: str
) -> None:
    with pytest.raises(InvalidToken):
        jose.verify(sign_by_hand({"alg": "RS256", "kid": keys["RS256"].kid}, payload), published)


@pytest.mark.spec("RFC 7515 §4.1")
@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["AAAA"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"zip": "DEF"},
        {"b64": True},
        {"enc": "A256GCM"},
    ],
    ids="+".join,
)
def test_token_is_refused_when_its_header_brings_what_we_do_not_take_though_truly_signed(
    keys: dict[str, SigningKey],
    sign_by_hand: Callable[..., str],
    published: list[dict[str, Any]],
    extra: dict[str, Any],
) -> None:
    token = sign_by_hand({"alg": "RS256", "kid": keys["RS256"].kid, **extra})
    with pytest.raises(InvalidToken, match="header has a member that is not accepted"):
        jose.verify(token, published)


@pytest.mark.spec("RFC 7519 §6")
@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_is_refused_when_it_is_unsigned(
    keys: dict[str, SigningKey], published: list[dict[str, Any]], algorithm: str, name: str
) -> None:
    head = b64(json.dumps({"alg": name, "kid": keys[algorithm].kid}))
    for signature in ("", "AAAA"):
        with pytest.raises(InvalidToken, match="not signed by a key of this issuer"):
            jose.verify(f"{head}.{b64('{}')}.{signature}", published)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("hmac_name", ["HS256", "HS384", "HS512"])
def test_token_is_refused_when_a_public_key_was_used_as_a_shared_secret(
    keys: dict[str, SigningKey], published: list[dict[str, Any]], algorithm: str, hmac_name: str
) -> None:
    public = keys[algorithm].as_pem(private=False)
    signed = b64(json.dumps({"alg": hmac_name, "kid": keys[algorithm].kid})) + "." + b64('{"sub":"usr_1"}')
    for secret in (public, public.strip(), json.dumps(jose.public_jwk(keys[algorithm])).encode()):
        signature = b64(hmac.new(secret, signed.encode(), f"sha{hmac_name[2:]}").digest())
        with pytest.raises(InvalidToken):
            jose.verify(f"{signed}.{signature}", published)


@pytest.mark.parametrize("name", ["RS384", "RS512", "PS256", "ES256", "EdDSA", "Ed25519", "rs256", "RS256 ", 5, None])
def test_token_is_refused_when_its_algorithm_is_not_the_keys(
    keys: dict[str, SigningKey], sign_by_hand: Callable[..., str], published: list[dict[str, Any]], name: Any
) -> None:
    with pytest.raises(InvalidToken, match="not signed by a key of this issuer"):
        jose.verify(sign_by_hand({"alg": name, "kid": keys["RS256"].kid}), published)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RS256"},
        {"alg": "RS256", "kid": "unknown"},
        {"alg": "RS256", "kid": None},
        {"alg": "RS256", "kid": ["x"]},
    ],
)
def test_token_is_refused_when_it_names_no_key_of_ours(
    sign_by_hand: Callable[..., str], published: list[dict[str, Any]], header: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken, match="not signed by a key of this issuer"):
        jose.verify(sign_by_hand(header), published)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_is_refused_when_another_key_made_it_under_our_kid(
    keys: dict[str, SigningKey], published: list[dict[str, Any]], algorithm: str
) -> None:
    document = jose.generate_key(algorithm).as_dict(private=True)
    stranger = jose.parse_private_key(json.dumps({**document, "kid": keys[algorithm].kid}).encode())
    with pytest.raises(InvalidToken, match="does not verify"):
        jose.verify(jose.sign({"sub": "usr_1"}, stranger, algorithm, "JWT"), published)


def test_token_is_refused_when_no_key_is_published(tokens: dict[str, str]) -> None:
    with pytest.raises(InvalidToken):
        jose.verify(tokens["RS256"], [])


def test_refusal_repeats_nothing_of_the_token(
    sign_by_hand: Callable[..., str], published: list[dict[str, Any]]
) -> None:
    with pytest.raises(InvalidToken) as caught:
        jose.verify(sign_by_hand({"alg": "<script>", "kid": "<script>"}), published)
    assert "script" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- at_hash


@pytest.mark.spec("OpenID Connect Core §3.1.3.6")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # Both from OpenID Connect Core, appendix A.
        ("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "77QmUPtjPfzWtF2AnpK9RQ"),
        ("Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk", "LDktKdoQak3Pk0cnXxCltA"),
    ],
)
@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
def test_half_hash_is_the_specifications_example(value: str, expected: str, algorithm: str) -> None:
    assert jose.half_hash(value, algorithm) == expected


@pytest.mark.spec("OpenID Connect Core §3.1.3.6")
def test_half_hash_is_half_of_sha512_when_the_key_is_ed25519() -> None:
    assert jose.half_hash("a token", "EdDSA") == b64(hashlib.sha512(b"a token").digest()[:32])


def test_kid_does_not_begin_with_a_dash_when_the_thumbprint_does() -> None:
    """A command line would take it for an option."""
    made = (ec.generate_private_key(ec.SECP256R1()) for _ in range(10_000))
    imported = (jose.import_pem(pem(key, PrivateFormat.PKCS8), "ES256") for key in made)
    key = next(key for key in imported if key.thumbprint().startswith("-"))
    assert key.kid == "k" + key.thumbprint()
