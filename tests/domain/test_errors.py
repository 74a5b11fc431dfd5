"""Errors of the domain: a sentence that may be shown, and no word of HTTP."""

from __future__ import annotations

import pytest

from server.domain.errors import Conflict, Denied, DomainError, Expired, Invalid, NotFound


@pytest.mark.parametrize("kind", [NotFound, Conflict, Denied, Expired])
def test_error_shows_its_sentence(kind: type[DomainError]) -> None:
    error = kind("A sentence.")
    assert isinstance(error, DomainError)
    assert str(error) == "A sentence."


def test_invalid_names_its_field() -> None:
    error = Invalid("redirect_uris", "A sentence.")
    assert isinstance(error, DomainError)
    assert (error.field, str(error)) == ("redirect_uris", "A sentence.")
