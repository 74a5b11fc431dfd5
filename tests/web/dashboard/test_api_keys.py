"""API keys on the dashboard: made and shown once, watched, changed, rotated, revoked, and bounded by their maker."""

import re
from datetime import timedelta

import pytest

from server.domain import api_keys
from server.domain.api_key_verification import KeyRefused, verify_api_key
from server.domain.api_keys import ApiKey
from server.domain.credential_usage import CredentialUsage
from tests.support.application import Gatepost
from tests.support.words import words_of
from tests.web.dashboard.conftest import Acme, Visitor

SHOWN = re.compile(r'<code id="api-key">([^<]+)</code>')
NEW = {"name": "Night job", "kind": "standard", "permissions": "entities:read", "expires": "90"}


def create(visitor: Visitor, **changes: str | list[str]) -> str:
    """The text of a key made on the page."""
    answer = visitor.fill_in("api-keys", "new", to=visitor.path("api-keys"), **{**NEW, **changes})
    shown = SHOWN.search(answer.text)
    assert answer.status_code == 200, answer.text
    assert shown, answer.text
    return shown[1]


def keys_of(acme: Acme, environment: str = "live") -> list[ApiKey]:
    with acme.gatepost.work() as work:
        return list(api_keys.list_api_keys(work, acme.organization.id, environment))  # type: ignore[arg-type]


def is_accepted(gatepost: Gatepost, text: str) -> bool:
    with gatepost.work() as work:
        try:
            verify_api_key(work, text)
        except KeyRefused:
            return False
        return True


# Making ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("K-04")
def test_key_is_shown_once_and_masked_ever_after_when_made(acme: Acme) -> None:
    visitor = acme.sign_in()
    form = visitor.get("api-keys", "new")
    answer = visitor.submit(form, visitor.path("api-keys"), **NEW)
    text = SHOWN.search(answer.text)
    assert text
    assert answer.headers["Cache-Control"] == "no-store"
    assert text[1] not in answer.request.url
    assert is_accepted(acme.gatepost, text[1])
    (key,) = keys_of(acme)
    for page in (visitor.get("api-keys"), visitor.get("api-keys", key.id), visitor.get("api-keys", key.id, "edit")):
        assert page.status_code == 200
        assert text[1] not in page.text
        assert key.public_id not in page.text
    assert f"{key.prefix}…{key.hint}" in visitor.get("api-keys").text
    (row,) = acme.gatepost.audit_rows("api_key.created")
    assert (row.actor_kind, row.actor_id) == ("user", acme.people["owner"].id)
    assert text[1] not in str(row.details)


@pytest.mark.spec("K-04")
def test_same_form_makes_one_key_and_shows_it_once_when_sent_twice(acme: Acme) -> None:
    visitor = acme.sign_in()
    form = visitor.get("api-keys", "new")
    first = visitor.submit(form, visitor.path("api-keys"), **NEW)
    again = visitor.submit(form, visitor.path("api-keys"), **NEW)
    text = SHOWN.search(first.text)
    assert text
    (key,) = keys_of(acme)
    assert again.status_code == 303
    assert again.headers["Location"] == visitor.path("api-keys", key.id) + "?done=made"
    page = visitor.browser.get(again.headers["Location"])
    assert "shown once" in page.text
    assert text[1] not in page.text
    assert len(acme.gatepost.audit_rows("api_key.created")) == 1


def test_key_has_what_the_form_says_when_made(acme: Acme) -> None:
    create(
        acme.sign_in(),
        permissions=["entities:read", "users:read"],
        patterns="boards:*\n",
        description="Ask Bob",
        ip_allow_list="203.0.113.0/24, 2001:db8::1",
        rate_limit_per_minute="120",
        expires="30",
    )
    (key,) = keys_of(acme)
    assert (key.name, key.description, key.rate_limit_per_minute) == ("Night job", "Ask Bob", 120)
    assert sorted(key.permissions) == ["boards:*", "entities:read", "users:read"]
    assert sorted(key.ip_allow_list) == ["2001:db8::1", "203.0.113.0/24"]
    assert key.owner_id == acme.people["owner"].id
    assert key.expires_at == acme.gatepost.clock.now() + timedelta(days=30)


@pytest.mark.parametrize(
    ("chosen", "day", "expected"),
    [("never", "", None), ("day", "2030-01-31", "2030-01-31T23:59:59+00:00"), ("365", "2030-01-31", "days=365")],
)
def test_key_ends_as_chosen_when_made(acme: Acme, chosen: str, day: str, expected: str | None) -> None:
    create(acme.sign_in(), expires=chosen, expires_on=day)
    (key,) = keys_of(acme)
    if expected == "days=365":
        assert key.expires_at == acme.gatepost.clock.now() + timedelta(days=365)
    else:
        assert (key.expires_at and key.expires_at.isoformat()) == expected


