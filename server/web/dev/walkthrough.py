"""The authorization code flow as a client does it, one explained step after the other.

RFC 6749 §4.1 with PKCE (RFC 7636), OpenID Connect Core §3.1, refresh and rotation (RFC 6749 §6, RFC 9700 §4.14),
introspection (RFC 7662), revocation (RFC 7009) and client credentials (RFC 6749 §4.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.infra.clock import Clock
from server.web.dev import explanations
from server.web.dev.exchanges import DemoClient, Exchange, Field, LoopbackClient
from server.web.dev.runs import Run, Step
from server.web.dev.token_views import Check, Expectation, TokenView, view_token

_DISCOVERY: Final = "/.well-known/openid-configuration"
_FOUND_BY_DISCOVERY: Final = "How the app knew the address"
_FOUND_BY_JWKS: Final = "Where the keys come from"


class Walkthrough:
    """A client of the server at `server.issuer`; every method adds one or more steps to a run."""

    def __init__(self, server: LoopbackClient, clock: Clock) -> None:
        self._server = server
        self._clock = clock

    def begin(self, run: Run, scope: str, prompt: str) -> None:
        """Step 1: discovery, and the authorization request as a URL."""
        discovery = self._discover(run)
        parameters = run.authorization_parameters(scope, prompt)
        run.point_to(run.metadata.get("authorization_endpoint", ""), parameters)
        fields = tuple(Field(name, value, explanations.parameter(name)) for name, value in parameters.items())
        text = (
            "The app makes up three random values, keeps them, and writes its question into a URL. The browser "
            "carries it to the server, where the person signs in and decides. The app never sees the password."
        )
        title = "The app sends the person to the server"
        run.steps.append(Step(title, text, fields, discovery, folded=_FOUND_BY_DISCOVERY))

    def receive(self, run: Run, parameters: Mapping[str, str]) -> None:
        """Steps 2 to 5: the answer, the tokens, their verification, and userinfo; stops where something is refused."""
        answer = self._read_answer(run, parameters)
        run.steps.append(answer)
        if not answer.succeeded or "code" not in parameters:
            return
        self._exchange_code(run, parameters["code"])
        if run.tokens:
            self._verify(run)
            self.ask_userinfo(run)

    def _read_answer(self, run: Run, parameters: Mapping[str, str]) -> Step:
        fields = tuple(Field(name, value, explanations.parameter(name)) for name, value in parameters.items())
        checks = (
            Check("state is the value of step 1", parameters.get("state") == run.state),
            Check(f"iss is {self._server.issuer}", parameters.get("iss") == self._server.issuer),
        )
        if "code" in parameters:
            text = (
                "The person has signed in and agreed, and the browser is back at the redirect URI. The code in the "
                "address is worth nothing by itself: it can be exchanged once, within a minute, by this client."
            )
            return Step("The person comes back with a code", text, fields, checks=checks)
        text = "The person or the server said no. The app learns so in the same way, and must be ready for it."
        return Step("The person comes back without a code", text, fields, checks=checks, refused=True)

    def _exchange_code(self, run: Run, code: str) -> None:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": run.client.redirect_uri,
            "code_verifier": run.code_verifier,
        }
        exchange = self._server.post(str(run.metadata["token_endpoint"]), form, run.client)
        identity = (
            "It is a public client, without a secret: code_verifier alone proves that it is the app that started."
            if run.client.is_public
            else "Its secret proves who asks, and code_verifier that it is the app that started."
        )
        text = f"The app asks the server directly, not through the browser. {identity}"
        if exchange.succeeded:
            run.tokens = exchange.document
        run.steps.append(Step("The app exchanges the code for tokens", text, exchange=exchange))

    def _verify(self, run: Run) -> None:
        jwks, views = self._view_tokens(run, {"nonce": run.nonce})
        text = (
            "Both are signed JSON. The ID token tells the app who signed in; the access token opens the API and is "
            "none of the app's business. A receiver trusts neither before every check below has passed."
        )
        title = "The app verifies what it got"
        run.steps.append(Step(title, text, exchange=jwks, folded=_FOUND_BY_JWKS, tokens=views, tokens_opened=True))

    def _view_tokens(self, run: Run, expected: Mapping[str, str]) -> tuple[Exchange, tuple[TokenView, ...]]:
        jwks = self._server.get(str(run.metadata["jwks_uri"]))
        keys = jwks.document.get("keys", [])
        access_token = str(run.tokens["access_token"])
        views = []
        if "id_token" in run.tokens:
            claims = {"iss": self._server.issuer, "aud": run.client.client_id, **expected}
            wanted = Expectation(claims, self._clock.now(), access_token=access_token)
            views.append(view_token("ID token", str(run.tokens["id_token"]), keys, wanted))
        views.append(self._view_access_token(run.client, access_token, keys))
        return jwks, tuple(views)

    def _view_access_token(self, client: DemoClient, token: str, keys: Sequence[Mapping[str, Any]]) -> TokenView:
        claims = {"iss": self._server.issuer, "client_id": client.client_id}
        return view_token("Access token", token, keys, Expectation(claims, self._clock.now(), typ="at+jwt"))

    def ask_userinfo(self, run: Run) -> None:
        """Asks userinfo with the access token (OpenID Connect Core §5.3)."""
        bearer = Field("Authorization", f"Bearer {run.tokens['access_token']}", "The access token opens the door.")
        exchange = self._server.get(str(run.metadata["userinfo_endpoint"]), (bearer,))
        text = (
            "Whoever holds the access token may ask, and gets what the person agreed to. An API of your own would be "
            "called in the same way."
        )
        run.steps.append(Step("The app asks who the person is", text, exchange=exchange))

    def refresh(self, run: Run) -> None:
        """Exchanges the refresh token for new tokens, and shows that it was replaced (RFC 9700 §4.14)."""
        presented = str(run.tokens["refresh_token"])
        exchange = self._present_refresh_token(run, presented)
        text = "Access tokens are short-lived. With the refresh token the app gets new ones while the person is away."
        if not exchange.succeeded:
            run.steps.append(Step("The app refreshes", text, exchange=exchange))
            return
        run.tokens = {**run.tokens, **exchange.document}
        rotated = run.tokens["refresh_token"] != presented
        run.spent_refresh_token = presented if rotated else None
        _, views = self._view_tokens(run, {})
        checks = (Check("The refresh token was replaced by a new one (rotation)", rotated),)
        run.steps.append(Step("The app refreshes", text, exchange=exchange, checks=checks, tokens=views))

    def replay(self, run: Run) -> None:
        """Presents the refresh token that was already exchanged, as a thief would, or an app that lost the answer."""
        exchange = self._present_refresh_token(run, str(run.spent_refresh_token))
        text = (
            "Within seconds, and before the new token is used, this is an app whose connection broke: it gets the "
            "very same answer again. Any later, somebody has stolen a token: all of this sign-in's tokens die."
        )
        run.steps.append(Step("Somebody uses the old refresh token again", text, exchange=exchange))

    def _present_refresh_token(self, run: Run, token: str) -> Exchange:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return self._server.post(str(run.metadata["token_endpoint"]), form, run.client)

    def introspect(self, run: Run) -> None:
        """Asks the server whether the access token is still good (RFC 7662 §2)."""
        form = {"token": str(run.tokens["access_token"]), "token_type_hint": "access_token"}
        exchange = self._server.post(str(run.metadata["introspection_endpoint"]), form, run.client)
        text = "A verified signature cannot tell whether a token has been revoked since. The server can."
        run.steps.append(Step("Is the access token still good?", text, exchange=exchange))

    def revoke(self, run: Run) -> None:
        """Revokes the refresh token, or the access token where there is none (RFC 7009 §2)."""
        kind = "refresh_token" if "refresh_token" in run.tokens else "access_token"
        form = {"token": str(run.tokens[kind]), "token_type_hint": kind}
        exchange = self._server.post(str(run.metadata["revocation_endpoint"]), form, run.client)
        text = (
            "The app is done and gives its access back, as on sign-out. Success has no words. Now ask userinfo, "
            "introspect or refresh once more, and see the difference."
        )
        run.steps.append(Step("The app gives its access back", text, exchange=exchange))

    def ask_as_machine(self, run: Run) -> None:
        """One step: a program asks for a token for itself, without any person (RFC 6749 §4.4)."""
        self._discover(run)
        exchange = self._server.post(
            str(run.metadata.get("token_endpoint")), {"grant_type": "client_credentials"}, run.client
        )
        views: tuple[TokenView, ...] = ()
        if exchange.succeeded:
            run.tokens = exchange.document
            _, views = self._view_tokens(run, {})
        text = "No browser and no person: the program proves who it is and gets an access token of its own."
        run.steps.append(Step("A program asks for itself", text, exchange=exchange, tokens=views, tokens_opened=True))

    def _discover(self, run: Run) -> Exchange:
        exchange = self._server.get(self._server.issuer + _DISCOVERY)
        run.metadata = exchange.document
        return exchange
