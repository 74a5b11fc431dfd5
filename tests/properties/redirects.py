"""Redirect URIs at the authorization endpoint: near misses in every spelling (AZ-01, AZ-02), and what must never
redirect, whatever else is wrong (AZ-05).

`python -m tests.properties redirects` runs all of it; the tests beside this file a part.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from werkzeug.test import TestResponse

from server.domain.redirect_uris import is_registered
from tests.domain.redirect_uri_mutations import SHAPES, mutations
from tests.properties.catalogue import FORM
from tests.properties.oracle import breaches, faults_logged
from tests.properties.wire import WireRequest, send
from tests.support.application import Gatepost
from tests.support.flow import CHALLENGE, flow_of

_LOOPBACK_PORT = re.compile(r"http://127\.0\.0\.1(?::([1-9][0-9]{0,4}))?/cb")


@dataclass(frozen=True)
class Registered:
    """A client of one of the shapes."""

    client_id: str
    uri: str
    is_native: bool

    def may_have(self, uri: str | None) -> bool:
        """Whether this is the registered URI, or it but for the port of a native client's loopback address.

        Said once more in other words than the server's, so that one mistake is not made twice.
        """
        if uri is None or uri == self.uri:
            return uri is not None
        port = _LOOPBACK_PORT.fullmatch(uri)
        is_port_free = self.is_native and _LOOPBACK_PORT.fullmatch(self.uri) is not None
        return is_port_free and port is not None and int(port[1] or 80) <= 65535


def register_shapes(gatepost: Gatepost) -> dict[str, Registered]:
    """One client for each shape."""
    found = {}
    for number, (shape, (uri, is_native)) in enumerate(SHAPES.items()):
        client, _ = gatepost.add_client(
            "native" if is_native else "spa", client_id=f"shape{number}", redirect_uris=(uri,)
        )
        found[shape] = Registered(client.id, uri, is_native)
    return found


def _rest(client_id: str) -> str:
    return (
        f"client_id={client_id}&response_type=code&scope=openid&state=s&code_challenge={CHALLENGE}"
        "&code_challenge_method=S256"
    )


def _form(query: str, *, in_body: bool) -> WireRequest:
    if in_body:
        headers = (("Content-Type", FORM),)
        return WireRequest("POST", "/oauth/authorize", headers=headers, body=query.encode("latin-1"))
    return WireRequest("GET", "/oauth/authorize", query)


def _latin(text: str) -> str:
    return text.encode("utf-8", "replace").decode("latin-1")


def _told(query: str) -> list[str]:
    """The values of `redirect_uri` in a query as a client meant them, decoded by hand."""
    found = []
    for field in query.split("&"):
        name, equals, value = field.partition("=")
        if equals and unquote_to_bytes(name.replace("+", " ")) == b"redirect_uri" and value:
            found.append(unquote_to_bytes(value.replace("+", " ").encode("latin-1")).decode("utf-8", "replace"))
    return found


def spellings(client: Registered, near_miss: str) -> Iterator[tuple[str, WireRequest, bool]]:
    """Every way to send a near miss: its name, the request, and whether it must be accepted."""
    rest, wrong = _rest(client.client_id), quote(near_miss, safe="", errors="replace")
    right = quote(client.uri, safe="")
    is_right = client.may_have(near_miss)
    for in_body in (False, True):
        where = "body" if in_body else "query"
        yield f"encoded in the {where}", _form(f"{rest}&redirect_uri={wrong}", in_body=in_body), is_right
        # As they come, so that the endpoint's own decoding is what they meet.
        unencoded = f"redirect_uri={_latin(near_miss)}&{rest}"
        values = _told(unencoded)
        may = len(values) == 1 and client.may_have(values[0])
        yield f"unencoded in the {where}", _form(unencoded, in_body=in_body), may
    for first, second in ((wrong, right), (right, wrong), (right, right)):
        twice = f"redirect_uri={first}&{rest}&redirect_uri={second}"
        # An empty parameter counts as absent (RFC 6749 §3.1).
        yield "twice", _form(twice, in_body=False), not near_miss and bool(first) is not bool(second)
    yield "array", _form(f"{rest}&redirect_uri[]={right}", in_body=False), False
    yield "array beside", _form(f"{rest}&redirect_uri[]={right}&redirect_uri={wrong}", in_body=False), is_right
    split = WireRequest(
        "POST",
        "/oauth/authorize",
        f"redirect_uri={right}",
        (("Content-Type", FORM),),
        f"{rest}&redirect_uri={wrong}".encode(),
    )
    yield "right in the query, wrong in the body", split, is_right


def json_body(client: Registered) -> WireRequest:
    """The right URI in JSON, which is no form."""
    body = f'{{"client_id":"{client.client_id}","redirect_uri":"{client.uri}","response_type":"code"}}'
    return WireRequest("POST", "/oauth/authorize", headers=(("Content-Type", "application/json"),), body=body.encode())


def is_accepted(response: TestResponse) -> bool:
    """Whether client and redirect URI counted as proven."""
    return response.status_code not in {400, 413} or "Location" in response.headers


def try_corpus(gatepost: Gatepost, step: int = 1) -> Counter[str]:
    """Sends every `step`th near miss of every shape in every spelling.

    Raises:
        AssertionError: when one is accepted that must not be, or refused that must be accepted.
    """
    seen: Counter[str] = Counter()
    with faults_logged() as faults:
        for shape, client in register_shapes(gatepost).items():
            for near_miss in mutations(client.uri)[::step]:
                seen["near misses"] += 1
                allowed = client.may_have(near_miss)
                assert is_registered(near_miss, [client.uri], native=client.is_native) is allowed, (
                    shape,
                    near_miss[:99],
                )
                for name, request, is_right in spellings(client, near_miss):
                    _hold(gatepost, request, client, is_right, (shape, name, near_miss[:99]), seen)
            _hold(gatepost, json_body(client), client, False, (shape, "JSON"), seen)
    assert faults == []
    return seen


def _hold(
    gatepost: Gatepost, request: WireRequest, client: Registered, is_right: bool, what: object, seen: Counter[str]
) -> None:
    response = send(gatepost.app, request)
    seen["requests"] += 1
    seen["accepted, as the port rule or the decoding says"] += is_accepted(response)
    assert is_accepted(response) is is_right, (what, response.status_code)
    assert breaches(response, (client.uri,)) == [], what


# AZ-05 ----------------------------------------------------------------------------------------------------------------

#: What leaves client or redirect URI unproven: what is sent in their stead, each as (name, value) pairs.
UNPROVEN: dict[str, tuple[dict[str, str | None], str]] = {
    "unknown client": ({"client_id": "nobody"}, ""),
    "no client": ({"client_id": None}, ""),
    "disabled client": ({"client_id": "disabled"}, ""),
    "client twice": ({}, "&client_id=sample-web"),
    "client as array": ({"client_id": None}, "&client_id[]=sample-web"),
    "unregistered URI": ({"redirect_uri": "https://evil.example/cb"}, ""),
    "another client's URI": ({"redirect_uri": "https://other.example/cb"}, ""),
    "no URI": ({"redirect_uri": None}, ""),
    "empty URI": ({"redirect_uri": ""}, ""),
    "URI twice": ({}, "&redirect_uri=https://evil.example/cb"),
    "URI twice, the same": ({}, "&redirect_uri=http%3A%2F%2Flocalhost%3A9000%2Fcallback"),
    "URI as array": ({"redirect_uri": None}, "&redirect_uri[]=http%3A%2F%2Flocalhost%3A9000%2Fcallback"),
}
ALSO_WRONG: dict[str, tuple[dict[str, str | None], str]] = {
    "nothing": ({}, ""),
    "response_type token": ({"response_type": "token"}, ""),
    "no response_type": ({"response_type": None}, ""),
    "response_mode fragment": ({"response_mode": "fragment"}, ""),
    "response_mode form_post": ({"response_mode": "form_post"}, ""),
    "scope malformed": ({"scope": '"'}, ""),
    "scope unknown": ({"scope": "admin"}, ""),
    "no openid": ({"scope": "profile"}, ""),
    "prompt=none": ({"prompt": "none"}, ""),
    "prompt=none login": ({"prompt": "none login"}, ""),
    "request object": ({"request": "eyJhbGciOiJub25lIn0.e30."}, ""),
    "request_uri": ({"request_uri": "https://app.example.com/request"}, ""),
    "expired pushed request": ({"request_uri": "urn:ietf:params:oauth:request_uri:expired"}, ""),
    "registration": ({"registration": "{}"}, ""),
    "no PKCE": ({"code_challenge": None, "code_challenge_method": None}, ""),
    "plain": ({"code_challenge_method": "plain"}, ""),
    "max_age": ({"max_age": "soon"}, ""),
    "hint": ({"id_token_hint": "broken"}, ""),
    "state twice": ({}, "&state=other"),
    "scope twice": ({}, "&scope=openid"),
    "a long state": ({"state": "x" * 5000}, ""),
    "bad encoding": ({}, "&x=%ff"),
    "raw bytes": ({}, "&x=\xff"),
    "too many": ({}, "".join(f"&p{number}=1" for number in range(120))),
}


def try_cross_product(gatepost: Gatepost, faults: int = 1) -> Counter[str]:
    """Sends every combination of what is unproven with up to `faults` other faults.

    Raises:
        AssertionError: when one of them redirects.
    """
    flow = flow_of(gatepost)
    other = flow_of(gatepost, client_id="other", redirect_uris=("https://other.example/cb",))
    gatepost.add_client(client_id="disabled")
    gatepost.change_client("disabled", disabled_at=gatepost.clock.now())
    other.tokens()
    cookie = other.browser.get_cookie("gatepost")
    signed_in = (("Cookie", f"gatepost={cookie.value if cookie else ''}"),)
    seen: Counter[str] = Counter()
    for unproven, also in itertools.product(UNPROVEN, itertools.combinations(ALSO_WRONG, faults)):
        changes, ending = _together([ALSO_WRONG[name] for name in also] + [UNPROVEN[unproven]])
        wanted = {**flow.parameters(), **changes}
        query = (
            "&".join(f"{name}={quote(value, safe='')}" for name, value in wanted.items() if value is not None) + ending
        )
        for headers, in_body in itertools.product(((), signed_in), (False, True)):
            request = _form(query, in_body=in_body)
            response = send(gatepost.app, WireRequest(**{**vars(request), "headers": request.headers + headers}))
            seen["requests"] += 1
            seen["redirects"] += "Location" in response.headers or response.status_code // 100 == 3
            assert seen["redirects"] == 0, (unproven, also)
            assert response.status_code == 400, (unproven, also, response.status_code)
            assert "evil.example" not in response.text
    return seen


def _together(parts: list[tuple[dict[str, str | None], str]]) -> tuple[dict[str, str | None], str]:
    changes: dict[str, str | None] = {}
    for each, _ in parts:
        changes |= each
    return changes, "".join(ending for _, ending in parts)
