"""Invitations: good once, for one address, within what the inviter may give; the link is nobody's but the invited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import select

from server.domain import invitations
from server.domain.audit_events import AuditEvent
from server.domain.audit_records import AuditRecord
from server.domain.errors import Conflict, Denied, DomainError, Expired, Invalid, NotFound, TooMany
from server.domain.invitations import (
    Invitation,
    accept_invitation,
    find_invitation,
    get_invitation,
    invite,
    link_of,
    list_invitations,
    resend_invitation,
    revoke_invitation,
    state_of,
)
from server.domain.memberships import (
    add_member,
    change_role,
    find_membership,
    get_membership,
    list_memberships,
    remove_member,
    suspend_membership,
)
from server.domain.organizations import Organization, create_organization, suspend_organization
from server.domain.outgoing_mail import OutgoingMail, lease_next
from server.domain.roles import create_role, delete_role, update_role
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import User, disable_user, get_user
from tests.domain.factories import audited, last_audited, make_user
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

BOB = "bob@example.com"
WEEK = 7 * 86400


@pytest.fixture
def ada(work: UnitOfWork) -> User:
    return get_user(work, "ada@example.com")


@pytest.fixture
def acme(work: UnitOfWork, ada: User) -> Organization:
    return create_organization(work, "Acme", owner=ada)


def shown(work: UnitOfWork, organization: Organization, role: str = "developer", inviter: User | None = None) -> str:
    """The token of a new invitation for Bob where no mail is configured."""
    _, token = invite(work, organization, BOB, role, inviter)
    assert token is not None
    return token


def by(work: UnitOfWork, token: str) -> Invitation:
    found = find_invitation(work, token)
    assert found is not None
    return found


def test_person_becomes_a_member_when_they_accept(work: UnitOfWork, acme: Organization, ada: User) -> None:
    invitation, token = invite(work, acme, " Bob@Example.com ", "developer", ada)
    assert token is not None
    assert (invitation.email, invitation.invited_by, invitation.sent_at) == ("Bob@Example.com", ada.id, None)
    assert link_of(work, token) == f"http://localhost:8000/invitations/{token}"
    assert by(work, token) is invitation
    assert state_of(invitation, work.now) == "open"
    membership = accept_invitation(work, invitation, make_user(work, BOB))
    assert (membership.organization_id, membership.role) == (acme.id, "developer")
    assert state_of(invitation, work.now) == "accepted"
    row = last_audited(work, AuditEvent.INVITATION_ACCEPTED)
    assert (row.organization_id, row.user_id) == (acme.id, membership.user_id)
    assert row.details["membership_id"] == membership.id
    with pytest.raises(Conflict):
        accept_invitation(work, invitation, get_user(work, BOB))
    assert len(audited(work, AuditEvent.INVITATION_ACCEPTED)) == len(audited(work, AuditEvent.INVITATION_CREATED)) == 1


@pytest.mark.parametrize("email", ["", "nobody", "a@b@c", "a b@example.com", "a\nb@example.com", "@example.com"])
def test_invitation_is_refused_when_the_address_is_none(work: UnitOfWork, acme: Organization, email: str) -> None:
    with pytest.raises(Invalid) as refusal:
        invite(work, acme, email, "member", None)
    assert refusal.value.field == "email"


def test_invitation_is_refused_for_members_for_the_invited_and_to_no_role(work: UnitOfWork, acme: Organization) -> None:
    with pytest.raises(Invalid) as refusal:
        invite(work, acme, BOB, "nothing", None)
    assert refusal.value.field == "role"
    with pytest.raises(Conflict, match="member"):
        invite(work, acme, "ADA@example.com", "member", None)
    first = by(work, shown(work, acme))
    with pytest.raises(Conflict, match="invited already"):
        invite(work, acme, "BOB@example.com", "member", None)
    revoke_invitation(work, first)
    shown(work, acme)
    other = create_organization(work, "Other")
    shown(work, other)
    suspend_organization(work, other)
    with pytest.raises(Denied):
        invite(work, other, "carl@example.com", "member", None)


def test_person_is_invited_again_when_the_first_invitation_expired(
    work: UnitOfWork, acme: Organization, clock: FrozenClock
) -> None:
    old = by(work, shown(work, acme))
    clock.advance(WEEK)
    new = by(work, shown(work, acme))
    assert [state_of(each, work.now) for each in (old, new)] == ["expired", "open"]
    assert [each.id for each in list_invitations(work, acme.id)] == [new.id, old.id]


def test_invitations_are_counted_when_somebody_invites_the_whole_world(
    work: UnitOfWork, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "_MOST_OPEN", 3)
    for number in range(3):
        invite(work, acme, f"person{number}@example.com", "member", None)
    with pytest.raises(Conflict, match="3 open invitations"):
        invite(work, acme, BOB, "member", None)
    invite(work, create_organization(work, "Other"), BOB, "member", None)


def test_invitation_is_found_by_its_link_and_in_its_organization_only(work: UnitOfWork, acme: Organization) -> None:
    token = shown(work, acme)
    invitation, other = by(work, token), create_organization(work, "Other")
    assert get_invitation(work, acme.id, invitation.id) is invitation
    with pytest.raises(NotFound):
        get_invitation(work, other.id, invitation.id)
    assert list_invitations(work, other.id) == []
    for presented in ("", "x", token[:-1], token + "x", invitation.id, invitation.token_digest, token.upper()):
        assert find_invitation(work, presented) is None


def test_link_is_kept_as_a_digest_and_told_to_no_log(work: UnitOfWork, acme: Organization) -> None:
    token = shown(work, acme)
    assert token not in str(vars(by(work, token)))
    rows = work.db.scalars(select(AuditRecord)).all()
    assert token not in str([row.details for row in rows])
    # Nor the address: audit rows outlive the person's account.
    assert BOB not in str([row.details for row in rows])


@pytest.mark.spec("E-06")
def test_acceptance_is_refused_to_somebody_else(work: UnitOfWork, acme: Organization) -> None:
    invitation, eve = by(work, shown(work, acme)), make_user(work, "eve@example.com")
    with pytest.raises(Denied, match=BOB):
        accept_invitation(work, invitation, eve)
    assert find_membership(work, acme.id, eve.id) is None
    assert state_of(invitation, work.now) == "open"


def test_acceptance_is_refused_when_it_is_over(work: UnitOfWork, acme: Organization, clock: FrozenClock) -> None:
    bob = make_user(work, BOB)
    invitation = by(work, shown(work, acme))
    clock.advance(WEEK - 1)
    assert state_of(invitation, work.now) == "open"
    clock.advance(1)
    with pytest.raises(Expired):
        accept_invitation(work, invitation, bob)
    invitation = by(work, shown(work, acme))
    revoke_invitation(work, invitation)
    with pytest.raises(Conflict, match="revoked"):
        accept_invitation(work, invitation, bob)
    invitation = by(work, shown(work, acme))
    suspend_organization(work, acme)
    with pytest.raises(Denied, match="suspended"):
        accept_invitation(work, invitation, bob)
    assert find_membership(work, acme.id, bob.id) is None
    assert audited(work, AuditEvent.INVITATION_ACCEPTED) == []


def test_acceptance_is_refused_when_the_role_is_gone_or_the_person_in(work: UnitOfWork, acme: Organization) -> None:
    bob = make_user(work, BOB)
    role = create_role(work, acme, "releaser", ["users:read"], maker_rights=None)
    invitation = by(work, shown(work, acme, "releaser"))
    delete_role(work, role)
    with pytest.raises(Conflict, match="no longer exists"):
        accept_invitation(work, invitation, bob)
    revoke_invitation(work, invitation)
    invitation = by(work, shown(work, acme))
    add_member(work, acme, bob, "member")
    with pytest.raises(Conflict, match="member"):
        accept_invitation(work, invitation, bob)
    assert state_of(invitation, work.now) == "open"


@pytest.mark.spec("E-06")
def test_acceptance_is_refused_when_another_role_has_the_name_now(
    work: UnitOfWork, acme: Organization, clock: FrozenClock
) -> None:
    bob = make_user(work, BOB)
    role = create_role(work, acme, "releaser", ["users:read"], maker_rights=None)
    invitation = by(work, shown(work, acme, "releaser"))
    delete_role(work, role)
    clock.advance(1)
    create_role(work, acme, "releaser", ["users:read", "users:write"], maker_rights=None)
    with pytest.raises(Conflict, match="no longer exists"):
        accept_invitation(work, invitation, bob)


def lose_rights(work: UnitOfWork, acme: Organization, inviter: User, how: str) -> None:
    membership = get_membership(work, acme.id, inviter.id)
    match how:
        case "removed":
            remove_member(work, membership)
        case "suspended":
            suspend_membership(work, membership)
        case "disabled":
            disable_user(work, inviter)
        case "may no longer invite":
            change_role(work, membership, "developer")


@pytest.mark.spec("K-12")
@pytest.mark.parametrize("how", ["removed", "suspended", "disabled", "may no longer invite"])
@pytest.mark.spec("E-06")
def test_acceptance_is_refused_when_the_inviter_lost_their_rights(
    work: UnitOfWork, acme: Organization, how: str
) -> None:
    inviter, bob = make_user(work, "inviter@example.com"), make_user(work, BOB)
    add_member(work, acme, inviter, "admin")
    invitation = by(work, shown(work, acme, "member", inviter))
    lose_rights(work, acme, inviter, how)
    with pytest.raises(Denied, match="can no longer"):
        accept_invitation(work, invitation, bob)
    assert find_membership(work, acme.id, bob.id) is None


@pytest.mark.spec("K-11")
def test_acceptance_is_refused_when_the_role_outgrew_the_inviter(work: UnitOfWork, acme: Organization) -> None:
    inviter, bob = make_user(work, "inviter@example.com"), make_user(work, BOB)
    add_member(work, acme, inviter, "admin")
    role = create_role(work, acme, "releaser", ["users:read"], maker_rights=None)
    invitation = by(work, shown(work, acme, "releaser", inviter))
    update_role(work, role, permissions=["organizations:delete"], maker_rights=None)
    with pytest.raises(Denied, match="can no longer"):
        accept_invitation(work, invitation, bob)
    update_role(work, role, permissions=["users:write"], maker_rights=None)
    accept_invitation(work, invitation, bob)


def test_old_link_opens_nothing_when_the_invitation_is_sent_again(
    work: UnitOfWork, acme: Organization, clock: FrozenClock
) -> None:
    old = shown(work, acme)
    invitation = by(work, old)
    clock.advance(WEEK + 1)
    new = resend_invitation(work, invitation)
    assert new is not None
    assert find_invitation(work, old) is None
    assert by(work, new) is invitation
    assert state_of(invitation, work.now) == "open"
    (row,) = audited(work, AuditEvent.INVITATION_RESENT)
    assert (row.organization_id, row.details["invitation_id"]) == (acme.id, invitation.id)
    accept_invitation(work, invitation, make_user(work, BOB))
    with pytest.raises(Conflict, match="accepted"):
        resend_invitation(work, invitation)


def test_invitation_is_taken_back_once_and_not_after_it_was_accepted(work: UnitOfWork, acme: Organization) -> None:
    invitation = by(work, shown(work, acme))
    for _ in range(2):
        revoke_invitation(work, invitation)
    assert [row.organization_id for row in audited(work, AuditEvent.INVITATION_REVOKED)] == [acme.id]
    assert list_invitations(work, acme.id) == []
    with pytest.raises(Conflict, match="revoked"):
        resend_invitation(work, invitation)
    invitation = by(work, shown(work, acme))
    accept_invitation(work, invitation, make_user(work, BOB))
    with pytest.raises(Conflict, match="accepted already"):
        revoke_invitation(work, invitation)


def test_nothing_can_be_done_when_the_invitation_is_gone(work: UnitOfWork, acme: Organization) -> None:
    invitation = by(work, shown(work, acme))
    work.db.delete(invitation)
    work.db.flush()
    for act in (resend_invitation, revoke_invitation):
        with pytest.raises(NotFound):
            act(work, invitation)


def test_link_is_mailed_and_shown_to_nobody_when_mail_is_configured(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(smtp_url="smtp://localhost", issuer_name="Example ID")
    with gatepost.work() as work:
        ada = get_user(work, "ada@example.com")
        acme = create_organization(work, "Acme", owner=ada)
        invitation, token = invite(work, acme, BOB, "developer", ada)
        assert (token, invitation.sent_at) == (None, work.now)
        with pytest.raises(TooMany) as refusal:
            resend_invitation(work, invitation)
        assert refusal.value.retry_after == 60
        gatepost.clock.advance(60)
        assert resend_invitation(work, invitation) is None
        assert invitation.sent_at == work.now
        mails = [lease_next(work), lease_next(work)]
    links = []
    for leased in mails:
        assert leased is not None
        assert leased.message is not None
        assert (leased.recipient, leased.message.subject) == (BOB, "Join Acme on Example ID")
        assert "Ada Example invites you to join Acme on Example ID, as: Developer." in leased.message.text
        links += [line for line in leased.message.text.splitlines() if line.startswith("http://localhost:8000/")]
    assert len(set(links)) == 2
    with gatepost.work() as work:
        assert find_invitation(work, links[0].rpartition("/")[2]) is None
        assert by(work, links[1].rpartition("/")[2]).id == invitation.id


def test_no_mail_waits_when_the_invitation_was_not_committed(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(smtp_url="smtp://localhost")
    with gatepost.work() as work:
        invite(work, create_organization(work, "Acme"), BOB, "member", None)
        work.db.rollback()
    with gatepost.work() as work:
        assert work.db.scalars(select(OutgoingMail)).all() == []


@pytest.fixture
def deployment(database_url: str, tmp_path: Path) -> Iterator[Gatepost]:
    gatepost = Gatepost(tmp_path, database_url=database_url)
    yield gatepost
    gatepost.close()


def at_once(deployment: Gatepost, count: int, act: Callable[[UnitOfWork], object]) -> list[str]:
    """What became of the same act in as many transactions at once."""
    together = Barrier(count)

    def run(_: int) -> str:
        with deployment.work() as work:
            if deployment.engine.dialect.name == "postgresql":
                together.wait(10)
            try:
                act(work)
            except DomainError as error:
                work.db.rollback()
                return type(error).__name__
        return "done"

    with ThreadPoolExecutor(count) as pool:
        return sorted(pool.map(run, range(count)))


@pytest.mark.spec("E-06")
def test_one_membership_is_made_when_an_invitation_is_accepted_many_times_at_once(deployment: Gatepost) -> None:
    with deployment.work() as work:
        acme = create_organization(work, "Acme")
        bob, token = make_user(work, BOB), shown(work, acme)

    outcomes = at_once(deployment, 6, lambda work: accept_invitation(work, by(work, token), bob))
    assert outcomes == [*["Conflict"] * 5, "done"]
    with deployment.work() as work:
        assert [user.email for _, user in list_memberships(work, acme.id)] == [BOB]
    assert len(deployment.audit_rows("invitation.accepted")) == len(deployment.audit_rows("membership.added")) == 1


def test_person_is_invited_once_when_many_do_at_once(deployment: Gatepost) -> None:
    with deployment.work() as work:
        acme = create_organization(work, "Acme")
    assert at_once(deployment, 4, lambda work: invite(work, acme, BOB, "member", None)) == [*["Conflict"] * 3, "done"]
    with deployment.work() as work:
        assert len(list_invitations(work, acme.id)) == 1


def test_invitation_is_accepted_or_taken_back_and_never_both_when_at_once(deployment: Gatepost) -> None:
    with deployment.work() as work:
        acme = create_organization(work, "Acme")
        bob, token = make_user(work, BOB), shown(work, acme)
    accepts = iter([True, False])

    def act(work: UnitOfWork) -> None:
        invitation = by(work, token)
        if next(accepts):
            accept_invitation(work, invitation, bob)
        else:
            revoke_invitation(work, invitation)

    assert at_once(deployment, 2, act) == ["Conflict", "done"]
    with deployment.work() as work:
        is_in = find_membership(work, acme.id, bob.id) is not None
        assert state_of(by(work, token), work.now) == ("accepted" if is_in else "revoked")
