"""Bearer tokens: which scopes open what is asked for."""

import pytest

from server.protocol.bearer import require_bearer_token
from server.protocol.errors import InsufficientScope
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, flow_of


def flow_with(make_gatepost: GatepostMaker, scope: str) -> Flow:
    root = {"sentence": "Do everything", "implies": ["*"]}
    flow = flow_of(make_gatepost(scopes={"notes:read": "Read your notes", "root": root}))
    flow.gatepost.change_client(flow.client.id, scope=f"openid {scope}")
    return flow


@pytest.mark.parametrize("scope", ["notes:read", "notes:*", "*:read", "*", "root"])
def test_token_is_taken_when_its_scope_names_covers_or_implies_what_is_needed(
    make_gatepost: GatepostMaker, scope: str
) -> None:
    flow = flow_with(make_gatepost, scope)
    token = flow.tokens(scope=f"openid {scope}")["access_token"]
    with flow.gatepost.work() as work:
        assert require_bearer_token(work, f"Bearer {token}", {}, {}, scope="notes:read").scope_set == {"openid", scope}


@pytest.mark.parametrize(
    ("scope", "needed"),
    [("notes:*", "users:read"), ("root", "users:read"), ("*", "email"), ("notes:read", "notes:*"), ("notes:read", "*")],
)
@pytest.mark.spec("RFC 6750 §3.1")
def test_token_is_refused_when_its_scope_does_not_reach_what_is_needed(
    make_gatepost: GatepostMaker, scope: str, needed: str
) -> None:
    flow = flow_with(make_gatepost, scope)
    token = flow.tokens(scope=f"openid {scope}")["access_token"]
    with flow.gatepost.work() as work, pytest.raises(InsufficientScope):
        require_bearer_token(work, f"Bearer {token}", {}, {}, scope=needed)
