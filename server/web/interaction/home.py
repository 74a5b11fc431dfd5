"""The front door: who is signed in here, and the way in or out."""

from __future__ import annotations

from flask.wrappers import Response

from server.web.pages import page_url, person, render
from server.web.person import signed_in_user
from server.web.security_headers import stays_on_site
from server.web.transaction import reading


@reading
def home() -> Response:
    """The page at the issuer's own address."""
    stays_on_site()
    user = signed_in_user()
    return render(
        "interaction/home.html",
        person=person(user) if user else None,
        login_url=page_url("login"),
        logout_url=page_url("logout"),
    )