def test_form_says_everything_at_once_and_keeps_what_was_typed_when_refused(acme: Acme) -> None:
    visitor = acme.sign_in()
    answer = visitor.fill_in(
        "api-keys",
        "new",
        to=visitor.path("api-keys"),
        name="",
        description="Ask <Bob>",
        kind="restricted",
        permissions=["entities:write"],
        patterns="users:*",
        ip_allow_list="300.1.1.1",
        rate_limit_per_minute="many",
        expires="day",
        expires_on="2001-01-01",
    )
    assert answer.status_code == 400
    for field in ("name", "permissions", "ip_allow_list", "rate_limit_per_minute", "expires_on"):
        assert f'id="{field}-error"' in answer.text, field
        assert f'href="#{field}"' in answer.text, field
    assert "<title>Error: " in answer.text
    for typed in ('value="Ask &lt;Bob&gt;"', ">users:*<", ">300.1.1.1<", 'value="many"', 'value="2001-01-01"'):
        assert typed in answer.text, typed
    assert re.search(r'value="restricted" checked', answer.text)
    assert re.search(r'value="entities:write" checked', answer.text)
    assert keys_of(acme) == []
    assert "api_key.created" not in acme.gatepost.audit_events()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "root"),
        ("expires", "1000000"),
        ("expires", "-1"),
        ("expires_on", "soon"),
        ("rate_limit_per_minute", "0"),
        ("rate_limit_per_minute", "9" * 5000),
        ("rate_limit_per_minute", "١٢"),
        ("ip_allow_list", "\0"),
        ("permissions", "nothing:known"),
    ],
)
def test_nothing_is_made_when_a_field_holds_what_the_form_does_not_offer(acme: Acme, field: str, value: str) -> None:
    visitor = acme.sign_in()
    fields = {**NEW, "expires": "day" if field == "expires_on" else "90", field: value}
    answer = visitor.fill_in("api-keys", "new", to=visitor.path("api-keys"), **fields)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert keys_of(acme) == []


@pytest.mark.spec("K-11")
@pytest.mark.parametrize("wanted", ["organizations:delete", "*", "users:*", "audit:read"])
def test_key_gets_no_more_than_its_maker_has_when_asked_for(acme: Acme, wanted: str) -> None:
    visitor = acme.sign_in("developer")
    form = visitor.get("api-keys", "new")
    assert f'value="{wanted}"' not in form.text
    answer = visitor.submit(form, visitor.path("api-keys"), **{**NEW, "permissions": wanted})
    assert answer.status_code in {400, 403}
    assert "Night job" in answer.text
    assert keys_of(acme) == []


def test_kind_for_directories_is_offered_to_whoever_may_manage_members_alone(acme: Acme) -> None:
    assert 'value="scim"' not in acme.sign_in("developer").get("api-keys", "new").text
    visitor = acme.sign_in("admin")
    assert 'value="scim"' in visitor.get("api-keys", "new").text
    create(visitor, kind="scim", permissions="entities:read")
    (key,) = keys_of(acme)
    assert (key.kind, key.permissions) == ("scim", ["scim"])


# Seeing ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("K-10")
def test_key_is_not_found_from_the_other_environment_or_organization_when_asked_for(acme: Acme) -> None:
    live, test = acme.make_key("Live one"), acme.make_key("Test one", environment="test")
    visitor = acme.sign_in()
    assert "Test one" not in visitor.get("api-keys").text
    assert visitor.get("api-keys", test).status_code == 404
    visitor.environment = "test"
    assert "Live one" not in visitor.get("api-keys").text
    assert "Test environment" in visitor.get("api-keys").text
    for page in ((live,), (live, "edit"), (live, "rotate"), (live, "revoke")):
        assert visitor.get("api-keys", *page).status_code == 404


def test_list_tells_keys_apart_by_state_when_filtered(acme: Acme) -> None:
    now = acme.gatepost.clock.now()
    acme.make_key("Lasting")
    acme.make_key("Ending", expires_at=now + timedelta(days=5))
    old = acme.make_key("Gone")
    visitor = acme.sign_in()
    visitor.fill_in("api-keys", old, "revoke")
    pages = {
        show: visitor.browser.get(visitor.path("api-keys") + f"?show={show}").text for show in ("expiring", "ended")
    }
    assert "Ending" in pages["expiring"]
    assert "Lasting" not in pages["expiring"]
    assert "Gone" in pages["ended"]
    assert "Ending" not in pages["ended"]
    assert "Gone" not in words_of(visitor.get("api-keys").text)
    assert "Lasting" in visitor.browser.get(visitor.path("api-keys") + "?show=nonsense&page=x").text


def test_unused_keys_are_reported_when_old_enough(acme: Acme) -> None:
    acme.make_key("Forgotten", never_expires=True)
    acme.gatepost.clock.advance(91 * 86400)
    acme.make_key("Young")
    visitor = acme.sign_in()
    page = visitor.browser.get(visitor.path("api-keys") + "?show=unused").text
    assert "Forgotten" in page
    assert "Young" not in page


