"""What the plans are run with: response types, response modes, and where the client comes from."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.suite import Variant

RESPONSE_TYPES = ("code", "id_token", "id_token token", "code id_token", "code token", "code id_token token")
#: Basic, Implicit and Hybrid, each also as Form Post, with dynamic registration; and one of each kind without.
EVERY = (
    *(Variant(response_type, mode) for response_type in RESPONSE_TYPES for mode in (None, "form_post")),
    *(Variant(response_type, registration="static") for response_type in ("code", "id_token", "code id_token token")),
    Variant("code", "form_post", "static"),
)
#: Those that a plain run takes; the others come with the slow tests.
USUAL = (
    Variant("code"),
    Variant("id_token"),
    Variant("code id_token token"),
    Variant("id_token token", "form_post"),
    Variant("code", registration="static"),
)
#: The Dynamic plan, one of each kind.
DYNAMIC = tuple(
    Variant(response_type, auth_method="private_key_jwt")
    for response_type in ("code", "id_token", "code id_token token")
)


def run_with(
    variants: tuple[Variant, ...] = EVERY, where: Callable[[Variant], bool] = lambda _: True
) -> pytest.MarkDecorator:
    """The test runs once with each of these variants; with `EVERY` all but the usual ones are slow together."""
    marked = [
        pytest.param(variant, marks=[pytest.mark.slow] if variants is EVERY and variant not in USUAL else [])
        for variant in variants
        if where(variant)
    ]
    return pytest.mark.parametrize("variant", marked, ids=str)


def has_code(variant: Variant) -> bool:
    """The token endpoint takes part."""
    return "code" in variant.words


def has_access_token(variant: Variant) -> bool:
    """The UserInfo endpoint takes part."""
    return variant.gives_access_token


def has_front_id_token(variant: Variant) -> bool:
    """An ID token comes from the authorization endpoint."""
    return "id_token" in variant.words


def registers(variant: Variant) -> bool:
    """The module is left out where the client is static."""
    return variant.registration == "dynamic"
