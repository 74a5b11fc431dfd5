"""Nobody may more than docs/authorization.md says: every route, asked by everybody, in every organization.

A cell that is allowed is seen to be: it is done. One that is refused is seen to change nothing. What belongs to others
is not there, and no answer tells otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from werkzeug.test import TestResponse

from server.domain.policy.environments import ENVIRONMENTS
from server.domain.scopes import Rights
from tests.security.askers import Asker
from tests.security.cells import ROUTES, Asking, Cell, Route, expected, is_refused_as_lasting, outcome
from tests.security.tenants import Tenants

pytestmark = pytest.mark.timeout(600)

#: Those with all rights in their own organization, one of each kind.
MIGHTY = ("session of owner", "live key of owner", "token of owner", "application own-live-machine")
_OTHER = {"live": "test", "test": "live"}


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """The whole world, made once."""
    made = Tenants(tmp_path_factory.mktemp("tenants"))
    yield made
    made.close()


def named(tenants: Tenants, name: str) -> Asker:
    """The asker of this name."""
    return next(each for each in tenants.askers if each.name == name)


def cells(tenants: Tenants, face: str, asker: Asker) -> Iterator[Cell]:
    """Every cell of an asker."""
    for route in ROUTES:
        if route.face == face:
            for place in tenants.places.values() if route.is_inside else [tenants.own]:
                for environment in ENVIRONMENTS if route.is_in_environment else ("live",):
                    yield Cell(asker, route, place, environment)


def foreign_marks(tenants: Tenants, cell: Cell) -> set[str]:
    """What this answer must not speak of: what is in others' organizations, and in the other environment."""
    asker = cell.asker
    own = {asker.bound_to} if asker.bound_to else {slug for slug, _ in asker.roles}
    marks: set[str] = set()
    for place in tenants.places.values():
        if place.slug not in own:
            marks |= place.shared_marks | place.marks("live") | place.marks("test")
        elif asker.environment or cell.route.is_in_environment:
            marks |= place.marks(_OTHER[asker.environment or cell.environment])
    return marks


def faults_of(tenants: Tenants, face: str, asker: Asker) -> tuple[list[str], Counter[str]]:
    """Asks in every cell; every fault, and how many came out how."""
    asking, faults, counts = Asking(tenants), [], Counter[str]()
    for cell in cells(tenants, face, asker):
        answer = asking.ask(cell)
        found, meant = outcome(answer, cell.route), expected(cell)
        counts[str(found)] += 1
        if found != meant and not is_refused_as_lasting(cell, found):
            faults.append(f"{cell}: {meant} expected, {answer.status_code} {answer.text[:200] if face == 'v1' else ''}")
        told = {mark for mark in foreign_marks(tenants, cell) if mark in answer.text}
        if told:
            faults.append(f"{cell}: speaks of {sorted(told)}")
        if cell.route.writes and tenants.rows() != tenants.before:
            if meant != "allowed":
                faults.append(f"{cell}: refused, and yet something changed")
            tenants.restore()
    return faults, counts


def check(tenants: Tenants, face: str, *kinds: str) -> Counter[str]:
    """Asks in every cell of these kinds of askers; how many came out how."""
    faults, counts = [], Counter[str]()
    for asker in tenants.askers:
        if asker.kind in kinds:
            found, counted = faults_of(tenants, face, asker)
            faults += found
            counts += counted
    assert faults == [], f"{len(faults)} of {counts.total()} cells:\n" + "\n".join(faults[:40])
    return counts


@pytest.mark.spec("L-05", "INV-30")
def test_dashboard_allows_people_what_the_page_says(tenants: Tenants) -> None:
    counts = check(tenants, "dashboard", "session")
    assert min(counts[each] for each in ("allowed", "403", "404")) > 500, counts


def test_dashboard_is_for_people_who_are_signed_in(tenants: Tenants) -> None:
    for name in ("nobody at all", *MIGHTY[1:]):
        faults, counts = faults_of(tenants, "dashboard", named(tenants, name))
        assert faults == []
        assert set(counts) == {"sign in"}


