"""People who have to sign in first come back to where they were going, and to nowhere else."""

from __future__ import annotations

import pytest

from server.web.person import return_path
from tests.support.application import Gatepost
from tests.support.flow import Flow, flow_of, form_fields


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost)


@pytest.mark.parametrize(
    "path",
    ["/dashboard", "/dashboard/acme/live/api-keys", "/dashboard/acme/test/audit-log?event=a.b", "/invitations/x"],
)
def test_person_comes_back_when_the_page_is_one_of_ours(path: str) -> None:
    assert return_path(path) == path


@pytest.mark.spec("RFC 9700 §4.11")
@pytest.mark.parametrize(
    "path",
    [
        None,
        "",
        "/",
        "dashboard",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/dashboard",
        "/dashboard//evil.example",
        "/dashboard/../oauth/authorize?client_id=x",
        "/dashboard/%2e%2e/logout",
        "/dashboard/.%2E/logout",
        "/dashboard/./x",
        "/dashboardx",
        "/logout",
        "/dashboard/\r\nSet-Cookie: a=b",
        "/dashboard/<script>",
        "/dashboard/" + "x" * 1000,
    ],
)
def test_person_comes_back_to_no_other_place(path: str | None) -> None:
    assert return_path(path) is None


def test_page_asks_for_a_sign_in_and_is_shown_after_it(flow: Flow) -> None:
    asked = flow.browser.get("/dashboard")
    assert (asked.status_code, asked.headers["Location"]) == (303, "/login?next=%2Fdashboard")
    page = flow.browser.get(asked.headers["Location"])
    fields = {**form_fields(page.text), "username": flow.email, "password": flow.password}
    assert fields["next"] == "/dashboard"
    answer = flow.browser.post("/login", data=fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/dashboard")
    assert flow.browser.get("/dashboard").status_code == 200


def test_sign_in_leads_home_when_the_address_says_another_site(flow: Flow) -> None:
    page = flow.browser.get("/login?next=https://evil.example/")
    fields = {**form_fields(page.text), "username": flow.email, "password": flow.password, "next": "//evil.example"}
    assert flow.browser.post("/login", data=fields).headers["Location"] == "/"
