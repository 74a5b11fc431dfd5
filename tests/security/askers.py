"""Who asks, and of whom: people, keys, tokens and applications as rows, and the organizations that they ask about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from server.domain.organizations import Organization
from server.domain.policy.environments import Environment

Kind = Literal["nobody", "session", "key", "token", "application", "exchanged"]


@dataclass
class Place:
    """An organization and the ids of what is in it."""

    organization: Organization
    #: By argument of a path; of each environment.
    objects: dict[Environment, dict[str, str]] = field(default_factory=dict)
    is_suspended: bool = False

    @property
    def slug(self) -> str:
        """Its name in URLs."""
        return self.organization.slug

    def marks(self, environment: Environment) -> set[str]:
        """What only it has, in this environment: ids that nobody else is to read."""
        return {self.objects[environment][name] for name in ("key_id", "client_id", "secret_id")}

    @property
    def shared_marks(self) -> set[str]:
        """What only it has, in neither environment."""
        names = ("role_id", "membership_id", "invitation_id")
        return {self.organization.id, *(self.objects["live"][name] for name in names)}


@dataclass(frozen=True)
class Asker:
    """Somebody with a credential, and what is known of them; the matrix expects by this and nothing else."""

    name: str
    kind: Kind
    #: The cookie of the browser, or what stands behind `Bearer`.
    secret: str = ""
    user_id: str = ""
    #: Roles by slug of organization, of the person behind the credential.
    roles: tuple[tuple[str, str], ...] = ()
    #: Slugs of organizations where the membership is suspended.
    suspended_in: frozenset[str] = frozenset()
    #: What the credential was given; None where only the role counts.
    scopes: frozenset[str] | None = None
    #: The slug of the organization that the credential belongs to.
    bound_to: str | None = None
    environment: Environment | None = None
    #: Nothing that it is presented to may accept it.
    is_dead: bool = False

    def role_in(self, slug: str) -> str | None:
        """The person's role there."""
        return dict(self.roles).get(slug)
