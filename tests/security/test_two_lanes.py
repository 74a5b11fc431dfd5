"""The short lane and Flask read every odd request alike: the same status, headers and bytes."""

import base64
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from tests.support.application import ISSUER, Gatepost
from tests.support.flow import basic, flow_of

FORM = "application/x-www-form-urlencoded"
ENDPOINTS = (
    *(("POST", "/oauth/token"), ("POST", "/oauth/introspect"), ("GET", "/oauth/userinfo")),
    *(("GET", f"/.well-known/{name}") for name in ("jwks.json", "openid-configuration", "oauth-authorization-server")),
)
CONTENT_TYPES = (
    *(FORM, None, "", FORM.upper(), f"{FORM};charset=utf-8", f"{FORM}; charset=latin-1", f" {FORM}"),
    *(f"{FORM},text/plain", "multipart/form-data; boundary=x", "application/json", "text/plain"),
)
EXCHANGE = (
    b"grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=gp_live_x"
    b"&subject_token_type=urn:gatepost:params:oauth:token-type:api_key"
)
BODIES = (
    *(b"", b"token", b"token=", b"=x", b"&&&", b"token=%ff", b"token=\xff", b"token=%zz", b"token=%", b"token=a+b"),
    *(
        b"token=a;x=b",
        b"token=\x00",
        b"\xef\xbb\xbftoken=x",
        b"TOKEN=x",
        b"token%3dx",
        b"%74oken=x",
        b"token=x&token=x",
    ),
    *(b"grant_type=x", b"grant_type=&grant_type=x", b"grant_type=refresh_token&refresh_token=rt_x"),
    *(b"grant_type=authorization_code&code=%00", b"grant_type=client_credentials&scope=%22", b'{"token":1}'),
    *(EXCHANGE, EXCHANGE + b"&scope=%22", EXCHANGE + b"&resource=x&resource=y", EXCHANGE + b"&subject_token=y"),
    *(b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=a.b.c", b"token=gp_live_x&client_ip=x"),
    *(b"client_id=nobody&token=x", b"client_id=%00&client_secret=x&token=x", b"client_assertion=x&token=y"),
    *(b"token=x&client_secret=", b"&".join(b"a%d=1" % number for number in range(101)), b"token=" + b"x" * 66_000),
)
ODD_ENVIRONMENTS: tuple[dict[str, str], ...] = (
    *({"CONTENT_LENGTH": length} for length in ("", "00007", "+7", "-1", "9" * 18, "\u0663", " 7")),
    *(
        {"QUERY_STRING": "a=b"},
        {"QUERY_STRING": "\xff"},
        {"PATH_INFO": "/oauth/token/"},
        {"PATH_INFO": "//oauth/token"},
    ),
    *({"REQUEST_METHOD": method} for method in ("HEAD", "OPTIONS", "PUT")),
    *({"HTTP_ORIGIN": "https://x.example"}, {"HTTP_ACCEPT": "text/html"}, {"HTTP_CONTENT_ENCODING": "gzip"}),
    *({"HTTP_EXPECT": "100-continue"}, {"HTTP_COOKIE": "gatepost=x"}, {"HTTP_RANGE": "bytes=0-1"}),
    *({"HTTP_X_FORWARDED_FOR": "192.0.2.7"}, {"HTTP_USER_AGENT": "x" * 5000}, {"SCRIPT_NAME": "/x"}),
)

Answer = tuple[str, list[tuple[str, str]], bytes]


def authorizations(secret: str, token: str) -> Iterator[str | None]:
    """Credentials, right, wrong, and written oddly."""
    good = basic("sample-web", secret)["Authorization"]
    yield from (None, "", good, good.replace("Basic", "bASIC"), good.replace(" ", "  "), good.replace(" ", "\t"))
    yield from (f"{good} ", f"{good},x", f"{good}, {good}", good[:-1], f"{good}==", "Basic", "Basic ===", "Basic \xe9")
    yield from (f"Bearer {token}", f"bearer {token}", f"Bearer  {token}", f"Bearer {token}\xe9", "Bearer", "Digest x")
    for pair in (b"\xff\xfe:x", b"a%zz:b", b"a%00:b", b":", b"a:"):
        yield "Basic " + base64.b64encode(pair).decode()


class Lanes:
    """One request at a time, down both."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.app, self.count = gatepost.app, 0

    def check(self, method: str, path: str, content_type: str | None, body: bytes, **more: str) -> None:
        self.count += 1
        # Each pair from an address of its own, so that no limit is met.
        more = {"REMOTE_ADDR": f"10.0.{self.count // 256}.{self.count % 256}", **more}

        def ask(application: Callable[..., Iterable[bytes]]) -> Answer:
            environ: dict[str, Any] = create_environ(path, ISSUER, method=method)
            environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": content_type}
            environ |= more
            if environ["CONTENT_TYPE"] is None:
                del environ["CONTENT_TYPE"]
            said, status, headers = run_wsgi_app(application, environ)
            # Of the status line only the number counts (RFC 9112 §4).
            return status[:3], sorted(header for header in headers if header[0] != "X-Request-ID"), b"".join(said)

        short, whole = ask(self.app.wsgi_app), ask(lambda *arguments: Flask.wsgi_app(self.app, *arguments))
        assert short == whole, (method, path, content_type, body[:80], more)
        assert int(short[0]) < 500


@pytest.mark.spec("INV-41", "TK-05", "TK-06", "C-08")
def test_both_lanes_read_every_odd_request_alike(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    token = flow.tokens()["access_token"]
    lanes = Lanes(gatepost)
    forms = [(FORM, body) for body in (*BODIES, b"token=" + token.encode())]
    typed = [(content_type, body) for content_type in CONTENT_TYPES for body in (b"", b"token=x")]
    for number, authorization in enumerate(authorizations(flow.secret or "", token)):
        header = {} if authorization is None else {"HTTP_AUTHORIZATION": authorization}
        for method, path in ENDPOINTS:
            # Every body with no, empty and right credentials; every way to write credentials with a few bodies.
            posted = [*forms, *typed] if number < 3 else forms[-1:] + typed[:2]
            cases = posted if method == "POST" else [(None, b""), (FORM, b""), ("text/plain", b"")]
            for content_type, body in cases:
                lanes.check(method, path, content_type, body, **header)
    for odd in ODD_ENVIRONMENTS:
        for method, path in ENDPOINTS:
            lanes.check(method, path, FORM, b"token=x", **odd)
    assert lanes.count > 500
