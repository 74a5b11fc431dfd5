"""What can go wrong over the tables, in words without HTTP.

`str(error)` is a sentence that may be shown.
"""

from __future__ import annotations


class DomainError(Exception):
    """The root of all refusals of the domain."""


class NotFound(DomainError):
    """There is no such thing."""


class Conflict(DomainError):
    """There is such a thing already."""


class Denied(DomainError):
    """It exists but may not be used: disabled, revoked, or another's."""


class Expired(DomainError):
    """It was good once; `client_id` is the client it was for."""

    def __init__(self, sentence: str, client_id: str | None = None) -> None:
        super().__init__(sentence)
        self.client_id = client_id


class TooMany(DomainError):
    """It was tried too often; `retry_after` says in how many seconds it may be tried again."""

    def __init__(self, sentence: str, retry_after: int) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class Invalid(DomainError):
    """A value breaks a rule; `field` names it as the specification does."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field
