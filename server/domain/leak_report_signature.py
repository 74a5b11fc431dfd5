"""Who reports a leaked key? Scanners of source code sign their reports, in the format of GitHub's secret scanning.

The signature is ECDSA over P-256 with SHA-256, of the body as it was sent; the public keys stand at a URL of the
scanner's.
"""

from __future__ import annotations

import base64
import binascii
import logging
import threading
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from server.domain.errors import Denied
from server.infra.clock import Clock
from server.infra.outbound_http import FetchFailed, FetchRefused, OutboundHttp, Payer
from server.infra.turns import stepping_aside

log = logging.getLogger(__name__)

#: How long the scanner's keys are used without asking again.
_FRESH: Final = timedelta(minutes=10)
#: How soon its URL is asked again, whatever it answered.
_AGAIN: Final = timedelta(seconds=30)
_MAXIMUM_KEYS: Final = 100
_PAYER: Final = Payer("keys", is_operators=True)
_REFUSED: Final = "The report is not signed by a key that its sender publishes now."


class LeakReportKeysUnavailable(Exception):
    """The scanner's keys cannot be had now; the report should be sent again."""


class LeakReportKeys:
    """The public keys of whoever reports leaked keys; any thread may use it."""

    def __init__(self, outbound_http: OutboundHttp, clock: Clock, url: str) -> None:
        self._outbound_http, self._clock, self._url = outbound_http, clock, url
        self._keys: dict[str, EllipticCurvePublicKey] = {}
        self._fetched_at: datetime | None = None
        self._asked_at: datetime | None = None
        self._lock = threading.Lock()

    def verify(self, body: bytes, key_identifier: str | None, signature: str | None) -> None:
        """Checks the signature of a report. The caller holds no transaction: the keys may have to be fetched.

        Args:
            body: the report, byte for byte as it came.
            key_identifier: the header `Github-Public-Key-Identifier`.
            signature: the header `Github-Public-Key-Signature`, an ASN.1 signature in Base64.

        Raises:
            Denied: when it is not signed, or not by a current key.
            LeakReportKeysUnavailable: when nobody can tell now.
        """
        if not key_identifier or not signature:
            raise Denied("A report of leaked keys must be signed.")
        key = self._find(key_identifier)
        if key is None:
            raise Denied(_REFUSED)
        try:
            key.verify(base64.b64decode(signature, validate=True), body, ECDSA(SHA256()))
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise Denied(_REFUSED) from error

    def _find(self, key_identifier: str) -> EllipticCurvePublicKey | None:
        found = self._keys.get(key_identifier)
        if found is not None and self._is_within(self._fetched_at, _FRESH):
            return found
        # Whoever waits for the scanner's server gives its turn away.
        with stepping_aside(), self._lock:
            if not self._is_within(self._fetched_at, _FRESH):
                self._fetch()
            found = self._keys.get(key_identifier)
            if found is None and not self._is_within(self._asked_at, _AGAIN):
                # A key that is new since then.
                self._fetch()
                found = self._keys.get(key_identifier)
            return found

    def _is_within(self, moment: datetime | None, span: timedelta) -> bool:
        return moment is not None and timedelta(0) <= self._clock.now() - moment < span

    def _fetch(self) -> None:
        if self._fetched_at is None and self._is_within(self._asked_at, _AGAIN):
            raise LeakReportKeysUnavailable("The keys could not be fetched just now.")
        self._asked_at = self._clock.now()
        # What is not confirmed any more is not trusted: a key may have been withdrawn.
        self._keys, self._fetched_at = {}, None
        try:
            document = self._outbound_http.get_json(self._url, payer=_PAYER)
        except (FetchFailed, FetchRefused) as error:
            log.warning("the keys that sign reports of leaked keys cannot be fetched: %s", error)
            raise LeakReportKeysUnavailable("The keys cannot be fetched.") from error
        self._keys, self._fetched_at = _current_keys(document), self._clock.now()


def _current_keys(document: Any) -> dict[str, EllipticCurvePublicKey]:
    listed = document.get("public_keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > _MAXIMUM_KEYS:
        raise LeakReportKeysUnavailable("The document with the keys has another form.")
    found = {}
    for entry in listed:
        key = _key_of(entry)
        if key is not None:
            found[str(entry["key_identifier"])] = key
    return found


def _key_of(entry: Any) -> EllipticCurvePublicKey | None:
    """The entry's key when it is current and one we verify with; entries of other kinds are ignored."""
    if not isinstance(entry, dict) or entry.get("is_current") is not True:
        return None
    text, identifier = entry.get("key"), entry.get("key_identifier")
    if not isinstance(text, str) or not isinstance(identifier, str):
        return None
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        log.warning("a key that signs reports of leaked keys cannot be read")
        return None
    return key if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1) else None
