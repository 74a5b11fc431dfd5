"""Keys that were found where anybody can read them: those of ours are revoked at once, and their owners told.

A report is a list of texts that look like keys, in the form of GitHub's secret scanning; its signature is checked in
`domain/leak_report_signature.py` before anything here happens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from sqlalchemy import select

from server.domain.api_key_mail import mail_about_key
from server.domain.api_keys import ApiKey, mac_of, record, revoke_api_key
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict
from server.domain.policy import api_key_format
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.used_assertions import use_with_the_act
from server.infra import secrets

#: How long the same report is not taken again.
_MEMORY: Final = timedelta(days=30)
#: No client has an id with a space in it.
_SENDER: Final = "leak report"
_MAXIMUM_SHOWN: Final = 500
REASON: Final = "leaked"


@dataclass(frozen=True)
class LeakedToken:
    """A text that was found, and where."""

    token: str
    #: What the scanner calls this form of text.
    type: str = ""
    url: str = ""
    #: In what kind of place.
    source: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the text is to us."""

    token: LeakedToken
    label: Literal["true_positive", "false_positive"]
    #: None where it is no key of ours.
    key_id: str | None = None


def use_leak_report(work: UnitOfWork, body: bytes) -> None:
    """Uses up a report, whose signature was found right: sent again, it says nothing new.

    Raises:
        Conflict: when it was taken before.
    """
    if not use_with_the_act(work, _SENDER, hashlib.sha256(body).hexdigest(), work.now + _MEMORY):
        raise Conflict("This report was received before.")


def report_leaked_keys(work: UnitOfWork, tokens: Sequence[LeakedToken]) -> list[Verdict]:
    """Revokes those that are keys of ours and says of each which it is; owners are told of theirs."""
    return [_judge(work, token) for token in tokens]


def _judge(work: UnitOfWork, token: LeakedToken) -> Verdict:
    key = _find(work, token.token)
    if key is None:
        return Verdict(token, "false_positive")
    if is_usable(work.now, key):
        _end(work, key, token)
    return Verdict(token, "true_positive", key.id)


def _find(work: UnitOfWork, text: str) -> ApiKey | None:
    """The key of this text, whatever its state; nobody but who read the whole of it can name it."""
    parsed = api_key_format.parse(work.settings.api_key_prefixes.values(), text)
    if parsed is None:
        return None
    key = work.db.scalars(select(ApiKey).where(ApiKey.public_id == parsed.public_id)).one_or_none()
    keyring = work.runtime.keyring
    if key is None or key.pepper not in keyring.names:
        return None
    return key if secrets.equal(key.secret_mac, mac_of(keyring, key.pepper, text)) else None


def _end(work: UnitOfWork, key: ApiKey, token: LeakedToken) -> None:
    revoke_api_key(work, key, REASON)
    where = {"url": _shown(token.url, token.token), "source": _shown(token.source, token.token)}
    record(work, AuditEvent.API_KEY_LEAKED, key, **where)
    mail_about_key(
        work,
        key,
        f"The API key {key.name} was found in public and is revoked",
        "Somebody found it where anybody can read it, so it was revoked at once: whatever uses it is refused.\n\n"
        + (f"It was found here: {where['url']}\n\n" if where["url"] else "")
        + "Make a new key, and look in the audit log for what the old one was used for.",
    )


def _shown(text: str, token: str) -> str:
    """The text as far as it can stand in a log: on one line, not endless, and without the key itself."""
    return "".join(each for each in text.replace(token, "…") if each.isprintable())[:_MAXIMUM_SHOWN]
