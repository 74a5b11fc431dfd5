"""The shell around every page: who is there, in which organization and environment, with what rights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flask import request
from flask.wrappers import Response

from server.domain import memberships, organizations
from server.domain.errors import Denied, NotFound
from server.domain.memberships import Membership
from server.domain.organizations import Organization, may_create_organizations
from server.domain.policy.environments import ENVIRONMENTS, Environment
from server.domain.roles import rights_of_member
from server.domain.scopes import Rights
from server.domain.sessions import Session
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import User
from server.web.context import act_as_user, current_work
from server.web.csrf import csrf_token
from server.web.pages import initials, page_url, person, redirect_to, render
from server.web.person import require_person

#: What every path inside an organization begins with.
INSIDE: Final = "/dashboard/<organization>/<any(live, test):environment>"


@dataclass(frozen=True)
class Section:
    """One entry of the navigation, shown to whoever has the permission."""

    path: str
    label: str
    icon: str
    permission: str | None


SECTIONS: Final = (
    Section("", "Overview", "home", None),
    Section("api-keys", "API keys", "key", "api-keys:read"),
    Section("applications", "Applications", "app", "clients:read"),
    Section("members", "Members", "people", "users:read"),
    Section("roles", "Roles", "shield", "roles:read"),
    Section("audit-log", "Audit log", "list", "audit:read"),
    Section("settings", "Settings", "settings", "organizations:read"),
)


@dataclass(frozen=True)
class Link:
    """Something to go to."""

    label: str
    url: str
    icon: str = ""
    is_current: bool = False


@dataclass(frozen=True)
class Problem:
    """Why a form is shown again: one sentence, and what is wrong with which field."""

    sentence: str
    errors: Mapping[str, str] = field(default_factory=dict)
    #: Where to prove again who one is, when that is all that is missing.
    sign_in_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Shell:
    """Somebody signed in, outside any organization."""

    user: User
    session: Session
    problem: Problem | None = None

    @property
    def work(self) -> UnitOfWork:
        """The unit of work of this request, on behalf of the person."""
        return current_work()

    @property
    def organization_or_none(self) -> Organization | None:
        """The organization one is in, if any."""
        return None

    def may(self, permission: str) -> bool:
        """Whether the person may do that here."""
        return False

    def sections(self) -> list[Link]:
        """The navigation."""
        return []

    def environments(self) -> list[Link]:
        """The ways between live and test."""
        return []

    def csrf_token(self, action: str) -> str:
        """The token of the form that posts to the path `action`, for this person."""
        return csrf_token(self.csrf_purpose(action))

    def csrf_purpose(self, action: str) -> str:
        """What the token of that form is bound to."""
        return f"dashboard:{self.user.id}:{action}"

    def value(self, name: str, default: str = "") -> str:
        """A field of the form: what was typed, when it is shown again; `default` when it is shown first."""
        return request.form.get(name, "") if request.method == "POST" else default

    def values(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """As `value`, for a field that may be chosen several times."""
        return tuple(request.form.getlist(name)) if request.method == "POST" else default

    def render(
        self, template: str, status: int = 200, *, notices: Mapping[str, str] | None = None, **context: Any
    ) -> Response:
        """A page in the frame; `notices` are the sentences that `?done=` may ask for."""
        here = self.organization_or_none
        return render(
            template,
            status,
            shell=self,
            may=self.may,
            csrf=self.csrf_token,
            problem=self.problem,
            notice=(notices or {}).get(request.args.get("done", "")),
            person=person(self.user),
            organization=here,
            organizations=self._organizations(here),
            sections=self.sections(),
            environments=self.environments(),
            chooser_url=page_url("dashboard"),
            new_organization_url=page_url("dashboard/organizations/new")
            if may_create_organizations(self.work)
            else None,
            logout_url=page_url("logout"),
            initials=initials,
            **context,
        )

    def refuse(self, status: int, heading: str, message: str) -> Response:
        """A page in the frame that says why not."""
        return self.render("dashboard/refused.html", status, heading=heading, message=message, back_url=self.home_url())

    def home_url(self) -> str:
        """Where one starts from."""
        return page_url("dashboard")

    def _organizations(self, here: Organization | None) -> list[Link]:
        known = memberships.list_memberships_of(self.work, self.user.id)
        return [
            Link(each.name, page_url(f"dashboard/{each.slug}/live"), is_current=here is not None and each.id == here.id)
            for _, each in known
        ]


@dataclass(frozen=True, kw_only=True)
class OrganizationShell(Shell):
    """Somebody signed in, inside an organization they are a member of and one of its two environments."""

    organization: Organization
    environment: Environment
    membership: Membership
    rights: Rights

    @property
    def organization_or_none(self) -> Organization | None:
        """The organization one is in."""
        return self.organization

    def may(self, permission: str) -> bool:
        """Whether the person's role here has the permission."""
        return self.rights.allows(permission)

    def url(self, *path: str, environment: Environment | None = None) -> str:
        """The path of a page of this organization, in this environment unless another is named."""
        parts = ("dashboard", self.organization.slug, environment or self.environment, *path)
        return page_url("/".join(part for part in parts if part))

    def redirect(self, *path: str, done: str = "") -> Response:
        """Goes on to another page after something was done; `done` names the sentence it tells."""
        return redirect_to(self.url(*path) + (f"?done={done}" if done else ""))

    def home_url(self) -> str:
        """The overview."""
        return self.url()

    def sections(self) -> list[Link]:
        """The navigation, as far as the role reaches."""
        return [
            Link(each.label, self.url(each.path), each.icon, each.path == self._section())
            for each in SECTIONS
            if each.permission is None or self.may(each.permission)
        ]

    def environments(self) -> list[Link]:
        """The same section in either environment."""
        return [
            Link(name.capitalize(), self.url(self._section(), environment=name), is_current=name == self.environment)
            for name in ENVIRONMENTS
        ]

    def _section(self) -> str:
        rest = request.path.removeprefix(self.url()).strip("/")
        section = rest.partition("/")[0]
        return section if any(section == each.path for each in SECTIONS) else ""


def enter() -> Shell:
    """The shell of somebody signed in.

    Raises:
        SignInNeeded: when nobody is.
    """
    signed_in = require_person()
    act_as_user(signed_in.user.id)
    return Shell(user=signed_in.user, session=signed_in.session)


def enter_organization(shell: Shell, id_or_slug: str, environment: Environment) -> OrganizationShell:
    """The shell inside an organization.

    Raises:
        NotFound: when there is none of that name, or the person is no member of it; the two look the same.
        Denied: when the organization or the membership is suspended.
    """
    work = shell.work
    organization = organizations.find_organization(work, id_or_slug)
    membership = memberships.find_membership(work, organization.id, shell.user.id) if organization else None
    if organization is None or membership is None:
        raise NotFound("There is no such organization, or you are not a member of it.")
    if not is_usable(work.now, organization):
        raise Denied(f"{organization.name} is suspended. Nothing of it can be used until it is resumed.")
    if not is_usable(work.now, membership):
        raise Denied(f"Your membership of {organization.name} is suspended. Ask one of its owners.")
    return OrganizationShell(
        user=shell.user,
        session=shell.session,
        organization=organization,
        environment=environment,
        membership=membership,
        rights=rights_of_member(work, membership),
    )


def _new_organization_url(work: UnitOfWork) -> str | None:
    return page_url("dashboard/organizations/new") if may_create_organizations(work) else None
