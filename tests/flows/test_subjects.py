"""Whom a client sees: one `sub` for all clients, or one for each sector (OpenID Connect Core §8); never given twice."""

from __future__ import annotations

from typing import Any

import pytest

from server.domain.users import delete_user, get_user
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import basic
from tests.support.relying_party import RelyingParty, answer_in, jws_part, register, relying_party
from tests.support.stored_pages import StoredPages

ONE, TWO, THREE = "https://one.example/cb", "https://two.example/cb", "https://one.example/other"
SECTOR = "https://sector.example/clients.json"


@pytest.fixture
def provider(make_gatepost: GatepostMaker) -> Gatepost:
    gatepost = make_gatepost(registration="open")
    StoredPages({SECTOR: [ONE, TWO, THREE]}).put_into(gatepost)
    return gatepost


def pairwise(provider: Gatepost, *uris: str, **metadata: Any) -> RelyingParty:
    return relying_party(provider, subject_type="pairwise", redirect_uris=list(uris or (ONE,)), **metadata)


def subject(client: RelyingParty, **changes: str | None) -> str:
    return str(client.read(client.tokens(**changes)["id_token"]).claims["sub"])


def user_id(provider: Gatepost, email: str = "ada@example.com") -> str:
    with provider.work() as work:
        return get_user(work, email).id


# Public -----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("OpenID Connect Core §8", "INV-13")
def test_subject_is_the_same_for_all_clients_when_it_is_public(provider: Gatepost) -> None:
    clients = [relying_party(provider), relying_party(provider, subject_type="public", redirect_uris=[TWO])]
    assert clients[0].registration.get("subject_type", "public") == "public"
    assert {subject(client) for client in clients} == {user_id(provider)}


# Pairwise ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("OpenID Connect Core §8.1", "INV-13")
def test_subject_is_the_sectors_own_when_it_is_pairwise(provider: Gatepost) -> None:
    first, other = pairwise(provider, ONE), pairwise(provider, TWO)
    same_host, public = pairwise(provider, THREE), relying_party(provider)
    assert subject(first) == subject(same_host)
    assert len({subject(first), subject(other), subject(public)}) == 3


@pytest.mark.spec("OpenID Connect Core §8.1")
def test_subject_is_shared_when_clients_name_one_sector(provider: Gatepost) -> None:
    first = pairwise(provider, ONE, sector_identifier_uri=SECTOR)
    other = pairwise(provider, TWO, sector_identifier_uri=SECTOR)
    both = pairwise(provider, ONE, TWO, sector_identifier_uri=SECTOR)
    assert len({subject(first), subject(other), subject(both)}) == 1
    assert subject(first) != subject(pairwise(provider, ONE)), "the host of the URIs is another sector"


@pytest.mark.spec("OpenID Connect Core §8.1")
def test_sector_file_is_fetched_at_registration_and_not_at_sign_in(provider: Gatepost) -> None:
    pages = StoredPages({SECTOR: [ONE]}).put_into(provider)
    client = pairwise(provider, ONE, sector_identifier_uri=SECTOR)
    assert pages.asked == [SECTOR]
    subject(client)
    assert pages.asked == [SECTOR]


@pytest.mark.parametrize(
    ("uris", "metadata"),
    [
        ([ONE, TWO], {}),
        ([ONE, "https://four.example/cb"], {"sector_identifier_uri": SECTOR}),
        ([ONE], {"sector_identifier_uri": "https://sector.example/missing.json"}),
        ([ONE], {"sector_identifier_uri": "http://sector.example/clients.json"}),
        ([ONE], {"sector_identifier_uri": "https://127.0.0.1/clients.json"}),
        ([ONE], {"sector_identifier_uri": "sector.example"}),
    ],
)
@pytest.mark.spec("OpenID Connect Core §8.1", "OpenID Connect Dynamic Client Registration §5", "TK-24")
def test_registration_is_refused_when_the_sector_cannot_be_told(
    provider: Gatepost, uris: list[str], metadata: dict[str, str]
) -> None:
    response = register(provider, subject_type="pairwise", redirect_uris=uris, **metadata)
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_client_metadata"


@pytest.mark.spec("INV-13", "OpenID Connect Core §8.1")
def test_two_apps_on_localhost_do_not_know_a_person_by_one_name(provider: Gatepost) -> None:
    sectors = [f"https://{name}.example/clients.json" for name in ("one", "two")]
    uris = [f"http://127.0.0.1/{number}" for number in range(2)]
    native = {"application_type": "native", "subject_type": "pairwise"}
    for uri in uris:
        response = register(provider, redirect_uris=[uri], **native)
        assert (response.status_code, response.get_json()["error"]) == (400, "invalid_client_metadata")
    StoredPages(dict(zip(sectors, ([uri] for uri in uris), strict=True))).put_into(provider)
    clients = [
        relying_party(provider, redirect_uris=[uri], sector_identifier_uri=sector, **native)
        for uri, sector in zip(uris, sectors, strict=True)
    ]
    assert len({subject(client) for client in clients}) == 2


