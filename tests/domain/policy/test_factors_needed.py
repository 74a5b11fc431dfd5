"""Must the person sign in or choose first? Prompt, max_age and hint, alone and together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from server.domain.policy.factors_needed import Demand, Factor, SignIn, factor_needed

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def demand(
    *prompts: str, max_age: int | None = None, subject: str | None = None, account_chosen: bool = False
) -> Demand:
    return Demand(frozenset(prompts), max_age, subject, account_chosen)


def signed_in(seconds_ago: float = 60, user_id: str = "usr_1", *, for_this_request: bool = False) -> SignIn:
    return SignIn(user_id, NOON - timedelta(seconds=seconds_ago), for_this_request)


def test_nothing_is_missing_when_the_person_is_signed_in() -> None:
    assert factor_needed(demand(), signed_in(), NOON) is None
    assert factor_needed(demand("consent"), signed_in(), NOON) is None
    assert factor_needed(demand("none"), signed_in(), NOON) is None


def test_sign_in_is_missing_when_nobody_is_signed_in() -> None:
    for prompts in ((), ("none",), ("login",), ("consent",)):
        assert factor_needed(demand(*prompts), None, NOON) is Factor.LOGIN


@pytest.mark.spec("OpenID Connect Core §3.1.2.3")
def test_person_proves_themselves_again_when_the_client_wants_it() -> None:
    assert factor_needed(demand("login"), signed_in(0), NOON) is Factor.REAUTHENTICATION
    assert factor_needed(demand("login"), signed_in(0, for_this_request=True), NOON) is None


@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
@pytest.mark.parametrize(
    ("max_age", "seconds_ago", "factor"),
    [
        (None, 10**9, None),
        (60, 0, None),
        (60, 60, None),
        (60, 60.001, Factor.REAUTHENTICATION),
        (60, 61, Factor.REAUTHENTICATION),
        (1, 1, None),
        (0, 0, Factor.REAUTHENTICATION),
        (0, 1, Factor.REAUTHENTICATION),
    ],
)
def test_sign_in_is_too_old_when_max_age_says_so(
    max_age: int | None, seconds_ago: float, factor: Factor | None
) -> None:
    assert factor_needed(demand(max_age=max_age), signed_in(seconds_ago), NOON) is factor
    assert factor_needed(demand(max_age=max_age), signed_in(seconds_ago, for_this_request=True), NOON) is None


@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_account_is_chosen_first_when_the_client_wants_it() -> None:
    for sign_in in (None, signed_in(), signed_in(for_this_request=True)):
        assert factor_needed(demand("select_account"), sign_in, NOON) is Factor.ACCOUNT_CHOICE
        assert factor_needed(demand("select_account", "login"), sign_in, NOON) is Factor.ACCOUNT_CHOICE
    assert factor_needed(demand("select_account", account_chosen=True), signed_in(), NOON) is None
    assert factor_needed(demand("select_account", account_chosen=True), None, NOON) is Factor.LOGIN
    chosen = demand("select_account", "login", account_chosen=True)
    assert factor_needed(chosen, signed_in(), NOON) is Factor.REAUTHENTICATION


def test_another_person_signs_in_when_the_hint_names_them() -> None:
    assert factor_needed(demand(subject="usr_2"), signed_in(), NOON) is Factor.LOGIN
    assert factor_needed(demand(subject="usr_2"), signed_in(for_this_request=True), NOON) is Factor.LOGIN
    assert factor_needed(demand(subject="usr_1"), signed_in(), NOON) is None
    assert factor_needed(demand(subject="usr_1"), None, NOON) is Factor.LOGIN


def test_sign_in_for_this_request_satisfies_everything_but_another_subject_and_the_choice() -> None:
    fresh = signed_in(10**6, for_this_request=True)
    every = product((("login",), ("consent",), ("login", "consent"), ()), (None, 0, 1, 60), (None, "usr_1"))
    for prompts, max_age, subject in every:
        assert factor_needed(demand(*prompts, max_age=max_age, subject=subject), fresh, NOON) is None
