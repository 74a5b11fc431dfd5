"""Redirect URIs: refused at registration with the precise reason, matched at authorization character by character."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.domain.errors import Invalid
from server.domain.redirect_uris import MAXIMUM_CHARACTERS, check_registrable, describe_target, is_registered
from tests.domain.redirect_uri_mutations import SHAPES, mutations

EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES)
#: Always the same examples, however slowly they are made: a run fails for what was changed, and for nothing else.
SAME_EVERY_TIME = settings(
    max_examples=400, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

LENGTH = f"A redirect URI has 1 to {MAXIMUM_CHARACTERS} characters."
FRAGMENT = "A redirect URI has no fragment."
WILDCARD = "Wildcards are not supported: register each redirect URI."
CHARACTERS = "A redirect URI has only the characters of RFC 3986; write other characters percent-encoded."
ABSOLUTE = "A redirect URI is absolute and begins with its scheme in lower case, such as https."
PRIVATE = "Only native apps may use a private-use scheme; use https."
REVERSE = "A private-use scheme is a domain name you own in reverse, such as com.example.app."
SINGLE_SLASH = "After a private-use scheme stands a single slash, as in com.example.app:/callback."
HOST_MISSING = "A redirect URI names a host, and a path after it: https://app.example.com/callback."
USERINFO = "A redirect URI holds no user name or password."
HOST = "The host is not valid; write it in lower case, and international names in punycode."
PORT = "The port is a number from 1 to 65535 without leading zeros."
HTTP = "http is only allowed for localhost, and only for native apps; use https."
BRACKETS = "Square brackets belong around an IPv6 address only; write them percent-encoded elsewhere."
PATH = "The path has no . or .. segments and no encoded slashes, backslashes or control characters."


def is_registrable(uri: str, *, native: bool = False, local_http: bool = False) -> bool:
    try:
        check_registrable(uri, native=native, local_http=local_http)
    except Invalid:
        return False
    return True


# -------------------------------------------------------------------------------------------------------- registration


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example.com/callback",
        "https://app.example.com",
        "https://app.example.com/",
        "https://app.example.com:1/callback",
        "https://app.example.com:65535/callback",
        "https://app.example.com/callback?tenant=one&x=%20",
        "https://app.example.com/callback?next=/../x",
        "https://app.example.com/a/b/c//d",
        "https://app.example.com/a.b/..c/.d/e..",
        "https://xn--bcher-kva.example/callback",
        "https://localhost/callback",
        "https://192.0.2.1/callback",
        "https://[2001:db8::1]:8443/callback",
        "https://a/b",
        "https://app.example.com/" + "a" * (MAXIMUM_CHARACTERS - 24),
    ],
)
@pytest.mark.parametrize("native", [False, True])
def test_registration_takes_an_https_uri_of_any_client(uri: str, native: bool) -> None:
    check_registrable(uri, native=native, local_http=False)


@pytest.mark.spec("RFC 8252 §7.3")
@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost/cb",
        "http://localhost:9000/cb",
        "http://127.0.0.1:1/cb",
        "http://[::1]/cb",
        "http://[::1]:9000/",
    ],
)
def test_registration_takes_http_on_loopback_when_the_client_is_native_or_the_issuer_is_local(uri: str) -> None:
    assert is_registrable(uri, native=True)
    assert is_registrable(uri, local_http=True)
    with pytest.raises(Invalid) as caught:
        check_registrable(uri, native=False, local_http=False)
    assert str(caught.value) == HTTP


@pytest.mark.spec("RFC 8252 §7.1")
@pytest.mark.parametrize(
    "uri",
    ["com.example.app:/callback", "com.example.app:/", "com.example.app:/a/b?x=1", "a.b:/c", "com.ex-ample+1.app:/cb"],
)
def test_registration_takes_a_private_use_scheme_when_the_client_is_native(uri: str) -> None:
    assert is_registrable(uri, native=True)
    with pytest.raises(Invalid) as caught:
        check_registrable(uri, native=False, local_http=True)
    assert str(caught.value) == PRIVATE


@pytest.mark.spec("RFC 6749 §3.1.2")
@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("", LENGTH),
        ("https://app.example.com/" + "a" * (MAXIMUM_CHARACTERS - 23), LENGTH),
        ("https://app.example.com/cb#", FRAGMENT),
        ("https://app.example.com/cb#part", FRAGMENT),
        ("https://app.example.com#@evil.example/", FRAGMENT),
        ("https://*.example.com/cb", WILDCARD),
        ("https://app.example.com/*", WILDCARD),
        ("com.example.app:/*", WILDCARD),
        ("https://app.example.com/a b", CHARACTERS),
        (" https://app.example.com/cb", CHARACTERS),
        ("https://app.example.com/cb ", CHARACTERS),
        ("https://app.example.com/cb\n", CHARACTERS),
        ("https://app.example.com/cb\t", CHARACTERS),
        ("https://app.example.com/\0", CHARACTERS),
        ("https://app.example.com\\@evil.example/", CHARACTERS),
        ("https://bücher.example/cb", CHARACTERS),
        ("https://app.example.com/ü", CHARACTERS),
        ("https://app.example.com\u3002evil.example/", CHARACTERS),
        ("https://app.example.com/%", CHARACTERS),
        ("https://app.example.com/%2", CHARACTERS),
        ("https://app.example.com/%zz", CHARACTERS),
        ("https://app.example.com/<x>", CHARACTERS),
        ('https://app.example.com/"', CHARACTERS),
        ("https://app.example.com/{id}", CHARACTERS),
        ("/callback", ABSOLUTE),
        ("//app.example.com/cb", ABSOLUTE),
        ("app.example.com/cb", ABSOLUTE),
        ("HTTPS://app.example.com/cb", ABSOLUTE),
        ("Com.example.app:/cb", ABSOLUTE),
        ("1com.example.app:/cb", ABSOLUTE),
        (":/cb", ABSOLUTE),
        ("callback", ABSOLUTE),
        ("com.example.app", ABSOLUTE),
        ("javascript:alert(1)", REVERSE),
        ("data:text/html,x", REVERSE),
        ("myapp:/callback", REVERSE),
        ("ftp://app.example.com/cb", REVERSE),
        ("urn:ietf:wg:oauth:2.0:oob", REVERSE),
        ("com.example.app://callback", SINGLE_SLASH),
        ("com.example.app:callback", SINGLE_SLASH),
        ("com.example.app:", SINGLE_SLASH),
        ("com.example.app:?x=1", SINGLE_SLASH),
        ("https:", HOST_MISSING),
        ("https://", HOST_MISSING),
        ("https:///cb", HOST_MISSING),
        ("https:/app.example.com/cb", HOST_MISSING),
        ("https:app.example.com/cb", HOST_MISSING),
        ("https:://app.example.com/cb", HOST_MISSING),
        ("http:://app.example.com/cb", HOST_MISSING),
        ("http:x://app.example.com/cb", HOST_MISSING),
        ("https:app.example.com://evil.example/cb", HOST_MISSING),
        ("https://app.example.com?x=1", HOST_MISSING),
        ("https://?x=1", HOST_MISSING),
        ("https://evil.example?@app.example.com/cb", HOST_MISSING),
        ("https://u@app.example.com/cb", USERINFO),
        ("https://u:p@app.example.com/cb", USERINFO),
        ("https://@app.example.com/cb", USERINFO),
        ("https://app.example.com@evil.example/cb", USERINFO),
        ("https://App.example.com/cb", HOST),
        ("https://app.example.com./cb", HOST),
        ("https://.example.com/cb", HOST),
        ("https://app..example.com/cb", HOST),
        ("https://-app.example.com/cb", HOST),
        ("https://app-.example.com/cb", HOST),
        ("https://app_1.example.com/cb", HOST),
        ("https://app.example.com%00.evil.example/cb", HOST),
        ("https://app%2eexample.com/cb", HOST),
        ("https://[::1/cb", HOST),
        ("https://[1:2]/cb", HOST),
        ("https://[:::::]/cb", HOST),
        ("https://[::1%25lo]/cb", HOST),
        ("https://[2001:DB8::1]/cb", HOST),
        ("https://[127.0.0.1]/cb", HOST),
        ("https://[]/cb", HOST),
        ("https://::1/cb", HOST),
        ("https://app.example.com;x/cb", HOST),
        ("https://app.example.com:/cb", PORT),
        ("https://app.example.com:0/cb", PORT),
        ("https://app.example.com:0443/cb", PORT),
        ("https://app.example.com:65536/cb", PORT),
        ("https://app.example.com:99999999999/cb", PORT),
        ("https://app.example.com:-1/cb", PORT),
        ("https://app.example.com:+1/cb", PORT),
        ("https://app.example.com:x/cb", PORT),
        ("https://app.example.com:1:2/cb", PORT),
        ("https://[::1]x/cb", PORT),
        ("https://[::1]]/cb", PORT),
        ("https://[::1]:/cb", PORT),
        ("http://app.example.com/cb", HTTP),
        ("http://127.0.0.2/cb", HTTP),
        ("http://127.1/cb", HTTP),
        ("http://2130706433/cb", HTTP),
        ("http://0x7f.1/cb", HTTP),
        ("http://0.0.0.0/cb", HTTP),
        ("http://[::]/cb", HTTP),
        ("http://[0:0:0:0:0:0:0:1]/cb", HTTP),
        ("http://localhost.evil.example/cb", HTTP),
        ("https://app.example.com/.", PATH),
        ("https://app.example.com/..", PATH),
        ("https://app.example.com/a/../b", PATH),
        ("https://app.example.com/a/./b", PATH),
        ("https://app.example.com/a/..;/b", PATH),
        ("https://app.example.com/a/..;p=1/b", PATH),
        ("https://app.example.com/a/%2e%2e/b", PATH),
        ("https://app.example.com/a/.%2E/b", PATH),
        ("https://app.example.com/a/%2e", PATH),
        ("https://app.example.com/..%2fb", PATH),
        ("https://app.example.com/a%2fb", PATH),
        ("https://app.example.com/a%2Fb", PATH),
        ("https://app.example.com/a%5cb", PATH),
        ("https://app.example.com/a%23b", PATH),
        ("https://app.example.com/a%00b", PATH),
        ("https://app.example.com/a%0d%0ab", PATH),
        ("https://app.example.com/a%09b", PATH),
        ("https://app.example.com/a%1Bb", PATH),
        ("https://app.example.com/a%7fb", PATH),
        ("https://app.example.com/cb[]", BRACKETS),
        ("https://app.example.com/cb[", BRACKETS),
        ("https://app.example.com/cb]", BRACKETS),
        ("https://app.example.com/cb?redirect[]=x", BRACKETS),
        ("com.example.app:/[::1]", BRACKETS),
        ("com.example.app:/..", PATH),
        ("com.example.app:/a%2fb", PATH),
        ("http://localhost:9000/../cb", PATH),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_registration_is_refused_with_the_precise_reason_when(uri: str, sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_registrable(uri, native=True, local_http=True)
    assert str(caught.value) == sentence
    assert caught.value.field == "redirect_uris"


def test_refusal_names_the_member_it_was_asked_about() -> None:
    with pytest.raises(Invalid) as caught:
        check_registrable("nowhere", native=False, local_http=False, field="post_logout_redirect_uris")
    assert caught.value.field == "post_logout_redirect_uris"


@EVERY_SHAPE
def test_shape_of_the_corpus_is_registrable(shape: str) -> None:
    uri, native = SHAPES[shape]
    check_registrable(uri, native=native, local_http=False)


def assert_safe(uri: str) -> None:
    """What every registered URI is, told by another parser than ours."""
    parts = urlsplit(uri)
    assert uri.isascii()
    assert uri.isprintable()
    assert " " not in uri
    assert not parts.fragment
    assert "#" not in uri
    assert parts.username is None
    assert parts.password is None
    decoded = unquote(parts.path)
    assert not {".", ".."} & set(decoded.split("/"))
    assert not re.search(r"[\x00-\x1f\x7f\\#]", decoded)
    if parts.scheme in {"https", "http"}:
        assert parts.hostname
        assert uri.startswith(f"{parts.scheme}://")
        assert parts.hostname == parts.hostname.lower()
        assert parts.port is None or 1 <= parts.port <= 65535
        if parts.scheme == "http":
            assert parts.hostname in {"localhost", "127.0.0.1", "::1"}
    else:
        assert "." in parts.scheme
        assert not parts.netloc
    kind, words = describe_target(uri)
    assert kind in {"web", "loopback", "private"}
    assert words


@EVERY_SHAPE
def test_near_misses_are_safe_when_they_can_be_registered(shape: str) -> None:
    uri, _ = SHAPES[shape]
    registrable = [each for each in mutations(uri) if is_registrable(each, native=True, local_http=True)]
    assert registrable
    for each in registrable:
        assert_safe(each)


@SAME_EVERY_TIME
@given(
    scheme=st.sampled_from(["https:", "http:", "com.example.app:", "https", "javascript:"]),
    rest=st.text(st.sampled_from("/.:;@?#[]%2e5cfa01b-\\ &="), max_size=24),
)
def test_anything_is_safe_when_it_can_be_registered(scheme: str, rest: str) -> None:
    for uri in (scheme + rest, f"{scheme}//app.example.com{rest}", f"{scheme}//{rest}/cb"):
        if is_registrable(uri, native=True, local_http=True):
            assert_safe(uri)


# ------------------------------------------------------------------------------------------------------------ matching


@EVERY_SHAPE
def test_corpus_holds_at_least_four_hundred_near_misses(shape: str) -> None:
    uri, _ = SHAPES[shape]
    found = mutations(uri)
    assert len(found) == len(set(found)) >= 400
    assert uri not in found


@pytest.mark.spec("AZ-01")
@pytest.mark.parametrize(
    "near_miss",
    [
        *("/", "//", "/x", "/../x", "/./", ";p=1", "?x=1", "&x=1", "#", "#f", "%23", ".", " ", "%20", "\t", "\r", "\n"),
        *("\0", "\u00a0", "\u3002", "\uff0f", "%2e%2e", "%2f", "%5c", "\\", "%c0%af", "/..%2FFAKEPATH"),
        *("/;/../../FAKEPATH", "%0A%0D/../../FAKEPATH", "a" * 65536),
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_corpus_holds_what_is_put_behind_the_uri(near_miss: str) -> None:
    assert f"https://app.example.com/cb{near_miss}" in mutations("https://app.example.com/cb")


@pytest.mark.spec("AZ-01")
@pytest.mark.parametrize(
    "near_miss",
    [
        *(
            "HTTPS://APP.EXAMPLE.COM/CB",
            "https://App.example.com/cb",
            "https://app.example.com/Cb",
            "//app.example.com/cb",
        ),
        *("https://app.example.com/%63b", "https://app.example.com/%2563b", "https:\\\\app.example.com/cb"),
        *("https://\u0430pp.example.com/cb", "https://xn--app.example.com/cb", "https://u@app.example.com/cb"),
        *("https://u:p@app.example.com/cb", "https://evil.example@app.example.com/cb"),
        *("https://app.example.com@evil.example/cb", "https://evil.example\\@app.example.com/cb"),
        *("https://evil.example#@app.example.com/cb", "https://evil.example?@app.example.com/cb"),
        *("https://app.example.com.evil.example/cb", "https://evilapp.example.com/cb"),
        *("https://app.example.com-evil/cb", "https://app.example.com./cb", "https://app.example.com:443/cb"),
        *("https://app.example.com:0443/cb", "https://app.example.com:80/cb", "https://app.example.com: /cb"),
        *("http://app.example.com/cb", "https://0x7f.1/cb", "https://2130706433/cb", "https://127.1/cb"),
        *("https://[::1]/cb", "https://[::ffff:127.0.0.1]/cb"),
    ],
    ids=ascii,
)
def test_corpus_holds_what_is_done_to_scheme_host_and_port(near_miss: str) -> None:
    assert near_miss in mutations("https://app.example.com/cb")


@EVERY_SHAPE
@pytest.mark.parametrize("native", [False, True])
def test_registered_uri_matches_itself(shape: str, native: bool) -> None:
    uri, _ = SHAPES[shape]
    assert is_registered(uri, [uri], native=native)
    assert is_registered(uri, ["https://other.example/", uri], native=native)
    assert not is_registered(uri, [], native=native)


@pytest.mark.spec("RFC 9700 §4.1.3")
@EVERY_SHAPE
def test_no_near_miss_matches_a_registered_uri(shape: str) -> None:
    uri, _ = SHAPES[shape]
    assert [each for each in mutations(uri) if is_registered(each, [uri], native=False)] == []


@pytest.mark.spec("RFC 8252 §8.4")
@EVERY_SHAPE
def test_no_near_miss_but_another_loopback_port_matches_a_native_clients_uri(shape: str) -> None:
    uri, _ = SHAPES[shape]
    matched = {each for each in mutations(uri) if is_registered(each, [uri], native=True)}
    if shape != "loopback":
        assert matched == set()
        return
    ports = {each.removeprefix("http://127.0.0.1").removesuffix("/cb") for each in matched}
    assert {"", ":80", ":443", ":8000", ":65535"} <= ports
    # Whatever else the corpus made of the port, such as a digit fewer, is a port still.
    assert all(re.fullmatch(r"(?::[1-9][0-9]{0,4})?", port) and int(port[1:] or 1) <= 65535 for port in ports)


@pytest.mark.spec("RFC 8252 §7.3")
@pytest.mark.parametrize("registered", ["http://127.0.0.1/cb", "http://127.0.0.1:9000/cb"])
@pytest.mark.parametrize("presented", ["http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb"])
def test_any_port_of_the_loopback_address_matches_when_the_client_is_native(registered: str, presented: str) -> None:
    assert is_registered(presented, [registered], native=True)
    assert is_registered(presented, [registered], native=False) is (presented == registered)


@pytest.mark.spec("RFC 8252 §7.3")
@pytest.mark.parametrize(
    ("registered", "presented", "matches"),
    [
        ("http://[::1]/cb", "http://[::1]:9000/cb", True),
        ("http://[::1]:9000/cb?x=1", "http://[::1]:9001/cb?x=1", True),
        ("http://127.0.0.1", "http://127.0.0.1:9000", True),
        ("http://127.0.0.1", "http://127.0.0.1:9000/", False),
        ("http://127.0.0.1/", "http://127.0.0.1:9000", False),
        ("http://127.0.0.1:9000/cb", "http://127.0.0.1:9001/cb/", False),
        ("http://127.0.0.1:9000/cb", "http://127.0.0.1:9001/CB", False),
        ("http://127.0.0.1:9000/cb", "http://127.0.0.1:9001/cb?x=1", False),
        ("http://127.0.0.1:9000/cb", "http://127.0.0.1:0/cb", False),
        ("http://127.0.0.1:9000/cb", "http://127.0.0.1:65536/cb", False),
        ("http://127.0.0.1:9000/cb", "http://127.0.0.1:09000/cb", False),
        ("http://127.0.0.1:9000/cb", "http://127.0.0.1:/cb", False),
        ("http://127.0.0.1:9000/cb", "http://127.0.0.1:９０００/cb", False),
        ("http://127.0.0.1:9000/cb", "http://127.0.0.1:9001/cb\n", False),
        ("http://127.0.0.1:9000/cb", "https://127.0.0.1:9001/cb", False),
        ("http://127.0.0.1:9000/cb", "http://[::1]:9001/cb", False),
        ("http://127.0.0.1:9000/cb", "http://localhost:9001/cb", False),
        ("http://localhost:9000/cb", "http://localhost:9001/cb", False),
        ("http://localhost/cb", "http://localhost:9001/cb", False),
        ("https://127.0.0.1:9000/cb", "https://127.0.0.1:9001/cb", False),
        ("http://127.0.0.1:9000/cb", "http://127.0.0.1:9001@evil.example/cb", False),
        ("https://app.example.com:9000/cb", "https://app.example.com:9001/cb", False),
        ("com.example.app:/cb", "com.example.app:/cb2", False),
    ],
)
def test_port_alone_is_free_and_of_loopback_addresses_alone(registered: str, presented: str, matches: bool) -> None:
    assert is_registered(presented, [registered], native=True) is matches
    assert not is_registered(presented, [registered], native=False)


# ------------------------------------------------------------------------------------------------------------ in words


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("https://app.example.com/cb?x=1", ("web", "https://app.example.com")),
        ("https://app.example.com:8443/cb", ("web", "https://app.example.com:8443")),
        ("https://[2001:db8::1]/cb", ("web", "https://[2001:db8::1]")),
        ("http://localhost:9000/cb", ("loopback", "an app on this computer")),
        ("http://127.0.0.1/cb", ("loopback", "an app on this computer")),
        ("http://[::1]:9000/cb", ("loopback", "an app on this computer")),
        ("https://localhost/cb", ("loopback", "an app on this computer")),
        ("com.example.app:/cb", ("private", "com.example.app")),
    ],
)
def test_target_is_told_in_words_for_people(uri: str, told: tuple[str, str]) -> None:
    assert describe_target(uri) == told
