"""The whole URL map: each view in its transaction, no redirect of the framework's, and a path before it all."""

from urllib.parse import urlsplit

import pytest
from sqlalchemy import event

from server.web import urls
from server.web.transaction import in_transaction, reading
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, answer_of, flow_of

#: What these serve comes from settings and files alone.
WITHOUT_DATABASE = {
    "oauth.openid_configuration",
    "oauth.authorization_server",
    "oauth.check_session",
    "interaction.signed_out",
    "static_file",
    "oauth.healthz",
}
#: Opens its reading transaction itself, to answer 503 in its own words; comes from memory while the database is away.
READS_ITSELF = {"oauth.readyz", "oauth.jwks", "interaction.client_logo"}

#: Not found unless registration is open, or the client exists and has a logo.
ABSENT_UNTIL_SWITCHED_ON = {
    "oauth.register",
    "oauth.read_registration",
    "oauth.replace_registration",
    "oauth.delete_registration",
    "interaction.client_logo",
}


def _probe() -> str:
    return ""


WRAPPERS = {in_transaction(_probe).__code__, reading(_probe).__code__}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("path", "endpoint", "methods", "view"), urls.URLS, ids=[url[1] for url in urls.URLS])
def test_view_reads_or_commits_when_it_touches_the_database(
    path: str, endpoint: str, methods: tuple[str, ...], view: object
) -> None:
    is_wrapped = getattr(view, "__code__", None) in WRAPPERS
    assert is_wrapped is (endpoint not in WITHOUT_DATABASE | READS_ITSELF), (path, methods)


@pytest.mark.parametrize("endpoint", sorted(WITHOUT_DATABASE))
def test_database_is_not_asked_when_the_view_needs_none(make_gatepost: GatepostMaker, endpoint: str) -> None:
    gatepost = make_gatepost()
    path = next(path for path, name, *_ in urls.URLS if name == endpoint).replace("<path:path>", "gatepost.css")

    def refuse(*_: object) -> None:
        raise AssertionError("a statement was sent")

    event.listen(gatepost.engine, "before_cursor_execute", refuse)
    assert gatepost.browser().get(path, buffered=True).status_code == 200
    event.remove(gatepost.engine, "before_cursor_execute", refuse)


@pytest.mark.spec("C-02")
def test_only_post_may_change_something_when_a_page_is_shown(gatepost: Gatepost) -> None:
    """INV-23: pages answer GET with a look and POST with a deed, in views of their own."""
    by_path: dict[str, list[tuple[str, ...]]] = {}
    for path, endpoint, methods, _ in urls.URLS:
        if endpoint.startswith("interaction."):
            by_path.setdefault(path, []).append(methods)
    assert all(len(methods) == 1 for found in by_path.values() for methods in found)


ODD_SLASHES = (
    "/oauth//token",
    "//oauth/token",
    "/oauth/token//",
    "/oauth//authorize?x=1",
    "/./login",
    "/login/../login",
)


@pytest.mark.parametrize("path", ODD_SLASHES)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.spec("RFC 9700 §4.12")
@pytest.mark.spec("AZ-07", "C-09")
def test_no_redirect_is_built_from_the_host_header_when_slashes_are_odd(
    gatepost: Gatepost, path: str, method: str
) -> None:
    for host, expected in (("evil.example", (421,)), ("[::1]:7", (400, 404, 405))):
        response = gatepost.browser().open(path, method=method, headers={"Host": host})
        assert response.status_code in expected
        assert "Location" not in response.headers
        assert host not in response.text


@pytest.mark.parametrize("host", ["127.0.0.1:9999", "[::1]", "localhost:1"])
def test_answers_are_the_same_when_the_host_header_is_another(gatepost: Gatepost, host: str) -> None:
    flow = flow_of(gatepost)
    for path in ("/login", "/", "/oauth/authorize", "/signed-out", "/.well-known/openid-configuration", "/nope"):
        response = gatepost.browser().get(path, headers={"Host": host, "Accept": "text/html"})
        assert host not in response.text, path
        assert host not in response.headers.get("Location", "")
    location = (
        gatepost.browser()
        .get("/oauth/authorize", query_string=flow.parameters(), headers={"Host": host})
        .headers["Location"]
    )
    assert location.startswith("/login?request=")


