"""The refresh token grant: rotation, the window for a lost answer, reuse, and scope."""

from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from server.domain import refresh_rotation
from server.domain.key_rotation import rotate_key
from server.infra.keyring import create_keyring, load_keyring
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, flow_of, jwt_claims

REFUSED = {"error": "invalid_grant", "error_description": "The refresh token is not valid."}


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def refresh_token_of(flow: Flow, **changes: str | None) -> str:
    token: str = flow.tokens(**changes)["refresh_token"]
    return token


def refreshed(flow: Flow, token: str, **changes: str | None) -> dict[str, str]:
    response = flow.refresh(token, **changes)
    assert response.status_code == 200, response.text
    document: dict[str, str] = response.get_json()
    return document


def assert_refused(response: TestResponse) -> None:
    assert response.status_code == 400
    assert response.get_json() == REFUSED
    assert response.headers["Cache-Control"] == "no-store"


def assert_family_is_dead(flow: Flow, *tokens: str) -> None:
    for token in tokens:
        assert_refused(flow.refresh(token))
    assert flow.gatepost.audit_rows("grant.revoked")[-1].details["reason"] == "refresh_token_reused"
    assert len(flow.gatepost.audit_rows("refresh_token.reused")) == 1


# Rotation ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 6749 §6", "RFC 9700 §4.14.2", "OpenID Connect Core §12.2")
def test_every_token_is_new_when_a_refresh_token_is_used(flow: Flow) -> None:
    first = flow.tokens()
    flow.gatepost.clock.advance(10)
    response = flow.refresh(first["refresh_token"])
    assert response.headers.getlist("Cache-Control") == ["no-store"]
    second = response.get_json()
    assert set(second) == set(first)
    assert second["scope"] == first["scope"]
    for name in ("access_token", "refresh_token", "id_token"):
        assert second[name] != first[name]
    old, new = jwt_claims(first["id_token"]), jwt_claims(second["id_token"])
    for name in ("iss", "sub", "aud", "auth_time", "sid", "acr", "amr"):
        assert new[name] == old[name], name
    assert new["iat"] == old["iat"] + 10
    assert type(new["aud"]) is type(old["aud"]) is str
    assert "nonce" not in new
    row = flow.gatepost.audit_rows("refresh_token.rotated")[-1]
    assert (row.client_id, row.user_id) == (flow.client.id, old["sub"])


def test_chain_goes_on_when_each_successor_is_used(flow: Flow) -> None:
    token = refresh_token_of(flow)
    seen = {token}
    for _ in range(5):
        flow.gatepost.clock.advance(86400)
        token = refreshed(flow, token)["refresh_token"]
        seen.add(token)
    assert len(seen) == 6
    assert "refresh_token.reused" not in flow.gatepost.audit_events()


def test_tokens_are_stored_as_digests_when_they_are_issued(flow: Flow) -> None:
    first = refresh_token_of(flow)
    second = refreshed(flow, first)
    with flow.gatepost.work() as work:
        stored = str(work.db.connection().exec_driver_sql("SELECT * FROM refresh_tokens").fetchall())
    for secret in (first, second["refresh_token"], second["access_token"], second["id_token"]):
        assert secret not in stored


# The window for a lost answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 1, 30])
def test_same_answer_is_given_again_when_the_client_retries_in_time(flow: Flow, seconds: int) -> None:
    token = refresh_token_of(flow)
    first = flow.refresh(token)
    flow.gatepost.clock.advance(seconds)
    for _ in range(3):
        again = flow.refresh(token)
        assert again.status_code == 200
        assert again.get_data() == first.get_data()
        assert again.headers["Cache-Control"] == "no-store"
    assert flow.gatepost.audit_events().count("refresh_token.rotated") == 1
    assert flow.gatepost.audit_events().count("token.issued") == 1
    assert flow.gatepost.audit_events().count("refresh_token.replayed") == 3
    assert refreshed(flow, first.get_json()["refresh_token"])