@pytest.mark.spec("L-05", "INV-30")
@pytest.mark.parametrize(
    ("kinds", "outcomes"),
    [
        pytest.param(("nobody",), {"401"}, id="nobody"),
        pytest.param(("session",), {"allowed", "403", "404"}, id="sessions"),
        pytest.param(("key", "exchanged"), {"allowed", "401", "403", "404"}, id="keys"),
        pytest.param(("token",), {"allowed", "403", "404"}, id="tokens"),
        pytest.param(("application",), {"allowed", "401", "403", "404"}, id="applications"),
    ],
)
def test_api_allows_what_the_page_says(tenants: Tenants, kinds: tuple[str, ...], outcomes: set[str]) -> None:
    counts = check(tenants, "v1", *kinds)
    assert set(counts) == outcomes
    assert min(counts.values()) >= 4, counts


def told(answer: TestResponse, *asked: str) -> tuple[int, str, list[str]]:
    """An answer without what differs anyway: the request's id, and what was asked for."""
    text = re.sub(r"req_[0-9A-Za-z]+", "…", answer.text)
    for each in sorted(asked, key=len, reverse=True):
        text = text.replace(each, "…")
    text = re.sub(r'name="(?:csrf_token|form_id)" value="[^"]*"|nonce="[^"]*"|nonce-[^"\']*', "…", text)
    return answer.status_code, text, sorted(name for name, _ in answer.headers)


@pytest.mark.spec("L-05", "INV-30")
@pytest.mark.parametrize("name", [*MIGHTY, "session of nobody", "token of nobody", "live key of another organization"])
def test_organization_of_others_cannot_be_told_from_one_that_never_was(tenants: Tenants, name: str) -> None:
    asking, asker = Asking(tenants), named(tenants, name)
    own = {asker.bound_to} if asker.bound_to else {slug for slug, _ in asker.roles}
    others = [place for place in tenants.places.values() if place.slug not in own]
    assert others
    for route in (each for each in ROUTES if each.is_inside and (each.face == "v1" or asker.kind == "session")):
        cell = Cell(asker, route, tenants.own, "live")
        missing = told(asking.ask(cell, organization="never-was"), "never-was")
        assert missing[0] == 404, cell
        for there in (name for place in others for name in (place.slug, place.organization.id)):
            assert told(asking.ask(cell, organization=there), there) == missing, cell
    assert tenants.rows() == tenants.before


@pytest.mark.spec("L-05", "INV-30")
@pytest.mark.parametrize("name", MIGHTY)
def test_header_that_names_others_cannot_be_told_from_one_that_names_nobody(tenants: Tenants, name: str) -> None:
    asking, asker = Asking(tenants), named(tenants, name)
    route = next(each for each in ROUTES if each.name == "get_me")
    names = ("never-was", tenants.foreign.slug, tenants.foreign.organization.id)
    cell = Cell(asker, route, tenants.own, "live")
    answers = [told(asking.ask(cell, headers={"Organization-ID": each}), each) for each in names]
    assert answers[0][0] == 403
    assert answers[1:] == answers[:1] * 2


@pytest.mark.spec("INV-30")
def test_what_one_organization_sees_is_the_same_whatever_another_does(tenants: Tenants) -> None:
    asking, owner, stranger = Asking(tenants), named(tenants, "session of owner"), named(tenants, "session of outsider")
    # What is exported leaves a row, and rows are numbered over all organizations; the other shows new random texts.
    besides = {"export_audit_events", "dashboard.test_flow"}
    seen = [each for each in ROUTES if each.method == "GET" and each.is_inside and each.name not in besides]
    tenants.gatepost.clock.advance(60)

    def observed() -> list[tuple[int, str, list[str]]]:
        cells = [Cell(owner, route, tenants.own, environment) for route in seen for environment in ENVIRONMENTS]
        return [told(asking.ask(cell)) for cell in cells]

    try:
        before = observed()
        assert {status for status, *_ in before} == {200}
        # By its id, since it is renamed on the way; that it is removed comes last.
        there, removals = tenants.foreign.organization.id, {"delete_organization", "dashboard.delete"}
        for route in (each for each in ROUTES if each.writes and each.is_inside and each.name not in removals):
            for environment in ENVIRONMENTS:
                asking.ask(Cell(stranger, route, tenants.foreign, environment), organization=there)
        removal = next(each for each in ROUTES if each.name == "delete_organization")
        gone = asking.ask(Cell(stranger, removal, tenants.foreign, "live"), organization=there)
        assert gone.status_code == 204
        assert tenants.rows() != tenants.before
        assert observed() == before
    finally:
        tenants.restore()


