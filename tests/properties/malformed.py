"""Anything at any endpoint (INV-41): raw bytes to every route of the URL map, and valid requests with faults put in.

`python -m tests.properties malformed --requests 50000` is the long run; `tests/flows/test_any_bytes.py` the short one.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, quote_from_bytes

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.properties.catalogue import FORM, SPENT, VALID, Parts, World, quote_path
from tests.properties.oracle import CANARY, breaches, faults_logged
from tests.properties.wire import WireRequest, send

SECONDS = 2.0
NAMES = re.findall(
    r"\S+",
    "client_id redirect_uri response_type response_mode scope state nonce code_challenge code_challenge_method prompt "
    "max_age id_token_hint login_hint acr_values ui_locales display claims request request_uri registration resource "
    "grant_type code code_verifier refresh_token client_secret client_assertion client_assertion_type token audience "
    "token_type_hint access_token username password decision csrf_token choose remove another extra claims_locales "
    "post_logout_redirect_uri logout_hint software_statement redirect_uris jwks jwks_uri sector_identifier_uri exp aud",
)
KNOWN_VALUES = re.findall(
    r"\S+",
    "sample-web code query form_post fragment openid S256 plain none login consent select_account 0 -1 1e9 allow "
    "authorization_code refresh_token client_credentials password rt_x ac_x bs_x eyJhbGciOiJub25lIn0.e30. . .. "
    "http://localhost:9000/callback urn:ietf:wg:oauth:2.0:oob usr_x 0000000000000000000000 id_token jwt fragment.jwt "
    "pairwise private_key_jwt RS256 ECDH-ES https://[::1 https://127.0.0.1/ javascript:x {} [] {'userinfo':5} 1e400",
)
_ODD = (
    "",
    "\0",
    '"',
    "'",
    "\\",
    "<script>",
    "é",
    "\u202e",
    "\N{PILE OF POO}",
    "%",
    "%00",
    "+",
    " ",
    "\r\nX-Evil: 1",
    "\t",
)
ODD_VALUES = (
    *(CANARY + odd + CANARY for odd in _ODD),
    *("", "\0", CANARY * 1500, "9" * 400, "[" * 3000, "a " * 2500),
)
#: What stands in the place of a member of a JSON document.
ODD_JSON: tuple[object, ...] = (
    *(None, True, -1, 10**30, 1.5, [], {}, [None], [[]], [{}], {"keys": 5}, {"keys": [{}]}, {"keys": [{"kty": "RSA"}]}),
    *("\ud800", [CANARY, "\ud800"], {CANARY: CANARY}, [CANARY] * 500, CANARY * 5000, f"https://{CANARY}.example/\0"),
    *([f"https://{CANARY}.example/"], f"https://{CANARY}.example/", ["x"] * 9000, {"a": {"b": {"c": [CANARY]}}}),
)
BAD_ENCODINGS = ("%", "%zz", "%ff", "%ed%a0%80", "%c0%80", "%f5%80%80%80", "%00", "&&=&", "=", ";", "a=b;c=d", "%u0041")
CONTENT_TYPES = (
    *(FORM, f"{FORM}; charset=utf-16", f"{FORM};{CANARY}", "application/json", "multipart/form-data; boundary=x"),
    *("multipart/form-data", "text/plain", "", "é", "application/x-www-form-urlencoded, text/plain", "\xff/\xff"),
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "X" * 300, CANARY)
HEADERS = (
    *("Accept", "Accept-Language", "Accept-Encoding", "Origin", "Sec-Fetch-Site", "Referer", "User-Agent", "Range"),
    *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Request-ID", "If-None-Match"),
    *("If-Modified-Since", "Host", "Content-Length", "Transfer-Encoding", "Expect", "Upgrade", "DPoP", "Cookie"),
    *("Authorization", "Content-Type", "X-HTTP-Method-Override", "Access-Control-Request-Method", "Date", "Proxy"),
)
_SCHEMES = ("", "Basic", "Basic Og==", "Basic %%%", "Basic =", "Bearer", "Bearer a.b.c", "Bearer é", "DPoP x", "\xff")

# Raw bytes reach a WSGI application as Latin-1 text, without the characters that end a header.
latin = st.binary(max_size=60).map(lambda data: re.sub(r"[\r\n\0]", "", data.decode("latin-1")))
text = st.one_of(st.sampled_from(ODD_VALUES), st.sampled_from(KNOWN_VALUES), st.text(max_size=20))
_pair = st.tuples(st.sampled_from(NAMES), text).map(lambda pair: f"{pair[0]}={quote(pair[1], errors='replace')}")
encoded = st.one_of(
    st.lists(st.one_of(_pair, _pair, st.sampled_from(BAD_ENCODINGS)), max_size=12).map("&".join),
    st.binary(max_size=200).map(lambda data: quote_from_bytes(data, safe="&=%+")),
    st.binary(max_size=200).map(lambda data: data.decode("latin-1")),
)
_header_value = st.one_of(
    latin,
    st.sampled_from(_SCHEMES),
    st.sampled_from(("gatepost=bs_x", "gatepost=", "=gatepost=bs_x", 'gatepost="', "*/*", "text/html", "-1", "9" * 30)),
    st.sampled_from(
        (CANARY, f"https://{CANARY}.example", f"{CANARY}, {CANARY}", CANARY * 4000, "bytes=0-0", "chunked")
    ),
    st.tuples(st.sampled_from(("Basic ", "Bearer ", "bearer  ")), latin).map("".join),
)
headers = st.lists(st.tuples(st.sampled_from(HEADERS), _header_value), max_size=4).map(tuple)


@dataclass(frozen=True)
class Raw:
    """What is sent to every route at once."""

    method: str | None
    query: str
    body: bytes
    headers: tuple[tuple[str, str], ...]


raw_requests = st.builds(
    Raw,
    method=st.one_of(*[st.none()] * 5, st.sampled_from(METHODS)),
    query=encoded,
    body=st.one_of(encoded.map(lambda data: data.encode("latin-1", "replace")), st.just(b"x=" + b"y" * 70_000)),
    headers=headers,
)

#: Each changes one thing: what, at which place, and what is put there.
KINDS = (
    *("drop", "repeat", "repeat otherwise", "empty", "replace", "swap", "append", "prepend", "rename", "array", "case"),
    *("twice encoded", "elsewhere", "both places", "truncate", "method", "type", "header", "drop header"),
    *("repeat header", "replace header", "many", "huge", "bad encoding", "long path", "path", "stranger"),
)
mutations = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 30), text, st.sampled_from(NAMES), _header_value), max_size=2
)


def mutate(parts: Parts, kind: str, place: int, value: str, name: str, header: str) -> Parts:
    """One fault put into a request."""
    pairs = parts.form if parts.form else parts.query
    if parts.document and (place % 2 or not pairs) and _change_member(parts.document, kind, place // 2, value, name):
        return parts
    if pairs and _change_pair(pairs, kind, place % len(pairs), value, name):
        return parts
    if parts.headers and _change_header(parts, kind, place % len(parts.headers), header):
        return parts
    match kind:
        case "method":
            return replace(parts, method=METHODS[place % len(METHODS)])
        case "type":
            return replace(parts, headers=[*parts.headers, ("Content-Type", CONTENT_TYPES[place % len(CONTENT_TYPES)])])
        case "header":
            return replace(parts, headers=[*parts.headers, (HEADERS[place % len(HEADERS)], header)])
        case "elsewhere":
            return replace(parts, query=parts.form, form=parts.query)
        case "both places":
            return replace(parts, query=parts.query or parts.form, form=parts.form or parts.query)
        case "many":
            return replace(parts, form=[*parts.form, *((f"{CANARY}{number}", value) for number in range(120))])
        case "huge":
            return replace(parts, raw_body=b"&" + CANARY.encode() * 18_000)
        case "bad encoding":
            bad = BAD_ENCODINGS[place % len(BAD_ENCODINGS)]
            return replace(parts, raw_query=bad) if place % 2 else replace(parts, raw_body=b"&a=" + bad.encode())
        case "long path":
            return replace(parts, path=parts.path + "/" + CANARY * (place * 300))
        case "path":
            return replace(parts, path=parts.path[: place % len(parts.path) + 1] + value)
        case _:
            return replace(parts, query=[*parts.query, (name, value)])


def _change_pair(pairs: list[tuple[str, str]], kind: str, index: int, value: str, name: str) -> bool:
    """Changes one parameter in place; False when the kind is about something else."""
    known, old = pairs[index]
    changed = {
        "drop": [],
        "repeat": [(known, old), (known, old)],
        "repeat otherwise": [(known, old), (known, value)],
        "empty": [(known, "")],
        "replace": [(known, value)],
        "swap": [(known, pairs[index - 1][1])],
        "append": [(known, old + value)],
        "prepend": [(known, value + old)],
        "rename": [(name, old)],
        "array": [(f"{known}[]", old)],
        "case": [(known.swapcase(), old)],
        "twice encoded": [(known, quote(old, safe="", errors="replace"))],
        "truncate": [(known, old[: len(old) // 2])],
    }.get(kind)
    if changed is None:
        return False
    pairs[index : index + 1] = changed
    return True


def _change_member(document: dict[str, Any], kind: str, place: int, value: str, name: str) -> bool:
    """Changes one member of a JSON document; False when the kind is about something else."""
    known = list(document)[place % len(document)]
    old = document[known]
    odd = ODD_JSON[(place + len(value)) % len(ODD_JSON)]
    changed = {
        "drop": {},
        "repeat": {known: [old, old]},
        "repeat otherwise": {known: [old, value]},
        "empty": {known: ""},
        "replace": {known: value},
        "swap": {known: document[list(document)[place % len(document) - 1]]},
        "append": {known: [*old, value] if isinstance(old, list) else f"{old}{value}"},
        "prepend": {known: odd},
        "rename": {name: old},
        "array": {known: [old]},
        "case": {known.swapcase(): old},
        "twice encoded": {known: json.dumps(old)},
        "truncate": {known: odd},
        "both places": {known: {known: old}},
    }.get(kind)
    if changed is None:
        return False
    del document[known]
    document.update(changed)
    return True


def _change_header(parts: Parts, kind: str, index: int, value: str) -> bool:
    name, old = parts.headers[index]
    changed = {
        "drop header": [],
        "repeat header": [(name, old), (name, old)],
        "replace header": [(name, value)],
    }.get(kind)
    if changed is None:
        return False
    parts.headers[index : index + 1] = changed
    return True


@dataclass
class Tally:
    """What a run has seen so far."""

    requests: int = 0
    slowest: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)

    def count(self, status: int, seconds: float) -> None:
        """Adds one answer; status 0 stands for a connection that was closed without one."""
        self.requests += 1
        self.slowest = max(self.slowest, seconds)
        self.statuses[status] += 1

    def figures(self) -> dict[str, Any]:
        """The tally in words."""
        return {
            "requests": self.requests,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "responses of 500 and more": sum(count for status, count in self.statuses.items() if status >= 500),
            "slowest answer in seconds": round(self.slowest, 3),
        }


def examine(world: World, request: WireRequest, tally: Tally) -> TestResponse:
    """Sends one request and holds the answer to the oracle."""
    with faults_logged() as faults:
        started = time.monotonic()
        response = send(world.gatepost.app, request)
        seconds = time.monotonic() - started
        # A machine under load is slow once; a parser that explodes is slow every time.
        if seconds > SECONDS:
            started = time.monotonic()
            response = send(world.gatepost.app, request)
            seconds = min(seconds, time.monotonic() - started)
    tally.count(response.status_code, seconds)
    found = [*breaches(response, world.redirect_uris), *faults]
    if seconds > SECONDS:
        found.append(f"took {seconds:.1f} s")
    assert not found, (found, request)
    return response


def repeatable(examples: int, *, is_repeatable: bool) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=is_repeatable,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


def send_raw_bytes(world: World, tally: Tally, examples: int, number: int | None = None) -> None:
    """Sends `examples` made-up requests to every route, each with every method it takes."""
    routes = world.routes()

    @repeatable(examples, is_repeatable=number is None)
    @given(raw=raw_requests)
    def check(raw: Raw) -> None:
        for method, path in routes:
            if method == "OPTIONS" and raw.method is None:
                continue
            examine(
                world,
                WireRequest(raw.method or method, path, raw.query, raw.headers, raw.body, world.next_peer()),
                tally,
            )

    (check if number is None else seed(number)(check))()


def send_faulty_requests(world: World, tally: Tally, examples: int, number: int | None = None) -> None:
    """Sends `examples` valid requests with up to two faults in each."""

    made = VALID | SPENT

    @repeatable(examples, is_repeatable=number is None)
    @given(name=st.sampled_from(sorted(made)), changes=mutations)
    def check(name: str, changes: list[tuple[str, int, str, str, str]]) -> None:
        parts = made[name](world)
        for change in changes:
            parts = mutate(parts, *change)
        response = examine(world, parts.on_the_wire(world.next_peer()), tally)
        if parts.path in {"/oauth/token", "/oauth/revoke"} and response.status_code == 200:
            world.renew()

    (check if number is None else seed(number)(check))()


def send_odd_values(world: World, tally: Tally, values: Iterable[str]) -> None:
    """Puts each of `values` into each parameter of each request."""
    made = VALID | SPENT
    for name, value in itertools.product(made, values):
        for place in itertools.count():
            parts = made[name](world)
            pairs, members = parts.form or parts.query, list(parts.document or {})
            if place < len(pairs):
                pairs[place] = (pairs[place][0], value)
            elif parts.document is not None and place < len(pairs) + len(members):
                parts.document[members[place - len(pairs)]] = value
            else:
                break
            response = examine(world, parts.on_the_wire(world.next_peer()), tally)
            if response.status_code == 200:
                world.renew()


def send_to_any_path(world: World, tally: Tally, examples: int, number: int | None = None) -> None:
    """Sends `examples` requests to paths that nobody thought of."""
    segment = st.one_of(st.text(max_size=12), st.sampled_from(("..", ".", "", "oauth", "static", ".well-known", "%2e")))

    @repeatable(examples, is_repeatable=number is None)
    @given(segments=st.lists(segment, max_size=5), method=st.sampled_from(METHODS), sent=headers)
    def check(segments: list[str], method: str, sent: tuple[tuple[str, str], ...]) -> None:
        examine(
            world,
            WireRequest(method, quote_path("/" + "/".join(segments)), headers=sent, peer=world.next_peer()),
            tally,
        )

    (check if number is None else seed(number)(check))()
