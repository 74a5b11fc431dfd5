"""Rights as they are written down in a token, or in what is said of one (RFC 9068 §2.2.3, RFC 7662 §2.2)."""

from __future__ import annotations

from server.domain import scopes
from server.domain.scopes import Rights
from server.domain.unit_of_work import UnitOfWork


def spelled(work: UnitOfWork, rights: Rights) -> frozenset[str]:
    """The scopes by which rights are written down: what comes with a role alone is written name by name."""
    if scopes.rights(work.settings, rights.granted) == rights:
        return rights.granted
    named = (name for name in scopes.catalogue(work.settings) if name not in scopes.PERSONAL)
    return rights.granted.union(name for name in named if rights.allows(name))
