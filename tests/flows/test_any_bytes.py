"""Any byte sequence at any endpoint is answered, and never with a fault of ours (INV-41)."""

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse, run_wsgi_app

from server.web.urls import URLS
from tests.support.application import Gatepost
from tests.support.flow import Flow, basic, flow_of

DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
NAMES = re.findall(
    r"\S+",
    "client_id redirect_uri response_type response_mode scope state nonce code_challenge code_challenge_method prompt "
    "max_age id_token_hint login_hint acr_values ui_locales display claims request request_uri registration resource "
    "grant_type code code_verifier refresh_token client_secret client_assertion client_assertion_type token "
    "token_type_hint access_token username password decision csrf_token choose remove another extra",
)
KNOWN_VALUES = re.findall(
    r"\S+",
    "sample-web code query form_post fragment openid S256 plain none login consent select_account 0 -1 1e9 "
    "authorization_code refresh_token client_credentials password rt_x ac_x bs_x eyJhbGciOiJub25lIn0.e30. . .. "
    "http://localhost:9000/callback urn:ietf:wg:oauth:2.0:oob usr_x 0000000000000000000000",
)
ODD = ("\0", '"', "'", "\\", "<script>", "é", "\u202e", "\N{PILE OF POO}", "%", "+", " ", "\r\n", "a\tb", "x" * 5000)
BAD_ENCODINGS = ("%", "%zz", "%ff", "%ed%a0%80", "%c0%80", "%f5%80%80%80", "%00", "&&=&", "=", ";", "a=b;c=d")

# Raw bytes reach a WSGI application as Latin-1 text.
latin = st.binary(max_size=60).map(lambda data: re.sub(r"[\r\n\0]", "", data.decode("latin-1")))
value = st.one_of(
    st.sampled_from(KNOWN_VALUES),
    st.sampled_from(ODD),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace").decode()),
).map(quote)
pair = st.tuples(st.sampled_from(NAMES), value).map("=".join)
parameters = st.one_of(
    st.lists(st.one_of(pair, pair, st.sampled_from(BAD_ENCODINGS)), max_size=12).map("&".join),
    st.binary(max_size=200).map(lambda data: quote_from_bytes(data, safe="&=%+")),
    st.binary(max_size=200).map(lambda data: data.decode("latin-1")),
)
content_type = st.sampled_from(
    ["application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", "text/plain", "", "é"]
)
authorization = st.one_of(
    st.just(""),
    st.sampled_from(["Basic", "Basic Og==", "Basic %%%", "Bearer", "Bearer a.b.c", "Bearer é", "DPoP x", "\xff"]),
    st.tuples(st.sampled_from(["Basic ", "Bearer ", "bearer  ", ""]), latin).map("".join),
)
cookie = st.one_of(st.just(""), st.sampled_from(["gatepost=bs_x", "gatepost=", "=gatepost=bs_x", 'gatepost="']), latin)
paths = sorted({path.replace("<request_id>", "0" * 22).replace("<path:path>", "gatepost.css") for path, *_ in URLS})


class FaultsLogged(logging.Handler):
    """Collects what the application calls its own fault."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.faults: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.faults.append(f"{record.getMessage()} {record.exc_info}")


@pytest.fixture(scope="module")
def signed_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    """A deployment in use, so that ids and cookies have something to meet."""
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    gatepost = Gatepost(folder)
    gatepost.add_user()
    flow = flow_of(gatepost)
    flow.tokens()
    yield flow
    gatepost.close()


def send(gatepost: Gatepost, method: str, path: str, query: str, body: bytes, headers: dict[str, str]) -> TestResponse:
    """A request as a server would hand it on, nothing tidied."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost:8000",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "CONTENT_LENGTH": str(len(body)),
        **headers,
    }
    iterable, status, response_headers = run_wsgi_app(gatepost.app.wsgi_app, environ, buffered=True)
    return TestResponse(iterable, status, response_headers, request=None)  # type: ignore[arg-type]


