"""The cells of the matrix: every route of dashboard and `/v1`, asked by anybody, and what the documentation expects.

What is expected is read from docs/authorization.md as it is committed, not from the code that decides.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, Literal

from werkzeug.test import TestResponse

from server.domain.policy.environments import Environment
from server.infra import secrets
from server.web.api.documents import InEnvironment
from server.web.api.operation import WRITING, as_template
from server.web.api.operations import OPERATIONS
from server.web.dashboard.application_map import APPLICATION_PAGES
from server.web.dashboard.map import PAGES
from server.web.dashboard.shell import INSIDE
from tests.security.askers import Asker, Place
from tests.security.tenants import REVIEWER, Tenants
from tests.support.application import Gatepost
from tests.support.components import REPOSITORY

_ARGUMENT: Final = re.compile(r"<(?:[^<>:]+:)?(\w+)>")
#: Takes no credential, and is no matter of organizations.
_OUTSIDE: Final = frozenset({"verify", "report_leaked_keys"})
_LASTING: Final = frozenset({"create_client", "update_client", "rotate_client_secret"})
#: What is sent, so that whoever may gets it done: a check that stands behind the reading of bodies is met too.
BODIES: Final[dict[str, dict[str, object]]] = {
    "create_organization": {"name": "Fresh"},
    "update_organization": {"name": "Renamed"},
    "update_member": {"suspended": True},
    "create_invitation": {"email": "guest@example.net", "role": "guest"},
    "create_role": {"name": "fresh", "permissions": ["organizations:read"]},
    "update_role": {"description": "Described"},
    "create_api_key": {"name": "Fresh", "permissions": ["organizations:read"]},
    "revoke_api_keys": {"all": True},
    "update_api_key": {"name": "Renamed"},
    "rotate_api_key": {"overlap": "1h"},
    "create_client": {"name": "Fresh", "type": "machine", "scopes": ["organizations:read"]},
    "update_client": {"name": "Renamed"},
    "rotate_client_secret": {"overlap": "1h"},
}
FORMS: Final[dict[str, dict[str, str]]] = {
    "create_organization": {"name": "Fresh"},
    "create_api_key": {"name": "Fresh", "kind": "standard", "expires": "90", "permissions": "organizations:read"},
    "change_api_key": {"name": "Renamed"},
    "rotate": {"overlap": "3600"},
    "invite": {"email": "guest@example.net", "role": "guest"},
    "change_member": {"role": "spare"},
    "create_role": {"name": "fresh", "permissions": "organizations:read"},
    "change_role": {"description": "Described", "permissions": "organizations:read"},
    "change_settings": {"name": "Renamed", "slug": "renamed"},
    "delete": {"typed_name": "{organization}"},
    "create_application": {"client_name": "Fresh", "redirect_uris": "https://app.example/cb", "permissions": "openid"},
    "edit_application": {"client_name": "Renamed", "redirect_uris": "https://app.example/cb", "permissions": "openid"},
    "delete_application": {"typed_name": "{client}"},
    "create_secret": {"overlap": "3600"},
    "save_application_logo": {"decision": "remove"},
    "export_audit_log": {"format": "csv"},
}
#: What nobody gets done: the answer of an authorization that never was; the last owner leaving.
_NEVER_DONE: Final = frozenset({"dashboard.explain_answer", "dashboard.leave"})
_ROW: Final = re.compile(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/\S*)` \|(.*)\|$", re.MULTILINE)
Outcome = Literal["allowed", "sign in", 401, 403, 404]


@dataclass(frozen=True)
class Row:
    """What the documentation says of a route."""

    permission: str | None
    #: The built-in roles whose members may.
    roles: frozenset[str]
    is_dangerous: bool


def rows() -> dict[tuple[str, str], Row]:
    """The tables of docs/authorization.md, by method and path."""
    found = {}
    for method, path, rest in _ROW.findall((REPOSITORY / "docs" / "authorization.md").read_text("utf-8")):
        *cells, fresh, roles = (cell.strip() for cell in rest.split("|"))
        permission = next((cell.strip("`") for cell in cells if cell.startswith("`")), None)
        found[method, path] = Row(permission, frozenset(roles.split(", ")) - {""}, fresh == "yes")
    return found


ROWS: Final = rows()


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    face: Literal["dashboard", "v1"]
    name: str
    method: str
    path: str
    access: str
    row: Row
    #: Whether a request of a session can say which environment it means.
    is_in_environment: bool
    has_body: bool = False

    @property
    def permission(self) -> str | None:
        """What the page names."""
        return self.row.permission

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method in WRITING

    @property
    def is_inside(self) -> bool:
        """Whether the path names an organization."""
        return "organization" in _ARGUMENT.findall(self.path)

    @property
    def arguments(self) -> set[str]:
        """The objects that the path names."""
        return set(_ARGUMENT.findall(self.path)) - {"organization", "environment", "client_type"}


ROUTES: Final = (
    *(
        Route("dashboard", page.endpoint, method, page.path, "organization", ROWS[method, as_template(page.path)], True)
        for page in (*PAGES, *APPLICATION_PAGES)
        for method in page.methods
    ),
    *(
        Route("v1", each.name, each.method, f"/v1{each.path}", each.access, ROWS[each.method, as_template(each.path)],
              each.query is not None and issubclass(each.query, InEnvironment), each.body is not None)
        for each in OPERATIONS
        if each.name not in _OUTSIDE
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One request: who, what, of which organization, in which environment."""

    asker: Asker
    route: Route
    place: Place
    environment: Environment

    def __str__(self) -> str:
        where = f"{self.place.slug}/{self.environment}"
        return f"{self.asker.name}: {self.route.method} {self.route.name} in {where}"