def test_list_goes_on_over_pages_when_long(acme: Acme) -> None:
    for number in range(51):
        acme.make_key(f"Key-{number:02}")
    visitor = acme.sign_in()
    first = visitor.get("api-keys").text
    second = visitor.browser.get(visitor.path("api-keys") + "?page=2").text
    assert first.count('class="name" href') == 50
    assert second.count('class="name" href') == 1
    assert "Page 1 of 2" in first


def test_use_is_drawn_and_told_in_numbers_when_there_is_any(acme: Acme) -> None:
    key_id, now = acme.make_key(), acme.gatepost.clock.now()
    visitor = acme.sign_in()
    assert "Nobody has used this key yet" in visitor.get("api-keys", key_id).text
    with acme.gatepost.work() as work:
        work.db.add(
            CredentialUsage(
                kind="api_key", credential_id=key_id, day=now.date().isoformat(), uses=1200, failures=34,
                last_used_at=now, last_used_ip="203.0.113.7", last_used_user_agent="<curl>", last_failure_at=now,
                last_failure_reason="insufficient_scope", written_at=now, alerted_at=None,
            )
        )  # fmt: skip
    page = visitor.get("api-keys", key_id).text
    assert 'aria-label="1200 uses and 34 refusals in 30 days' in page
    assert '<td class="number">1200</td><td class="number">34</td>' in page
    assert "203.0.113.7" in page
    assert "&lt;curl&gt;" in page


# Changing ----------------------------------------------------------------------------------------------------------


def test_name_and_limits_change_and_permissions_do_not_when_edited(acme: Acme) -> None:
    key_id, visitor = acme.make_key(), acme.sign_in()
    answer = visitor.fill_in(
        "api-keys", key_id, "edit", name="New name", description="", ip_allow_list="10.0.0.0/8",
        rate_limit_per_minute="", permissions="organizations:delete",
    )  # fmt: skip
    assert answer.headers["Location"] == visitor.path("api-keys", key_id) + "?done=saved"
    (key,) = keys_of(acme)
    assert (key.name, key.ip_allow_list, key.permissions) == ("New name", ["10.0.0.0/8"], ["entities:read"])
    assert len(acme.gatepost.audit_rows("api_key.updated")) == 1


def test_both_keys_work_until_the_overlap_is_over_when_rotated(acme: Acme) -> None:
    visitor = acme.sign_in()
    old = create(visitor)
    (key,) = keys_of(acme)
    form = visitor.get("api-keys", key.id, "rotate")
    answer = visitor.submit(form, visitor.path("api-keys", key.id, "rotate"), overlap="3600")
    shown = SHOWN.search(answer.text)
    assert shown
    assert answer.headers["Cache-Control"] == "no-store"
    again = visitor.submit(form, visitor.path("api-keys", key.id, "rotate"), overlap="3600")
    assert again.status_code == 303
    assert len(keys_of(acme)) == 2
    assert is_accepted(acme.gatepost, old)
    assert is_accepted(acme.gatepost, shown[1])
    assert "Being replaced" in visitor.get("api-keys", key.id).text
    acme.gatepost.clock.advance(3601)
    assert not is_accepted(acme.gatepost, old)
    assert is_accepted(acme.gatepost, shown[1])
    assert len(acme.gatepost.audit_rows("api_key.rotated")) == 1


@pytest.mark.parametrize("overlap", ["", "60", "-1", "later"])
def test_key_is_not_rotated_when_the_overlap_is_none_of_those_offered(acme: Acme, overlap: str) -> None:
    key_id, visitor = acme.make_key(), acme.sign_in()
    answer = visitor.fill_in("api-keys", key_id, "rotate", overlap=overlap)
    assert answer.status_code == 400
    assert 'id="overlap-error"' in answer.text
    assert len(keys_of(acme)) == 1


def test_key_stops_at_once_when_revoked(acme: Acme) -> None:
    visitor = acme.sign_in()
    text = create(visitor)
    (key,) = keys_of(acme)
    question = visitor.get("api-keys", key.id, "revoke")
    assert "is refused from that moment on" in question.text
    assert is_accepted(acme.gatepost, text)
    answer = visitor.submit(question, visitor.path("api-keys", key.id, "revoke"))
    assert answer.headers["Location"] == visitor.path("api-keys", key.id) + "?done=revoked"
    assert not is_accepted(acme.gatepost, text)
    assert "is revoked" in visitor.browser.get(answer.headers["Location"]).text
    assert visitor.submit(question, visitor.path("api-keys", key.id, "revoke")).status_code == 303
    assert len(acme.gatepost.audit_rows("api_key.revoked")) == 1
    for page in ("edit", "rotate", "revoke"):
        assert visitor.get("api-keys", key.id, page).status_code == 409


def test_buttons_are_left_out_when_the_role_may_only_look(acme: Acme) -> None:
    key_id = acme.make_key()
    acme.give_own_role("member", "auditor", "api-keys:read")
    visitor = acme.sign_in("member")
    for page in (visitor.get("api-keys"), visitor.get("api-keys", key_id)):
        assert page.status_code == 200
        assert "Create a key" not in page.text
        assert "/revoke" not in page.text
        assert "Settings" not in page.text