@given(
    method=st.sampled_from(["GET", "POST"]),
    path=st.sampled_from(paths),
    query=parameters,
    body=parameters,
    kind=content_type,
    credentials=authorization,
    cookies=cookie,
)
@example("POST", "/oauth/token", "", "grant_type=authorization_code&code=%00", "", "", "")
@example("POST", "/login", "", "username=%00@x&password=%00", "application/x-www-form-urlencoded", "", "")
@example("GET", "/oauth/authorize", "client_id=%ff", "", "", "", "")
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_answer_is_no_fault_of_ours_when_anything_is_sent(
    signed_in: Flow, method: str, path: str, query: str, body: str, kind: str, credentials: str, cookies: str
) -> None:
    headers = {"CONTENT_TYPE": kind}
    if credentials:
        headers["HTTP_AUTHORIZATION"] = credentials
    if cookies:
        headers["HTTP_COOKIE"] = cookies
    faults = FaultsLogged()
    logging.getLogger("server").addHandler(faults)
    try:
        response = send(signed_in.gatepost, method, path, query, body.encode("utf-8", "replace"), headers)
    finally:
        logging.getLogger("server").removeHandler(faults)
    assert response.status_code < 500, faults.faults
    assert faults.faults == []
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    if response.mimetype == "application/json" and response.status_code >= 400:
        assert DESCRIPTION.fullmatch(response.get_json()["error_description"])


@pytest.mark.parametrize("path", paths)
@pytest.mark.parametrize("query", ["\x80", "request=\xff", "\xc3(=x", "request=\xed\xa0\x80"])
def test_page_is_no_fault_of_ours_when_the_query_has_raw_bytes(signed_in: Flow, path: str, query: str) -> None:
    for method in ("GET", "POST"):
        response = send(signed_in.gatepost, method, path, query, b"", {})
        assert response.status_code < 500, method


@given(segments=st.lists(st.text(max_size=12), max_size=4), method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS"]))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_answer_is_no_fault_of_ours_when_any_path_is_asked(signed_in: Flow, segments: list[str], method: str) -> None:
    path = "/" + "/".join(segments)
    response = send(signed_in.gatepost, method, path.encode("utf-8", "replace").decode("latin-1"), "", b"", {})
    assert response.status_code < 500
    assert response.status_code not in (307, 308)


@given(
    name=st.sampled_from(NAMES),
    values=st.lists(st.one_of(st.sampled_from(ODD), st.sampled_from(KNOWN_VALUES), st.text(max_size=20)), max_size=2),
)
@settings(max_examples=120, deadline=None, derandomize=True, database=None)
def test_redirect_stays_here_or_goes_to_the_client_when_one_parameter_is_odd(
    signed_in: Flow, name: str, values: list[str]
) -> None:
    wanted = {key: [each] for key, each in signed_in.parameters().items()}
    wanted[name] = [text.encode("utf-8", "replace").decode() for text in values]
    response = signed_in.browser.get("/oauth/authorize", query_string=wanted)
    if response.status_code == 200:
        assert 'action="http://localhost:9000/callback"' in response.text, "the page that posts an answer"
    elif response.status_code != 400:
        ours = ("/login?", "/select-account?", "/consent?")
        assert response.status_code == 303
        assert response.headers["Location"].startswith((*ours, "http://localhost:9000/callback?"))


@given(
    name=st.sampled_from(NAMES),
    values=st.lists(st.one_of(st.sampled_from(ODD), st.sampled_from(KNOWN_VALUES), st.text(max_size=20)), max_size=2),
    grant_type=st.sampled_from(["authorization_code", "refresh_token", "client_credentials"]),
)
@settings(max_examples=120, deadline=None, derandomize=True, database=None)
def test_token_request_is_refused_in_json_when_one_parameter_is_odd(
    signed_in: Flow, name: str, values: list[str], grant_type: str
) -> None:
    form = {"grant_type": [grant_type], "code": ["ac_x"], "refresh_token": ["rt_x"], "redirect_uri": ["http://x"]}
    form[name] = [text.encode("utf-8", "replace").decode() for text in values]
    headers = basic(signed_in.client.id, signed_in.secret or "")
    response = signed_in.gatepost.browser().post("/oauth/token", data=form, headers=headers)
    assert response.status_code in (400, 401)
    assert DESCRIPTION.fullmatch(response.get_json()["error_description"])
    assert response.headers["Cache-Control"] == "no-store"
