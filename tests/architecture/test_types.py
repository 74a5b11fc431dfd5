"""Every function of the package says what it takes and what it returns; mypy checks that it is true."""

from tests.support.source import server_functions


def test_every_parameter_and_every_return_is_typed() -> None:
    untyped = [
        f"{function.place} ({', '.join(missing)})"
        for function in server_functions()
        if (
            missing := [each.arg for each in function.parameters if each.annotation is None]
            + (["return"] if function.node.returns is None else [])
        )
    ]
    assert untyped == []
