"""Pages: people and applications as a page shows them, and templates that may not misspell a name."""

import pytest
from jinja2 import UndefinedError

from server.web.pages import application, initials
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
    shown = application(client, uri)
    assert (shown.name, shown.initials, shown.first_party) == ("Note Taker", "NT", True)
    assert (shown.redirect_kind, shown.redirect_display) == (kind, display)


def test_misspelt_name_is_an_error_when_a_template_has_one(gatepost: Gatepost) -> None:
    with gatepost.app.test_request_context("/"), pytest.raises(UndefinedError):
        gatepost.app.jinja_env.from_string("{{ isuer_name }}").render()
