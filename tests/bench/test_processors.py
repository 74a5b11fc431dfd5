"""What a report says of the processor, and that what is hidden from OpenSSL is hidden from the servers too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench import processors
from tests.support.servers import clean_environment

SIGNS = """
import os
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
key = rsa.generate_private_key(65537, 2048)
key.public_key().verify(key.sign(b"", padding.PKCS1v15(), SHA256()), b"", padding.PKCS1v15(), SHA256())
print(os.environ["OPENSSL_ia32cap"])
"""


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ.pop(processors.VARIABLE, None)


@pytest.mark.parametrize(
    ("flags", "is_hidden", "words"),
    [
        ("fpu avx512ifma avx512vl", False, "AVX-512 IFMA in use"),
        ("fpu avx512ifma avx512vl", True, "AVX-512 IFMA hidden from OpenSSL"),
        ("fpu avx2", False, "without AVX-512 IFMA"),
        ("fpu avx2", True, "without AVX-512 IFMA"),
    ],
)
def test_report_says_what_rsa_is_signed_with(
    monkeypatch: pytest.MonkeyPatch, flags: str, is_hidden: bool, words: str
) -> None:
    facts = {"model name": "Example", "cpu family": "6", "model": "106", "flags": flags}
    monkeypatch.setattr(processors, "_facts", lambda: facts)
    if is_hidden:
        processors.hide_ifma()
    assert processors.describe() == f"Example (family 6, model 106), {words}"


def test_servers_sign_with_what_is_left_when_ifma_is_hidden() -> None:
    processors.hide_ifma()
    command = [sys.executable, "-c", SIGNS]
    printed = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=True).stdout
    assert printed.strip() == processors.WITHOUT_IFMA