@pytest.mark.parametrize("page", ["no json", "{}", '"x"', "[5]", "[]", "null", "[" * 20000])
@pytest.mark.spec("OpenID Connect Core §8.1", "INV-41")
def test_registration_is_refused_when_the_sector_file_is_no_list_with_the_redirect_uris(
    provider: Gatepost, page: str
) -> None:
    StoredPages({SECTOR: page}).put_into(provider)
    response = register(provider, subject_type="pairwise", redirect_uris=[ONE], sector_identifier_uri=SECTOR)
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_client_metadata"


@pytest.mark.spec("OpenID Connect Core §8.1")
def test_subject_is_a_short_name_that_tells_nothing_when_it_is_pairwise(provider: Gatepost) -> None:
    found = subject(pairwise(provider))
    assert 16 <= len(found) <= 255
    assert found.isascii()
    assert found.isprintable()
    assert user_id(provider) not in found


@pytest.mark.spec("OpenID Connect Core §8.1", "OpenID Connect Core §5.3.2", "TK-20", "INV-16")
def test_every_place_tells_the_same_subject_when_it_is_pairwise(provider: Gatepost) -> None:
    client = pairwise(provider)
    answer = client.answer(response_type="code id_token token", scope="openid email")
    tokens = client.redeem(answer["code"]).get_json()
    own = client.read(answer["id_token"]).claims["sub"]
    told = [client.read(tokens["id_token"]).claims["sub"]]
    for token in (answer["access_token"], tokens["access_token"]):
        told += [client.userinfo(token).get_json()["sub"], client.read(token).claims["sub"]]
        told.append(client.ask("/oauth/introspect", token=token).get_json()["sub"])
    assert set(told) == {own}


@pytest.mark.spec("OpenID Connect Core §17.3", "OpenID Connect Core §8.1")
def test_no_token_or_answer_has_the_public_subject_when_the_client_is_pairwise(provider: Gatepost) -> None:
    client, hidden = pairwise(provider, userinfo_signed_response_alg="RS256"), user_id(provider)
    answer = client.answer(response_type="code id_token token", response_mode="jwt", scope="openid email")
    read = client.read(answer["response"]).claims
    tokens = client.redeem(read["code"]).get_json()
    seen = [tokens["id_token"], tokens["access_token"], read["id_token"], read["access_token"], answer["response"]]
    seen.append(client.userinfo(tokens["access_token"]).text)
    for token in seen:
        assert hidden.encode() not in jws_part(token, 1)
    assert hidden not in client.ask("/oauth/introspect", token=tokens["access_token"]).text


@pytest.mark.spec("OpenID Connect Core §8.1", "INV-13", "OpenID Connect Core §12.2")
def test_subject_stays_when_the_person_comes_back(provider: Gatepost) -> None:
    client = pairwise(provider)
    tokens = client.tokens(scope="openid offline_access", prompt="consent")
    first = client.read(tokens["id_token"]).claims["sub"]
    refreshed = client.refresh(tokens["refresh_token"]).get_json()
    assert client.userinfo(refreshed["access_token"]).get_json()["sub"] == first
    provider.clock.advance(30 * 86400)
    client.browser = provider.browser()
    assert subject(client) == first
    provider.change_user(client.email, name="Ada Changed")
    assert subject(client) == first


@pytest.mark.spec("OpenID Connect Core §2", "INV-13")
def test_subject_is_another_when_another_person_gets_the_address(provider: Gatepost) -> None:
    clients = [relying_party(provider), pairwise(provider)]
    before = [subject(client) for client in clients]
    with provider.work() as work:
        delete_user(work, get_user(work, clients[0].email))
    provider.add_user()
    for client in clients:
        client.browser = provider.browser()
    assert not set(before) & {subject(client) for client in clients}


@pytest.mark.spec("OpenID Connect Core §8.1")
def test_two_people_have_two_subjects_when_they_use_one_client(provider: Gatepost) -> None:
    client = pairwise(provider)
    first = subject(client)
    provider.add_user("bob@example.com")
    client.browser, client.email = provider.browser(), "bob@example.com"
    assert subject(client) != first


