"""One operation of `/v1`, in data: where it stands, who may ask for it, what goes in and what comes out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from server.web.api.documents import Document, InEnvironment, Query

#: Who may ask: `anyone`; `caller`: any credential that is valid; `person`: somebody who is signed in, or a token that
#: speaks for them; `organization`: whoever has `permission` in the organization of the path; `own`: the view decides.
Access = Literal["anyone", "caller", "person", "organization", "own"]

_ARGUMENT: Final = re.compile(r"<(?:([a-z]+)(?:\([^)]*\))?:)?([a-z_]+)>")
WRITING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def as_template(path: str) -> str:
    """A path of the URL map as OpenAPI writes it."""
    return _ARGUMENT.sub(r"{\2}", path)


def arguments_of(path: str) -> list[tuple[str, str]]:
    """What varies in a path of the URL map: the converter, and the name."""
    return _ARGUMENT.findall(path)


@dataclass(frozen=True)
class Operation:
    """One row of the table in `operations.py`."""

    name: str
    method: str
    path: str
    view: Callable[..., Any]
    summary: str
    permission: str | None = None
    access: Access = "organization"
    query: type[Query] | None = None
    body: type[Document] | None = None
    answer: type[Document] | None = None
    status: int = 200
    #: Makes or shows a secret, or changes who may do what: a session must have signed in a moment ago.
    is_dangerous: bool = False
    #: A GET that leaves a row all the same.
    writes: bool = False
    description: str = ""
    tag: str = ""
    #: What comes out where it is no JSON.
    media_types: tuple[str, ...] = ("application/json",)
    #: Further methods that mean the same.
    also: tuple[str, ...] = ()
    #: What else may be refused, by status, beside what every operation of this kind may.
    refusals: dict[int, str] = field(default_factory=dict)

    @property
    def only_reads(self) -> bool:
        """Whether nothing changes."""
        return self.method not in WRITING and not self.writes

    @property
    def is_in_environment(self) -> bool:
        """Whether it is about one environment: what is of none belongs to both."""
        return self.query is not None and issubclass(self.query, InEnvironment)

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods that it answers."""
        return (self.method, *self.also)

    @property
    def endpoint(self) -> str:
        """Its name in the URL map."""
        return f"api.{self.name}"

    @property
    def is_authenticated(self) -> bool:
        """Whether it wants a credential."""
        return self.access not in {"anyone", "own"}
