"""The sector's file: it names every redirect URI of the sector's clients (OpenID Connect Core §8.1).

Whoever publishes it at their own host says that these applications belong together and may know a person by the same
pairwise subject; so a client whose redirect URIs it does not name is not registered.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from server.domain.clients import Client
from server.domain.errors import Invalid
from server.domain.fetch_payers import payer_of
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import commit_attempt
from server.infra.outbound_http import FetchFailed, FetchRefused, Payer
from server.infra.turns import stepping_aside

log = logging.getLogger(__name__)

_FIELD: Final = "sector_identifier_uri"


def check_sector_file(work: UnitOfWork, client: Client) -> None:
    """Fetches the client's sector file, if it names one, and looks for its redirect URIs.

    The transaction under way is committed; none is open while the file is fetched.

    Raises:
        Invalid: when the file cannot be had, is none, or does not name every redirect URI.
    """
    if client.sector_identifier_uri is None:
        return
    redirect_uris = frozenset(client.redirect_uris)
    document = _fetch(work, client.sector_identifier_uri, payer_of(client, "pages"))
    if not isinstance(document, list) or not all(isinstance(uri, str) for uri in document):
        raise Invalid(_FIELD, "The file there is no JSON array of redirect URIs.")
    if not redirect_uris <= frozenset(document):
        raise Invalid(_FIELD, "The file there does not name every redirect URI of the client.")


def _fetch(work: UnitOfWork, uri: str, payer: Payer) -> Any:
    commit_attempt(work.db)
    try:
        with stepping_aside():
            return work.runtime.outbound_http.get_json(uri, payer=payer)
    except (FetchFailed, FetchRefused) as error:
        log.info("a sector file cannot be fetched: %s", error)
        raise Invalid(_FIELD, "The file there cannot be fetched.") from error
