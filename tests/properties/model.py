"""What must happen: the whole server as a few rows in memory and the rules over them, without database or HTTP.

Moments are seconds since the start. Lifetimes are the settings' defaults.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

CODE_LIFETIME = 60
ACCESS_TOKEN_LIFETIME = 3600
REPLAY_WINDOW = 30
REFRESH_IDLE, REFRESH_LIFETIME = 30 * 86400, 180 * 86400
SESSION_IDLE, SESSION_LIFETIME = 86400, 14 * 86400
SEEN_RESOLUTION = 60
DAY = 86400


@dataclass(eq=False)
class Person:
    """Somebody with an account."""

    email: str
    id: str
    is_disabled: bool = False
    is_deleted: bool = False

    @property
    def is_usable(self) -> bool:
        return not (self.is_disabled or self.is_deleted)


@dataclass(eq=False)
class App:
    """A confidential client."""

    id: str
    redirect_uri: str
    secrets: dict[str, int | None]
    is_disabled: bool = False
    is_deleted: bool = False

    @property
    def is_usable(self) -> bool:
        return not (self.is_disabled or self.is_deleted)

    def is_proven_by(self, secret: str, now: int) -> bool:
        """Whether the client authenticates with this secret."""
        known = secret in self.secrets
        ends_at = self.secrets.get(secret)
        return self.is_usable and known and (ends_at is None or now < ends_at)

    def rotate_secrets(self, fresh: str, now: int, overlap: int) -> None:
        """Another secret; the others end after `overlap` seconds."""
        end = now + overlap
        self.secrets = {text: end if ends is None else min(ends, end) for text, ends in self.secrets.items()}
        self.secrets[fresh] = None


@dataclass(eq=False)
class SignedIn:
    """One person's session on one browser."""

    person: Person
    auth_time: int
    last_seen: int
    expires_at: int
    is_ended: bool = False
    #: What each app is told that it is called.
    sids: dict[str, str] = field(default_factory=dict)

    @property
    def ends_at(self) -> int:
        return self.auth_time + SESSION_LIFETIME

    def is_usable(self, now: int) -> bool:
        return not self.is_ended and now < self.expires_at and self.person.is_usable

    def touch(self, now: int) -> None:
        """The session was used."""
        if now - self.last_seen >= SEEN_RESOLUTION:
            self.last_seen = now
            self.expires_at = min(now + SESSION_IDLE, self.ends_at)


@dataclass(eq=False)
class Window:
    """One browser with the sessions on it; `current` answers requests."""

    sessions: list[SignedIn] = field(default_factory=list)
    current: SignedIn | None = None

    def sign_in(self, person: Person, now: int) -> SignedIn:
        """A new session in the stead of the person's earlier ones."""
        for known in self.sessions:
            if known.person is person:
                known.is_ended = True
        self.current = SignedIn(person, now, now, now + SESSION_IDLE)
        self.sessions.append(self.current)
        return self.current

    def answering(self, now: int) -> SignedIn | None:
        """The session that a request meets."""
        return self.current if self.current is not None and self.current.is_usable(now) else None

    def has_anybody(self, now: int) -> bool:
        """Whether somebody is signed in."""
        return any(known.is_usable(now) for known in self.sessions)

    def sign_out(self, grants: Iterable[Grant]) -> None:
        """Ends everything here, and what was granted for these sessions only."""
        ended = {known.person for known in self.sessions if not known.is_ended and not known.person.is_deleted}
        for known in self.sessions:
            known.is_ended = True
        for grant in grants:
            is_here = grant.session in self.sessions and grant.session.person in ended
            if is_here and "offline_access" not in grant.scopes:
                grant.is_revoked = True
        self.current = None


@dataclass(eq=False)
class Grant:
    """What one person allowed one client in one authorization."""

    app: App
    session: SignedIn
    scopes: frozenset[str]
    nonce: str
    created_at: int
    is_revoked: bool = False

    @property
    def person(self) -> Person:
        return self.session.person

    @property
    def expires_at(self) -> int:
        longest = self.created_at + REFRESH_LIFETIME
        return longest if "offline_access" in self.scopes else min(longest, self.session.ends_at)

    @property
    def exists(self) -> bool:
        return not (self.app.is_deleted or self.person.is_deleted)

    def is_usable(self, now: int) -> bool:
        return self.exists and not self.is_revoked and now < self.expires_at and self.person.is_usable


@dataclass(eq=False)
class Code:
    """An authorization code."""

    text: str
    grant: Grant
    issued_at: int
    is_spent: bool = False
    is_swept: bool = False

    def redeem(self, app: App, now: int, *, is_right: bool) -> bool:
        """Whether an authenticated redemption succeeds; spends the code, or ends everything at its second use."""
        is_known = self.grant.exists and not self.is_swept and self.grant.app is app
        is_late = not self.is_spent and now >= self.issued_at + CODE_LIFETIME
        if not is_known or is_late or not self.grant.is_usable(now) or not is_right:
            return False
        if self.is_spent:
            self.grant.is_revoked = True
            return False
        self.is_spent = True
        return True


@dataclass(eq=False)
class Refresh:
    """A refresh token and, once it is spent, the answer that a retry gets again."""

    text: str
    grant: Grant
    issued_at: int
    predecessor: Refresh | None = None
    spent_at: int | None = None
    answer: dict[str, Any] | None = None
    asked: frozenset[str] = frozenset()
    is_swept: bool = False

    @property
    def expires_at(self) -> int:
        return min(self.issued_at + REFRESH_IDLE, self.grant.expires_at)

    def is_live(self, now: int) -> bool:
        return (
            self.spent_at is None and now < self.expires_at and self.grant.is_usable(now) and self.grant.app.is_usable
        )

    def present(self, app: App, now: int, asked: frozenset[str]) -> str:
        """What an authenticated refresh comes to: `new`, `same`, `invalid_scope` or `invalid_grant`."""
        if not self.grant.exists or self.is_swept or not self.grant.is_usable(now):
            return "invalid_grant"
        wanted = asked or self.grant.scopes
        if self.spent_at is None:
            if self.grant.app is not app or now >= self.expires_at:
                return "invalid_grant"
            if not wanted <= self.grant.scopes:
                return "invalid_scope"
            self.spent_at, self.asked = now, wanted
            if self.predecessor is not None:
                self.predecessor.answer = None
            return "new"
        if self.answer and now - self.spent_at <= REPLAY_WINDOW and self.grant.app is app and wanted == self.asked:
            return "same"
        self.grant.is_revoked = True
        return "invalid_grant"


@dataclass(eq=False)
class Access:
    """An access token."""

    text: str
    grant: Grant
    scopes: frozenset[str]
    issued_at: int
    kid: str
    is_revoked: bool = False

    @property
    def expires_at(self) -> int:
        return min(self.issued_at + ACCESS_TOKEN_LIFETIME, self.grant.expires_at)

    def is_live(self, now: int, removed_keys: set[str]) -> bool:
        is_ours = not self.is_revoked and self.kid not in removed_keys and now < self.expires_at
        return is_ours and self.grant.is_usable(now) and self.grant.app.is_usable
