"""The URLs of `/v1`, without the prefix under which they are mounted."""

from __future__ import annotations

from typing import Final

from server.web.api import verify
from server.web.api.dispatch import view_of
from server.web.api.operations import OPERATIONS
from server.web.api.reference import openapi_document, show_reference
from server.web.transaction import View

_GET: Final = ("GET",)
#: A gateway asks with the method that it was asked with.
_EVERY_METHOD: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

#: Path, endpoint, methods, view.
URLS: Final[tuple[tuple[str, str, tuple[str, ...], View], ...]] = (
    *((each.path, each.endpoint, each.methods, view_of(each)) for each in OPERATIONS if each.name != "verify"),
    ("/verify", "api.verify", _EVERY_METHOD, verify.verify),
    # Envoy puts the path that it was asked for behind ours.
    ("/verify/<path:below>", "api.verify_below", _EVERY_METHOD, verify.verify),
    ("/verify.test/", "api.verify_test", _EVERY_METHOD, verify.verify),
    ("/verify.test/<path:below>", "api.verify_test_below", _EVERY_METHOD, verify.verify),
    ("/verify.any/", "api.verify_any", _EVERY_METHOD, verify.verify),
    ("/verify.any/<path:below>", "api.verify_any_below", _EVERY_METHOD, verify.verify),
    ("/openapi.json", "api.openapi_document", _GET, openapi_document),
    ("/reference", "api.reference", _GET, show_reference),
)