def test_family_dies_when_the_retry_comes_after_31_seconds(flow: Flow) -> None:
    first = flow.tokens()
    second = refreshed(flow, first["refresh_token"])
    flow.gatepost.clock.advance(31)
    assert_refused(flow.refresh(first["refresh_token"]))
    assert_family_is_dead(flow, second["refresh_token"], first["refresh_token"])
    for token in (first["access_token"], second["access_token"]):
        headers = {"Authorization": f"Bearer {token}"}
        assert flow.browser.get("/oauth/userinfo", headers=headers).status_code == 401


def test_family_dies_when_the_predecessor_comes_back_after_its_successor_was_used(flow: Flow) -> None:
    first = refresh_token_of(flow)
    second = refreshed(flow, first)["refresh_token"]
    third = refreshed(flow, second)["refresh_token"]
    assert_refused(flow.refresh(first))
    assert_family_is_dead(flow, second, third)


def test_family_dies_when_the_retry_asks_for_another_scope(flow: Flow) -> None:
    first = refresh_token_of(flow)
    second = refreshed(flow, first)["refresh_token"]
    assert_refused(flow.refresh(first, scope="openid"))
    assert_family_is_dead(flow, second)


def test_family_dies_when_the_retry_asks_for_more_than_was_granted(flow: Flow) -> None:
    first = refresh_token_of(flow)
    second = refreshed(flow, first)["refresh_token"]
    assert_refused(flow.refresh(first, scope="openid phone"))
    assert_family_is_dead(flow, second)


def test_same_answer_is_given_again_when_the_retry_names_the_same_scope(flow: Flow) -> None:
    token = refresh_token_of(flow)
    first = flow.refresh(token, scope="openid email")
    assert flow.refresh(token, scope="email openid").get_data() == first.get_data()


def test_family_dies_when_another_client_presents_a_spent_token(flow: Flow) -> None:
    other = flow_of(flow.gatepost, client_id="other")
    first = refresh_token_of(flow)
    second = refreshed(flow, first)["refresh_token"]
    assert_refused(other.refresh(first))
    assert_family_is_dead(flow, second)
    (reuse,) = flow.gatepost.audit_rows("refresh_token.reused")
    assert reuse.client_id == flow.client.id
    assert reuse.details["presented_by"] == "other"


def test_there_is_no_second_chance_when_the_window_is_switched_off(make_gatepost: GatepostMaker) -> None:
    flow = flow_of(make_gatepost(refresh_replay_window=0))
    first = refresh_token_of(flow)
    second = refreshed(flow, first)["refresh_token"]
    assert_refused(flow.refresh(first))
    assert_family_is_dead(flow, second)


def test_other_families_live_on_when_one_dies(flow: Flow) -> None:
    kept, lost = refresh_token_of(flow), refresh_token_of(flow)
    refreshed(flow, lost)
    flow.gatepost.clock.advance(31)
    assert_refused(flow.refresh(lost))
    assert refreshed(flow, kept)


# Who may use it ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 6749 §6")
def test_token_is_refused_and_not_spent_when_another_client_presents_it(flow: Flow) -> None:
    token = refresh_token_of(flow)
    for other in (flow_of(flow.gatepost, client_id="other"), flow_of(flow.gatepost, "spa", client_id="public")):
        assert_refused(other.refresh(token))
    assert refreshed(flow, token)
    assert "refresh_token.reused" not in flow.gatepost.audit_events()


@pytest.mark.parametrize("token", ["rt_" + "x" * 43, "garbage", "\0", "é", "ac_" + "x" * 43])
def test_token_is_refused_when_it_is_none_of_ours(flow: Flow, token: str) -> None:
    flow.tokens()
    assert_refused(flow.refresh(token))


def test_other_kinds_of_token_are_refused_when_presented_as_refresh_tokens(flow: Flow) -> None:
    code = flow.code()
    tokens = flow.tokens()
    for other in (code, tokens["access_token"], tokens["id_token"]):
        assert_refused(flow.refresh(other))


@pytest.mark.spec("RFC 6749 §5.2")
def test_request_is_refused_when_the_token_is_missing(flow: Flow) -> None:
    response = flow.post_token(grant_type="refresh_token")
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_request"


