"""One deployment with three organizations, everybody who could ask for something of them, and what they ask with."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from server.domain.api_key_issuing import OPERATOR_MAKER, Maker, NewApiKey, issue_api_key
from server.domain.client_registration import ClientMetadata, create_client
from server.domain.client_secrets import issue_client_secret, list_client_secrets
from server.domain.clients import get_client
from server.domain.invitations import invite
from server.domain.memberships import add_member, change_role, get_membership, suspend_membership
from server.domain.organizations import (
    create_organization,
    get_organization,
    suspend_organization,
)
from server.domain.policy.environments import ENVIRONMENTS, Environment
from server.domain.policy.role_permissions import MANAGEMENT_NAMES, ROLES
from server.domain.roles import create_role, rights_of_role
from server.domain.users import User
from tests.security.askers import Asker, Place
from tests.support.application import REDIRECT_URI, Gatepost
from tests.support.dashboard import sign_in
from tests.support.flow import Flow, basic

#: What the one role of the organizations' own includes.
REVIEWER: frozenset[str] = frozenset(
    {"organizations:read", "audit:read", "api-keys:read", "clients:read", "clients:write"}
)
EVERYTHING = frozenset(MANAGEMENT_NAMES)
KEY_EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:gatepost:params:oauth:token-type:api_key",
}
#: Whose rows a refused request must leave as they are.
KEPT = (
    "organizations", "memberships", "roles", "invitations", "api_keys", "clients", "client_secrets", "client_logos",
    "users", "grants", "consents",
)  # fmt: skip


SETTINGS: dict[str, Any] = {"scopes": {"notes:read": "Read"}, "api_requests_per_minute": 10**9}


class Tenants:
    """The whole world, and a copy of it to go back to."""

    def __init__(self, folder: Path) -> None:
        self.gatepost = Gatepost(folder / "live", **SETTINGS)
        self.folder = folder
        self.people = {name: self._person(name) for name in (*ROLES, "reviewer", "suspended", "outsider", "nobody")}
        self.victim = self._person("victim")
        self.own, self.foreign, self.frozen = (self._place(name) for name in ("Own", "Foreign", "Frozen"))
        self.places = {place.slug: place for place in (self.own, self.foreign, self.frozen)}
        self._join()
        self.tool = self._client(None, "live", EVERYTHING)
        self.testing_tool = self._client(None, "test", EVERYTHING)
        self.askers: list[Asker] = [Asker("nobody at all", "nobody")]
        self._sign_everybody_in()
        self._make_keys()
        self._make_tokens()
        self._make_applications()
        self._close_doors()
        self._keep()

    def _person(self, name: str) -> User:
        return self.gatepost.add_user(f"{name}@example.com", name=f"The {name} of all")

    def _place(self, name: str) -> Place:
        with self.gatepost.work() as work:
            boss = work.db.merge(self.people["outsider" if name == "Foreign" else "owner"])
            place = Place(create_organization(work, name, owner=boss))
            create_role(work, place.organization, "reviewer", sorted(REVIEWER), maker_rights=None)
            spare = create_role(work, place.organization, "spare", ["organizations:read"], maker_rights=None)
            create_role(work, place.organization, "guest", ["organizations:read"], maker_rights=None)
            # Whoever may remove somebody must have what they have.
            victim = add_member(work, place.organization, work.db.merge(self.victim), "guest")
            invitation, _ = invite(work, place.organization, f"{name}-guest@example.com", "guest", boss)
            shared = {"role_id": spare.id, "member_id": victim.id, "membership_id": victim.id,
                      "user_id": self.victim.id, "invitation_id": invitation.id}  # fmt: skip
        for environment in ENVIRONMENTS:
            place.objects[environment] = {**shared, **self._objects(place, environment)}
        return place

    def _objects(self, place: Place, environment: Environment) -> dict[str, str]:
        with self.gatepost.work() as work:
            new = NewApiKey(f"{place.slug} {environment} key", ["organizations:read"], environment=environment)
            key, _ = issue_api_key(work, place.organization, new, OPERATOR_MAKER)
        client_id, _ = self._client(place, environment, frozenset({"openid"}))
        with self.gatepost.work() as work:
            (secret,) = list_client_secrets(work, get_client(work, client_id))
        return {"key_id": key.id, "client_id": client_id, "secret_id": secret.id, "client_type": "web"}

    def _client(
        self, place: Place | None, environment: Environment, scopes: Iterable[str], client_type: str = "web"
    ) -> tuple[str, str]:
        """A client of the operator's or of an organization's, and its secret."""
        belongs = f"{place.slug if place else 'operator'}-{environment}-{client_type}"
        metadata = ClientMetadata(
            client_type=client_type,
            client_name=f"App {belongs}",
            client_id=belongs,
            redirect_uris=(REDIRECT_URI,) if client_type == "web" else (),
            scope=" ".join(sorted({*scopes, *(["openid"] if client_type == "web" else [])})),
            organization_id=place.organization.id if place else None,
            environment=environment,
        )
        with self.gatepost.work() as work:
            client = create_client(work, metadata)
            return client.id, issue_client_secret(work, client)

    def _join(self) -> None:
        with self.gatepost.work() as work:
            for place in (self.own, self.frozen):
                for name in (*ROLES, "reviewer", "suspended"):
                    if name != "owner":
                        role = "admin" if name == "suspended" else name
                        add_member(work, place.organization, work.db.merge(self.people[name]), role)

    def _about(self, name: str) -> dict[str, Any]:
        """What an asker's row says of the person."""
        role = "admin" if name == "suspended" else name
        roles: Sequence[tuple[str, str]] = ((self.own.slug, role), (self.frozen.slug, role))
        if name == "outsider":
            roles = ((self.foreign.slug, "owner"),)
        return {
            "user_id": self.people[name].id,
            "roles": () if name == "nobody" else tuple(roles),
            "suspended_in": frozenset({self.own.slug} if name == "suspended" else ()),
        }

    def _sign_everybody_in(self) -> None:
        for name in self.people:
            cookie = sign_in(self.gatepost, f"{name}@example.com").get_cookie("gatepost")
            assert cookie is not None
            self.askers.append(Asker(f"session of {name}", "session", cookie.value, **self._about(name)))

    def key(self, place: Place, name: str, environment: Environment, scopes: Iterable[str]) -> str:
        """A key that the person makes there with all that their role has."""
        role = dict(self._about(name)["roles"])[place.slug]
        with self.gatepost.work() as work:
            maker = Maker(rights_of_role(work, place.organization.id, role), self.people[name])
            organization = get_organization(work, place.organization.id)
            # Whoever makes what goes on for ever has to go on themselves.
            new = NewApiKey("mine", list(scopes), environment=environment, never_expires=True)
            return issue_api_key(work, organization, new, maker)[1]

    def _add_key(self, label: str, place: Place, name: str, environment: Environment, scopes: Iterable[str],
                 *, is_dead: bool = False) -> None:  # fmt: skip
        text = self.key(place, name, environment, scopes)
        granted = EVERYTHING if "*" in set(scopes) else frozenset(scopes)
        self.askers.append(
            Asker(f"{environment} key of {label}", "key", text, scopes=granted, bound_to=place.slug,
                  environment=environment, is_dead=is_dead, **self._about(name))
        )  # fmt: skip

    def _make_keys(self) -> None:
        for name in (*ROLES, "reviewer"):
            scopes = REVIEWER if name == "reviewer" else ROLES[name].permissions
            for environment in ENVIRONMENTS:
                self._add_key(name, self.own, name, environment, scopes)
        for environment in ENVIRONMENTS:
            self._add_key("another organization", self.foreign, "outsider", environment, ["*"])
        self._add_key("owner with one permission", self.own, "owner", "live", ["api-keys:read"])
        self._add_key("suspended member", self.own, "suspended", "live", ["users:write"], is_dead=True)
        self._add_key("suspended organization", self.frozen, "owner", "live", ["*"], is_dead=True)
        self._add_demoted()

    def _add_demoted(self) -> None:
        """Whoever was an owner once, and made a key then."""
        self.people["demoted"] = self._person("demoted")
        for place in (self.own, self.frozen):
            with self.gatepost.work() as work:
                add_member(work, place.organization, work.db.merge(self.people["demoted"]), "owner")
        with self.gatepost.work() as work:
            maker = Maker(rights_of_role(work, self.own.organization.id, "owner"), self.people["demoted"])
            organization = get_organization(work, self.own.organization.id)
            _, text = issue_api_key(work, organization, NewApiKey("mine", ["*"], never_expires=True), maker)
        with self.gatepost.work() as work:
            for place in (self.own, self.frozen):
                change_role(work, get_membership(work, place.organization.id, maker.owner.id), "member")
        about = {**self._about("member"), "user_id": self.people["demoted"].id}
        self.askers.append(
            Asker("live key of somebody demoted", "key", text, scopes=EVERYTHING, bound_to=self.own.slug,
                  environment="live", **about)
        )  # fmt: skip

    def _make_tokens(self) -> None:
        for name in (*ROLES, "reviewer", "suspended", "outsider", "nobody"):
            self._add_token(f"token of {name}", name, self.tool, "live", EVERYTHING)
        self._add_token("test token of owner", "owner", self.testing_tool, "test", EVERYTHING)
        self._add_token("token of owner for one scope", "owner", self.tool, "live", frozenset({"users:read"}))
        self._add_token("token of owner without one", "owner", self.tool, "live", frozenset())
        for environment in ENVIRONMENTS:
            self._exchange(environment)

    def _add_token(self, label: str, name: str, client: tuple[str, str], environment: Environment,
                   scopes: frozenset[str]) -> None:  # fmt: skip
        with self.gatepost.work() as work:
            row = get_client(work, client[0])
        flow = Flow(self.gatepost, row, client[1], self.gatepost.browser(), email=f"{name}@example.com",
                    scope=" ".join(["openid", *sorted(scopes)]))  # fmt: skip
        token = flow.tokens()["access_token"]
        self.askers.append(Asker(label, "token", token, scopes=scopes, environment=environment, **self._about(name)))

    def _exchange(self, environment: Environment) -> None:
        owners = next(each for each in self.askers if each.name == f"{environment} key of owner")
        answer = self.gatepost.browser().post("/oauth/token", data={**KEY_EXCHANGE, "subject_token": owners.secret})
        assert answer.status_code == 200, answer.text
        self.askers.append(
            Asker(f"{environment} token of the owner's key", "exchanged", answer.get_json()["access_token"],
                  owners.user_id, owners.roles, scopes=EVERYTHING, bound_to=self.own.slug, environment=environment)
        )  # fmt: skip

    def _make_applications(self) -> None:
        for place, environment, scopes in (
            (self.own, "live", EVERYTHING), (self.own, "test", EVERYTHING), (self.foreign, "live", EVERYTHING),
            (None, "live", EVERYTHING), (self.frozen, "live", EVERYTHING),
        ):  # fmt: skip
            client_id, secret = self._client(place, environment, scopes, "machine")
            form = {"grant_type": "client_credentials", "scope": " ".join(sorted(scopes))}
            answer = self.gatepost.browser().post("/oauth/token", data=form, headers=basic(client_id, secret))
            assert answer.status_code == 200, answer.text
            self.askers.append(
                Asker(f"application {client_id}", "application", answer.get_json()["access_token"], scopes=scopes,
                      bound_to=place.slug if place else None, environment=environment,
                      is_dead=place is self.frozen)
            )  # fmt: skip

    def _close_doors(self) -> None:
        """Suspends the one organization, and the one member."""
        with self.gatepost.work() as work:
            suspend_organization(work, get_organization(work, self.frozen.organization.id))
            membership = get_membership(work, self.own.organization.id, self.people["suspended"].id)
            suspend_membership(work, membership)
        self.frozen.is_suspended = True

    def _keep(self) -> None:
        """Makes the copy that `restore` goes back to."""
        self.gatepost.close()
        path = Path(str(self.gatepost.engine.url.database))
        self.path = path
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        self.prepared = self.folder / "prepared"
        self.prepared.mkdir()
        shutil.copyfile(path, self.prepared / path.name)
        self.looking = sqlite3.connect(path)
        self.before = self.rows()

    def with_settings(self, **settings: Any) -> Gatepost:
        """Another process on the same database, with other settings."""
        return Gatepost(self.folder / "live", is_prepared=True, **SETTINGS, **settings)

    def restore(self) -> None:
        """Undoes what was done."""
        self.looking.close()
        self.gatepost.restore(self.prepared)
        self.looking = sqlite3.connect(self.path)

    def rows(self) -> list[tuple[object, ...]]:
        """Every row of the tables that somebody's rights are about."""
        return [row for table in KEPT for row in self.looking.execute(f"SELECT * FROM {table}")]

    def close(self) -> None:
        """Lets go of the database."""
        self.looking.close()
        self.gatepost.close()
