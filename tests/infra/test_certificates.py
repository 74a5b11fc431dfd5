"""The test authority: made once, its key for nobody else, its certificates accepted where it is trusted and nowhere."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from server.infra.certificates import CertificateAuthority, ServerCertificate

NOW = datetime.now(UTC)
NAMES = ["op.test", "localhost", "127.0.0.1", "::1"]


def shaken(certificate: ServerCertificate, name: str, authority: Path) -> str | None:
    """Shakes hands in memory as a client that trusts `authority` and connects to `name`; the TLS version."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=authority)
    server.load_cert_chain(certificate.chain, certificate.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(3):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return sides[0].version()


def leaf(certificate: ServerCertificate) -> x509.Certificate:
    return x509.load_pem_x509_certificates(certificate.chain.read_bytes())[0]


@pytest.mark.parametrize("name", NAMES)
def test_certificate_is_accepted_where_its_authority_is_trusted(tmp_path: Path, name: str) -> None:
    authority = CertificateAuthority(tmp_path, NOW)
    assert shaken(authority.certificate_for("gatepost", NAMES), name, authority.path) == "TLSv1.3"


def test_certificate_is_refused_for_another_name_and_by_another_authority(tmp_path: Path) -> None:
    authority, other = CertificateAuthority(tmp_path / "one", NOW), CertificateAuthority(tmp_path / "other", NOW)
    certificate = authority.certificate_for("gatepost", NAMES)
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(certificate, "another.test", authority.path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(certificate, "op.test", other.path)


def test_keys_are_their_owners_alone(tmp_path: Path) -> None:
    certificate = CertificateAuthority(tmp_path, NOW).certificate_for("gatepost", NAMES)
    for path in (tmp_path / "ca-key.pem", certificate.key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_authority_and_certificate_are_kept_when_they_fit(tmp_path: Path) -> None:
    first = CertificateAuthority(tmp_path, NOW).certificate_for("gatepost", NAMES)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert CertificateAuthority(tmp_path, NOW + timedelta(days=1)).certificate_for("gatepost", NAMES) == first
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("days", "names"), [(0, ["other.test"]), (380, NAMES), (4000, NAMES)])
def test_certificate_is_made_anew_when_it_ends_soon_or_is_for_other_names(
    tmp_path: Path, days: int, names: list[str]
) -> None:
    old = leaf(CertificateAuthority(tmp_path, NOW).certificate_for("gatepost", NAMES))
    later = NOW + timedelta(days=days)
    new = leaf(CertificateAuthority(tmp_path, later).certificate_for("gatepost", names))
    assert new.serial_number != old.serial_number
    assert new.not_valid_after_utc > later + timedelta(days=300)


def test_certificate_is_made_anew_when_another_authority_made_it(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path, NOW).certificate_for("gatepost", NAMES)
    (tmp_path / "ca.pem").unlink()
    authority = CertificateAuthority(tmp_path, NOW)
    assert shaken(authority.certificate_for("gatepost", NAMES), "op.test", authority.path) == "TLSv1.3"


def test_authority_signs_servers_only(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path, NOW)
    own = x509.load_pem_x509_certificate(authority.path.read_bytes())
    limits = own.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (limits.ca, limits.path_length) == (True, 0)
    served = leaf(authority.certificate_for("gatepost", NAMES)).extensions
    assert served.get_extension_for_class(x509.BasicConstraints).value.ca is False
