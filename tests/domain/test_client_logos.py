"""Logos of clients: drawn anew when uploaded, remembered until they change."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from server.domain import client_logos
from server.domain.audit_events import AuditEvent
from server.domain.client_logos import (
    draw_logo,
    find_client_logo,
    logo_version,
    remove_client_logo,
    replace_client_logo,
)
from server.domain.clients import delete_client, get_client
from server.domain.errors import Invalid
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import audited, last_audited, make_client
from tests.support.application import Gatepost


def logo(colour: str = "green", side: int = 300) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "JPEG")
    return file.getvalue()


def test_logo_is_kept_drawn_anew_and_small(work: UnitOfWork) -> None:
    client = make_client(work)
    replace_client_logo(work, client, draw_logo(logo()))
    kept = find_client_logo(work, client.id)
    assert kept is not None
    assert Image.open(io.BytesIO(kept), formats=("PNG",)).size == (256, 256)
    row = last_audited(work, AuditEvent.CLIENT_LOGO_CHANGED)
    assert (row.client_id, row.details["bytes"], row.details["is_removed"]) == (client.id, len(kept), False)


def test_second_logo_takes_the_place_of_the_first(work: UnitOfWork) -> None:
    client = make_client(work)
    replace_client_logo(work, client, b"first")
    replace_client_logo(work, client, b"second")
    assert find_client_logo(work, client.id) == b"second"


def test_logo_is_forgotten_once(work: UnitOfWork) -> None:
    client = make_client(work)
    replace_client_logo(work, client, b"image")
    for _ in range(2):
        remove_client_logo(work, client)
    assert find_client_logo(work, client.id) is None
    assert [row.details["is_removed"] for row in audited(work, AuditEvent.CLIENT_LOGO_CHANGED)] == [False, True]


def test_logo_goes_with_its_client(work: UnitOfWork) -> None:
    client = make_client(work)
    replace_client_logo(work, client, b"image")
    client_id = client.id
    delete_client(work, client)
    assert find_client_logo(work, client_id) is None


def test_version_changes_with_the_logo_and_in_every_process(gatepost: Gatepost) -> None:
    client, _ = gatepost.add_client()

    def version() -> str | None:
        # As a request does that has begun no transaction: from what the process remembers.
        with gatepost.work() as work:
            return logo_version(work, client.id)

    seen = [version()]
    for image in (b"one", b"two", None):
        gatepost.clock.advance(1)
        with gatepost.work() as work:
            if image is None:
                remove_client_logo(work, get_client(work, client.id))
            else:
                replace_client_logo(work, get_client(work, client.id), image)
        seen.append(version())
        assert version() == seen[-1]
    assert seen[0] is None
    assert seen[3] is None
    assert None not in seen[1:3]
    assert seen[1] != seen[2]


@pytest.mark.parametrize(
    ("upload", "sentence"),
    [(b"", "Choose a file"), (b"no picture", "no picture"), (b"\0" * (512 * 1024 + 1), "512 KiB")],
)
def test_upload_is_refused_with_a_sentence(upload: bytes, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence) as refusal:
        draw_logo(upload)
    assert refusal.value.field == "logo"


def test_upload_is_not_opened_when_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_logos, "redraw_as_png", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(Invalid):
        draw_logo(b"\x89PNG" + b"\0" * client_logos.LARGEST_UPLOAD)
