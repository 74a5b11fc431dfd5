"""The JOSE libraries that clients use, behind one face: joserfc for Python, jose for Node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from joserfc import jwe, jwk, jws

from tests.support.components import node_path

Header = Mapping[str, Any]
Key = Mapping[str, Any]


@dataclass(frozen=True)
class Read:
    """A token that the library accepted."""

    header: dict[str, Any]
    claims: dict[str, Any]


class Library(Protocol):
    """What a client does with tokens; every method raises when the library refuses."""

    def sign(self, claims: Header, header: Header, key: Key) -> str: ...

    def sign_with_secret(self, claims: Header, header: Header, secret: str) -> str: ...

    def encrypt(self, payload: str, header: Header, key: Key) -> str: ...

    def verify(self, token: str, jwks: Key, algorithm: str, issuer: str, audience: str) -> Read: ...

    def decrypt(self, token: str, key: Key, alg: str, enc: str) -> tuple[dict[str, Any], str]: ...


class Joserfc:
    """joserfc, told to use any algorithm it knows."""

    def sign(self, claims: Header, header: Header, key: Key) -> str:
        return jws.serialize_compact(dict(header), json.dumps(claims), jwk.import_key(dict(key)), registry=_signing())

    def sign_with_secret(self, claims: Header, header: Header, secret: str) -> str:
        key = jwk.OctKey.import_key(secret)
        return jws.serialize_compact(dict(header), json.dumps(claims), key, registry=_signing())

    def encrypt(self, payload: str, header: Header, key: Key) -> str:
        return jwe.encrypt_compact(dict(header), payload, jwk.import_key(dict(key)), registry=_encryption())

    def verify(self, token: str, jwks: Key, algorithm: str, issuer: str, audience: str) -> Read:
        kid = jws.extract_compact(token.encode(), registry=_signing()).headers()["kid"]
        key = next(key for key in jwks["keys"] if key["kid"] == kid)
        found = jws.deserialize_compact(token, jwk.import_key(key), registry=_signing(algorithm))
        claims = json.loads(found.payload)
        assert (claims["iss"], claims["aud"]) == (issuer, audience)
        return Read(found.headers(), claims)

    def decrypt(self, token: str, key: Key, alg: str, enc: str) -> tuple[dict[str, Any], str]:
        found = jwe.decrypt_compact(token, jwk.import_key(dict(key)), registry=_encryption(alg, enc))
        assert found.plaintext is not None
        return found.headers(), found.plaintext.decode()


def _signing(*algorithms: str) -> jws.JWSRegistry:
    registry = jws.JWSRegistry(algorithms=algorithms or list(jws.JWSRegistry.algorithms), strict_check_header=False)
    registry.max_header_length = 1 << 20
    return registry


def _encryption(*algorithms: str) -> jwe.JWERegistry:
    known = [name for group in jwe.JWERegistry.algorithms.values() for name in group]  # type: ignore[attr-defined]
    registry = jwe.JWERegistry(algorithms=algorithms or known, strict_check_header=False)
    registry.max_protected_header_length = 1 << 20
    return registry


class Refused(Exception):
    """Node's library would not do it; the message is its own."""


class Node:
    """jose in a process of Node's own, one line for each call."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _call(self, operation: str, **settings: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"operation": operation, **settings}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["value"]

    def sign(self, claims: Header, header: Header, key: Key) -> str:
        return str(self._call("sign", claims=claims, header=header, key=key))

    def sign_with_secret(self, claims: Header, header: Header, secret: str) -> str:
        return str(self._call("sign_with_secret", claims=claims, header=header, secret=secret))

    def encrypt(self, payload: str, header: Header, key: Key) -> str:
        return str(self._call("encrypt", payload=payload, header=header, key=key))

    def verify(self, token: str, jwks: Key, algorithm: str, issuer: str, audience: str) -> Read:
        found = self._call("verify", token=token, jwks=jwks, algorithm=algorithm, issuer=issuer, audience=audience)
        return Read(found["header"], found["claims"])

    def decrypt(self, token: str, key: Key, alg: str, enc: str) -> tuple[dict[str, Any], str]:
        found = self._call("decrypt", token=token, key=key, alg=alg, enc=enc)
        return found["header"], found["payload"]


@contextmanager
def node_library(project: Path) -> Iterator[Node]:
    """jose for Node until the context ends."""
    process = subprocess.Popen(
        [str(node_path()), "jose_matrix.mjs"],
        cwd=project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Node(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0
