"""Tokens that clients sign: with one of their own keys or their secret, and with nothing that a token brings along."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.infra import foreign_tokens, jose, public_keys
from server.infra.compact import MAX_HEADER_CHARACTERS
from server.infra.foreign_tokens import UnknownKey
from server.infra.jose import InvalidToken, SigningKey
from tests.infra.tokens_by_hand import b64

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
SECRET = "s" * 43
CLAIMS = {"iss": "client", "jti": "1"}


@pytest.fixture(scope="module")
def jwks(keys: dict[str, SigningKey]) -> list[dict[str, Any]]:
    return [jose.public_jwk(key) for key in keys.values()]


@pytest.fixture(scope="module")
def tokens(keys: dict[str, SigningKey]) -> dict[str, str]:
    return {name: jose.sign(CLAIMS, key, name, "JWT") for name, key in keys.items()}


def bare(key: SigningKey, **members: Any) -> dict[str, Any]:
    """A key as a client may write it down: nothing but its public members."""
    document = {name: value for name, value in jose.public_jwk(key).items() if name not in {"alg", "use", "kid"}}
    return {**document, **members}


def rsa_signed(key: SigningKey, header: Any, payload: str | bytes = json.dumps(CLAIMS)) -> str:
    private = key.raw_value
    assert isinstance(private, rsa.RSAPrivateKey)
    signed = b64(header if isinstance(header, str) else json.dumps(header)) + "." + b64(payload)
    return signed + "." + b64(private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))


def hmac_signed(header: Any, secret: str = SECRET, payload: str | bytes = json.dumps(CLAIMS), name: str = "256") -> str:
    signed = b64(header if isinstance(header, str) else json.dumps(header)) + "." + b64(payload)
    return signed + "." + b64(hmac.digest(secret.encode(), signed.encode(), f"sha{name}"))


# ------------------------------------------------------------------------------------------------------ choice of a key


@pytest.mark.spec("RFC 7515 §5.2")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_verifies_when_its_kid_names_a_key(
    tokens: dict[str, str], jwks: list[dict[str, Any]], algorithm: str
) -> None:
    decoded = foreign_tokens.verify_signed(tokens[algorithm], jwks, ALGORITHMS)
    assert decoded.claims == CLAIMS
    assert decoded.header["alg"] == algorithm


@pytest.mark.spec("OpenID Connect Core §10.1")
@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_token_verifies_without_kid_when_one_key_fits(keys: dict[str, SigningKey], algorithm: str) -> None:
    one_of_each = [bare(keys[name]) for name in ("RS256", "ES256", "EdDSA")]
    key = keys["RS256"]
    header = {"alg": algorithm}
    token = rsa_signed(key, header)
    if algorithm == "RS256":
        assert foreign_tokens.verify_signed(token, one_of_each, ALGORITHMS).claims == CLAIMS
    else:
        signed = token.rpartition(".")[0]
        token = signed + "." + b64(jose.signature(key, "PS256", signed.encode()))
        assert foreign_tokens.verify_signed(token, one_of_each, ALGORITHMS).claims == CLAIMS


@pytest.mark.spec("OpenID Connect Core §10.1")
def test_token_is_refused_without_kid_when_two_keys_fit(keys: dict[str, SigningKey]) -> None:
    token = rsa_signed(keys["RS256"], {"alg": "RS256"})
    with pytest.raises(InvalidToken, match="Several keys"):
        foreign_tokens.verify_signed(token, [bare(keys["RS256"]), bare(keys["PS256"])], ALGORITHMS)
    meant = [bare(keys["RS256"]), bare(keys["PS256"], alg="PS256"), bare(jose.generate_key("RS256"), use="enc")]
    assert foreign_tokens.verify_signed(token, meant, ALGORITHMS).claims == CLAIMS


def test_token_is_refused_when_two_keys_have_the_kid_it_names(keys: dict[str, SigningKey]) -> None:
    token = rsa_signed(keys["RS256"], {"alg": "RS256", "kid": "1"})
    with pytest.raises(InvalidToken, match="Several keys"):
        foreign_tokens.verify_signed(token, [bare(keys["RS256"], kid="1"), bare(keys["PS256"], kid="1")], ALGORITHMS)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"kid": "other"}, id="another kid"),
        pytest.param({}, id="no kid"),
        pytest.param({"kid": "1", "use": "enc"}, id="for encryption"),
        pytest.param({"kid": "1", "use": ["sig"]}, id="a list for use"),
        pytest.param({"kid": "1", "alg": "PS256"}, id="for another algorithm"),
        pytest.param({"kid": "1", "key_ops": ["sign"]}, id="to sign with"),
        pytest.param({"kid": "1", "key_ops": [{}, "encrypt"]}, id="odd operations"),
        pytest.param({"kid": "1", "key_ops": "verify"}, id="operations as text"),
        pytest.param({"kid": "1", "kty": "EC"}, id="another type"),
        pytest.param({"kid": "1", "kty": ["RSA"]}, id="a list for a type"),
        pytest.param({"kid": "1", "kty": None}, id="no type"),
        pytest.param({"kid": "1", "kty": "oct", "k": "AAAA"}, id="a secret"),
        pytest.param({"kid": ["1"]}, id="a list for kid"),
    ],
)
def test_key_is_unknown_when_none_fits(keys: dict[str, SigningKey], members: dict[str, Any]) -> None:
    token = rsa_signed(keys["RS256"], {"alg": "RS256", "kid": "1"})
    assert foreign_tokens.verify_signed(token, [bare(keys["RS256"], kid="1", use="sig")], ALGORITHMS).claims == CLAIMS
    with pytest.raises(UnknownKey):
        foreign_tokens.verify_signed(token, [bare(keys["RS256"], **members)], ALGORITHMS)
    with pytest.raises(UnknownKey):
        foreign_tokens.verify_signed(token, [], ALGORITHMS)


@pytest.mark.spec("RFC 7518 §3.4")
def test_key_is_unknown_when_its_curve_is_another() -> None:
    numbers = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    document = {"kty": "EC", "crv": "P-384", "x": b64(numbers.x.to_bytes(48)), "y": b64(numbers.y.to_bytes(48))}
    token = jose.sign(CLAIMS, jose.generate_key("ES256"), "ES256", "JWT")
    with pytest.raises(UnknownKey):
        foreign_tokens.verify_signed(token, [document], ALGORITHMS)


def test_private_key_in_the_jwks_is_read_as_the_public_one(keys: dict[str, SigningKey], tokens: dict[str, str]) -> None:
    for algorithm, key in keys.items():
        document = key.as_dict(private=True)
        assert foreign_tokens.verify_signed(tokens[algorithm], [document], ALGORITHMS).claims == CLAIMS
        assert not public_keys.parse(document).is_private


# -------------------------------------------------------------------------------------------------------- keys refused


@pytest.mark.spec("RFC 7518 §3.3")
@pytest.mark.parametrize("bits", [512, 1024, 2040])
def test_rsa_key_is_refused_when_it_is_small(bits: int) -> None:
    modulus = b64(((1 << bits) - 1).to_bytes((bits + 7) // 8))
    token = rsa_signed(jose.generate_key("RS256"), {"alg": "RS256"})
    with pytest.raises(InvalidToken, match="cannot be used"):
        foreign_tokens.verify_signed(token, [{"kty": "RSA", "n": modulus, "e": "AQAB"}], ALGORITHMS)


@pytest.mark.parametrize(
    ("modulus", "exponent"),
    [
        pytest.param(b64(b"\xff" * 1025), "AQAB", id="8200 bits"),
        pytest.param(b64(b"\xff" * 500_000), "AQAB", id="half a megabyte"),
        pytest.param(b64(b"\xff" * 256), b64(b"\xff" * 256), id="as large an exponent"),
        pytest.param(b64(b"\xff" * 256), "AA", id="exponent 0"),
        pytest.param(b64(b"\xff" * 256), "", id="no exponent"),
        pytest.param("", "AQAB", id="no modulus"),
        pytest.param("=" * 400, "AQAB", id="no base64url"),
        pytest.param("é" * 400, "AQAB", id="no ASCII"),
        pytest.param(b64(b"\x00" * 256), "AQAB", id="modulus 0"),
        pytest.param(5, "AQAB", id="a number for a modulus"),
    ],
)
def test_rsa_key_is_refused_when_it_is_malformed(modulus: Any, exponent: Any) -> None:
    token = rsa_signed(jose.generate_key("RS256"), {"alg": "RS256"})
    with pytest.raises(InvalidToken, match="cannot be used"):
        foreign_tokens.verify_signed(token, [{"kty": "RSA", "n": modulus, "e": exponent}], ALGORITHMS)


@pytest.mark.parametrize(
    ("algorithm", "document"),
    [
        pytest.param(
            "ES256", {"kty": "EC", "crv": "P-256", "x": b64(b"\x01" * 32), "y": b64(b"\x02" * 32)}, id="point"
        ),
        pytest.param("ES256", {"kty": "EC", "crv": "P-256", "x": b64(b"\x01" * 32)}, id="half a point"),
        pytest.param("ES256", {"kty": "EC", "crv": "P-256", "x": "", "y": ""}, id="no point"),
        pytest.param("EdDSA", {"kty": "OKP", "crv": "Ed25519", "x": b64(b"\x01" * 31)}, id="31 bytes"),
        pytest.param("EdDSA", {"kty": "OKP", "crv": "Ed25519", "x": "*"}, id="no base64url"),
        pytest.param("EdDSA", {"kty": "OKP", "crv": "Ed25519"}, id="nothing"),
        pytest.param("EdDSA", {"kty": "OKP", "crv": "Ed25519", "x": b64(b"\x01" * 57)}, id="57 bytes"),
    ],
)
def test_curve_key_is_refused_when_it_is_malformed(
    tokens: dict[str, str], algorithm: str, document: dict[str, Any]
) -> None:
    kid = jose.peek_header(tokens[algorithm])["kid"]
    with pytest.raises(InvalidToken, match="cannot be used"):
        foreign_tokens.verify_signed(tokens[algorithm], [{**document, "kid": kid}], ALGORITHMS)


@pytest.mark.parametrize("kind", ["oct", "DSA", None, [], 5])
def test_key_is_not_parsed_when_it_is_of_no_type_we_know(kind: Any) -> None:
    with pytest.raises(ValueError, match="no type we know"):
        public_keys.parse({"kty": kind, "k": "AAAA"})


def test_key_is_not_parsed_when_its_type_and_its_curve_contradict_each_other() -> None:
    for document in (
        {"kty": "OKP", "crv": "P-256", "x": b64(b"\0" * 32)},
        {"kty": "EC", "crv": "Ed25519", "x": b64(b"\0" * 32), "y": b64(b"\0" * 32)},
        {"kty": "EC", "crv": "", "x": "AAAA", "y": "AAAA"},
    ):
        with pytest.raises(ValueError, match="cannot be read"):
            public_keys.parse(document)


# ------------------------------------------------------------------------------------------------------ tokens refused


@pytest.mark.spec("RFC 8725 §3.1")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_is_refused_when_its_algorithm_is_not_among_those_asked_for(
    tokens: dict[str, str], jwks: list[dict[str, Any]], algorithm: str
) -> None:
    others = {name for name in ALGORITHMS if name != algorithm}
    with pytest.raises(InvalidToken, match="algorithm that is not accepted"):
        foreign_tokens.verify_signed(tokens[algorithm], jwks, others)


@pytest.mark.spec("RFC 7519 §6")
@pytest.mark.parametrize("name", ["none", "None", "", "HS256", "RS384", "ES384", "PS512", "Ed25519", "RSA-OAEP"])
def test_token_is_refused_when_its_algorithm_is_not_offered_though_it_was_asked_for(
    keys: dict[str, SigningKey], jwks: list[dict[str, Any]], name: str
) -> None:
    with pytest.raises(InvalidToken, match="algorithm that is not accepted"):
        foreign_tokens.verify_signed(rsa_signed(keys["RS256"], {"alg": name}), jwks, [*ALGORITHMS, name])


@pytest.mark.spec("RFC 8725 §2.1")
def test_token_is_refused_when_a_public_key_was_used_as_a_shared_secret(
    keys: dict[str, SigningKey], jwks: list[dict[str, Any]]
) -> None:
    private = keys["RS256"].raw_value
    assert isinstance(private, rsa.RSAPrivateKey)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for alg in ("HS256", "RS256"):
        with pytest.raises(InvalidToken):
            foreign_tokens.verify_signed(hmac_signed({"alg": alg, "kid": keys["RS256"].kid}, public), jwks, ALGORITHMS)


Verify = Callable[[Any, str | bytes], jose.DecodedToken]


@pytest.fixture(params=["foreign", "hmac"])
def verify(request: pytest.FixtureRequest, keys: dict[str, SigningKey], jwks: list[dict[str, Any]]) -> Verify:
    """Verifies a truly signed token of this header and payload, with a key and with a secret."""

    def by_key(header: Any, payload: str | bytes) -> jose.DecodedToken:
        return foreign_tokens.verify_signed(rsa_signed(keys["RS256"], header, payload), jwks, ALGORITHMS)

    def by_secret(header: Any, payload: str | bytes) -> jose.DecodedToken:
        header = json.loads(json.dumps(header).replace("RS256", "HS256")) if isinstance(header, dict) else header
        return foreign_tokens.verify_hmac(hmac_signed(header, payload=payload), SECRET)

    return by_key if request.param == "foreign" else by_secret


@pytest.fixture
def header(keys: dict[str, SigningKey]) -> dict[str, Any]:
    return {"alg": "RS256", "kid": keys["RS256"].kid}


@pytest.mark.spec("RFC 7515 §4")
def test_header_member_that_nobody_knows_is_ignored(verify: Verify, header: dict[str, Any]) -> None:
    assert verify({**header, "of-another-time": [1], "x5t": "AAAA"}, '{"sub":"1"}').claims == {"sub": "1"}


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
        {"b64": False, "crit": ["b64"]},
        {"b64": True},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"kid": 5},
        {"kid": None},
        {"alg": None},
        {"alg": ["RS256"]},
    ],
    ids="+".join,
)
def test_token_is_refused_when_its_header_brings_what_we_do_not_take_though_truly_signed(
    verify: Verify, header: dict[str, Any], extra: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken):
        verify({**header, **extra}, "{}")


def test_token_is_refused_when_its_header_is_oversized(verify: Verify, header: dict[str, Any]) -> None:
    room = MAX_HEADER_CHARACTERS * 3 // 4 - len(json.dumps({**header, "fill": ""}))
    assert verify({**header, "fill": "x" * room}, "{}").claims == {}
    with pytest.raises(InvalidToken, match="header is too long"):
        verify({**header, "fill": "x" * (room + 1)}, "{}")


def test_token_is_refused_when_it_is_oversized(verify: Verify, header: dict[str, Any]) -> None:
    assert verify(header, json.dumps({"fill": "x" * 11_000}))
    with pytest.raises(InvalidToken, match="too long"):
        verify(header, json.dumps({"fill": "x" * 13_000}))


@pytest.mark.spec("RFC 7519 §4")
@pytest.mark.spec("RFC 7519 §7.2")
@pytest.mark.parametrize(
    "payload",
    [
        '{"iss":"a","iss":"b"}',
        '{"a":{"b":1,"b":2}}',
        '{"exp":NaN}',
        '{"exp":Infinity}',
        '{"exp":-Infinity}',
        '{"exp":1e999}',
        '{"exp":-1e999}',
        '{"exp":' + "9" * 5000 + "}",
        r'{"sub":"\ud800"}',
        r'{"\udfff":1}',
        b'{"sub":"\xff"}',
        b"\xef\xbb\xbf{}",
        '{"sub":"é"}'.encode("utf-16"),
        "[" * 9000,
        "[]",
        "null",
        "5",
        '"text"',
        "{",
        "{} {}",
        "",
    ],
    ids=lambda payload: ascii(payload[:20]),
)
def test_token_is_refused_when_its_payload_is_not_one_clear_object_though_truly_signed(
    verify: Verify, header: dict[str, Any], payload: str | bytes
) -> None:
    with pytest.raises(InvalidToken):
        verify(header, payload)


def test_claims_are_any_text_when_it_is_whole(verify: Verify, header: dict[str, Any]) -> None:
    assert verify(header, r'{"a":"\ud83d\ude00 \u00e9","b":1.5}').claims == {"a": "😀 é", "b": 1.5}


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "HS256"])
@pytest.mark.spec("INV-17")
def test_token_is_refused_at_every_altered_character(
    tokens: dict[str, str], jwks: list[dict[str, Any]], algorithm: str
) -> None:
    token = tokens.get(algorithm) or hmac_signed({"alg": "HS256"})

    def verify(token: str) -> jose.DecodedToken:
        return (
            foreign_tokens.verify_hmac(token, SECRET)
            if algorithm == "HS256"
            else foreign_tokens.verify_signed(token, jwks, ALGORITHMS)
        )

    assert verify(token)
    for index, character in enumerate(token):
        with pytest.raises(InvalidToken):
            verify(token[:index] + ("A" if character != "A" else "B") + token[index + 1 :])


@pytest.mark.spec("RFC 7515 §5.2")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda token: token + "=", id="padding"),
        pytest.param(lambda token: token + "\n", id="line break after it"),
        pytest.param(lambda token: " " + token, id="space before it"),
        pytest.param(lambda token: token.replace(".", "..", 1), id="an empty part"),
        pytest.param(lambda token: token + ".a.b", id="five parts"),
        pytest.param(lambda token: token.rpartition(".")[0], id="two parts"),
        pytest.param(lambda token: token.rpartition(".")[0] + ".", id="no signature"),
        pytest.param(lambda token: "." + token.partition(".")[2], id="no header"),
        pytest.param(lambda token: "", id="nothing"),
        pytest.param(lambda token: "..", id="two dots"),
        pytest.param(lambda token: token + "é", id="not ASCII"),
        pytest.param(lambda token: token[:-1] + "\ud800", id="half a character"),
        pytest.param(lambda token: token.replace(".", "․"), id="another dot"),
    ],
)
def test_token_is_refused_when_its_encoding_is_not_the_one(
    tokens: dict[str, str], jwks: list[dict[str, Any]], spoil: Callable[[str], str]
) -> None:
    with pytest.raises(InvalidToken):
        foreign_tokens.verify_signed(spoil(tokens["ES256"]), jwks, ALGORITHMS)
    with pytest.raises(InvalidToken):
        foreign_tokens.verify_hmac(spoil(hmac_signed({"alg": "HS256"})), SECRET)


# ---------------------------------------------------------------------------------------------------------------- HMAC


@pytest.mark.spec("RFC 7518 §3.2")
def test_token_verifies_when_the_secret_made_it() -> None:
    decoded = foreign_tokens.verify_hmac(hmac_signed({"alg": "HS256", "kid": "whatever"}), SECRET)
    assert decoded.claims == CLAIMS


@pytest.mark.spec("RFC 7518 §3.2")
@pytest.mark.spec("OpenID Connect Core §16.19")
def test_secret_is_refused_when_it_is_shorter_than_the_hash() -> None:
    assert foreign_tokens.verify_hmac(hmac_signed({"alg": "HS256"}, "x" * 32), "x" * 32).claims == CLAIMS
    for secret in ("x" * 31, ""):
        with pytest.raises(InvalidToken):
            foreign_tokens.verify_hmac(hmac_signed({"alg": "HS256"}, secret), secret)


def test_token_is_refused_when_another_secret_made_it() -> None:
    for secret in (SECRET + "s", SECRET[:-1], SECRET.upper(), hashlib.sha256(SECRET.encode()).hexdigest()):
        with pytest.raises(InvalidToken):
            foreign_tokens.verify_hmac(hmac_signed({"alg": "HS256"}, secret), SECRET)


@pytest.mark.parametrize("name", ["none", "HS384", "HS512", "hs256", "RS256", ""])
def test_token_is_refused_when_it_is_not_hs256(name: str) -> None:
    for size in ("256", "384", "512"):
        with pytest.raises(InvalidToken):
            foreign_tokens.verify_hmac(hmac_signed({"alg": name}, name=size), SECRET)
    with pytest.raises(InvalidToken):
        foreign_tokens.verify_hmac(b64(json.dumps({"alg": name})) + "." + b64("{}") + ".", SECRET)


def test_refusal_repeats_nothing_of_the_token(keys: dict[str, SigningKey], jwks: list[dict[str, Any]]) -> None:
    for token in (
        rsa_signed(keys["RS256"], {"alg": "<script>"}),
        rsa_signed(keys["RS256"], {"alg": "RS256", "kid": "<script>"}),
    ):
        with pytest.raises(InvalidToken) as caught:
            foreign_tokens.verify_signed(token, jwks, ALGORITHMS)
        assert "script" not in str(caught.value)
