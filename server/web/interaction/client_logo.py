"""A client's logo, handed on by us: the browser tells no stranger that the person is here (Registration §9.2)."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import Final

from flask import abort
from flask.wrappers import Response

from server.domain.clients import registered_client
from server.domain.fetch_payers import payer_of
from server.infra.outbound_http import FetchFailed, FetchRefused, Payer
from server.infra.turns import stepping_aside
from server.web.context import current_gatepost, current_work

log = logging.getLogger(__name__)

_MAXIMUM_BYTES: Final = 128 * 1024
_KEPT_LOGOS: Final = 50
_MAX_AGE: Final = 86400
#: By how a file begins, whatever it calls itself. No SVG: it is a document with scripts.
_TYPES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_kept: OrderedDict[str, bytes] = OrderedDict()
_lock = threading.Lock()


def client_logo(client_id: str) -> Response:
    """The image, if the client has one that can be had."""
    work = current_work()
    client = registered_client(work, client_id)
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
    response = Response(image, mimetype=kind)
    response.headers["Cache-Control"] = f"private, max-age={_MAX_AGE}"
    return response


def _image(url: str, payer: Payer) -> bytes | None:
    with _lock:
        if url in _kept:
            _kept.move_to_end(url)
            return _kept[url]
    try:
        with stepping_aside():
            outbound_http = current_gatepost().runtime.outbound_http
            image = outbound_http.get_bytes(url, maximum_bytes=_MAXIMUM_BYTES, payer=payer)
    except (FetchRefused, FetchFailed) as error:
        log.info("a client's logo cannot be had: %s", error)
        return None
    with _lock:
        _kept[url] = image
        while len(_kept) > _KEPT_LOGOS:
            _kept.popitem(last=False)
    return image


def _type_of(image: bytes) -> str | None:
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _TYPES if image.startswith(beginning)), None)
