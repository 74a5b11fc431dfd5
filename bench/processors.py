"""What this machine's processor is, and how OpenSSL signs on one that has less.

OpenSSL signs with RSA in less than half the time where the processor has AVX-512 IFMA (Intel since Ice Lake, AMD since
Zen 4). Ratios to that signature then weigh the same Python twice as much. Hidden from OpenSSL, the same machine signs
as others do, and both can be told apart: what is the processor's, and what is ours.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

#: The variable and its value: bit 21 of EBX in the second word of what OpenSSL asks a processor (OPENSSL_ia32cap(3)).
VARIABLE: Final = "OPENSSL_ia32cap"
WITHOUT_IFMA: Final = ":~0x200000"
_IFMA: Final = "avx512ifma"


def hide_ifma() -> None:
    """Has OpenSSL sign without AVX-512 IFMA in every process started from now on, whoever brings it along."""
    os.environ[VARIABLE] = WITHOUT_IFMA


def describe() -> str:
    """The processor in one line, with what OpenSSL signs with."""
    facts = _facts()
    known = (
        f"{facts.get('model name', platform.machine())} (family {facts.get('cpu family')}, model {facts.get('model')})"
    )
    if _IFMA not in facts.get("flags", "").split():
        return f"{known}, without AVX-512 IFMA"
    is_hidden = os.environ.get(VARIABLE) == WITHOUT_IFMA
    return f"{known}, AVX-512 IFMA {'hidden from OpenSSL' if is_hidden else 'in use'}"


def _facts() -> dict[str, str]:
    """What the system says of the first core."""
    pairs = (line.partition(":") for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines())
    facts: dict[str, str] = {}
    for name, _, value in pairs:
        facts.setdefault(name.strip(), value.strip())
    return facts
