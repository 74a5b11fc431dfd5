"""A page as a browser without style or script sees it: ids, forms, pictures, frames, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin


@dataclass
class Form:
    """One form: where it goes, what it carries, and its buttons by id."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass
class Page:
    """One page at an address."""

    url: str
    ids: set[str] = field(default_factory=set)
    forms: list[Form] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    refresh: str | None = None
    text: str = ""

    def form_with(self, button: str) -> Form:
        """The form that a button belongs to."""
        for form in self.forms:
            if button in form.buttons:
                return form
        raise AssertionError(f"no button {button!r} at {self.url}: {self.text[:300]}")


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page, self.is_silent = page, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.page.ids.add(values["id"])
        if tag == "form":
            action = urljoin(self.page.url, values.get("action", ""))
            self.page.forms.append(Form(action, values.get("method", "get").lower()))
        elif tag in {"input", "button"} and self.page.forms:
            self._control(self.page.forms[-1], tag, values)
        elif tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            self.page.refresh = values["content"]
        for name, kind, found in (
            ("a", "href", self.page.links),
            ("img", "src", self.page.images),
            ("iframe", "src", self.page.frames),
            ("script", "src", self.page.scripts),
        ):
            if tag == name and kind in values:
                found.append(urljoin(self.page.url, values[kind]))
        self.is_silent = tag in {"style", "script", "title"}

    def _control(self, form: Form, tag: str, values: dict[str, str]) -> None:
        if tag == "button":
            form.buttons[values.get("id", values.get("value", ""))] = (values.get("name", ""), values.get("value", ""))
        elif "name" in values:
            form.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self.is_silent = False

    def handle_data(self, data: str) -> None:
        if not self.is_silent:
            self.page.text += data


def read_page(url: str, html: str) -> Page:
    """The page at `url`."""
    page = Page(url)
    _Reader(page).feed(html)
    page.text = " ".join(page.text.split())
    return page
