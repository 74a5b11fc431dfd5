"""A page of the dashboard as the tables hold it, and the gate that stands before each.

Nothing is left to the pages themselves: signing in, membership, permission, CSRF, step-up and the transaction are
seen to here, and a form that is refused comes back with all that was typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, cast

from flask import request
from flask.wrappers import Response

from server.domain.errors import Denied, DomainError, Invalid, NotFound, TooMany
from server.domain.policy.environments import Environment
from server.infra.database import database
from server.web.csrf import check_csrf, is_same_origin
from server.web.dashboard.shell import Problem, Shell, enter, enter_organization
from server.web.machine_errors import STATUS_OF
from server.web.person import SignInNeeded, require_recent_sign_in
from server.web.security_headers import runs_own_script, stays_on_site
from server.web.transaction import View, in_transaction, reading

Answer = Callable[..., Response]

GET: Final = ("GET",)
POST: Final = ("POST",)
#: The page that says: go back to the tab where the form is.
CONFIRMED: Final = "/dashboard/confirmed"
_MEND: Final = "Nothing has been done yet. Mend what is marked below."
_HEADINGS: Final = {403: "You can’t do this", 404: "Not found", 409: "This can’t be done now", 410: "Too late"}


class FormRefused(Exception):
    """What was typed cannot be taken: a sentence for each field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(", ".join(errors))
        self.errors = dict(errors)


def check_all(*checks: Callable[[], object]) -> None:
    """Runs all checks, so that whoever fills in a form learns at once what all there is to mend.

    Raises:
        FormRefused: when any of them is refused.
    """
    errors: dict[str, str] = {}
    for check in checks:
        try:
            check()
        except Invalid as refusal:
            errors.setdefault(refusal.field, str(refusal))
    if errors:
        raise FormRefused(errors)


@dataclass(frozen=True)
class Page:
    """One row: where, how, what answers, and what it takes to get there."""

    path: str
    endpoint: str
    methods: tuple[str, ...]
    #: Called with the shell and the rest of the path's arguments.
    answer: Answer
    #: None: whoever is signed in, and inside an organization a member.
    permission: str | None = None
    #: Needs a sign-in that is not older than 15 minutes.
    is_dangerous: bool = False
    #: Shows the form again, with what was typed, when its POST is refused.
    again: Answer | None = None
    #: How much a form may hold that carries a file; others are as large as everywhere.
    maximum_body_bytes: int | None = None

    @cached_property
    def view(self) -> View:
        """The view behind its gate, for the URL map."""

        def view(**arguments: str) -> Response:
            return _pass(self, arguments)

        return in_transaction(view) if "POST" in self.methods else reading(view)


def _pass(page: Page, arguments: dict[str, Any]) -> Response:
    if page.maximum_body_bytes is not None:
        # The second is a limit of what waits to be parsed, too.
        request.max_content_length = request.max_form_memory_size = page.maximum_body_bytes
    stays_on_site()
    runs_own_script()
    shell = enter()
    try:
        if any("\0" in each for each in arguments.values()):
            raise NotFound("There is nothing at this address.")
        if "organization" in arguments:
            environment = cast(Environment, arguments.pop("environment"))
            shell = enter_organization(shell, arguments.pop("organization"), environment)
        if page.permission is not None and not shell.may(page.permission):
            raise Denied(_missing(page.permission))
    except (NotFound, Denied) as refusal:
        return _refused(shell, refusal)
    return _take(page, shell, arguments) if request.method == "POST" else _show(page, shell, arguments)


def _show(page: Page, shell: Shell, arguments: Mapping[str, Any]) -> Response:
    if page.is_dangerous:
        require_recent_sign_in()
    try:
        return page.answer(shell, **arguments)
    except DomainError as refusal:
        return _refused(shell, refusal)


def _take(page: Page, shell: Shell, arguments: Mapping[str, Any]) -> Response:
    try:
        check_csrf(shell.csrf_purpose(request.path))
        if page.is_dangerous:
            # Whoever is shown the form again signs in beside it.
            require_recent_sign_in(CONFIRMED if page.again else None)
        _check_text()
        return page.answer(shell, **arguments)
    except (DomainError, FormRefused, SignInNeeded) as refusal:
        # Another site's form is not shown again as if it were ours.
        if page.again is None or isinstance(refusal, NotFound) or not is_same_origin():
            if isinstance(refusal, DomainError):
                return _refused(shell, refusal)
            raise
        return _again(page.again, shell, arguments, refusal)


def _check_text() -> None:
    """Refuses what no text column holds."""
    for name, value in request.form.items(multi=True):
        if "\0" in value:
            raise Invalid(name, "This holds a character that cannot be kept.")


def _again(show: Answer, shell: Shell, arguments: Mapping[str, Any], refusal: Exception) -> Response:
    database.session.rollback()
    status, problem = _problem(refusal)
    try:
        response = show(replace(shell, problem=problem), **arguments)
    except DomainError as other:
        return _refused(shell, other)
    response.status_code = status
    if isinstance(refusal, TooMany):
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def _problem(refusal: Exception) -> tuple[int, Problem]:
    if isinstance(refusal, FormRefused):
        return 400, Problem(_MEND, refusal.errors)
    if isinstance(refusal, Invalid):
        return 400, Problem(_MEND, {refusal.field: str(refusal)})
    if isinstance(refusal, SignInNeeded):
        return 403, Problem("It has been a while since you signed in.", sign_in_url=refusal.login_url)
    return STATUS_OF.get(cast(type[DomainError], type(refusal)), 400), Problem(str(refusal))


def _refused(shell: Shell, refusal: DomainError) -> Response:
    database.session.rollback()
    status = STATUS_OF.get(type(refusal), 400)
    heading = _HEADINGS.get(status, "This didn’t work")
    return shell.refuse(status, heading, str(refusal))


def _missing(permission: str) -> str:
    return f"Your role does not include {permission}. Ask an owner or an administrator of the organization."
