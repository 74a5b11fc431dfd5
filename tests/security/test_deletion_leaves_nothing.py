"""After everybody has asked for everything, what is deleted over HTTP is named by no row but those of the audit log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from server.domain import audit_chain
from server.domain.deletion import delete_user
from server.domain.housekeeping import sweep
from server.domain.usage_writing import flush_usage
from server.domain.users import get_user
from tests.security.askers import Asker
from tests.security.cells import ROUTES, Asking, Cell
from tests.security.tenants import Tenants

#: What proves what happened, and so stays.
_AUDIT = {"audit_events", "audit_seals"}


@pytest.fixture
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """A world that has been lived in: every asker of `foreign` has read all that they may."""
    made = Tenants(tmp_path_factory.mktemp("tenants"))
    asking = Asking(made)
    for asker in made.askers:
        is_foreign = made.foreign.slug in (asker.bound_to, *dict(asker.roles))
        if is_foreign or asker.name == "session of owner" or asker.name.endswith("of admin"):
            place = made.foreign if is_foreign else made.own
            for route in (each for each in ROUTES if each.method == "GET"):
                asking.ask(Cell(asker, route, place, asker.environment or "live"))
    with made.gatepost.work() as work:
        flush_usage(work)
    yield made
    made.close()


def named(tenants: Tenants, name: str) -> Asker:
    return next(each for each in tenants.askers if each.name == name)


def pass_two_minutes(tenants: Tenants) -> None:
    """What counts the requests of a minute goes when the minute is over."""
    tenants.gatepost.clock.advance(120)
    with tenants.gatepost.work() as work:
        sweep(work)


def left(tenants: Tenants, *names: str) -> dict[str, list[str]]:
    """The tables with a row that holds one of the texts, and which."""
    connection = sqlite3.connect(tenants.path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found: dict[str, list[str]] = {}
    for table in sorted(set(tables) - _AUDIT):
        text = "\n".join(str(row) for row in connection.execute(f'SELECT * FROM "{table}"'))
        held = [name for name in names if name in text]
        if held:
            found[table] = held
    connection.close()
    return found


def ask(tenants: Tenants, asker: str, route: str, method: str, **objects: str) -> int:
    """Deletes, over HTTP."""
    found = next(each for each in ROUTES if (each.name, each.method) == (route, method))
    place = tenants.foreign if "outsider" in asker else tenants.own
    return Asking(tenants).ask(Cell(named(tenants, asker), found, place, "live"), **objects).status_code


def check_chain(tenants: Tenants) -> None:
    with tenants.gatepost.work() as work:
        while audit_chain.may_be_more(work, audit_chain.seal(work)):
            pass
    with tenants.gatepost.work() as work:
        assert audit_chain.find_head(work) is not None
        assert audit_chain.find_fault(work, None) is None


def test_no_row_names_an_organization_when_it_was_deleted(tenants: Tenants) -> None:
    place = tenants.foreign
    with tenants.gatepost.work() as work:
        ids = [key for (key,) in work.db.connection().exec_driver_sql(
            "SELECT id FROM api_keys WHERE organization_id = ?", (place.organization.id,))]  # fmt: skip
    names = [place.organization.id, *place.shared_marks, *place.marks("live"), *place.marks("test"), *ids,
             "foreign-live-machine", "foreign-guest@example.com"]  # fmt: skip
    there = {"organizations", "memberships", "roles", "api_keys", "clients", "credential_usage", "credential_limits"}
    assert there <= set(left(tenants, *names))
    assert ask(tenants, "session of outsider", "delete_organization", "DELETE") == 204
    pass_two_minutes(tenants)
    assert left(tenants, *names) == {}
    check_chain(tenants)


def test_no_row_names_a_client_when_it_was_deleted(tenants: Tenants) -> None:
    place = tenants.own
    names = sorted(place.marks("live") - {place.objects["live"]["key_id"]})
    assert {"clients", "client_secrets"} <= set(left(tenants, *names))
    assert ask(tenants, "session of owner", "delete_client", "DELETE") == 204
    pass_two_minutes(tenants)
    assert left(tenants, *names) == {}
    check_chain(tenants)


def test_no_row_names_a_person_when_they_were_deleted(tenants: Tenants) -> None:
    admin = tenants.people["admin"]
    with tenants.gatepost.work() as work:
        query = "SELECT id FROM api_keys WHERE owner_id = ?"
        ids = [key for (key,) in work.db.connection().exec_driver_sql(query, (admin.id,))]
    names = [admin.id, admin.email, "The admin of all", *ids]
    assert len(ids) == 2
    assert {"users", "sessions", "memberships", "api_keys", "grants", "credential_usage"} <= set(left(tenants, *names))
    with tenants.gatepost.work() as work:
        delete_user(work, get_user(work, admin.id))
    pass_two_minutes(tenants)
    assert left(tenants, *names) == {}
    check_chain(tenants)
