"""Deleting says what goes and what stays, does just that, and leaves an audit chain that still verifies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text

from server.domain import audit_chain
from server.domain.api_key_verification import KeyRefused, verify_api_key
from server.domain.audit_events import AuditEvent
from server.domain.audit_records import AuditRecord
from server.domain.client_logos import ClientLogo
from server.domain.client_secrets import issue_client_secret
from server.domain.clients import MAKER_GONE, find_client
from server.domain.consents import give_consent
from server.domain.credential_usage import CredentialNetwork, CredentialUsage
from server.domain.deletion import delete_client, delete_organization, delete_user, describe_deletion
from server.domain.errors import Conflict, NotFound
from server.domain.invitations import Invitation, invite, state_of
from server.domain.memberships import add_member, find_membership, list_memberships, list_memberships_of, remove_member
from server.domain.organizations import create_organization, find_organization, get_organization
from server.domain.outgoing_mail import OutgoingMail
from server.domain.roles import create_role
from server.domain.unit_of_work import UnitOfWork
from server.domain.usage_writing import flush_usage
from server.domain.users import find_user, get_user
from tests.domain.api_key_factories import coming_from, make_api_key, maker_of
from tests.domain.factories import (
    audited,
    last_audited,
    make_client,
    make_grant,
    make_refresh_token,
    make_session,
    make_user,
)
from tests.support.application import Gatepost

BOB = "bob@example.com"


@pytest.fixture
def deployment(database_url: str, tmp_path: Path) -> Iterator[Gatepost]:
    """A deployment on each kind of database, that sends mail."""
    gatepost = Gatepost(tmp_path, database_url=database_url, smtp_url="smtp://localhost")
    gatepost.add_user()
    yield gatepost
    gatepost.close()


class Firm:
    """An organization with some of everything, and people who use its application."""

    def __init__(self, work: UnitOfWork, name: str = "Acme") -> None:
        self.owner = get_user(work, "ada@example.com")
        self.organization = create_organization(work, name, owner=self.owner)
        self.member = make_user(work, f"member@{name.lower()}.example", name=f"Member of {name}")
        add_member(work, self.organization, self.member, "admin")
        create_role(work, self.organization, "releaser", ["users:read"], maker_rights=None)
        self.invitation, _ = invite(work, self.organization, BOB, "member", self.member)
        self.key, self.key_text = make_api_key(work, self.organization, maker_of(work, self.organization, self.member))
        self.operators_key, _ = make_api_key(work, self.organization)
        self.client = make_client(work, client_id=f"app-of-{name.lower()}")
        self.client.organization_id, self.client.created_by = self.organization.id, self.member.id
        work.db.flush()
        issue_client_secret(work, self.client)
        _, session = make_session(work, self.member)
        self.grant = make_grant(work, self.client, self.member, session=session)
        make_refresh_token(work, self.grant)
        give_consent(work, self.member.id, self.client.id, frozenset({"openid"}))
        self._use(work)

    def _use(self, work: UnitOfWork) -> None:
        verify_api_key(coming_from(work, "203.0.113.7"), self.key_text)
        work.runtime.usage.note_use("client", self.client.id, coming_from(work, "203.0.113.8").actor)
        flush_usage(work)


def everything(work: UnitOfWork, besides: frozenset[str] = frozenset({"audit_events", "audit_seals"})) -> str:
    """All rows of all tables but those of the audit log, as text."""
    work.db.flush()
    tables = sorted(set(inspect(work.db.connection()).get_table_names()) - besides)
    rows = [f"{table}: {row}" for table in tables for row in work.db.execute(text(f"SELECT * FROM {table}"))]
    return "\n".join(rows)


def seal_and_check(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        while audit_chain.may_be_more(work, audit_chain.seal(work)):
            pass
    with gatepost.work() as work:
        assert audit_chain.find_fault(work, None) is None
        assert audit_chain.find_head(work) is not None


def said_counts(sentences: list[str]) -> str:
    assert all((sentence.endswith(".") and sentence[0].isupper()) or sentence[0].isdigit() for sentence in sentences)
    return "\n".join(sentences)


def test_nothing_of_an_organization_is_left_when_it_is_deleted(deployment: Gatepost) -> None:
    with deployment.work() as work:
        acme, other = Firm(work), Firm(work, "Other")
        said = said_counts(describe_deletion(work, acme.organization))
    seal_and_check(deployment)
    with deployment.work() as work:
        assert said_counts(delete_organization(work, get_organization(work, acme.organization.id))) == said
    for sentence in (
        "2 memberships end; the people keep their accounts.",
        "2 API keys stop working at once and for good.",
        "1 application goes, with secrets and consents, and 1 grant with all tokens.",
        "1 role of its own and 1 invitation go.",
        acme.organization.id,
    ):
        assert sentence in said
    with deployment.work() as work:
        left = everything(work)
        for gone in (acme.organization.id, acme.key.id, acme.operators_key.id, acme.client.id, acme.grant.id):
            assert gone not in left
            assert gone not in (acme.owner.id, acme.member.id)
        for stays in (other.organization.id, other.key.id, other.client.id, other.grant.id, acme.member.id):
            assert stays in left
        with pytest.raises(KeyRefused):
            verify_api_key(work, acme.key_text)
        verify_api_key(work, other.key_text)
        assert [organization.id for _, organization in list_memberships_of(work, acme.owner.id)] == [
            other.organization.id
        ]
        row = last_audited(work, AuditEvent.ORGANIZATION_DELETED)
        assert row.organization_id == acme.organization.id
        assert {name: row.details[name] for name in ("members", "api_keys", "clients", "roles", "invitations")} == {
            "members": 2, "api_keys": 2, "clients": 1, "roles": 1, "invitations": 1,
        }  # fmt: skip
        assert len(audited(work, AuditEvent.ORGANIZATION_DELETED)) == len(audited(work, AuditEvent.CLIENT_DELETED)) == 1
        assert len(audited(work, AuditEvent.MEMBERSHIP_REMOVED)) == 2
    seal_and_check(deployment)


def test_nothing_of_a_person_is_left_but_what_they_made_for_others(deployment: Gatepost) -> None:
    with deployment.work() as work:
        acme = Firm(work)
        member = acme.member
        elsewhere = create_organization(work, "Elsewhere", owner=acme.owner)
        invite(work, elsewhere, member.email, "member", acme.owner)
        said = said_counts(describe_deletion(work, member))
    with deployment.work() as work:
        assert said_counts(delete_user(work, get_user(work, member.id))) == said
    for sentence in (
        "The account goes, with name, address and password, 1 session, 1 consent, 1 grant and all tokens.",
        "1 membership ends: Acme.",
        "1 API key of theirs stops working at once and for good.",
        "1 application stays with the organization, and may no longer manage it.",
        "1 invitation goes that was sent to their address",
        member.id,
    ):
        assert sentence in said
    with deployment.work() as work:
        left = everything(work)
        for gone in (member.id, member.email, "Member of Acme", acme.key.id, acme.grant.id):
            assert gone not in left
        client = find_client(work, acme.client.id)
        assert client is not None
        assert (client.organization_id, client.created_by) == (acme.organization.id, MAKER_GONE)
        assert acme.operators_key.id in left
        # What they offered to others nobody can accept: nobody vouches for it any more.
        (invitation,) = work.db.scalars(select(Invitation)).all()
        assert (invitation.email, state_of(invitation, work.now)) == (BOB, "revoked")
        with pytest.raises(KeyRefused):
            verify_api_key(work, acme.key_text)
        for event, count in {
            AuditEvent.USER_DELETED: 1, AuditEvent.MEMBERSHIP_REMOVED: 1, AuditEvent.API_KEY_REVOKED: 1,
            AuditEvent.INVITATION_REVOKED: 2,
        }.items():  # fmt: skip
            assert len(audited(work, event)) == count, event
        for row in work.db.scalars(select(AuditRecord)):
            assert member.email not in str(row.details)
            assert "Member of Acme" not in str(row.details)
    seal_and_check(deployment)


def test_nothing_of_a_client_is_left_when_it_is_deleted(deployment: Gatepost) -> None:
    with deployment.work() as work:
        acme = Firm(work)
        work.db.add(ClientLogo(client_id=acme.client.id, image=b"png", updated_at=work.now))
        said = said_counts(describe_deletion(work, acme.client))
        assert said_counts(delete_client(work, acme.client)) == said
    assert "1 consent and 1 grant of people go, with all tokens." in said
    with deployment.work() as work:
        left = everything(work)
        for gone in (acme.client.id, acme.grant.id):
            assert gone not in left
        for stays in (acme.organization.id, acme.member.id, acme.key.id):
            assert stays in left
        assert [row.client_id for row in audited(work, AuditEvent.CLIENT_DELETED)] == [acme.client.id]
    seal_and_check(deployment)


def test_traces_of_use_were_there_before_they_went(gatepost: Gatepost) -> None:
    """Or the tests above would find nothing because there was nothing."""
    with gatepost.work() as work:
        acme = Firm(work)
        for table in (CredentialUsage, CredentialNetwork):
            ids = set(work.db.scalars(select(table.credential_id)))
            assert ids == {acme.key.id, acme.client.id}, table
        before = everything(work)
        for there in (acme.organization.id, acme.key.id, acme.client.id, acme.grant.id, acme.member.email):
            assert there in before


def test_person_stays_when_an_organization_would_be_left_without_owner(work: UnitOfWork) -> None:
    ada = get_user(work, "ada@example.com")
    acme = create_organization(work, "Acme", owner=ada)
    with pytest.raises(Conflict, match="last owner of Acme"):
        delete_user(work, ada)
    assert find_user(work, ada.id) is ada
    assert find_membership(work, acme.id, ada.id) is not None
    assert audited(work, AuditEvent.USER_DELETED) == []
    add_member(work, acme, make_user(work, BOB), "owner")
    delete_user(work, ada)
    assert [user.email for _, user in list_memberships(work, acme.id)] == [BOB]


def test_sentences_say_so_when_there_is_nothing(work: UnitOfWork) -> None:
    acme = create_organization(work, "Acme")
    assert describe_deletion(work, acme)[:4] == [
        "No memberships end; the people keep their accounts.",
        "No API keys stop working at once and for good.",
        "No applications go, with secrets and consents, and no grants with all tokens.",
        "No roles of its own and no invitations go.",
    ]
    said = describe_deletion(work, make_user(work, BOB))
    assert said[1] == "No memberships end."
    assert len(describe_deletion(work, make_client(work))) == 3


@pytest.mark.spec("K-12")
def test_keys_stay_dead_when_a_removed_member_comes_back(work: UnitOfWork) -> None:
    acme = create_organization(work, "Acme", owner=get_user(work, "ada@example.com"))
    bob = make_user(work, BOB)
    membership = add_member(work, acme, bob, "admin")
    key, text = make_api_key(work, acme, maker_of(work, acme, bob))
    remove_member(work, membership)
    add_member(work, acme, bob, "admin")
    with pytest.raises(KeyRefused):
        verify_api_key(work, text)
    assert key.revoked_reason == "owner_removed"


@pytest.mark.parametrize("address", ["Member@Acme.example", "member@acme.example"])
def test_mail_to_a_deleted_person_no_longer_waits(make_gatepost: Callable[..., Gatepost], address: str) -> None:
    gatepost = make_gatepost(smtp_url="smtp://localhost")
    with gatepost.work() as work:
        ada = get_user(work, "ada@example.com")
        acme, person = create_organization(work, "Acme", owner=ada), make_user(work, "member@acme.example")
        invite(work, acme, address, "member", ada)
        invite(work, acme, BOB, "member", ada)
        delete_user(work, person)
        assert work.db.scalars(select(OutgoingMail.recipient)).all() == [BOB]


def test_organization_is_deleted_once_when_two_do_it(work: UnitOfWork) -> None:
    acme = create_organization(work, "Acme")
    delete_organization(work, acme)
    assert find_organization(work, acme.id) is None
    with pytest.raises(NotFound):
        delete_organization(work, acme)
    assert len(audited(work, AuditEvent.ORGANIZATION_DELETED)) == 1
