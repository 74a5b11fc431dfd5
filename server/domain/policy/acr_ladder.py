"""Which class of authentication does a sign-in reach? (OpenID Connect Core §2 `acr`, §5.5.1.1)"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

#: What a sign-in that reaches no rung is called: it proves nothing that anybody should rely on (ISO/IEC 29115).
BELOW_THE_LADDER: Final = "0"


def reached(ladder: Mapping[str, Sequence[str]], amr: Iterable[str]) -> tuple[str, ...]:
    """The rungs that the methods of a sign-in reach, weakest first."""
    used = frozenset(amr)
    return tuple(acr for acr, needed in ladder.items() if used.issuperset(needed))


def acr_of(ladder: Mapping[str, Sequence[str]], amr: Iterable[str], wanted: Sequence[str] = ()) -> str:
    """The `acr` to tell: the first wanted one that is reached, else the strongest reached."""
    found = reached(ladder, amr)
    for acr in wanted:
        if acr in found:
            return acr
    return found[-1] if found else BELOW_THE_LADDER
