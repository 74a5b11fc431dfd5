"""Applications of an organization: registered by type, refused precisely, changed and ended by who may."""

from __future__ import annotations

from datetime import timedelta

import pytest
from werkzeug.test import TestResponse

from server.domain.client_secrets import list_client_secrets
from server.domain.clients import Client, get_client
from server.domain.usage_writing import flush_usage
from tests.support.application import Gatepost
from tests.support.dashboard import Member, forms, member, visible
from tests.support.flow import basic
from tests.support.relying_party import public_keys

CALLBACK = "https://shop.example/callback"


@pytest.fixture
def ada(gatepost: Gatepost) -> Member:
    return member(gatepost)


def register(person: Member, kind: str = "web", **fields: object) -> TestResponse:
    defaults: dict[str, object] = {"client_name": "Shop", "permissions": ["openid", "profile"]}
    if kind == "machine":
        defaults |= {"permissions": ["clients:read"]}
    else:
        defaults |= {"redirect_uris": CALLBACK}
    return person.post("applications", "new", kind, **{**defaults, **fields})


def registered(person: Member, kind: str = "web", **fields: object) -> Client:
    before = len(person.gatepost.audit_rows("client.created"))
    answer = register(person, kind, **fields)
    assert answer.status_code in (200, 303), visible(answer.text)
    row = person.gatepost.audit_rows("client.created")[before]
    with person.gatepost.work() as work:
        return get_client(work, str(row.client_id))


@pytest.mark.parametrize(
    ("kind", "method", "grants"),
    [
        ("web", "client_secret_basic", ["authorization_code", "refresh_token"]),
        ("spa", "none", ["authorization_code", "refresh_token"]),
        ("native", "none", ["authorization_code", "refresh_token"]),
        ("machine", "client_secret_basic", ["client_credentials"]),
    ],
)
def test_type_decides_how_the_application_gets_its_tokens(
    ada: Member, kind: str, method: str, grants: list[str]
) -> None:
    client = registered(ada, kind)
    assert (client.client_type, client.token_endpoint_auth_method, client.grant_types) == (kind, method, grants)
    assert (client.organization_id, client.environment, client.created_by) == (ada.organization.id, "live", ada.user.id)
    assert client.require_pkce
    assert not client.is_first_party
    row = ada.gatepost.audit_rows("client.created")[-1]
    assert (row.actor_kind, row.actor_id) == ("user", ada.user.id)
    assert (row.organization_id, row.environment) == (ada.organization.id, "live")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("kind", ["web", "machine"])
def test_secret_is_sent_as_it_was_chosen(ada: Member, kind: str, method: str) -> None:
    client = registered(ada, kind, token_endpoint_auth_method=method)
    assert client.token_endpoint_auth_method == method
    secrets_before = len(ada.gatepost.audit_rows("client.secret.issued"))
    other = "client_secret_post" if method == "client_secret_basic" else "client_secret_basic"
    uris = {} if kind == "machine" else {"redirect_uris": CALLBACK}
    answer = ada.post("applications", client.id, "edit", client_name="Shop", token_endpoint_auth_method=other, **uris)
    assert answer.status_code == 303
    with ada.gatepost.work() as work:
        assert get_client(work, client.id).token_endpoint_auth_method == other
    assert len(ada.gatepost.audit_rows("client.secret.issued")) == secrets_before


@pytest.mark.parametrize(
    ("kind", "method"), [("spa", "client_secret_basic"), ("native", "client_secret_post"), ("web", "none")]
)
def test_type_that_cannot_keep_a_secret_gets_none_and_the_others_always_have_one(
    ada: Member, kind: str, method: str
) -> None:
    client = registered(ada, kind, token_endpoint_auth_method=method)
    assert client.token_endpoint_auth_method == ("client_secret_basic" if kind == "web" else "none")


def test_way_to_prove_itself_that_has_no_box_stays_when_the_application_is_changed(ada: Member) -> None:
    client = registered(ada)
    keys = {"keys": [public_keys()["keys"][0]]}
    ada.gatepost.change_client(client.id, token_endpoint_auth_method="private_key_jwt", jwks=keys)
    assert "In the body of the request" not in ada.get("applications", client.id, "edit").text
    fields = {"client_name": "Shop", "redirect_uris": CALLBACK}
    assert ada.post("applications", client.id, "edit", **fields).status_code == 303
    with ada.gatepost.work() as work:
        assert get_client(work, client.id).token_endpoint_auth_method == "private_key_jwt"
    assert "private_key_jwt" in ada.get("applications", client.id, "quick-start").text


