"""Introspection and `/v1/verify` tell of a credential whom docs/authorization.md names, and nobody else.

Every credential of every organization and environment, asked about by every kind of application; and presented at
gateways that require every organization, environment and permission.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from server.domain.client_secrets import issue_client_secret
from server.domain.clients import get_client
from server.domain.policy.environments import ENVIRONMENTS, Environment
from tests.security.askers import Asker
from tests.security.cells import ROWS, Row, includes
from tests.security.tenants import Tenants
from tests.support.flow import basic, jwt_claims

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """The whole world, made once."""
    made = Tenants(tmp_path_factory.mktemp("tenants"))
    yield made
    made.close()


@dataclass(frozen=True)
class Application:
    """Whoever asks at the introspection endpoint."""

    client_id: str
    secret: str
    organization: str | None
    environment: Environment
    may_ask_any: bool

    def is_told_of(self, asker: Asker) -> bool:
        """What the table of the documentation says."""
        if asker.is_dead:
            return False
        if asker.kind != "key" and jwt_claims(asker.secret)["client_id"] == self.client_id:
            return True
        if asker.environment != self.environment:
            return False
        if self.may_ask_any:
            return self.organization in (None, asker.bound_to)
        return (
            asker.kind in {"key", "exchanged"} and self.organization is not None and asker.bound_to == self.organization
        )


def applications(tenants: Tenants) -> Iterator[Application]:
    """One of each organization and environment, with and without the right to ask about any."""
    for place in (*tenants.places.values(), None):
        for environment in ENVIRONMENTS:
            for may_ask_any in (False, True):
                client_id = f"asks-{place.slug if place else 'operator'}-{environment}-{may_ask_any}"
                client, secret = tenants.gatepost.add_client(
                    "machine", client_id=client_id, may_introspect_any=may_ask_any, environment=environment,
                    organization_id=place.organization.id if place else None,
                )  # fmt: skip
                yield Application(client.id, secret or "", place.slug if place else None, environment, may_ask_any)
    with tenants.gatepost.work() as work:
        own = get_client(work, "own-live-machine")
        yield Application(own.id, issue_client_secret(work, own), "own", "live", may_ask_any=False)


@pytest.mark.spec("RFC 7662 §2.2")
@pytest.mark.spec("INV-30", "INV-31", "K-10")
def test_introspection_tells_those_alone_whom_the_page_names(tenants: Tenants) -> None:
    client, counts = tenants.gatepost.app.test_client(use_cookies=False), Counter[bool]()
    for application in list(applications(tenants)):
        headers = basic(application.client_id, application.secret)
        if application.organization == "frozen":
            refused = client.post("/oauth/introspect", data={"token": tenants.askers[-1].secret}, headers=headers)
            assert (refused.status_code, refused.get_json()["error"]) == (401, "invalid_client")
            continue
        for asker in (each for each in tenants.askers if each.kind not in {"nobody", "session"}):
            answer = client.post("/oauth/introspect", data={"token": asker.secret}, headers=headers)
            is_told = application.is_told_of(asker)
            assert answer.get_json()["active"] is is_told, (application.client_id, asker.name)
            assert is_told or answer.get_json() == {"active": False}
            counts[is_told] += 1
    assert counts[True] > 80
    assert counts[False] > 200


def test_introspection_tells_nobody_who_does_not_prove_who_they_are(tenants: Tenants) -> None:
    client = tenants.gatepost.app.test_client(use_cookies=False)
    for asker in tenants.askers:
        if asker.secret:
            answer = client.post("/oauth/introspect", data={"token": asker.secret})
            assert answer.status_code == 401
            assert "active" not in answer.text


def gateways(tenants: Tenants) -> Iterator[tuple[str | None, Environment, str]]:
    """What a gateway may require: an organization, an environment, a permission."""
    for slug in (None, *tenants.places, "neverwas"):
        for environment in ENVIRONMENTS:
            for permission in ("users:read", "api-keys:write", "organizations:delete"):
                yield slug, environment, permission


def expected(tenants: Tenants, asker: Asker, slug: str | None, environment: Environment, permission: str) -> int:
    """The status that a gateway is answered, by the page."""
    if asker.kind in {"nobody", "session"} or asker.is_dead or asker.environment != environment:
        return 401
    if slug is not None and not _belongs(tenants, asker, slug):
        return 403
    held = permission in (asker.scopes or frozenset())
    home = slug or asker.bound_to
    if asker.kind != "application" and home is not None:
        held = held and includes(asker.role_in(home), _row(permission))
    return 200 if held else 403


def _row(permission: str) -> Row:
    return next(row for row in ROWS.values() if row.permission == permission and row.roles)


def _id(tenants: Tenants, slug: str) -> str:
    """Gateways name organizations by what nobody else can get."""
    return tenants.places[slug].organization.id if slug in tenants.places else f"org_{slug}"


def _belongs(tenants: Tenants, asker: Asker, slug: str) -> bool:
    if asker.bound_to is not None or asker.kind == "application":
        return asker.bound_to == slug
    place = tenants.places.get(slug)
    is_member = asker.role_in(slug) is not None and slug not in asker.suspended_in
    return is_member and place is not None and not place.is_suspended


@pytest.mark.spec("INV-30", "INV-31", "K-10")
def test_gateway_lets_pass_whom_the_page_names(tenants: Tenants) -> None:
    client, counts = tenants.gatepost.app.test_client(use_cookies=False), Counter[int]()
    for slug, environment, permission in gateways(tenants):
        query = {
            "environment": environment,
            "scope": permission,
            **({"organization": _id(tenants, slug)} if slug else {}),
        }
        bodies = set()
        for asker in tenants.askers:
            is_bearer = asker.kind not in {"nobody", "session"}
            headers = (
                {"Authorization": f"Bearer {asker.secret}"} if is_bearer else {"Cookie": f"gatepost={asker.secret}"}
            )
            answer = client.get("/v1/verify", query_string=query, headers=headers)
            meant = expected(tenants, asker, slug, environment, permission)
            assert answer.status_code == meant, (asker.name, query, answer.text)
            counts[meant] += 1
            if slug not in (None, asker.bound_to, *dict(asker.roles)) and meant == 403:
                bodies.add(answer.get_json()["message"])
        assert len(bodies) <= 1, bodies
    assert all(counts[status] > 50 for status in (200, 401, 403)), counts
