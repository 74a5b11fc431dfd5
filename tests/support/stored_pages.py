"""Other people's servers, from memory: what stands in for `OutboundHttp` where no connection may be opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from server.infra.outbound_http import FetchFailed, OutboundHttp
from server.infra.remote_keys import RemoteKeys
from tests.support.application import Gatepost


class StoredPages:
    """Answers from `pages`, and remembers what was asked and posted."""

    def __init__(self, pages: Mapping[str, str | object] | None = None) -> None:
        self.pages: dict[str, str | object] = dict(pages or {})
        self.asked: list[str] = []
        self.posted: list[tuple[str, dict[str, str]]] = []

    def put_into(self, gatepost: Gatepost) -> StoredPages:
        """Takes the place of the deployment's own way out."""
        object.__setattr__(gatepost.runtime, "outbound_http", self)
        object.__setattr__(gatepost.runtime, "remote_keys", RemoteKeys(cast(OutboundHttp, self), gatepost.clock))
        return self

    def get_text(self, url: str, *_: Any, **__: Any) -> str:
        """The page at `url`, without its fragment.

        Raises:
            FetchFailed: when there is none.
        """
        self.asked.append(url)
        page = self.pages.get(url.partition("#")[0])
        if page is None:
            raise FetchFailed("nobody answered", None)
        return page if isinstance(page, str) else json.dumps(page)

    def get_json(self, url: str, **_: Any) -> Any:
        """The document at `url`.

        Raises:
            FetchFailed: when there is none, or it is no JSON.
        """
        try:
            return json.loads(self.get_text(url))
        except (ValueError, RecursionError) as error:
            raise FetchFailed("the answer is not JSON", 200) from error

    def post_form(self, url: str, fields: Mapping[str, str]) -> int:
        """Takes the form; 200."""
        self.posted.append((url, dict(fields)))
        return 200