# An issuer with a path --------------------------------------------------------------------------------------------


class PathFlow(Flow):
    """A flow under the issuer's path."""

    def authorize(self, **changes: str | None):  # type: ignore[no-untyped-def]
        path = f"{self.gatepost.settings.issuer_path}/oauth/authorize"
        return self.browser.get(path, query_string=self.parameters(**changes))

    def visit(self, location: str):  # type: ignore[no-untyped-def]
        prefix = self.gatepost.settings.issuer_path
        assert location.startswith(f"{prefix}/")
        page = self.browser.get(location)
        if page.status_code != 200:
            return page
        path = urlsplit(location).path
        answers = {
            f"{prefix}/login": {"username": self.email, "password": self.password, "decision": "sign_in"},
            f"{prefix}/consent": {"decision": "allow"},
            f"{prefix}/select-account": {"another": "1"},
        }
        assert f'action="{path}"' in page.text
        assert f'href="{prefix}/static/gatepost.css"' in page.text
        return self.submit(page, path, **answers[path])


@pytest.fixture
def under_path(make_gatepost: GatepostMaker) -> PathFlow:
    gatepost = make_gatepost(issuer="http://localhost:8000/auth/tenant")
    client, secret = gatepost.add_client()
    return PathFlow(gatepost, client, secret, gatepost.browser())


def test_every_path_stands_under_the_issuers_when_it_has_one(under_path: PathFlow) -> None:
    rules = {rule.rule for rule in under_path.gatepost.app.url_map.iter_rules()}
    assert {f"/auth/tenant{path}" for path, *_ in urls.URLS} <= rules
    assert not {path for path, *_ in urls.URLS if path not in ("/healthz", "/readyz")} & rules
    for path, endpoint, *_ in urls.URLS:
        if not endpoint.startswith(("oauth.", "interaction.")):
            # The other faces ask who is there first.
            continue
        plain = path.replace("<request_id>", "0" * 22).replace("<path:path>", "gatepost.css")
        for method in ("GET", "POST"):
            response = under_path.browser.open(f"/auth/tenant{plain}", method=method, buffered=True)
            is_known = response.status_code != 404 or "is not known" in response.text
            assert is_known or endpoint in ABSENT_UNTIL_SWITCHED_ON, plain
        if plain not in ("/healthz", "/readyz"):
            assert under_path.browser.get(plain, buffered=True).status_code == 404, plain
    assert under_path.browser.get("/auth/tenant").status_code == 200


def test_person_goes_all_the_way_when_the_issuer_has_a_path(under_path: PathFlow) -> None:
    response = under_path.walk(under_path.authorize(prompt="select_account"))
    answer = answer_of(response.headers["Location"])
    assert answer["iss"] == "http://localhost:8000/auth/tenant"
    cookie = under_path.browser.get_cookie("gatepost")
    assert cookie is not None
    assert cookie.path == "/"
    home = under_path.browser.get("/auth/tenant/")
    assert "You are signed in" in home.text
    assert 'href="/auth/tenant/logout"' in home.text
    page = under_path.browser.get("/auth/tenant/logout")
    out = under_path.submit(page, "/auth/tenant/logout", decision="sign_out")
    assert out.headers["Location"] == "/auth/tenant/signed-out"


@pytest.mark.spec("C-02")
def test_head_changes_nothing_when_get_would(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    flow.code()
    before = gatepost.audit_events()
    response = flow.browser.head("/oauth/authorize", query_string=flow.parameters())
    assert response.status_code == 303
    assert gatepost.audit_events() == before
    with gatepost.work() as work:
        count = work.db.connection().exec_driver_sql("SELECT count(*) FROM authorization_codes").scalar()
    assert count == 1
    for path in ("/login", "/logout", "/", "/select-account"):
        assert "Set-Cookie" not in gatepost.browser().head(path).headers
