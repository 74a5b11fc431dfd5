"""A bare WSGI application whose every path does one thing: sign, verify, hash a password, or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from server.config import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

#: About as long as the header and payload of an access token.
_MESSAGE = b"m" * 500
_CONSTANT = b"c" * 700
_PADDING = padding.PKCS1v15()

_key = rsa.generate_private_key(65537, 2048)
_public_key = _key.public_key()
_signature = _key.sign(_MESSAGE, _PADDING, SHA256())
_parameters = {name: field.default for name, field in Settings.model_fields.items() if name.startswith("argon2_")}
_hasher = PasswordHasher(
    time_cost=_parameters["argon2_time_cost"],
    memory_cost=_parameters["argon2_memory_kib"],
    parallelism=_parameters["argon2_parallelism"],
)


def _sign() -> bytes:
    return _key.sign(_MESSAGE, _PADDING, SHA256())


def _verify() -> bytes:
    _public_key.verify(_signature, _MESSAGE, _PADDING, SHA256())
    return b"verified"


def _hash() -> bytes:
    return _hasher.hash("a long enough password").encode()


_PATHS = {"/sign": _sign, "/verify": _verify, "/constant": lambda: _CONSTANT, "/hash": _hash}


def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """The WSGI entry point."""
    body = _PATHS[environ["PATH_INFO"]]()
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]
