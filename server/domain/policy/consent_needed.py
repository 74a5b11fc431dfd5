"""Must the person be asked whether the client may? (OpenID Connect Core §3.1.2.4, RFC 8252 §8.6)"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConsentQuestion:
    """All that the answer depends on."""

    asked: frozenset[str]
    remembered: frozenset[str]
    #: `prompt=consent`: the client wants the person to be asked again.
    demanded: bool
    #: The deployment's own client, whose access is the operator's decision.
    first_party: bool
    #: Another program on the device could receive this redirect, so a remembered consent proves nothing.
    identity_assured: bool
    #: The person has answered this very request.
    answered: bool


def is_identity_assured(*, is_public: bool, is_native: bool, is_web_target: bool, gets_tokens: bool) -> bool:
    """Whether whoever gets the answer is the client.

    A redirect to a web site reaches nobody else. A confidential client proves itself when it redeems a code; tokens in
    the answer itself (`gets_tokens`) are whoever's gets it, and on a person's device that may be any program.
    """
    proves_itself = not is_public and not (is_native and gets_tokens)
    return is_web_target or proves_itself


def is_consent_needed(question: ConsentQuestion) -> bool:
    """Whether to show the consent page."""
    if question.answered:
        return False
    if question.demanded:
        return True
    if question.first_party:
        return False
    return not (question.identity_assured and question.asked <= question.remembered)
