"""Health: is the process alive, and can it serve?"""

from __future__ import annotations

from flask import jsonify
from flask.wrappers import Response

from server.domain import signing_keys
from server.infra import draining
from server.infra.database import OUTAGES, begin_reading, database
from server.infra.jose import SIGNING_ALGORITHMS
from server.infra.keyring import KeyringError
from server.web.context import current_work


def healthz() -> Response:
    """The process answers."""
    return jsonify(status="ok")


def readyz() -> Response:
    """The database answers and has the keys to sign with; 503 until then, and again once the server drains."""
    try:
        begin_reading(database.session)
        has_keys = all(signing_keys.signing_key(current_work(), algorithm) for algorithm in SIGNING_ALGORITHMS)
        is_ready = has_keys and not draining.is_draining()
    except (*OUTAGES, KeyringError, signing_keys.NoSigningKey):
        is_ready = False
    response = jsonify(status="ok" if is_ready else "unavailable")
    response.status_code = 200 if is_ready else 503
    return response
