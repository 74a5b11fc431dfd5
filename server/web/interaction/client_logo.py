"""A client's logo, handed on by us: the browser tells no stranger that the person is here (Registration §9.2)."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from datetime import datetime
from typing import Final

from flask import abort
from flask.wrappers import Response

from server.domain.client_logos import find_client_logo
from server.domain.clients import registered_client
from server.domain.fetch_payers import payer_of
from server.infra.outbound_http import FetchFailed, FetchRefused, Payer
from server.infra.turns import stepping_aside
from server.web.context import current_gatepost, current_work

log = logging.getLogger(__name__)

_MAXIMUM_BYTES: Final = 128 * 1024
_KEPT_LOGOS: Final = 50
#: For so long an image is kept, here and in browsers.
_MAX_AGE: Final = 86400
#: By how a file begins, whatever it calls itself. No SVG: it is a document with scripts.
_TYPES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
#: By URL: when it was fetched, and what was there.
_kept: OrderedDict[str, tuple[datetime, bytes]] = OrderedDict()
_lock = threading.Lock()


def client_logo(client_id: str) -> Response:
    """The image, if the client has one that can be had; what was uploaded here comes first."""
    work = current_work()
    client = registered_client(work, client_id)
    uploaded = find_client_logo(work, client_id) if client is not None else None
    if uploaded is not None:
        return _handed_on(uploaded, "image/png")
    if client is None or client.logo_uri is None:
        abort(404)
    url, payer = client.logo_uri, payer_of(client, "pages")
    if work.is_in_transaction:
        # Nothing was written, and nobody shall wait for a stranger's server.
        work.db.rollback()
    image = _image(url, payer)
    kind = _type_of(image) if image is not None else None
    if image is None or kind is None:
        abort(404)
    return _handed_on(image, kind)


def _handed_on(image: bytes, kind: str) -> Response:
    response = Response(image, mimetype=kind)
    response.headers["Cache-Control"] = f"private, max-age={_MAX_AGE}"
    return response


def _image(url: str, payer: Payer) -> bytes | None:
    runtime = current_gatepost().runtime
    image = _kept_image(url, runtime.clock.now())
    if image is not None:
        return image
    try:
        with stepping_aside():
            image = runtime.outbound_http.get_bytes(url, maximum_bytes=_MAXIMUM_BYTES, payer=payer)
    except (FetchRefused, FetchFailed) as error:
        log.info("a client's logo cannot be had: %s", error)
        return None
    with _lock:
        _kept[url] = runtime.clock.now(), image
        while len(_kept) > _KEPT_LOGOS:
            _kept.popitem(last=False)
    return image


def _kept_image(url: str, now: datetime) -> bytes | None:
    """What is kept of the URL, for a day: its owner may have changed it, or withdrawn it."""
    with _lock:
        fetched_at, image = _kept.get(url, (now, None))
        if not 0 <= (now - fetched_at).total_seconds() < _MAX_AGE:
            del _kept[url]
            return None
        if image is not None:
            _kept.move_to_end(url)
        return image


def _type_of(image: bytes) -> str | None:
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _TYPES if image.startswith(beginning)), None)
