"""A person at a browser without scripts: follows redirects, keeps cookies and fills in the pages' forms.

It knows only what the page contract promises (element ids, form actions, hidden fields), so that every test that
signs somebody in does it the way a browser would.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Form:
    """One HTML form: where it goes, what it carries, what can be pressed."""

    action: str
    method: str
    inputs: list[dict[str, str]] = field(default_factory=list)
    buttons: list[dict[str, str]] = field(default_factory=list)

    def has(self, element_id: str) -> bool:
        """Whether an input or a button of the form carries the id."""
        return any(element.get("id") == element_id for element in self.inputs + self.buttons)

    def hidden(self) -> list[tuple[str, str]]:
        """The fields that travel unseen."""
        return [(i["name"], i.get("value", "")) for i in self.inputs if i.get("type") == "hidden" and "name" in i]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(attributes.get("action", ""), attributes.get("method", "get").lower())
            self.forms.append(self._open)
        elif self._open is not None and tag == "input":
            self._open.inputs.append(attributes)
        elif self._open is not None and tag == "button":
            self._open.buttons.append(attributes)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


def forms_of(html: str) -> list[Form]:
    """Every form on a page, in order."""
    parser = _Forms()
    parser.feed(html)
    return parser.forms


@dataclass(frozen=True)
class Callback:
    """What came back to the client: the URI it was sent to and the response parameters, however they travelled."""

    url: str
    parameters: Mapping[str, str]


class LostOnTheWay(AssertionError):
    """The person met a page without a form that leads on."""


class Person:
    """Signs in and consents by following redirects and pressing the buttons of the page contract."""

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self.password = password
        self.session = requests.Session()
        # Browsers send Secure cookies to localhost over http, the standard library does not.
        self.session.cookies.set_policy(DefaultCookiePolicy(secure_protocols=("https", "http")))
        self.session.trust_env = False
        self.steps: list[str] = []
        self.last_page: requests.Response | None = None

    def request(self, method: str, url: str, **arguments: object) -> requests.Response:
        """One request with the person's cookies, redirects not followed."""
        response = self.session.request(method, url, allow_redirects=False, timeout=30, **arguments)  # type: ignore[arg-type]
        self.steps.append(f"{method} {urlsplit(url).path} {response.status_code}")
        return response

    def submit(self, page_url: str, form: Form, press: str, **typed: str) -> tuple[str, requests.Response]:
        """Fills in a form and presses a button; typed values are found by element id. Returns (url, response)."""
        fields = form.hidden()
        fields += [(i["name"], typed[i["id"]]) for i in form.inputs if i.get("id") in typed and "name" in i]
        fields += [(b["name"], b.get("value", "")) for b in form.buttons if b.get("id") == press and "name" in b]
        target = urljoin(page_url, form.action)
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(page_url))
        return target, self.request("POST", target, data=fields, headers={"Origin": origin, "Referer": page_url})

    def walk(self, url: str, redirect_uri: str, *, presses: tuple[str, ...] = ()) -> Callback:
        """Follows an authorization request until the client is reached.

        presses: ids to prefer over the usual login-submit and consent-approve, such as login-cancel or consent-deny.
        """
        response = self.request("GET", url)
        for _ in range(20):
            while "Location" in response.headers:
                url = urljoin(url, response.headers["Location"])
                if url.startswith(redirect_uri):
                    return Callback(url, dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)))
                response = self.request("GET", url)
            self.last_page = response
            forms = forms_of(response.text)
            for form in forms:
                if form.method == "post" and urljoin(url, form.action).startswith(redirect_uri):
                    return Callback(redirect_uri, dict(form.hidden()))
            wanted = (*presses, "login-submit", "consent-approve")
            found = next(((form, press) for press in wanted for form in forms if form.has(press)), None)
            if found is None:
                text = response.text[:2000]
                raise LostOnTheWay(f"{response.status_code} at {url} after {', '.join(self.steps)}\n{text}")
            url, response = self.submit(url, *found, username=self.username, password=self.password)
        raise LostOnTheWay(f"too many hops: {', '.join(self.steps)}")
