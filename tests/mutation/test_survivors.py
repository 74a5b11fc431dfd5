"""Small facts that no other test looked at: each was a mutant that survived."""

from __future__ import annotations

from server.domain.client_secrets import issue_client_secret, list_client_secrets
from tests.domain.factories import make_client
from tests.support.application import Gatepost


def test_secrets_are_listed_by_their_ids_when_they_were_made_in_the_same_moment(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        client = make_client(work)
        for _ in range(8):
            issue_client_secret(work, client)
        ids = [secret.id for secret in list_client_secrets(work, client)]
    assert ids == sorted(ids)
