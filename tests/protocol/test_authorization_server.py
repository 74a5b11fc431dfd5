"""Our Authlib server: the list of everything we speak, and refusals for the rest."""

import pytest

from server.protocol.authorization_server import AuthorizationServer
from server.protocol.bearer import require_bearer_token
from server.protocol.errors import InsufficientScope, UnsupportedResponseType
from server.protocol.request import Parameters, ProtocolRequest
from server.protocol.tokens.access_token import verify_access_token
from server.protocol.userinfo import userinfo_response
from tests.support.application import Gatepost
from tests.support.flow import flow_of


@pytest.mark.parametrize("response_type", [None, "token", "id_token", "code id_token", "none"])
@pytest.mark.spec("RFC 6749 §4.1.2.1", "RFC 9700 §2.1.2")
def test_response_type_is_refused_when_no_grant_answers_it(gatepost: Gatepost, response_type: str | None) -> None:
    parameters = Parameters({"response_type": [response_type]} if response_type else {})
    with gatepost.work() as work:
        request = ProtocolRequest(work, "GET", work.settings.url("/oauth/authorize"), {}, parameters)
        with pytest.raises(UnsupportedResponseType):
            AuthorizationServer().get_authorization_grant(request)


def test_userinfo_is_never_made_up_when_the_token_has_no_person(gatepost: Gatepost) -> None:
    """The bearer check refuses such a token first; should that change, this fails loudly."""
    token = flow_of(gatepost, "machine").post_token(grant_type="client_credentials").get_json()["access_token"]
    with gatepost.work() as work:
        verified = verify_access_token(work, token)
        with pytest.raises(ValueError, match="about a person"):
            userinfo_response(verified)
        with pytest.raises(InsufficientScope):
            require_bearer_token(work, f"Bearer {token}", {}, {}, scope="openid")
