"""Who asks: a bearer credential, or a person signed in on our own pages who proves that the request is theirs.

A credential is taken from the Authorization header alone (RFC 6750 §2.1). Whatever else it may be carried in, other
people's logs, caches and pages get to see: one found in the URL is refused and leaves a row.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Literal

from flask import request

from server.domain import audit_log
from server.domain.actor import ActorKind
from server.domain.api_keys import ApiKey
from server.domain.audit_events import AuditEvent
from server.domain.clients import Client
from server.domain.policy.environments import Environment
from server.domain.scopes import Rights
from server.domain.sessions import Session, touch_session
from server.domain.users import User
from server.infra import secrets
from server.infra.database import commit_before_raising
from server.protocol.credentials import CredentialRefused, VerifiedCredential, verify_credential
from server.web.api.carriers import check_carriers
from server.web.api.error_answers import Refusal
from server.web.api.operation import WRITING
from server.web.context import act_as, current_work
from server.web.csrf import csrf_token, is_same_origin
from server.web.person import SignedIn, is_recent, signed_in

log = logging.getLogger(__name__)

CSRF_PURPOSE: Final = "api"
CSRF_HEADER: Final = "X-CSRF-Token"
CallerKind = Literal["user", "client", "api_key"]


@dataclass(frozen=True)
class Caller:
    """Whoever asks, proven."""

    kind: CallerKind
    #: The `sub` of a token, the id of a key, of a client, or of a person at our own pages.
    subject: str
    #: What the credential was given; None for a session, which may do what its person may.
    rights: Rights | None = None
    #: The organization that the credential belongs to; None where the person's memberships decide.
    organization_id: str | None = None
    #: The world that the credential belongs to; None where the request says which one.
    environment: Environment | None = None
    #: The person who asks; for a key whoever made it.
    user: User | None = None
    session: Session | None = None
    credential: VerifiedCredential | None = None

    @property
    def key(self) -> ApiKey | None:
        """The API key, also the one behind a token that it was exchanged for."""
        return self.credential.key.key if self.credential is not None and self.credential.key is not None else None

    @property
    def client(self) -> Client | None:
        """The application that asks, for itself or for a person."""
        return self.credential.client if self.credential is not None else None

    @property
    def scope_set(self) -> frozenset[str]:
        """The scopes of a token."""
        return self.credential.scope_set if self.credential is not None else frozenset()

    @property
    def identity(self) -> str:
        """What its requests are told apart by from all others'."""
        if self.key is not None:
            return f"api_key:{self.key.id}"
        if self.client is not None:
            return f"client:{self.client.id}:{self.subject}"
        return f"user:{self.subject}"

    @property
    def account(self) -> str:
        """What its requests are counted under: a client chooses the subjects of its own tokens, and is one account."""
        if self.kind == "client" and self.client is not None:
            return f"client:{self.client.id}"
        return self.identity

    @property
    def is_short_lived(self) -> bool:
        """Whether the credential is a key that ends, or what one was exchanged for."""
        if self.key is None or self.credential is None:
            return False
        return self.credential.kind != "api_key" or self.key.expires_at is not None


def authenticate() -> Caller:
    """The caller; this request's work is theirs from now on.

    Raises:
        Refusal: 401 without a valid credential.
    """
    work = current_work()
    presented = check_carriers(work, request.environ, request.args.items(multi=True), request.endpoint or "unknown")
    if presented is not None:
        return _by_bearer(presented)
    person = _by_session()
    if person is None:
        raise unauthorized("Send an API key or an access token: Authorization: Bearer …")
    return person


def check_recent(caller: Caller) -> None:
    """Refuses a session that is too old for what would hurt most in somebody else's hands.

    Raises:
        Refusal: 403 with the sentence that helps.
    """
    if caller.session is not None and not is_recent(caller.session):
        raise Refusal(403, "This needs a sign-in of the last 15 minutes. Sign in again, then repeat it.")


def unauthorized(sentence: str, error: str | None = None) -> Refusal:
    """401 and the challenge (RFC 6750 §3); without any credential the challenge has no code."""
    challenge = f'Bearer realm="{current_work().settings.issuer}"'
    if error is not None:
        challenge += f', error="{error}"'
    return Refusal(401, sentence, {"WWW-Authenticate": challenge})


def note_refusal(caller: Caller, reason: str, **details: str | None) -> None:
    """Leaves the row that a refusal must leave, although the request changes nothing."""
    work = current_work()
    # A transaction that was begun for reading cannot write.
    work.db.rollback()
    place = {"organization_id": caller.organization_id, "environment": caller.environment}
    audit_log.record_soon(work, AuditEvent.API_REQUEST_REFUSED, **{**place, "reason": reason, **details})
    commit_before_raising(work.db)
    if caller.key is not None:
        work.runtime.usage.note_failure("api_key", caller.key.id, reason, work.actor)


def _by_bearer(presented: str) -> Caller:
    try:
        credential = verify_credential(current_work(), presented)
    except CredentialRefused as error:
        log.info("refused: %s", error.reason)
        raise unauthorized("The credential is malformed, unknown, expired or revoked.", "invalid_token") from error
    caller = _caller_of(credential)
    act_as(*_actor_of(caller))
    return caller


def _caller_of(credential: VerifiedCredential) -> Caller:
    kind: CallerKind = "client" if credential.user is None else "user"
    user = credential.user
    if credential.key is not None:
        kind, user = "api_key", credential.key.owner
    return Caller(
        kind,
        credential.subject,
        credential.rights,
        credential.organization_id,
        "test" if credential.environment == "test" else "live",
        user,
        credential=credential,
    )


def _actor_of(caller: Caller) -> tuple[ActorKind, str]:
    if caller.key is not None:
        return "api_key", caller.key.id
    if caller.user is not None:
        return "user", caller.user.id
    return "client", caller.client.id if caller.client is not None else caller.subject


def _by_session() -> Caller | None:
    """The person of our own pages: a cookie alone proves nothing, as browsers send it with anybody's request."""
    presented = request.headers.get(CSRF_HEADER)
    found: SignedIn | None = signed_in() if presented is not None else None
    if presented is None or found is None:
        return None
    if not is_same_origin() or not _is_ours(presented):
        raise Refusal(403, f"{CSRF_HEADER} is not this session's. Reload the page and try again.")
    act_as("user", found.user.id)
    if request.method in WRITING:
        touch_session(current_work(), found.session)
    return Caller("user", found.user.id, user=found.user, session=found.session)


def _is_ours(presented: str) -> bool:
    return secrets.equal(presented, csrf_token(CSRF_PURPOSE))