def test_every_type_is_explained_before_one_is_chosen(ada: Member) -> None:
    text = visible(ada.get("applications", "new").text)
    for word in ("Web app", "Single-page app", "Native app or CLI", "Machine", "client secret", "PKCE", "localhost"):
        assert word in text
    assert ada.get("applications", "new", "toaster").status_code == 404


@pytest.mark.parametrize("kind", ["web", "machine"])
def test_secret_is_shown_once(ada: Member, kind: str) -> None:
    answer = register(ada, kind)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    (secret,) = {part for part in visible(answer.text).split() if part.startswith("cs_")}
    (client_id,) = {row.client_id for row in ada.gatepost.audit_rows("client.created")}
    for parts in ((), ("edit",), ("secrets", "new"), ("quick-start",), ("test-flow",)):
        assert secret not in ada.get("applications", str(client_id), *parts).text
    assert not any(secret in str(row.details) for row in ada.gatepost.audit_rows())
    assert f"…{secret[-4:]}" in visible(ada.get("applications", str(client_id)).text)


def test_use_is_counted_and_shown(ada: Member) -> None:
    answer = register(ada, "machine")
    (secret,) = {part for part in visible(answer.text).split() if part.startswith("cs_")}
    client_id = str(ada.gatepost.audit_rows("client.created")[-1].client_id)
    assert "Never used" in visible(ada.get("applications", client_id).text)
    assert "Never" in visible(ada.get("applications").text)
    for presented, status in ((secret, 200), ("cs_wrong", 401)):
        form = {"grant_type": "client_credentials"}
        asked = ada.gatepost.browser().post("/oauth/token", data=form, headers=basic(client_id, presented))
        assert asked.status_code == status
    with ada.gatepost.work() as work:
        flush_usage(work)
    text = visible(ada.get("applications", client_id).text)
    assert "Last used 22 November 2026, 12:00:00 UTC from 127.0.0.1" in text
    assert "22 November 2026" in visible(ada.get("applications").text)


def test_form_that_is_sent_twice_registers_one_application(ada: Member) -> None:
    page = ada.get("applications", "new", "web")
    fields = {"client_name": "Shop", "redirect_uris": CALLBACK}
    first, second = (ada.submit(page, "applications", "new", "web", **fields) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 303)
    assert len(ada.gatepost.audit_rows("client.created")) == 1
    assert "shown once" in visible(ada.browser.get(second.headers["Location"]).text)


@pytest.mark.parametrize(
    ("kind", "uris", "sentence"),
    [
        ("web", "http://shop.example/cb", "http is only allowed for localhost"),
        ("spa", "https://shop.example/*", "Wildcards are not supported"),
        ("web", "https://shop.example/cb#here", "no fragment"),
        ("web", "shop.example/cb", "begins with its scheme"),
        ("web", "com.example.app:/cb", "Only native apps may use a private-use scheme"),
        ("native", "myapp:/cb", "a domain name you own in reverse"),
        ("native", "http://192.168.0.7/cb", "http is only allowed for localhost"),
        ("web", f"{CALLBACK}\nhttps://Shop.example/cb", "Line 2: The host is not valid; write it in lower case"),
        ("web", "", "Where shall people return to?"),
        ("web", f"{CALLBACK}\nhttps://a.example/../b", "Line 2: The path has no . or .. segments"),
    ],
)
def test_redirect_uri_is_refused_at_once_with_the_reason(ada: Member, kind: str, uris: str, sentence: str) -> None:
    answer = register(ada, kind, redirect_uris=uris, client_name="My own name")
    assert answer.status_code == 400
    text = visible(answer.text)
    assert sentence in text
    assert 'aria-invalid="true" aria-describedby="redirect_uris-hint redirect_uris-error"' in answer.text
    assert 'value="My own name"' in answer.text
    assert "Error: New application" in answer.text
    assert ada.gatepost.audit_rows("client.created") == []


def test_every_bad_line_is_named(ada: Member) -> None:
    answer = register(ada, "web", redirect_uris="http://a.example/\nhttps://b.example/ok\nhttps://*.example/")
    text = visible(answer.text)
    assert "Line 1: http is" in text
    assert "Line 3: Wildcards" in text
    assert "Line 2" not in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_name", ""),
        ("client_name", "Gatepost"),
        ("client_uri", "http://shop.example"),
        ("policy_uri", "javascript:1"),
    ],
)
def test_other_fields_are_refused_where_they_stand(ada: Member, field: str, value: str) -> None:
    answer = register(ada, "web", **{field: value})
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text


