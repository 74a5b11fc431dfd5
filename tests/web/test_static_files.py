"""Stylesheet, mark and the one script, and no other file of the machine."""

import pytest

from server.infra.resources import STATIC
from tests.support.application import Gatepost

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


@pytest.mark.parametrize("name", sorted(path.name for path in STATIC.iterdir()))
def test_file_is_served_with_its_type_and_a_lifetime_when_it_is_ours(gatepost: Gatepost, name: str) -> None:
    response = gatepost.browser().get(f"/static/{name}", buffered=True)
    assert response.status_code == 200
    assert response.get_data() == (STATIC / name).read_bytes()
    assert response.headers["Content-Type"] == KINDS["." + name.rpartition(".")[2]]
    assert response.headers["Cache-Control"] == "public, max-age=3600"
    assert "Vary" not in response.headers or "Cookie" not in response.headers["Vary"]
    unchanged = gatepost.browser().get(
        f"/static/{name}", headers={"If-None-Match": response.headers["ETag"]}, buffered=True
    )
    assert unchanged.status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "../layout.html",
        "..%2flayout.html",
        "%2e%2e/layout.html",
        "....//layout.html",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "gatepost.css%00",
        ".",
        "",
        "nope.css",
        "..\\layout.html",
    ],
)
def test_file_is_not_found_when_it_is_none_of_ours(gatepost: Gatepost, path: str) -> None:
    response = gatepost.browser().get(f"/static/{path}", headers={"Accept": "text/html"}, buffered=True)
    assert response.status_code == 404
    assert "Location" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"
