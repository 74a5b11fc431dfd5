"""What changes while a request waits for a client's own server, or for the person."""

from collections.abc import Callable
from typing import Any

import pytest

from server.domain.clients import delete_client, disable_client, get_client
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.relying_party import RelyingParty, public_keys, relying_party
from tests.support.stored_pages import StoredPages

REQUEST_URI = "https://app.example/request.jwt"
JWKS_URI = "https://app.example/jwks.json"


def meanwhile(gatepost: Gatepost, act: Callable[[], None], answer: str) -> None:
    """Lets `act` happen while the server waits for what it fetches."""

    class Meanwhile(StoredPages):
        def get_text(self, *_arguments: Any, **_options: Any) -> str:
            act()
            return answer

    Meanwhile().put_into(gatepost)


@pytest.mark.parametrize("change", [delete_client, disable_client])
@pytest.mark.spec("INV-11", "INV-41")
def test_nobody_is_sent_to_a_client_that_went_while_its_request_object_was_fetched(
    make_gatepost: GatepostMaker, change: Callable[..., None]
) -> None:
    gatepost = make_gatepost(registration="open")
    client = relying_party(gatepost, request_uris=[REQUEST_URI])

    def go() -> None:
        with gatepost.work() as work:
            change(work, get_client(work, client.client.id))

    meanwhile(gatepost, go, client.request_object())
    wanted = {"client_id": client.client.id, "response_type": "code", "scope": "openid", "request_uri": REQUEST_URI}
    answer = client.browser.get("/oauth/authorize", query_string=wanted)
    assert answer.status_code == 400
    assert "Location" not in answer.headers
    assert "There is no such client." in answer.text


@pytest.fixture
def without_keys(make_gatepost: GatepostMaker) -> tuple[RelyingParty, StoredPages]:
    """A client whose ID tokens are encrypted, and whose keys cannot be had at the moment."""
    gatepost = make_gatepost(registration="open")
    pages = StoredPages({JWKS_URI: public_keys()}).put_into(gatepost)
    client = relying_party(gatepost, jwks_uri=JWKS_URI, id_token_encrypted_response_alg="RSA-OAEP-256")
    pages.pages.pop(JWKS_URI)
    return client, pages


def test_request_goes_on_when_the_clients_keys_are_there_again(
    without_keys: tuple[RelyingParty, StoredPages],
) -> None:
    client, pages = without_keys
    parked = client.browser.post("/oauth/authorize", data=client.parameters()).headers["Location"]
    refused = client.browser.get(parked)
    assert refused.status_code == 400
    assert "The keys of the client cannot be fetched." in refused.text
    pages.pages[JWKS_URI] = public_keys()
    client.gatepost.clock.advance(60)
    assert client.browser.get(parked).headers["Location"].startswith("/login?request=")
