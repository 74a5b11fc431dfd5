"""A question before what cannot be taken back: what will happen, in sentences, and one button that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flask import request
from flask.wrappers import Response

from server.web.dashboard.shell import Link, OrganizationShell


@dataclass(frozen=True)
class Question:
    """What is asked. `heading` ends with a question mark; `label` is the verb on the button."""

    heading: str
    sentences: Sequence[str]
    label: str
    back_url: str
    is_risky: bool = True
    trail: Sequence[Link] = field(default_factory=tuple)
    #: What has to be typed first, for what hurts most.
    typed_name: str | None = None
    #: What goes along, one by one.
    consequences: Sequence[str] = field(default_factory=tuple)


def ask(shell: OrganizationShell, question: Question) -> Response:
    """The page; its form posts to the page's own path."""
    return shell.render("dashboard/question.html", question=question, action=request.path)
