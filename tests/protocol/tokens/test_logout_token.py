"""Logout tokens: what they say, how they are signed, and that nothing else is taken for one."""

import pytest

from server.domain.clients import get_client
from server.infra import jose
from server.protocol.tokens.id_token import verify_id_token_hint
from server.protocol.tokens.logout_token import issue_logout_token
from tests.support.application import Gatepost


def issue(gatepost: Gatepost, algorithm: str = "RS256") -> str:
    gatepost.add_client(id_token_signed_response_alg=algorithm)
    with gatepost.work() as work:
        return issue_logout_token(work, get_client(work, "sample-web"), "usr_ada", "a-session", "an-id")


@pytest.mark.parametrize("algorithm", jose.SIGNING_ALGORITHMS)
@pytest.mark.spec("Back-Channel Logout 1.0 §2.4")
@pytest.mark.spec("R-38")
def test_token_says_who_ended_what_and_is_signed_as_id_tokens_are(gatepost: Gatepost, algorithm: str) -> None:
    token = issue(gatepost, algorithm)
    header = jose.peek_header(token)
    assert (header["typ"], header["alg"]) == ("logout+jwt", algorithm)
    issued = int(gatepost.clock.now().timestamp())
    assert jose.peek_claims(token) == {
        "iss": gatepost.settings.issuer,
        "aud": "sample-web",
        "iat": issued,
        "exp": issued + 120,
        "jti": "an-id",
        "sub": "usr_ada",
        "sid": "a-session",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }


@pytest.mark.spec("Back-Channel Logout 1.0 §2.6")
def test_token_is_no_id_token_when_it_comes_back_as_a_hint(gatepost: Gatepost) -> None:
    token = issue(gatepost)
    with gatepost.work() as work, pytest.raises(jose.InvalidToken):
        verify_id_token_hint(work, token)


def test_token_gets_no_userinfo(gatepost: Gatepost) -> None:
    answer = gatepost.browser().get("/oauth/userinfo", headers={"Authorization": f"Bearer {issue(gatepost)}"})
    assert answer.status_code == 401