def strangers(tenants: Tenants, route: Route, argument: str) -> dict[str, str]:
    """Objects that are not in the organization and environment of the path."""
    elsewhere = tenants.foreign.objects["live"]
    found = {"of others": elsewhere[argument]}
    if argument in {"user_id", "member_id", "membership_id"}:
        found |= {
            "a person of others": tenants.people["outsider"].id,
            "a person of nobody": tenants.people["nobody"].id,
        }
    if argument in {"key_id", "client_id", "secret_id"} and (route.face == "dashboard" or route.is_in_environment):
        found["of the other environment"] = tenants.own.objects["test"][argument]
    # The person whose membership is asked for by the others' id is a member here too.
    return {why: each for why, each in found.items() if each != tenants.own.objects["live"][argument]}


@pytest.mark.spec("L-05", "K-10", "INV-31")
@pytest.mark.parametrize("name", MIGHTY)
def test_object_of_others_cannot_be_told_from_one_that_never_was(tenants: Tenants, name: str) -> None:
    asking, asker, count = Asking(tenants), named(tenants, name), 0
    for route in (each for each in ROUTES if each.arguments and (each.face == "v1" or asker.kind == "session")):
        cell = Cell(asker, route, tenants.own, "live")
        for argument in route.arguments:
            missing = told(asking.ask(cell, **{argument: "never-was-there"}), "never-was-there")
            assert missing[0] == 404, (str(cell), argument, missing)
            for why, stranger in strangers(tenants, route, argument).items():
                found = told(asking.ask(cell, **{argument: stranger}), stranger)
                assert found == missing, (str(cell), argument, why)
                count += 1
    assert count > 20
    assert tenants.rows() == tenants.before


@pytest.mark.spec("L-05", "INV-30")
def test_nobody_makes_an_organization_where_the_operator_alone_does(tenants: Tenants) -> None:
    strict = tenants.with_settings(organization_creation="operator")
    asking, routes = Asking(tenants, strict), [each for each in ROUTES if each.name.endswith("create_organization")]
    assert {route.face for route in routes} == {"dashboard", "v1"}
    for asker in tenants.askers:
        for route in routes:
            cell = Cell(asker, route, tenants.own, "live")
            assert outcome(asking.ask(cell), route) in {401, 403, "sign in"}, cell
    strict.close()
    assert tenants.rows() == tenants.before


def test_dangerous_acts_are_not_done_on_a_sign_in_of_long_ago(tenants: Tenants) -> None:
    asking, asker = Asking(tenants), named(tenants, "session of owner")
    tenants.gatepost.clock.advance(16 * 60)
    try:
        for route in (each for each in ROUTES if each.row.is_dangerous and each.access == "organization"):
            answer = asking.ask(Cell(asker, route, tenants.own, "live"))
            if route.face == "dashboard" and route.method == "GET":
                assert outcome(answer, route) == "sign in", route
            else:
                assert answer.status_code in {403, 303}, route
                assert answer.status_code == 403 or "confirm=1" in answer.headers["Location"], route
            assert tenants.rows() == tenants.before, route
    finally:
        tenants.restore()


@pytest.mark.parametrize("face", ["dashboard", "v1"])
def test_matrix_is_red_when_a_check_is_missing(tenants: Tenants, monkeypatch: pytest.MonkeyPatch, face: str) -> None:
    """Or all of it would say nothing."""
    monkeypatch.setattr(Rights, "allows", lambda *_: True)
    faults, _ = faults_of(tenants, face, named(tenants, "session of billing"))
    assert len([fault for fault in faults if "403 expected" in fault]) > 40
    assert any("yet something changed" in fault for fault in faults)
