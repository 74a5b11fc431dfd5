"""What is held against every flow, whatever module it belongs to (OpenID Connect Core, Discovery and Registration).

A check that fails is a failure of the module. What would only be a warning is held as strictly: there is to be none.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from joserfc import jws
from joserfc.jwk import KeySet
from werkzeug.test import TestResponse

from server.infra.jose import SIGNING_ALGORITHMS

MINUTES_5, YEAR, YEARS_50 = 300, 366 * 86400, 50 * 366 * 86400
NINETEEN_NINETY = 631152000
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
VSCHAR = re.compile(r"[\x20-\x7e]+")
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
KEY_TYPES = {"RSA": None, "EC": {"P-256", "P-384", "P-521"}, "OKP": {"Ed25519", "Ed448", "X25519", "X448"}}
#: What an ID token may hold unasked; anything else is a warning.
ID_TOKEN_CLAIMS = {
    *("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp"),
    *("at_hash", "c_hash", "nbf", "jti", "sid", "s_hash", "txn"),
}
STRING_CLAIMS = {
    *("name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture"),
    *("website", "email", "gender", "zoneinfo", "locale", "phone_number"),
}
BOOLEAN_CLAIMS = {"email_verified", "phone_number_verified"}
ADDRESS_MEMBERS = {"formatted", "street_address", "locality", "region", "postal_code", "country"}
ERROR_PARAMETERS = {"error", "error_description", "error_uri", "state", "session_state", "iss"}


def is_json(response: TestResponse) -> bool:
    """Whether it says that it is JSON, and is."""
    return response.mimetype == "application/json" and isinstance(response.get_json(), dict)


def check_https(url: str) -> None:
    """An absolute https URL without fragment."""
    parts = urlsplit(url)
    assert parts.scheme == "https", url
    assert parts.hostname, url
    assert "#" not in url, url


def check_keys(document: Mapping[str, Any]) -> None:
    """A JWK Set: public keys, known and told apart (RFC 7517)."""
    keys = document["keys"]
    assert isinstance(keys, list)
    assert keys
    for key in keys:
        assert not PRIVATE_MEMBERS & set(key), "private or symmetric material"
        assert key["kty"] in KEY_TYPES, key
        curves = KEY_TYPES[key["kty"]]
        assert curves is None or key["crv"] in curves, key
        assert key["kid"].strip(), "a key without kid"
        assert key["kty"] != "RSA" or len(base64.urlsafe_b64decode(key["n"] + "==")) >= 256, "RSA below 2048 bits"
    assert len({key["kid"] for key in keys}) == len(keys), "a kid twice"


def check_secret(text: str, *, shortest: int = 16, entropy: float = 96) -> None:
    """Long and random enough to be a code or a token, in characters that one may have (RFC 6749 Appendix A)."""
    assert VSCHAR.fullmatch(text)
    assert len(text) >= shortest, f"{len(text)} bytes"
    counts = Counter(text)
    found = -len(text) * sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
    assert found >= entropy, f"{found:.0f} bits of Shannon entropy"


def check_expires_in(value: object) -> None:
    """A number of seconds that is neither nothing nor years."""
    assert type(value) in {int, float}, value
    assert isinstance(value, int | float)
    assert 0 < value <= YEAR, value


def check_token_response(response: TestResponse) -> dict[str, Any]:
    """A token response (RFC 6749 §5.1)."""
    assert response.status_code == 200, response.text
    assert is_json(response)
    assert "no-store" in response.headers["Cache-Control"]
    document: dict[str, Any] = response.get_json()
    assert document["token_type"].lower() == "bearer"
    check_secret(document["access_token"])
    check_expires_in(document["expires_in"])
    return document


def check_error(response: TestResponse, error: str, statuses: Sequence[int] = (400,)) -> None:
    """An error of a machine endpoint (RFC 6749 §5.2), in the characters it may have."""
    assert response.status_code in statuses, (response.status_code, response.text)
    assert is_json(response)
    document = response.get_json()
    assert document["error"] == error, document
    check_description(document)


def check_description(answer: Mapping[str, Any]) -> None:
    """`error_description` and `error_uri`, where they are (RFC 6749 §4.1.2.1); no line ends and no tabs."""
    assert DESCRIPTION.fullmatch(answer.get("error_description", "")), answer
    if "error_uri" in answer:
        check_https(answer["error_uri"])


def check_error_answer(
    answer: Mapping[str, str], request: Mapping[str, str], issuer: str, errors: Sequence[str]
) -> None:
    """An error of the authorization endpoint, sent to the client."""
    assert answer["error"] in errors, answer
    assert answer.get("state") == request.get("state")
    assert answer.get("iss", issuer) == issuer
    assert "code" not in answer
    assert set(answer) <= ERROR_PARAMETERS, answer
    check_description(answer)


def verify(token: str, keys: Mapping[str, Any], algorithm: str = "RS256") -> tuple[dict[str, Any], str]:
    """The header and the payload of a JWS, verified with the one key that `kid`, `alg`, `use` and `kty` leave."""
    found = jws.deserialize_compact(token, KeySet.import_key_set(_for_joserfc(keys)), algorithms=[*SIGNING_ALGORITHMS])
    header = dict(found.headers())
    assert header["alg"] == algorithm
    (key,) = [key for key in keys["keys"] if key["kid"] == header["kid"]]
    assert key.get("use", "sig") == "sig"
    assert key.get("alg", algorithm) == algorithm
    assert key["kty"] == {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}[algorithm[:2]]
    return header, (found.payload or b"").decode()


def _for_joserfc(keys: Mapping[str, Any]) -> Any:
    return {"keys": [{name: value for name, value in key.items() if name != "key_ops"} for key in keys["keys"]]}


def check_id_token(claims: Mapping[str, Any], issuer: str, client_id: str, nonce: str | None, now: datetime) -> None:
    """What stands in every ID token (OpenID Connect Core §2)."""
    moment = now.timestamp()
    assert claims["iss"] == issuer
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    assert client_id in audience
    assert claims.get("azp", client_id) == client_id
    assert moment <= claims["exp"] <= moment + YEARS_50
    assert abs(claims["iat"] - moment) <= MINUTES_5
    assert claims.get("nonce") == nonce
    assert re.fullmatch(r"[\x20-\x7e]{1,255}", claims["sub"])
    if "auth_time" in claims:
        assert type(claims["auth_time"]) is int
        assert NINETEEN_NINETY < claims["auth_time"] <= moment + MINUTES_5
    if "acr" in claims:
        assert isinstance(claims["acr"], str)
        assert claims["acr"]
    check_claim_types(claims, moment)


def check_hash(claims: Mapping[str, Any], name: str, value: str, *, required: bool) -> None:
    """`at_hash` or `c_hash` (OpenID Connect Core §3.1.3.6, §3.3.2.11) of a token signed with a 256-bit algorithm."""
    if name not in claims:
        assert not required, f"{name} is missing"
        return
    digest = hashlib.sha256(value.encode()).digest()[:16]
    assert claims[name] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def check_claim_types(claims: Mapping[str, Any], moment: float) -> None:
    """Standard claims are of their types (OpenID Connect Core §5.1)."""
    for name in STRING_CLAIMS & set(claims):
        assert isinstance(claims[name], str), name
        assert claims[name].strip() not in {"", "null"}, name
    for name in BOOLEAN_CLAIMS & set(claims):
        assert isinstance(claims[name], bool), name
    if "birthdate" in claims:
        assert re.fullmatch(r"\d{4}(-\d\d-\d\d)?", claims["birthdate"])
    if "address" in claims:
        assert claims["address"]
        assert set(claims["address"]) <= ADDRESS_MEMBERS
        assert all(isinstance(value, str) and value.strip() for value in claims["address"].values())
    if "updated_at" in claims:
        assert type(claims["updated_at"]) is int
        assert NINETEEN_NINETY <= claims["updated_at"] <= moment


def check_registration(response: TestResponse) -> dict[str, Any]:
    """A registration response (RFC 7591 §3.2.1, RFC 7592 §3)."""
    assert response.status_code == 201, response.text
    assert is_json(response)
    document: dict[str, Any] = response.get_json()
    assert "error" not in document
    assert document["client_id"]
    assert ("registration_client_uri" in document) == ("registration_access_token" in document)
    if "registration_client_uri" in document:
        check_https(document["registration_client_uri"])
    if "client_secret" in document:
        assert type(document["client_secret_expires_at"]) is int
    return document
