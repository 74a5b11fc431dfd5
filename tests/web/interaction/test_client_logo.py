"""Clients' logos: handed on by us, as images only, and only of clients that have one."""

from collections.abc import Iterator

import pytest

from server.infra.outbound_http import FetchFailed, Payer
from server.web.interaction import client_logo
from tests.support.application import Gatepost
from tests.support.flow import Flow, flow_of

LOGO = "https://cdn.app.example/logo.png"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


class Pages:
    """What a stranger's server answers, in the place of the way out; it counts how often it is asked."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer, self.asked = answer, 0

    def get_bytes(self, url: str, *, maximum_bytes: int, payer: Payer) -> bytes:
        assert (url, maximum_bytes) == (LOGO, 128 * 1024)
        assert (payer.purpose, payer.is_operators) == ("pages", True)
        self.asked += 1
        if self.answer is None:
            raise FetchFailed("It does not answer.", None)
        return self.answer


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    client_logo._kept.clear()
    yield
    client_logo._kept.clear()


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    flow = flow_of(gatepost)
    gatepost.change_client(flow.client.id, logo_uri=LOGO)
    return flow


def serve(flow: Flow, answer: bytes | None) -> Pages:
    pages = Pages(answer)
    object.__setattr__(flow.gatepost.runtime, "outbound_http", pages)
    return pages


@pytest.mark.spec("F-06", "OpenID Connect Registration §9.2")
def test_login_page_shows_the_logo_from_our_own_address(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    assert f'<img src="/client-logo/{flow.client.id}" alt="">' in page.text
    assert "cdn.app.example" not in page.text
    assert "cdn.app.example" not in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF\0\0\0\0WEBPrest", "image/webp"),
    ],
)
def test_image_is_served_when_its_first_bytes_say_that_it_is_one(flow: Flow, image: bytes, kind: str) -> None:
    pages = serve(flow, image)
    for _ in range(2):
        answer = flow.browser.get(f"/client-logo/{flow.client.id}")
        assert (answer.status_code, answer.data, answer.mimetype) == (200, image, kind)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "private, max-age=86400"
    assert pages.asked == 1


@pytest.mark.parametrize(
    "answer", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>", b"", b"RIFF\0\0\0\0WAVE", None]
)
@pytest.mark.spec("F-06")
def test_nothing_is_served_when_it_is_no_image_or_cannot_be_had(flow: Flow, answer: bytes | None) -> None:
    serve(flow, answer)
    assert flow.browser.get(f"/client-logo/{flow.client.id}").status_code == 404


def test_nothing_is_asked_when_the_client_has_no_logo_or_is_none(flow: Flow) -> None:
    pages = serve(flow, PNG)
    flow.gatepost.change_client(flow.client.id, logo_uri=None)
    for client_id in (flow.client.id, "nobody", "x" * 200):
        assert flow.browser.get(f"/client-logo/{client_id}").status_code == 404
    assert pages.asked == 0


@pytest.mark.spec("F-06")
def test_image_is_asked_for_again_when_it_is_a_day_old(flow: Flow) -> None:
    pages, gif = serve(flow, PNG), b"GIF89a...."
    for answer, seconds, shown, asked in (
        (PNG, 0, PNG, 1),
        (gif, 86399, PNG, 1),
        (gif, 1, gif, 2),
        (PNG, -3600, PNG, 3),
        (None, 86400, None, 4),
        (gif, 1, gif, 5),
    ):
        pages.answer = answer
        flow.gatepost.clock.advance(seconds)
        response = flow.browser.get(f"/client-logo/{flow.client.id}")
        assert (response.data if response.status_code == 200 else None, pages.asked) == (shown, asked)


def test_few_logos_are_kept_when_there_are_many(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_logo, "_KEPT_LOGOS", 1)
    client_logo._kept["https://other.example/logo.png"] = (flow.gatepost.clock.now(), PNG)
    serve(flow, PNG)
    assert flow.browser.get(f"/client-logo/{flow.client.id}").status_code == 200
    assert list(client_logo._kept) == [LOGO]
