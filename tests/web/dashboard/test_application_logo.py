"""The logo of an application: uploaded by whoever may change it, drawn anew, seen by whoever signs in."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from werkzeug.test import TestResponse

from server.domain.clients import Client
from tests.support.application import Gatepost
from tests.support.dashboard import Member, member, visible

CALLBACK = "https://shop.example/callback"


@pytest.fixture
def ada(gatepost: Gatepost) -> Member:
    return member(gatepost)


@pytest.fixture
def app(ada: Member) -> Client:
    ada.post("applications", "new", "spa", client_name="Shop", redirect_uris=CALLBACK, permissions=["openid"])
    with ada.gatepost.work() as work:
        return next(iter(work.db.query(Client).filter_by(client_name="Shop")))


def picture(colour: str = "navy") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (600, 300), colour).save(file, "PNG")
    return file.getvalue()


def upload(ada: Member, app: Client, content: bytes, **fields: str) -> TestResponse:
    file = (io.BytesIO(content), "logo.svg", "image/svg+xml")
    return ada.post("applications", app.id, "logo", logo=file, **{"decision": "save", **fields})


def logo(ada: Member, app: Client) -> TestResponse:
    return ada.gatepost.browser().get(f"/client-logo/{app.id}")


def test_logo_is_drawn_anew_and_shown_to_whoever_signs_in(ada: Member, app: Client) -> None:
    assert upload(ada, app, picture()).status_code == 303
    answer = logo(ada, app)
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    assert Image.open(io.BytesIO(answer.data), formats=("PNG",)).size == (256, 128)
    browser = ada.gatepost.browser()
    query = {"response_type": "code", "client_id": app.id, "redirect_uri": CALLBACK, "scope": "openid",
             "code_challenge": "a" * 43, "code_challenge_method": "S256"}  # fmt: skip
    page = browser.get(browser.get("/oauth/authorize", query_string=query).headers["Location"])
    assert f'<img src="/client-logo/{app.id}?v=' in page.text
    row = ada.gatepost.audit_rows("client.logo.changed")[-1]
    assert (row.client_id, row.organization_id, row.actor_id) == (app.id, ada.organization.id, ada.user.id)
    assert row.details["bytes"] == len(answer.data)


def test_address_of_the_logo_changes_with_it(ada: Member, app: Client) -> None:
    seen = set()
    for colour in ("navy", "teal"):
        ada.gatepost.clock.advance(1)
        upload(ada, app, picture(colour))
        page = ada.get("applications", app.id).text
        seen.add(page[page.index("/client-logo/") :].partition('"')[0])
    assert len(seen) == 2


def test_logo_is_removed(ada: Member, app: Client) -> None:
    upload(ada, app, picture())
    assert ada.post("applications", app.id, "logo", decision="remove").status_code == 303
    assert logo(ada, app).status_code == 404
    assert "client-logo" not in ada.get("applications", app.id).text
    assert ada.gatepost.audit_rows("client.logo.changed")[-1].details["is_removed"] is True


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "Choose a file first"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", "no picture we can read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 400, "no picture we can read"),
    ],
)
def test_file_is_refused_where_it_was_chosen(ada: Member, app: Client, content: bytes, sentence: str) -> None:
    answer = upload(ada, app, content)
    assert (answer.status_code, sentence in visible(answer.text)) == (400, True)
    assert 'id="logo-error"' in answer.text
    assert logo(ada, app).status_code == 404
    assert ada.gatepost.audit_rows("client.logo.changed") == []


def test_logo_may_be_larger_than_other_forms_but_not_by_much(ada: Member, app: Client) -> None:
    noise = Image.effect_noise((400, 400), 90).convert("RGB")
    file = io.BytesIO()
    noise.save(file, "PNG")
    assert 64 * 1024 < len(file.getvalue()) < 500 * 1024
    assert upload(ada, app, file.getvalue()).status_code == 303
    path, form = ada.path("applications", app.id, "logo"), "multipart/form-data; boundary=x"
    assert ada.browser.post(path, data=b"\0" * (512 * 1024 + 1), content_type=form).status_code == 413
    assert ada.browser.post("/login", data=b"\0" * (64 * 1024 + 1), content_type=form).status_code == 413


@pytest.mark.spec("K-11")
def test_nobody_changes_the_logo_of_an_application_that_may_do_more_than_they(gatepost: Gatepost) -> None:
    owner = member(gatepost)
    owner.post("applications", "new", "machine", client_name="Auditor", permissions=["audit:read"])
    with gatepost.work() as work:
        app = next(iter(work.db.query(Client).filter_by(client_name="Auditor")))
    developer = member(gatepost, "developer", email="dev@example.com", organization=owner.organization)
    assert upload(developer, app, picture()).status_code == 403
    assert logo(owner, app).status_code == 404
