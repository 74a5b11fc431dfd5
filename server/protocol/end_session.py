"""The end session endpoint: who asks to sign out whom, and where to go then (OpenID Connect RP-Initiated Logout 1.0).

An ID token of ours that comes back proves that its client asks, and for which session. Without one, or with one of
another session, the person is asked first (§2): so nobody is signed out by a link they did not mean to follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from server.domain.clients import Client, find_client
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.infra import secrets
from server.infra.jose import InvalidToken
from server.protocol.errors import InvalidRequest
from server.protocol.request import Parameters
from server.protocol.tokens.id_token import verify_id_token_hint

#: Where a posted hint is remembered while the browser comes again: the token itself tells who the person is, and stands
#: in no address of ours.
PROOF: Final = "proof"
_PROOF_SECONDS: Final = 120
_PROOF_CONTEXT: Final = "gatepost end session proof"


@dataclass(frozen=True)
class EndSessionRequest:
    """A checked request."""

    #: Who asks, as far as it is known.
    client: Client | None = None
    #: The `sid` of a genuine ID token of that client, which may have expired.
    sid: str | None = None
    #: One of the client's own post-logout redirect URIs, character by character.
    redirect_uri: str | None = None
    state: str | None = None

    @property
    def target(self) -> str | None:
        """Where the browser goes in the end (§3): the URI as registered, and the `state` if there is one."""
        if self.redirect_uri is None or self.state is None:
            return self.redirect_uri
        separator = "&" if "?" in self.redirect_uri else "?"
        return self.redirect_uri + separator + urlencode({"state": self.state})

    def as_fields(self) -> dict[str, str]:
        """What the confirmation page carries along, to be checked again when it comes back."""
        client_id = self.client.id if self.client is not None else None
        found = {"client_id": client_id, "post_logout_redirect_uri": self.redirect_uri, "state": self.state}
        return {name: value for name, value in found.items() if value is not None}


def check_request(work: UnitOfWork, parameters: Parameters) -> EndSessionRequest:
    """Checks what a client, or anybody, asks (§2, §3); `logout_hint` and `ui_locales` are taken and have no effect.

    Raises:
        InvalidRequest: when the request contradicts itself or names a URI that its client did not register.
    """
    parameters.check_not_repeated()
    hint = parameters.get("id_token_hint")
    try:
        claims = verify_id_token_hint(work, hint) if hint is not None else {}
    except InvalidToken:
        # Forged, or older than any key we still have. Nothing is believed then, neither who asks nor where to go (§4);
        # the person may still wish to sign out.
        return EndSessionRequest()
    client = _client_of(work, parameters.get("client_id"), claims.get("aud"))
    redirect_uri = parameters.get("post_logout_redirect_uri")
    if client is None:
        # Whose URI it would be, nobody knows: it is not gone to (§3).
        return EndSessionRequest()
    if redirect_uri is not None and redirect_uri not in client.post_logout_redirect_uris:
        error = InvalidRequest(
            "The post_logout_redirect_uri is not registered for this client.", parameter="post_logout_redirect_uri"
        )
        error.client = client
        raise error
    return EndSessionRequest(client, claims.get("sid"), redirect_uri, parameters.get("state"))


def prove(work: UnitOfWork, asked: EndSessionRequest) -> str | None:
    """What stands for the hint of a request when it comes again within two minutes; None when there was no hint."""
    if asked.client is None or asked.sid is None:
        return None
    told = f"{asked.sid}.{int(work.now.timestamp()) + _PROOF_SECONDS}"
    return f"{told}.{_seal(work, asked.client, told)}"


def with_proof(work: UnitOfWork, asked: EndSessionRequest, proof: str | None) -> EndSessionRequest:
    """The request with the session of the hint that the proof stands for; as it is, when it is none or too old."""
    parts = (proof or "").split(".")
    if asked.client is None or asked.sid is not None or len(parts) != 3:
        return asked
    sid, until, seal = parts
    if not secrets.equal(seal, _seal(work, asked.client, f"{sid}.{until}")) or work.now.timestamp() >= int(until):
        return asked
    return replace(asked, sid=sid)


def _seal(work: UnitOfWork, client: Client, told: str) -> str:
    return secrets.derived_secret(work.runtime.keyring.derive_key(_PROOF_CONTEXT), f"{told}.{client.id}")


def _client_of(work: UnitOfWork, named: str | None, audience: str | None) -> Client | None:
    if named is not None and audience is not None and named != audience:
        raise InvalidRequest("The id_token_hint was issued to another client.", parameter="client_id")
    client_id = audience or named
    client = find_client(work, client_id) if client_id is not None else None
    return client if is_usable(work.now, client) else None
