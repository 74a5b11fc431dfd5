"""A certificate authority of one's own, for a server on a test network: made on first use, and kept.

The private keys are for their owner alone. What trusts the authority's certificate trusts whoever holds its key, so it
belongs in a test's trust store and in no other.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_DAYS: Final = 3650
#: What browsers accept (825) and more than a test takes.
_SERVER_DAYS: Final = 397
_RENEWAL_DAYS: Final = 30
#: For clocks that are a little behind.
_EARLIER: Final = timedelta(hours=1)


@dataclass(frozen=True)
class ServerCertificate:
    """Where a server's certificate chain and its key lie, PEM both."""

    chain: Path
    key: Path


class CertificateAuthority:
    """The authority whose certificate is `ca.pem` in a folder."""

    def __init__(self, folder: Path, now: datetime) -> None:
        """Opens the authority in `folder`, or makes it."""
        self._folder, self._now = folder, now
        self.path = folder / "ca.pem"
        key_path = folder / "ca-key.pem"
        if not (self.path.exists() and key_path.exists()):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(key_path, key)
            self.path.write_bytes(_authority_certificate(key, now).public_bytes(Encoding.PEM))
        self._key = _read_key(key_path)
        self._certificate = x509.load_pem_x509_certificate(self.path.read_bytes())

    def certificate_for(self, label: str, names: Sequence[str]) -> ServerCertificate:
        """The certificate `label` for host names and addresses; the kept one as long as it fits.

        Args:
            label: the name of its files.
            names: what clients will connect to; the first is the common name.
        """
        found = ServerCertificate(self._folder / f"{label}.pem", self._folder / f"{label}-key.pem")
        if not self._fits(found, names):
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(found.key, key)
            leaf = self._sign(key.public_key(), names)
            found.chain.write_bytes(leaf.public_bytes(Encoding.PEM) + self._certificate.public_bytes(Encoding.PEM))
        return found

    def _fits(self, found: ServerCertificate, names: Sequence[str]) -> bool:
        if not (found.chain.exists() and found.key.exists()):
            return False
        kept = x509.load_pem_x509_certificates(found.chain.read_bytes())[0]
        try:
            kept.verify_directly_issued_by(self._certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        alternatives = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        is_lasting = kept.not_valid_after_utc > self._now + timedelta(days=_RENEWAL_DAYS)
        return is_lasting and list(alternatives) == _alternatives(names)

    def _sign(self, key: ec.EllipticCurvePublicKey, names: Sequence[str]) -> x509.Certificate:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        return (
            _builder(names[0], self._certificate.subject, key, self._now, _SERVER_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, SHA256())
        )


def _authority_certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    common_name = "Gatepost test authority"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return (
        _builder(common_name, name, key.public_key(), now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )


def _builder(
    common_name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        # X.520 gives a common name 64 characters; clients read the alternatives.
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    return [_alternative(name) for name in names]


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.unlink(missing_ok=True)
    # Never readable by others, not even for a moment.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
