"""The front door: who is signed in here, and the way in or out."""

from server.domain.users import delete_user, get_user
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import flow_of
from tests.support.words import words_of


def test_way_in_is_shown_when_nobody_is_signed_in(gatepost: Gatepost) -> None:
    page = gatepost.browser().get("/")
    assert page.status_code == 200
    assert 'href="/login"' in page.text
    assert "/logout" not in page.text


def test_person_and_way_out_are_shown_when_signed_in(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost)
    flow.code()
    page = flow.browser.get("/")
    assert "Ada Example" in page.text
    assert "ada@example.com" in page.text
    assert 'href="/logout"' in page.text


def test_nobody_is_shown_when_the_person_may_no_longer_act(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost)
    flow.code()
    gatepost.change_user("ada@example.com", disabled_at=gatepost.clock.now())
    assert "Ada" not in words_of(flow.browser.get("/").text)
    with gatepost.work() as work:
        delete_user(work, get_user(work, "ada@example.com"))
    assert "Welcome" in flow.browser.get("/").text


def test_deployment_is_called_by_its_name_when_it_has_one(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer_name='Ada & "Sons" <Ltd>')
    page = gatepost.browser().get("/")
    assert "Ada &amp; &#34;Sons&#34; &lt;Ltd&gt;" in page.text
    assert "<Ltd>" not in page.text
