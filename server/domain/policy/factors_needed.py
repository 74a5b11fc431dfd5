"""Must the person sign in, or choose an account, before this request can go on? (OpenID Connect Core §3.1.2.3)"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Factor(StrEnum):
    """What is still missing."""

    LOGIN = "login"
    REAUTHENTICATION = "reauthentication"
    ACCOUNT_CHOICE = "account_choice"


@dataclass(frozen=True)
class SignIn:
    """The session that would answer the request."""

    user_id: str
    auth_time: datetime
    #: Whether the person proved who they are since the request arrived, in answer to it.
    for_this_request: bool


@dataclass(frozen=True)
class Demand:
    """What the request asks of the sign-in."""

    prompts: frozenset[str]
    max_age: int | None
    #: The subject of a verified `id_token_hint`.
    subject: str | None
    account_chosen: bool


def factor_needed(demand: Demand, sign_in: SignIn | None, now: datetime) -> Factor | None:
    """The first thing still missing, or None when the sign-in satisfies the request."""
    if "select_account" in demand.prompts and not demand.account_chosen:
        return Factor.ACCOUNT_CHOICE
    if sign_in is None:
        return Factor.LOGIN
    if demand.subject is not None and demand.subject != sign_in.user_id:
        return Factor.LOGIN
    if sign_in.for_this_request:
        return None
    if "login" in demand.prompts:
        return Factor.REAUTHENTICATION
    if demand.max_age is not None and (now - sign_in.auth_time).total_seconds() > demand.max_age:
        return Factor.REAUTHENTICATION
    # max_age=0 asks for a fresh sign-in even in the second of the last one.
    return Factor.REAUTHENTICATION if demand.max_age == 0 else None