@pytest.mark.spec("K-11")
def test_no_application_gets_more_than_its_maker_has(gatepost: Gatepost) -> None:
    developer = member(gatepost, "developer", email="dev@example.com")
    page = developer.get("applications", "new", "machine")
    assert 'value="clients:read"' in page.text
    assert 'value="audit:read"' not in page.text
    for scope in ({"permissions": ["audit:read"]}, {"patterns": "organizations:*"}, {"patterns": "*"}):
        answer = register(developer, "machine", **{"permissions": [], **scope})
        assert (answer.status_code, "Your role does not reach that far" in visible(answer.text)) == (403, True), scope
    assert gatepost.audit_rows("client.created") == []


@pytest.mark.spec("K-11")
@pytest.mark.parametrize("act", [("edit",), ("secrets", "new"), ("enable",)])
def test_nobody_takes_over_an_application_that_may_do_more_than_they(gatepost: Gatepost, act: tuple[str, ...]) -> None:
    owner = member(gatepost)
    client = registered(owner, "machine", permissions=["audit:read"])
    developer = member(gatepost, "developer", email="dev@example.com", organization=owner.organization)
    page = developer.get("applications", client.id, *act)
    if page.status_code == 200:
        page = developer.submit(page, "applications", client.id, *act, overlap="0")
    assert page.status_code == 403
    assert "audit:read" in visible(page.text)
    assert len(gatepost.audit_rows("client.secret.issued")) == 1


@pytest.mark.spec("K-11")
@pytest.mark.parametrize("right", ["is_first_party", "may_introspect_any"])
def test_operators_special_rights_are_out_of_an_organizations_reach(ada: Member, right: str) -> None:
    client = registered(ada)
    with ada.gatepost.work() as work:
        (secret,) = list_client_secrets(work, client)
    pages = {
        parts: ada.get("applications", client.id, *parts)
        for parts in (
            ("edit",),
            ("disable",),
            ("delete",),
            ("secrets", secret.id, "end"),
            ("secrets", "new"),
            ("logo",),
        )
    }
    ada.gatepost.change_client(client.id, **{right: True})
    before = len(ada.gatepost.audit_rows())
    fields = {"client_name": "x", "redirect_uris": CALLBACK, "typed_name": "Shop", "overlap": "0", "decision": "remove"}
    for parts, page in pages.items():
        answer = ada.submit(page, "applications", client.id, *parts, **fields)
        assert (answer.status_code, "The operator" in visible(answer.text)) == (403, True), parts
    assert len(ada.gatepost.audit_rows()) == before


def test_what_may_do_more_than_one_can_still_be_taken_away(gatepost: Gatepost) -> None:
    owner = member(gatepost)
    client = registered(owner, "machine", permissions=["audit:read"])
    with gatepost.work() as work:
        (secret,) = list_client_secrets(work, client)
    developer = member(gatepost, "developer", email="dev@example.com", organization=owner.organization)
    for parts in (("disable",), ("secrets", secret.id, "end"), ("delete",)):
        assert developer.post("applications", client.id, *parts, typed_name="Shop").status_code == 303, parts
    done = [row.event for row in gatepost.audit_rows() if row.actor_id == developer.user.id]
    assert done[-3:] == ["client.disabled", "client.secret.ended", "client.deleted"]


@pytest.mark.spec("K-10")
def test_application_is_not_there_in_another_organization_or_environment(gatepost: Gatepost) -> None:
    ada = member(gatepost)
    client = registered(ada)
    other = member(gatepost, email="eve@example.com", name="Elsewhere")
    ada.environment = "test"
    for person in (other, ada):
        assert client.id not in person.get("applications").text
        for parts in ((), ("edit",), ("secrets", "new"), ("logo",), ("quick-start",), ("test-flow",), ("delete",)):
            assert person.get("applications", client.id, *parts).status_code == 404, parts


def test_application_made_in_test_stays_there(ada: Member) -> None:
    ada.environment = "test"
    client = registered(ada)
    assert client.environment == "test"
    assert client.id in ada.get("applications").text
    ada.environment = "live"
    assert client.id not in ada.get("applications").text


@pytest.mark.parametrize("role", ["billing", "member"])
def test_role_without_the_permission_sees_no_application(gatepost: Gatepost, role: str) -> None:
    person = member(gatepost, role, email="bob@example.com")
    assert person.get("applications").status_code == 403
    assert person.get("applications", "new").status_code == 403


def test_change_is_saved_and_audited(ada: Member) -> None:
    client = registered(ada)
    answer = ada.post(
        "applications", client.id, "edit",
        client_name="Shop 2", redirect_uris=f"{CALLBACK}\nhttps://shop.example/two", permissions=["openid", "email"],
    )  # fmt: skip
    assert answer.status_code == 303
    with ada.gatepost.work() as work:
        changed = get_client(work, client.id)
    assert (changed.client_name, changed.scope) == ("Shop 2", "openid email")
    assert changed.redirect_uris == [CALLBACK, "https://shop.example/two"]
    row = ada.gatepost.audit_rows("client.updated")[-1]
    assert row.details["changed"] == ["client_name", "redirect_uris", "scope"]
    assert (row.organization_id, row.actor_id) == (ada.organization.id, ada.user.id)