def includes(role: str | None, row: Row) -> bool:
    """Whether the page lets the role do what the row is about."""
    if role == "reviewer":
        return row.permission is None or row.permission in REVIEWER
    return role in row.roles


def expected(cell: Cell) -> Outcome:
    """What the documentation says."""
    return _at_dashboard(cell) if cell.route.face == "dashboard" else _in_api(cell)


def _at_dashboard(cell: Cell) -> Outcome:
    if cell.asker.kind != "session":
        return "sign in"
    if not cell.route.path.startswith(INSIDE):
        return "allowed"
    role = cell.asker.role_in(cell.place.slug)
    if role is None:
        return 404
    if cell.place.is_suspended or cell.place.slug in cell.asker.suspended_in:
        return 403
    return "allowed" if includes(role, cell.route.row) else 403


def _in_api(cell: Cell) -> Outcome:
    found, route = _without_environments(cell), cell.route
    if found == "allowed" and cell.asker.environment == "test" and route.writes and not route.is_in_environment:
        # What belongs to no environment is live.
        return 403
    return found


def _without_environments(cell: Cell) -> Outcome:
    asker, route = cell.asker, cell.route
    if route.access == "anyone":
        return "allowed"
    if asker.kind == "nobody" or asker.is_dead:
        return 401
    if route.is_in_environment and asker.environment not in (None, cell.environment):
        return 404
    is_granted = asker.scopes is None or route.permission is None or route.permission in asker.scopes
    if route.access == "caller":
        return "allowed" if is_granted else 403
    if route.access == "person":
        return "allowed" if is_granted and asker.kind in {"session", "token"} else 403
    return _inside(cell, is_granted)


def _inside(cell: Cell, is_granted: bool) -> Outcome:
    asker, slug = cell.asker, cell.place.slug
    if asker.bound_to not in (None, slug):
        return 404
    role = asker.role_in(slug)
    if asker.kind == "application":
        if asker.bound_to is None:
            return 404
    elif role is None or slug in asker.suspended_in:
        return 404
    elif not includes(role, cell.route.row):
        is_granted = False
    if cell.place.is_suspended:
        return 403
    return "allowed" if is_granted else 403


def is_refused_as_lasting(cell: Cell, found: object) -> bool:
    """Whether something was refused because it would outlive the credential that it was asked for with."""
    return found == 403 and cell.asker.kind == "exchanged" and cell.route.name in _LASTING


class Asking:
    """Sends the requests of cells."""

    def __init__(self, tenants: Tenants, gatepost: Gatepost | None = None) -> None:
        self.client = (gatepost or tenants.gatepost).app.test_client(use_cookies=False)

    def ask(
        self, cell: Cell, *, organization: str | None = None, headers: dict[str, str] | None = None, **objects: str
    ) -> TestResponse:
        """The answer; `objects` stand in the path instead of the organization's own."""
        route = cell.route
        found = {
            **cell.place.objects[cell.environment],
            "organization": organization or cell.place.slug,
            "environment": cell.environment,
            **objects,
        }
        path = _ARGUMENT.sub(lambda match: found[match[1]], route.path)
        if route.face == "dashboard":
            return self._at_dashboard(cell, path)
        return self._in_api(cell, path, headers or {})

    def _at_dashboard(self, cell: Cell, path: str) -> TestResponse:
        route, asker = cell.route, cell.asker
        headers = {"Cookie": f"gatepost={asker.secret}"} if asker.kind == "session" else _bearer(asker)
        form = None
        if route.method == "POST":
            token = secrets.keyed_digest(asker.secret, f"csrf:dashboard:{asker.user_id}:{path}")
            names = {
                "organization": cell.place.organization.name,
                "client": f"App {cell.place.objects[cell.environment]['client_id']}",
            }
            typed = FORMS.get(route.name.removeprefix("dashboard."), {})
            form = {"csrf_token": token, "form_id": "one-form"}
            form |= {name: value.format(**names) for name, value in typed.items()}
        return self.client.open(path, method=route.method, headers=headers, data=form)

    def _in_api(self, cell: Cell, path: str, headers: dict[str, str]) -> TestResponse:
        route, asker = cell.route, cell.asker
        if asker.kind != "session":
            headers = {**headers, **_bearer(asker)}
        else:
            token = secrets.keyed_digest(asker.secret, "csrf:api")
            headers = {**headers, "Cookie": f"gatepost={asker.secret}", "X-CSRF-Token": token}
        query = {"environment": cell.environment} if route.is_in_environment else None
        body = {"data": json.dumps(BODIES[route.name]), "content_type": "application/json"} if route.has_body else {}
        return self.client.open(path, method=route.method, headers=headers, query_string=query, **body)


def _bearer(asker: Asker) -> dict[str, str]:
    return {"Authorization": f"Bearer {asker.secret}"} if asker.secret else {}


def outcome(answer: TestResponse, route: Route) -> Outcome | int:
    """What an answer comes to."""
    if answer.status_code == 303 and "/login" in answer.headers["Location"]:
        return "sign in"
    if answer.status_code < 400 or (route.name in _NEVER_DONE and answer.status_code in {400, 409}):
        return "allowed"
    return answer.status_code
