"""Who acts, and from where: passed to every rule that leaves an audit row."""

from __future__ import annotations

from typing import Literal, NamedTuple

ActorKind = Literal["anonymous", "user", "client", "api_key", "operator"]


class Actor(NamedTuple):
    """The person, client, API key or operator behind a change."""

    kind: ActorKind
    id: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


OPERATOR = Actor("operator")
