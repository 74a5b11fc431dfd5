"""Must the person be asked? Every combination of what the answer depends on."""

from __future__ import annotations

from itertools import product

import pytest

from server.domain.policy.consent_needed import ConsentQuestion, is_consent_needed, is_identity_assured

SUBSETS = ((), ("openid",), ("openid", "email"))


def question(**changes: object) -> ConsentQuestion:
    usual = {
        "asked": frozenset({"openid", "email"}),
        "remembered": frozenset({"openid", "email"}),
        "demanded": False,
        "first_party": False,
        "identity_assured": True,
        "answered": False,
    }
    return ConsentQuestion(**{**usual, **changes})  # type: ignore[arg-type]


def test_person_is_not_asked_when_everything_was_allowed_before() -> None:
    assert not is_consent_needed(question())
    assert not is_consent_needed(question(asked=frozenset({"openid"})))
    assert not is_consent_needed(question(asked=frozenset()))


def test_person_is_asked_when_something_is_new() -> None:
    assert is_consent_needed(question(remembered=frozenset({"openid"})))
    assert is_consent_needed(question(remembered=frozenset()))


@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_person_is_asked_again_when_the_client_demands_it() -> None:
    assert is_consent_needed(question(demanded=True))
    assert is_consent_needed(question(demanded=True, first_party=True))


@pytest.mark.spec("RFC 8252 §8.6")
def test_person_is_asked_every_time_when_another_program_could_pose_as_the_client() -> None:
    assert is_consent_needed(question(identity_assured=False))


def test_person_is_not_asked_when_the_application_is_the_deployments_own() -> None:
    assert not is_consent_needed(question(first_party=True, remembered=frozenset()))
    assert not is_consent_needed(question(first_party=True, remembered=frozenset(), identity_assured=False))


def test_person_is_asked_once_a_request() -> None:
    flags = product((False, True), repeat=3)
    for (demanded, first_party, assured), remembered in product(flags, SUBSETS):
        answered = question(
            answered=True,
            demanded=demanded,
            first_party=first_party,
            identity_assured=assured,
            remembered=frozenset(remembered),
        )
        assert not is_consent_needed(answered)


@pytest.mark.parametrize("demanded", [False, True])
@pytest.mark.parametrize("first_party", [False, True])
@pytest.mark.parametrize("assured", [False, True])
@pytest.mark.parametrize("remembered", SUBSETS)
@pytest.mark.parametrize("asked", SUBSETS)
def test_answer_follows_the_rule_in_every_combination(
    demanded: bool, first_party: bool, assured: bool, remembered: tuple[str, ...], asked: tuple[str, ...]
) -> None:
    needed = is_consent_needed(
        question(
            demanded=demanded,
            first_party=first_party,
            identity_assured=assured,
            remembered=frozenset(remembered),
            asked=frozenset(asked),
        )
    )
    is_new = len(asked) > len(remembered)  # The subsets above are nested.
    assert needed is (demanded or (not first_party and (not assured or is_new)))


@pytest.mark.parametrize(
    ("is_public", "is_native", "is_web_target", "gets_tokens", "expected"),
    [
        (True, True, False, False, False),
        (True, True, True, False, True),
        (False, True, False, False, True),
        # Its secret proves nothing where no code is redeemed.
        (False, True, False, True, False),
        (False, True, True, True, True),
        (False, False, False, True, True),
    ],
)
@pytest.mark.spec("RFC 8252 §8.6", "AZ-23")
def test_identity_is_assured_by_the_target_or_by_the_proof_that_redeeming_takes(
    is_public: bool, is_native: bool, is_web_target: bool, gets_tokens: bool, expected: bool
) -> None:
    found = is_identity_assured(
        is_public=is_public, is_native=is_native, is_web_target=is_web_target, gets_tokens=gets_tokens
    )
    assert found is expected
