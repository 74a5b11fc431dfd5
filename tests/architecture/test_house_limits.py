"""The sizes the house keeps to. An exception is listed with its reason, and goes when it is no longer needed."""

from collections.abc import Mapping

import pytest

from tests.support.source import Function, relative, server_files, server_functions

FILE_LINES = 300
FUNCTION_LINES = 60
FUNCTION_LINES_P90 = 25
PARAMETERS = 6
VIEW_LINES = 40

LONG_FILES: dict[str, str] = {
    "server/config.py": "every knob once, each with its default and its sentence; there is nothing to cut it by",
}
LONG_FUNCTIONS: dict[str, str] = {}
MANY_PARAMETERS: dict[str, str] = {}
LONG_VIEWS: dict[str, str] = {}


def check(found: Mapping[str, int], limit: int, exceptions: Mapping[str, str]) -> None:
    """Fail for whatever is over the limit without a reason, and for a reason without anything over the limit."""
    over = {place: size for place, size in found.items() if size > limit}
    assert {place: size for place, size in over.items() if place not in exceptions} == {}
    assert [place for place in exceptions if place not in over] == [], "exceptions that are no longer needed"


def views() -> list[Function]:
    """Functions of the faces that answer a request: public, at the top of a module of a face."""
    return [
        function
        for function in server_functions()
        if function.path.startswith("server/web/")
        and function.path.count("/") > 2
        and "." not in function.name
        and not function.name.startswith("_")
    ]


def test_files_are_short() -> None:
    sizes = {relative(path): len(path.read_text("utf-8").splitlines()) for path in server_files()}
    check(sizes, FILE_LINES, LONG_FILES)


def test_functions_are_short() -> None:
    check({function.place: function.lines for function in server_functions()}, FUNCTION_LINES, LONG_FUNCTIONS)


def test_nine_functions_of_ten_fit_on_half_a_screen() -> None:
    sizes = sorted(function.lines for function in server_functions())
    assert sizes[len(sizes) * 9 // 10] <= FUNCTION_LINES_P90


def test_functions_take_few_parameters() -> None:
    check({function.place: len(function.parameters) for function in server_functions()}, PARAMETERS, MANY_PARAMETERS)


def test_views_are_thin() -> None:
    check({function.place: function.lines for function in views()}, VIEW_LINES, LONG_VIEWS)


@pytest.mark.parametrize("exceptions", [LONG_FILES, LONG_FUNCTIONS, MANY_PARAMETERS, LONG_VIEWS])
def test_every_exception_has_a_reason(exceptions: dict[str, str]) -> None:
    assert all(len(reason) > 20 for reason in exceptions.values())
