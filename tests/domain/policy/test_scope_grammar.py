"""What is a scope token? Every character, one by one."""

from __future__ import annotations

import pytest

from server.domain.policy.scope_grammar import is_scope_token


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
