"""The keyring: the deployment's key-encryption keys, in one file that only its owner may read.

What must be readable again (private signing keys) is encrypted with AES-256-GCM under the active key, bound to a
context so that a ciphertext moved to another row or column does not open. Old keys stay for reading.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.infra import secrets

FILE_NAME: Final = "keyring.json"
_NONCE_BYTES: Final = 12
_FORMAT: Final = "g1"


class KeyringError(Exception):
    """The keyring is missing, unsafe or not the one that encrypted; the message says how to mend it."""


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode(), altchars=b"-_", validate=True)


class Keyring:
    """Versioned key-encryption keys; the active one encrypts, all of them decrypt."""

    def __init__(self, keys: dict[str, bytes], active: str) -> None:
        self._keys = keys
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self._active = active

    @property
    def active(self) -> str:
        """The name of the key that encrypts now."""
        return self._active

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all keys, the active one first."""
        return (self._active, *(name for name in self._keys if name != self._active))

    def derive_key(self, context: str, name: str | None = None) -> bytes:
        """32 bytes for this context alone, from the named key or the active one: the same wherever this keyring is.

        Raises:
            KeyringError: when the named key is not on this ring.
        """
        name = name or self._active
        if name not in self._keys:
            raise KeyringError(f"The key {name} is not in this keyring.")
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=context.encode()).derive(self._keys[name])

    def encrypt(self, plaintext: bytes, context: str) -> str:
        """Encrypts `plaintext`, readable again only with the same `context`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._active].encrypt(nonce, plaintext, context.encode())
        return ".".join((_FORMAT, self._active, _encode(nonce + sealed)))

    def decrypt(self, token: str, context: str) -> bytes:
        """Opens what `encrypt` made.

        Raises:
            KeyringError: when the key is not on this ring, or text or context were altered.
        """
        version, _, rest = token.partition(".")
        name, _, body = rest.partition(".")
        if version != _FORMAT or name not in self._ciphers:
            raise KeyringError("The database holds keys encrypted under a key that is not in this keyring.")
        try:
            sealed = _decode(body)
            return self._ciphers[name].decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError) as error:
            raise KeyringError("A stored key does not open with this keyring: it was altered or moved.") from error


def create_keyring(folder: Path) -> Path:
    """Makes a keyring with one new key, mode 0600; returns its path.

    Raises:
        KeyringError: when there is one already; it is never overwritten.
    """
    path = folder / FILE_NAME
    name = secrets.new_id()[:8]
    document = {"active": name, "keys": {name: _encode(AESGCM.generate_key(bit_length=256))}}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        if path.exists():
            raise KeyringError(f"There is a keyring at {path} already; it is not overwritten.") from error
        raise KeyringError(f"{folder} is not a folder.") from error
    except OSError as error:
        raise KeyringError(f"{folder} cannot be made or written: {error.strerror}.") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    return path


def load_keyring(folder: Path) -> Keyring:
    """Reads the keyring of `folder`.

    Raises:
        KeyringError: when it is missing, readable by others, or not a keyring.
    """
    path = folder / FILE_NAME
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise KeyringError(f"{path} can be read by others (mode {mode:04o}). Run: chmod 600 {path}")
        document = json.loads(path.read_text(encoding="utf-8"))
        keys = {name: _decode(key) for name, key in document["keys"].items()}
        active = str(document["active"])
        if active not in keys:
            raise KeyError(active)
        return Keyring(keys, active)
    except FileNotFoundError as error:
        raise KeyringError(f"There is no keyring at {path}. Make one with: gatepost keyring create") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeyringError(f"{path} cannot be read as a keyring. Restore it from your backup.") from error