@pytest.mark.spec("OpenID Connect Core §8.1", "INV-13")
def test_subject_stays_when_it_is_first_met_in_an_answer_that_only_reads(provider: Gatepost) -> None:
    """A client that became pairwise asks with a token it had before, in either lane."""
    client = relying_party(provider)
    tokens = client.tokens(scope="openid offline_access", prompt="consent")
    provider.change_client(client.client.id, subject_type="pairwise")
    unusual = {"content_type": "application/x-www-form-urlencoded; charset=utf-8"}
    authentication = basic(client.client.id, client.secret or "")
    form = {"token": tokens["refresh_token"]}
    told = [
        provider.browser().post("/oauth/introspect", data=form, headers=authentication, **unusual),
        provider.browser().post("/oauth/introspect", data=form, headers=authentication),
        provider.browser().post("/oauth/userinfo", data={"access_token": tokens["access_token"]}),
        client.userinfo(tokens["access_token"]),
    ]
    subjects = {answer.get_json()["sub"] for answer in told}
    assert len(subjects) == 1
    assert user_id(provider) not in subjects


@pytest.mark.spec("OpenID Connect Core §8.1", "INV-13", "TK-24")
def test_another_sectors_name_is_not_learnt_when_a_client_moves_its_redirect_uris_there(provider: Gatepost) -> None:
    """Whoever has a token already could otherwise ask what the people of another owner's clients are called."""
    victim, mover = pairwise(provider, ONE), pairwise(provider, TWO)
    known_to_the_victim = subject(victim)
    tokens = mover.tokens(scope="openid offline_access", prompt="consent")
    own = {"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}
    document = {name: value for name, value in mover.registration.items() if name not in own}
    headers = {"Authorization": f"Bearer {mover.registration['registration_access_token']}"}
    path = f"/oauth/register/{mover.client.id}"
    refused = mover.browser.put(path, json={**document, "redirect_uris": [ONE]}, headers=headers)
    assert (refused.status_code, refused.get_json()["error"]) == (400, "invalid_redirect_uri")
    told = [mover.userinfo(tokens["access_token"]).get_json(), mover.refresh(tokens["refresh_token"]).get_json()]
    if "id_token" in told[1]:
        told.append(mover.read(told[1]["id_token"]).claims)
        told.append(mover.userinfo(told[1]["access_token"]).get_json())
    assert known_to_the_victim not in [each.get("sub") for each in told]


# Coming back as a hint --------------------------------------------------------------------------------------------


@pytest.mark.spec("OpenID Connect Core §3.1.2.1", "AZ-22")
def test_hint_is_understood_when_its_subject_is_pairwise(provider: Gatepost) -> None:
    client = pairwise(provider)
    hint = client.tokens(scope="openid")["id_token"]
    assert "code" in answer_in(client.authorize(scope="openid", prompt="none", id_token_hint=hint))
    claims = f'{{"id_token":{{"sub":{{"value":"{client.read(hint).claims["sub"]}"}}}}}}'
    assert "code" in answer_in(client.authorize(scope="openid", prompt="none", claims=claims))


@pytest.mark.spec("OpenID Connect Core §3.1.2.1", "AZ-22", "INV-28")
def test_hint_of_another_client_or_person_is_no_key_when_it_is_brought(provider: Gatepost) -> None:
    client, other = pairwise(provider), pairwise(provider, TWO)
    other.browser = client.browser
    foreign = other.tokens(scope="openid")["id_token"]
    client.tokens(scope="openid")
    assert "error" in answer_in(client.authorize(scope="openid", prompt="none", id_token_hint=foreign))
    subject_of_other = other.read(foreign).claims["sub"]
    for value in (subject_of_other, user_id(provider)):
        claims = f'{{"id_token":{{"sub":{{"value":"{value}"}}}}}}'
        answer = answer_in(client.authorize(scope="openid", prompt="none", claims=claims))
        assert answer["error"] == "login_required", "another sector's name and the public one mean nothing here"


@pytest.mark.spec("OpenID Connect RP-Initiated Logout §2")
def test_person_is_signed_out_when_the_hint_has_a_pairwise_subject(provider: Gatepost) -> None:
    goodbye = "https://one.example/bye"
    client = pairwise(provider, post_logout_redirect_uris=[goodbye])
    hint = client.tokens(scope="openid")["id_token"]
    query = {"id_token_hint": hint, "post_logout_redirect_uri": goodbye, "state": "x"}
    response = client.browser.get("/logout", query_string=query)
    assert response.headers.get("Location") == f"{goodbye}?state=x"
    assert answer_in(client.authorize(scope="openid", prompt="none"))["error"] == "login_required"
