"""Pages: people and applications as a page shows them, and templates that may not misspell a name."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from jinja2 import UndefinedError

from server.domain.policy.client_metadata import ClientType
from server.web.pages import application, duration, initials
from tests.support.application import Gatepost
from tests.support.flow import flow_of


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Ada Example", "AE"),
        ("Ada Maria Example", "AE"),
        ("ada", "A"),
        ("ada@example.com", "AE"),
        ("  Ada   Example  ", "AE"),
        ("★ Ada", "A"),
        ("Ada (work)", "A"),
        ("!!!", "!"),
        ("山田 太郎", "山太"),
        ("éric ñandú", "ÉÑ"),
        ("ß", "SS"),
        ("", ""),
    ],
)
def test_initials_are_those_of_first_and_last_word_when_there_are_some(name: str, letters: str) -> None:
    assert initials(name) == letters


@contextmanager
def served(gatepost: Gatepost) -> Iterator[None]:
    """As a view is while it answers."""
    with gatepost.app.test_request_context("/"):
        gatepost.app.preprocess_request()
        yield


@pytest.mark.parametrize(
    ("uri", "kind", "display"),
    [
        ("https://app.example/cb", "web", "https://app.example"),
        ("https://app.example:8443/cb", "web", "https://app.example:8443"),
        ("http://127.0.0.1:49152/cb", "loopback", "an app on this computer"),
        ("http://[::1]/cb", "loopback", "an app on this computer"),
        ("com.example.app:/cb", "private", "com.example.app"),
    ],
)
def test_application_is_shown_with_where_it_leads_when_asked(
    gatepost: Gatepost, uri: str, kind: str, display: str
) -> None:
    client = flow_of(gatepost, "native", redirect_uris=(uri,), client_name="Note Taker", is_first_party=True).client
    with served(gatepost):
        shown = application(client, uri)
    assert (shown.name, shown.initials, shown.first_party) == ("Note Taker", "NT", True)
    assert (shown.redirect_kind, shown.redirect_display) == (kind, display)


@pytest.mark.parametrize(
    ("client_type", "uri", "is_assured"),
    [
        ("web", "http://localhost:9000/cb", True),
        ("web", "https://app.example/cb", True),
        ("spa", "https://app.example/cb", True),
        ("native", "https://app.example/cb", True),
        ("native", "http://127.0.0.1/cb", False),
        ("native", "com.example.app:/cb", False),
    ],
)
@pytest.mark.spec("AZ-24", "RFC 8252 §8.6")
def test_application_could_be_another_program_when_it_has_no_secret_and_no_site(
    gatepost: Gatepost, client_type: ClientType, uri: str, is_assured: bool
) -> None:
    client = flow_of(gatepost, client_type, redirect_uris=(uri,)).client
    with served(gatepost):
        assert application(client, uri).is_identity_assured is is_assured


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (3600, "1 hour"),
        (86400, "1 day"),
        (14 * 86400 - 20, "14 days"),
        (180 * 86400, "180 days"),
    ],
)
def test_span_is_told_in_its_largest_unit(seconds: int, words: str) -> None:
    assert duration(seconds) == words


def test_misspelt_name_is_an_error_when_a_template_has_one(gatepost: Gatepost) -> None:
    with gatepost.app.test_request_context("/"), pytest.raises(UndefinedError):
        gatepost.app.jinja_env.from_string("{{ isuer_name }}").render()