def test_client_is_unauthorized_when_it_was_not_registered_for_the_grant(flow: Flow) -> None:
    token = refresh_token_of(flow)
    flow.gatepost.change_client(flow.client.id, grant_types=["authorization_code"])
    assert flow.refresh(token).get_json()["error"] == "unauthorized_client"
    flow.gatepost.change_client(flow.client.id, grant_types=["authorization_code", "refresh_token"])
    assert refreshed(flow, token)


def test_token_is_refused_and_not_spent_when_the_person_is_disabled(flow: Flow) -> None:
    token = refresh_token_of(flow)
    flow.gatepost.change_user(flow.email, disabled_at=flow.gatepost.clock.now())
    assert_refused(flow.refresh(token))
    flow.gatepost.change_user(flow.email, disabled_at=None)
    assert refreshed(flow, token)


def test_token_lives_on_when_the_person_signs_out_only_with_offline_access(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",), refresh_token_policy="always")
    online, offline = refresh_token_of(flow, scope="openid"), refresh_token_of(flow, scope="openid offline_access")
    page = flow.browser.get("/logout")
    flow.submit(page, "/logout", decision="sign_out")
    assert_refused(flow.refresh(online))
    assert refreshed(flow, offline)
    assert flow.gatepost.audit_rows("grant.revoked")[-1].details["reason"] == "signed_out"


# Time -------------------------------------------------------------------------------------------------------------


def test_token_dies_to_the_second_when_it_is_not_used_or_the_grant_is_old(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(refresh_token_idle_lifetime=1000, refresh_token_lifetime=2500)
    flow = flow_of(gatepost)
    token = refresh_token_of(flow)
    gatepost.clock.advance(999)
    token = refreshed(flow, token)["refresh_token"]
    gatepost.clock.advance(1000)
    assert_refused(flow.refresh(token))
    token = refresh_token_of(flow)
    for _ in range(2):
        gatepost.clock.advance(999)
        token = refreshed(flow, token)["refresh_token"]
    gatepost.clock.advance(501)
    token = refreshed(flow, token)["refresh_token"]
    gatepost.clock.advance(1)
    assert_refused(flow.refresh(token))


@pytest.mark.spec("OpenID Connect Core §11")
def test_token_dies_with_the_session_when_offline_access_was_not_granted(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(session_lifetime=5000, session_idle_lifetime=5000)
    flow = flow_of(gatepost, refresh_token_policy="always")
    online, offline = refresh_token_of(flow, scope="openid"), refresh_token_of(flow, scope="openid offline_access")
    gatepost.clock.advance(4999)
    online = refreshed(flow, online)["refresh_token"]
    gatepost.clock.advance(1)
    assert_refused(flow.refresh(online))
    assert refreshed(flow, offline)


# Scope ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 6749 §6")
def test_family_keeps_its_scope_when_one_refresh_asks_for_less(flow: Flow) -> None:
    token = refresh_token_of(flow)
    narrow = refreshed(flow, token, scope="email")
    assert narrow["scope"] == "email"
    assert jwt_claims(narrow["access_token"])["scope"] == "email"
    assert "id_token" not in narrow
    full = refreshed(flow, narrow["refresh_token"])
    assert full["scope"] == "openid email offline_access profile"
    assert "id_token" in full


@pytest.mark.parametrize("scope", ["openid phone", "admin", "é", '"'])
@pytest.mark.spec("RFC 6749 §6")
def test_token_is_not_spent_when_more_is_asked_than_was_granted(flow: Flow, scope: str) -> None:
    token = refresh_token_of(flow)
    response = flow.refresh(token, scope=scope)
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_scope"
    assert refreshed(flow, token)


@pytest.mark.parametrize(
    ("granted", "asked", "given"),
    [
        ("notes:*", "notes:read", "notes:read"),
        ("notes:*", "notes:*", "notes:*"),
        ("root", "notes:read notes:write", "notes:read notes:write"),
        ("notes:read notes:write", "notes:read", "notes:read"),
    ],
)
@pytest.mark.spec("RFC 6749 §6", "INV-07")
def test_less_is_given_when_what_was_granted_covers_or_implies_it(
    make_gatepost: GatepostMaker, granted: str, asked: str, given: str
) -> None:
    flow = flow_with(make_gatepost, granted)
    narrow = refreshed(flow, refresh_token_of(flow), scope=asked)
    assert narrow["scope"] == jwt_claims(narrow["access_token"])["scope"] == given
    full = refreshed(flow, narrow["refresh_token"])
    assert set(full["scope"].split()) == {"openid", "offline_access", *granted.split()}


@pytest.mark.parametrize(
    ("granted", "asked"),
    [
        ("notes:*", "notes:unheard-of"),
        ("notes:*", "*"),
        ("*", "email"),
        ("root", "users:read"),
        ("root", "*"),
        ("notes:read notes:write", "notes:*"),
    ],
)
@pytest.mark.spec("RFC 6749 §6", "INV-07")
def test_token_is_not_spent_when_what_was_granted_does_not_cover_what_is_asked(
    make_gatepost: GatepostMaker, granted: str, asked: str
) -> None:
    flow = flow_with(make_gatepost, granted)
    token = refresh_token_of(flow)
    assert flow.refresh(token, scope=asked).get_json()["error"] == "invalid_scope"
    assert refreshed(flow, token)


def flow_with(make_gatepost: GatepostMaker, scope: str) -> Flow:
    """One whose tokens have `scope`, beside what keeps them while the person is away."""
    root = {"sentence": "Do everything", "implies": ["*"]}
    own = {"notes:read": "Read your notes", "notes:write": "Change your notes", "root": root}
    flow = flow_of(make_gatepost(scopes=own))
    flow.scope = f"openid offline_access {scope}"
    flow.gatepost.change_client(flow.client.id, scope=f"openid offline_access email {scope}")
    return flow


# Without rotation -------------------------------------------------------------------------------------------------


def test_token_stays_the_same_when_the_client_does_not_rotate(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, rotate_refresh_tokens=False)
    token = refresh_token_of(flow)
    access_tokens = set()
    for _ in range(4):
        gatepost.clock.advance(20 * 86400)
        answer = refreshed(flow, token)
        assert "refresh_token" not in answer
        access_tokens.add(answer["access_token"])
    assert len(access_tokens) == 4
    assert "refresh_token.rotated" not in gatepost.audit_events()
    gatepost.clock.advance(30 * 86400)
    assert_refused(flow.refresh(token))


def test_spent_tokens_stay_spent_when_rotation_is_switched_off_later(flow: Flow) -> None:
    first = refresh_token_of(flow)
    second = refreshed(flow, first)["refresh_token"]
    flow.gatepost.change_client(flow.client.id, rotate_refresh_tokens=False)
    flow.gatepost.clock.advance(31)
    assert_refused(flow.refresh(first))
    assert_family_is_dead(flow, second)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_same_answer_is_computed_again_when_another_process_serves_the_retry(flow: Flow, algorithm: str) -> None:
    """Nothing of the answer is kept, so nothing has to be found."""
    flow.gatepost.change_client(
        flow.client.id, access_token_signed_response_alg=algorithm, id_token_signed_response_alg=algorithm
    )
    token = refresh_token_of(flow)
    first = flow.refresh(token)
    flow.gatepost.runtime.registry_cache.forget()
    flow.gatepost.runtime.parsed_keys.clear()
    flow.gatepost.clock.advance(1)
    with flow.gatepost.work() as work:
        rotate_key(work, algorithm)
    assert flow.refresh(token).get_data() == first.get_data()


def test_successor_is_told_by_nobody_who_has_the_token_but_not_the_keyring(
    make_gatepost: GatepostMaker, tmp_path: Path
) -> None:
    flow = flow_of(make_gatepost())
    token = refresh_token_of(flow)
    successor = refreshed(flow, token)["refresh_token"]
    create_keyring(tmp_path / "other")
    other = load_keyring(tmp_path / "other")
    mine = flow.gatepost.runtime.keyring
    derived = [refresh_rotation._derive(ring, ring.active, token)[0] for ring in (mine, other)]
    assert derived[0] == successor
    assert derived[1] != successor
