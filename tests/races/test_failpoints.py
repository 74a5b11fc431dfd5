"""Wherever a process is killed in a token request or a revocation, the database is consistent and the retry works.

`failpoints.py` beside this file finds the points and runs by hand too.
"""

import pytest

from tests.races import failpoints
from tests.support.source import server_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.spec("R-04")
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_every_point_is_consistent_when_the_process_is_killed_there(request: pytest.FixtureRequest, kind: str) -> None:
    url = request.getfixturevalue("postgres").create_database() if kind == "postgres" else None
    points, faults = failpoints.run(kind, url)
    assert faults == []
    for name, labels in points.items():
        assert labels[-1] == "before the response", name
        assert sum(label.startswith("after") for label in labels) >= 1, name
    if kind == "sqlite":
        # Its driver has several ways to run a statement; what spends a code goes another than what writes its grant.
        labels = points["code exchange"]
        assert [label for label in labels if label.startswith("before UPDATE authorization_codes")], labels
        assert [label for label in labels if label.startswith("before INSERT INTO")], labels


def test_no_statement_passes_the_hooks_by_when_it_reaches_the_database() -> None:
    # Whatever went to libpq directly would have no points around it.
    assert [path.name for path in server_files() if "pgconn" in path.read_text("utf-8")] == []
