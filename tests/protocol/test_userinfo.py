"""What a token without a person opens."""

import pytest

from server.protocol.bearer import require_bearer_token
from server.protocol.errors import InsufficientScope
from server.protocol.tokens.access_token import verify_access_token
from server.protocol.userinfo import userinfo_response
from tests.support.application import Gatepost
from tests.support.flow import flow_of


def test_userinfo_is_never_made_up_when_the_token_has_no_person(gatepost: Gatepost) -> None:
    """The bearer check refuses such a token first; should that change, this fails loudly."""
    token = flow_of(gatepost, "machine").post_token(grant_type="client_credentials").get_json()["access_token"]
    with gatepost.work() as work:
        verified = verify_access_token(work, token)
        with pytest.raises(ValueError, match="about a person"):
            userinfo_response(work, verified)
        with pytest.raises(InsufficientScope):
            require_bearer_token(work, f"Bearer {token}", {}, {}, scope="openid")
