"""The types of application as the dashboard offers them: which one is it, and what follows from that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from server.domain.errors import NotFound
from server.domain.policy.client_metadata import ClientType


@dataclass(frozen=True)
class ApplicationType:
    """One type, in words for whoever has to choose."""

    name: ClientType
    title: str
    #: What it is.
    sentence: str
    #: What it means for secrets and tokens.
    meaning: str
    example_uri: str = ""

    @property
    def signs_people_in(self) -> bool:
        """Whether people come here from it."""
        return self.name != "machine"

    @property
    def has_secret(self) -> bool:
        """Whether it can keep one."""
        return self.name in {"web", "machine"}


TYPES: Final = {
    each.name: each
    for each in (
        ApplicationType(
            "web",
            "Web app",
            "Runs on a server of yours, whatever language it is written in.",
            "People sign in here and return with a code; the server trades it for tokens with its client secret.",
            "https://app.example.com/callback",
        ),
        ApplicationType(
            "spa",
            "Single-page app",
            "Runs in the browser alone, without a server behind it.",
            "Everybody can read its code, so it has no client secret. PKCE protects the code on its way back.",
            "https://app.example.com/callback",
        ),
        ApplicationType(
            "native",
            "Native app or CLI",
            "Runs on people's own devices: mobile, desktop or command line.",
            "It has no client secret. It may return to localhost on any port, or to a scheme of its own.",
            "http://127.0.0.1/callback",
        ),
        ApplicationType(
            "machine",
            "Machine",
            "Acts for itself, without a person: a job, a service, a pipeline.",
            "It has a client secret and gets tokens with the client credentials grant. Nobody signs in.",
        ),
    )
}
_OTHER: Final = ApplicationType("device", "Device", "Runs where nobody can type.", "It has no client secret.")


def application_type(name: str) -> ApplicationType:
    """The type of this name that may be chosen.

    Raises:
        NotFound: when there is none.
    """
    for each in TYPES.values():
        if each.name == name:
            return each
    raise NotFound("There is no such type of application.")


def type_of(client_type: str) -> ApplicationType:
    """The type of an application that is there."""
    return next((each for each in TYPES.values() if each.name == client_type), _OTHER)
