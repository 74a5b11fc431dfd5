"""What is a scope token, every character one by one; what is a pattern, and what does it cover?"""

from __future__ import annotations

import pytest

from server.domain.policy.scope_grammar import covers, is_pattern, is_scope_token, meet


@pytest.mark.spec("RFC 6749 §3.3")
def test_every_character_is_allowed_as_the_grammar_says() -> None:
    for code in range(0x250):
        allowed = code == 0x21 or 0x23 <= code <= 0x5B or 0x5D <= code <= 0x7E
        assert is_scope_token(chr(code)) is allowed, hex(code)
        assert is_scope_token(f"a{chr(code)}b") is allowed, hex(code)


@pytest.mark.parametrize(("length", "is_good"), [(0, False), (1, True), (128, True), (129, False)])
def test_token_has_1_to_128_characters(length: int, is_good: bool) -> None:
    assert is_scope_token("a" * length) is is_good


def test_token_ends_where_the_text_does() -> None:
    assert not is_scope_token("openid\n")


@pytest.mark.parametrize(
    ("scope", "is_one"),
    [
        ("*", True),
        ("users:*", True),
        ("*:read", True),
        ("urn:firstquadrant:*:*:read", True),
        ("users:read", False),
        ("", False),
        ("users:re*", False),
        ("**", False),
        ("users:**", False),
    ],
)
def test_pattern_has_a_segment_that_is_a_star_and_nothing_else(scope: str, is_one: bool) -> None:
    assert is_pattern(scope) is is_one


@pytest.mark.parametrize(
    ("granted", "required", "is_covered"),
    [
        ("users:read", "users:read", True),
        ("users:read", "users:write", False),
        ("users:read", "Users:read", False),
        ("users:*", "users:read", True),
        ("users:*", "users:", True),
        ("users:*", "users:*", True),
        ("users:*", "users", False),
        ("users:*", "users:read:own", False),
        ("users:*", "roles:read", False),
        ("users:*", "*:read", False),
        ("users:*", "*", False),
        ("users:read", "users:*", False),
        ("urn:firstquadrant:*:*:read", "urn:firstquadrant:contacts:list:read", True),
        ("urn:firstquadrant:*:*:read", "urn:firstquadrant:contacts:*:read", True),
        ("urn:firstquadrant:*:*:read", "urn:firstquadrant:contacts:list:write", False),
        ("urn:firstquadrant:*:*:read", "urn:firstquadrant:contacts:read", False),
        ("urn:firstquadrant:*:*:read", "urn:other:contacts:list:read", False),
        ("*", "users", True),
        ("*", "users:read", True),
        ("*", "urn:firstquadrant:*:*:read", True),
        ("*", "*", True),
        ("*:*", "users:read", True),
        ("*:*", "users", False),
        ("users:re*", "users:read", False),
        ("users:re*", "users:re*", True),
    ],
)
def test_star_stands_for_one_segment_and_alone_for_everything(granted: str, required: str, is_covered: bool) -> None:
    assert covers(granted, required) is is_covered


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        ("users:*", "*:read", "users:read"),
        ("users:*", "users:read", "users:read"),
        ("users:*", "*", "users:*"),
        ("a:*:c", "*:b:*", "a:b:c"),
        ("a:*:*", "*:b:*", "a:b:*"),
        ("users:*", "roles:*", None),
        ("users:*", "users:read:own", None),
        ("users:read", "users:write", None),
        ("users:read", "users:read", "users:read"),
    ],
)
def test_meet_is_what_both_mean_from_either_side(left: str, right: str, both: str | None) -> None:
    assert meet(left, right) == both
    assert meet(right, left) == both