def test_secret_that_signs_is_shown_when_the_application_begins_to_sign(ada: Member) -> None:
    client = registered(ada)
    answer = ada.post(
        "applications", client.id, "edit", client_name="Shop", redirect_uris=CALLBACK, jwt_authentication="yes"
    )
    assert answer.status_code == 200
    assert "cs_" in visible(answer.text)


def test_disabled_application_works_again_when_it_is_enabled(ada: Member) -> None:
    client = registered(ada)
    assert ada.post("applications", client.id, "disable").status_code == 303
    assert "Disabled" in visible(ada.get("applications").text)
    assert ada.post("applications", client.id, "enable").status_code == 303
    events = [row for row in ada.gatepost.audit_rows() if row.event in {"client.disabled", "client.enabled"}]
    assert [(row.event, row.organization_id) for row in events] == [
        ("client.disabled", ada.organization.id),
        ("client.enabled", ada.organization.id),
    ]


def test_application_is_deleted_when_its_name_is_typed(ada: Member) -> None:
    client = registered(ada)
    refused = ada.post("applications", client.id, "delete", typed_name="Stop")
    assert (refused.status_code, "not the name" in visible(refused.text)) == (400, True)
    page = visible(ada.get("applications", client.id, "delete").text)
    assert "audit log" in page.lower()
    answer = ada.post("applications", client.id, "delete", typed_name="Shop")
    assert answer.status_code == 303
    assert ada.get("applications", client.id).status_code == 404
    assert ada.gatepost.audit_rows("client.deleted")[-1].organization_id == ada.organization.id


def dangerous(client_id: str) -> list[tuple[str, ...]]:
    one = ("applications", client_id)
    return [
        ("applications", "new", "web"), (*one, "edit"), (*one, "disable"), (*one, "enable"), (*one, "delete"),
        (*one, "secrets", "new"),
    ]  # fmt: skip


def test_dangerous_acts_ask_for_a_recent_sign_in_before_the_form_and_after_it(ada: Member) -> None:
    client = registered(ada)
    pages = {parts: ada.get(*parts) for parts in dangerous(client.id)}
    before = len(ada.gatepost.audit_rows())
    ada.gatepost.clock.advance(timedelta(minutes=15).total_seconds())
    for parts, page in pages.items():
        asked = ada.get(*parts)
        assert asked.status_code == 303, parts
        assert asked.headers["Location"].startswith("/login?"), parts
        fields = {"client_name": "Other", "redirect_uris": CALLBACK, "typed_name": "Shop", "overlap": "0"}
        answer = ada.submit(page, *parts, **fields)
        assert (answer.status_code, "Confirm that it’s you" in visible(answer.text)) == (403, True), parts
    assert len(ada.gatepost.audit_rows()) == before


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_form_without_its_token_changes_nothing(ada: Member, token: str) -> None:
    client = registered(ada)
    before = len(ada.gatepost.audit_rows())
    for parts in (*dangerous(client.id), ("applications", client.id, "logo"), ("audit-log", "export")):
        answer = ada.browser.post(
            ada.path(*parts),
            data={
                "csrf_token": token,
                "client_name": "x",
                "redirect_uris": CALLBACK,
                "typed_name": "Shop",
                "format": "csv",
            },
        )
        assert answer.status_code == 403, parts
    assert len(ada.gatepost.audit_rows()) == before


def test_name_is_text_wherever_it_is_shown(ada: Member) -> None:
    name = "<script>alert('x')</script>{{7*7}}"
    client = registered(ada, client_name=name)
    for parts in (
        (),
        (client.id,),
        (client.id, "edit"),
        (client.id, "delete"),
        (client.id, "quick-start"),
        (client.id, "test-flow"),
    ):
        page = ada.get("applications", *parts)
        assert "<script>alert" not in page.text, parts
        assert "49" not in visible(page.text).split(), parts
    assert "<script>alert" not in ada.get("audit-log").text


def test_every_form_carries_its_token_and_stays_on_site(ada: Member) -> None:
    client = registered(ada)
    for parts in (*dangerous(client.id), ("applications", client.id, "logo"), ("applications", client.id, "test-flow")):
        page = ada.get(*parts)
        assert "form-action 'self'" in page.headers["Content-Security-Policy"]
        for form in forms(page.text):
            assert 'method="get"' in form or 'name="csrf_token"' in form, parts
