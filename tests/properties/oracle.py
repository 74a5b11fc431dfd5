"""What every answer keeps to, whatever was asked: INV-15, INV-19, INV-21, INV-24 in part, INV-41, and TK-17."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from urllib.parse import parse_qsl, urlsplit

from werkzeug.test import TestResponse

from server.infra import jose

#: RFC 6749 Appendix A.7 and A.8.
ERROR_CHARACTERS = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
#: Stands in every value that a run makes up; no answer may hold it.
CANARY = "zq9x"
#: What the pages mean to show again, escaped: the address that was typed, and `state` on its way to the client.
_SHOWN_AGAIN = re.compile(r'<input\b[^>]*\bname="(?:username|state)"[^>]*>')
_SIGN_OUT = {"client_id", "post_logout_redirect_uri", "state"}
_DESCRIPTION = re.compile(r"<dt>Description</dt><dd>(.*?)</dd>", re.DOTALL)
_FIELD = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_FORM = re.compile(r'<form method="post" action="([^"]*)" id="form-post">')
_REFRESH = re.compile(r'<meta http-equiv="refresh" content="\d+;\s*url=([^"]*)"', re.IGNORECASE)
_REDIRECTS = {301, 302, 303, 307, 308}


class FaultsLogged(logging.Handler):
    """Collects what the application calls its own fault."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.faults: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.faults.append(f"{record.getMessage()} {record.exc_info}")


@contextmanager
def faults_logged() -> Iterator[list[str]]:
    """The faults that the application logs until the context ends."""
    handler = FaultsLogged()
    logging.getLogger("server").addHandler(handler)
    try:
        yield handler.faults
    finally:
        logging.getLogger("server").removeHandler(handler)


def breaches(response: TestResponse, redirect_uris: tuple[str, ...]) -> list[str]:
    """What is wrong with an answer; nothing, normally.

    `redirect_uris` are all that any client has registered.
    """
    found = []
    if response.status_code >= 500:
        found.append(f"status {response.status_code}")
    if response.status_code in {307, 308}:
        found.append(f"status {response.status_code}, which repeats a POST elsewhere (RFC 9700 §4.12)")
    odd = [text for text in error_texts(response) if not ERROR_CHARACTERS.fullmatch(text)]
    found += [f"error text outside RFC 6749's characters: {text!r}" for text in odd]
    if CANARY in _searched(response):
        found.append("input came back")
    target = _leaves_for(response)
    if target is not None and not _is_registered(target, redirect_uris):
        found.append(f"leads to {target!r}")
    if response.status_code in _REDIRECTS and "Location" not in response.headers:
        found.append("a redirect to nowhere")
    return found


def error_texts(response: TestResponse) -> list[str]:
    """Every `error` and `error_description` in the answer, wherever it stands."""
    if response.mimetype == "application/json" and response.status_code >= 400 and response.data:
        document = response.get_json()
        return [str(document[name]) for name in ("error", "error_description") if name in document]
    if "Location" in response.headers:
        parts = urlsplit(response.headers["Location"])
        answer = dict(parse_qsl(parts.fragment or parts.query, keep_blank_values=True))
    elif _FORM.search(response.text):
        answer = {name: unescape(value) for name, value in _FIELD.findall(response.text)}
    else:
        return [unescape(text) for text in _DESCRIPTION.findall(response.text)]
    if "response" in answer:
        answer = {name: str(value) for name, value in jose.peek_claims(answer["response"]).items()}
    return [answer[name] for name in ("error", "error_description") if name in answer]


def _searched(response: TestResponse) -> str:
    """All of the answer in which nothing of the request may stand."""
    headers = []
    for name, value in response.headers:
        base, _, query = _taken_apart(value) if name == "Location" else (value, "", "")
        # A posted sign-out comes again as a GET, with the cookie; what is sent back then is the request, but its hint.
        own = _SIGN_OUT if base.endswith("/logout") else {"state"}
        rest = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in own]
        headers.append(f"{name}: {base} {rest}")
    body = _SHOWN_AGAIN.sub("", response.text) if response.mimetype == "text/html" else response.text
    if response.status_code in {200, 201} and response.is_json and '"registration_client_uri"' in body:
        # A registration is shown to whoever made it (RFC 7591 §3.2.1).
        body = ""
    return "\n".join([*headers, body])


def _taken_apart(location: str) -> tuple[str, str, str]:
    """A redirect's target and the parameters behind it, in the fragment or the query."""
    return location.partition("#") if "#" in location else location.partition("?")


def _leaves_for(response: TestResponse) -> str | None:
    """Where the answer sends the browser, if not to a path of ours."""
    refresh = _REFRESH.search(response.text) if response.mimetype == "text/html" else None
    if refresh is not None:
        return unescape(refresh[1])
    location = response.headers.get("Location")
    if location is not None:
        return None if location.startswith("/") and not location.startswith(("//", "/\\")) else location
    form = _FORM.search(response.text) if response.mimetype == "text/html" else None
    return unescape(form[1]) if form else None


def _is_registered(target: str, redirect_uris: tuple[str, ...]) -> bool:
    """Whether `target` is a registered redirect URI, alone or with the answer after it (INV-19)."""
    return any(
        target == uri or target.startswith((uri + ("&" if "?" in uri else "?"), uri + "#")) for uri in redirect_uris
    )
