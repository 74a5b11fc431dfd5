"""Errors of the domain: a sentence that may be shown, and no word of HTTP."""

from __future__ import annotations

import pytest

from server.domain.errors import Conflict, Denied, DomainError, Expired, Invalid, NotFound, TooMany


@pytest.mark.parametrize("kind", [NotFound, Conflict, Denied, Expired])
def test_error_shows_its_sentence(kind: type[DomainError]) -> None:
    error = kind("A sentence.")
    assert isinstance(error, DomainError)
    assert str(error) == "A sentence."


def test_invalid_names_its_field() -> None:
    error = Invalid("redirect_uris", "A sentence.")
    assert isinstance(error, DomainError)
    assert (error.field, str(error)) == ("redirect_uris", "A sentence.")


def test_expired_names_the_client_it_was_for_when_there_is_one() -> None:
    assert Expired("A sentence.", "a-client").client_id == "a-client"
    assert Expired("A sentence.").client_id is None


def test_too_many_tells_when_to_come_again() -> None:
    error = TooMany("A sentence.", retry_after=30)
    assert isinstance(error, DomainError)
    assert (error.retry_after, str(error)) == (30, "A sentence.")
