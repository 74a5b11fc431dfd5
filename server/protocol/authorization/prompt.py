"""What the person has to do next: sign in, choose an account, consent, or nothing (OpenID Connect Core §3.1.2.3–6)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from server.domain import consents, redirect_uris, sessions
from server.domain.authorization_requests import AuthorizationRequest, RequestState
from server.domain.browsers import Browser
from server.domain.clients import Client
from server.domain.policy.acr_ladder import reached
from server.domain.policy.consent_needed import ConsentQuestion, is_consent_needed, is_identity_assured
from server.domain.policy.factors_needed import Demand, Factor, SignIn, factor_needed
from server.domain.sessions import Session
from server.domain.unit_of_work import UnitOfWork
from server.domain.usability import is_usable
from server.domain.users import find_user
from server.protocol.authorization.response_types import default_mode
from server.protocol.errors import (
    AccountSelectionRequired,
    ConsentRequired,
    LoginRequired,
    ProtocolError,
    UnmetAuthenticationRequirements,
)


class Step(StrEnum):
    """The page that comes next, or the end."""

    LOGIN = "login"
    REAUTHENTICATION = "reauthentication"
    SELECT_ACCOUNT = "select_account"
    CONSENT = "consent"
    FINISH = "finish"


@dataclass(frozen=True)
class Progress:
    """Where a request stands, and the session that would answer it."""

    step: Step
    session: Session | None


_STEP_OF_FACTOR = {
    Factor.LOGIN: Step.LOGIN,
    Factor.REAUTHENTICATION: Step.REAUTHENTICATION,
    Factor.ACCOUNT_CHOICE: Step.SELECT_ACCOUNT,
}


def next_step(work: UnitOfWork, request: AuthorizationRequest, client: Client, browser: Browser | None) -> Progress:
    """Decides the next step from request, sessions and consents.

    Raises:
        UnmetAuthenticationRequirements: when the client insists on a class of authentication that there is not.
        LoginRequired, AccountSelectionRequired, ConsentRequired: under `prompt=none`, where no page may be shown.
    """
    session = _answering_session(work, request, browser)
    sign_in = _sign_in(request, session)
    factor = factor_needed(_demand(request), sign_in, work.now)
    if factor is Factor.LOGIN and sign_in is not None and sign_in.for_this_request:
        # They signed in, and are not the person of the id_token_hint; asking again would go round in circles.
        raise LoginRequired("Another person than the one of id_token_hint signed in.")
    if factor is not None:
        step = _STEP_OF_FACTOR[factor]
    elif session is not None and _asks_consent(work, request, client, session):
        step = Step.CONSENT
    else:
        step = Step.FINISH
    if step in {Step.CONSENT, Step.FINISH} and session is not None:
        _check_acr(work, request, session)
    if step is not Step.FINISH and "none" in request.parameters["prompt"]:
        raise _error_without_pages(step)
    return Progress(step, session)


def _answering_session(work: UnitOfWork, request: AuthorizationRequest, browser: Browser | None) -> Session | None:
    """The session chosen for this request, else the hinted person's on this browser, else the browser's current one."""
    if browser is None:
        return None
    live = [known for known in sessions.list_sessions(work, browser) if _is_answerable(work, known)]
    hint = request.parameters["hint_subject"]
    if request.session_id is not None or request.is_account_chosen:
        wanted = [known for known in live if known.id == request.session_id]
    elif hint is not None:
        wanted = [known for known in live if known.user_id == hint]
    else:
        wanted = [known for known in live if known.id == browser.current_session_id]
    return wanted[0] if wanted else None


def _is_answerable(work: UnitOfWork, session: Session) -> bool:
    return is_usable(work.now, session, find_user(work, session.user_id))


def _demand(request: AuthorizationRequest) -> Demand:
    return Demand(
        prompts=frozenset(request.parameters["prompt"]),
        max_age=request.parameters["max_age"],
        subject=request.parameters["hint_subject"],
        account_chosen=request.is_account_chosen,
    )


def _sign_in(request: AuthorizationRequest, session: Session | None) -> SignIn | None:
    if session is None:
        return None
    is_fresh = request.is_reauthenticated and request.session_id == session.id
    return SignIn(session.user_id, session.auth_time, for_this_request=is_fresh)


def _asks_consent(work: UnitOfWork, request: AuthorizationRequest, client: Client, session: Session) -> bool:
    question = ConsentQuestion(
        asked=request.asked_scopes,
        remembered=consents.remembered_scopes(work, session.user_id, client.id),
        demanded="consent" in request.parameters["prompt"],
        first_party=client.is_first_party,
        identity_assured=assures_identity(
            client, request.parameters["redirect_uri"], request.parameters["response_type"]
        ),
        answered=request.state == RequestState.CONSENTED and request.session_id == session.id,
    )
    return is_consent_needed(question)


def assures_identity(client: Client, redirect_uri: str, response_type: str = "code") -> bool:
    """Whether whoever gets an answer at `redirect_uri` is the client."""
    kind, _ = redirect_uris.describe_target(redirect_uri)
    return is_identity_assured(
        is_public=client.is_public,
        is_native=client.is_native,
        is_web_target=kind == "web",
        gets_tokens=default_mode(response_type) == "fragment",
    )


def _check_acr(work: UnitOfWork, request: AuthorizationRequest, session: Session) -> None:
    """An essential `acr` that no way to sign in reaches is a failed authentication (OpenID Connect Core §5.5.1.1)."""
    if not request.parameters.get("is_acr_essential"):
        return
    found = reached(work.settings.acr_ladder, session.amr)
    if not frozenset(found) & frozenset(request.parameters["acr_values"]):
        raise UnmetAuthenticationRequirements("No requested class of authentication can be reached.")


def _error_without_pages(step: Step) -> ProtocolError:
    if step is Step.CONSENT:
        return ConsentRequired("The person has to consent first.")
    if step is Step.SELECT_ACCOUNT:
        return AccountSelectionRequired("The person has to choose an account first.")
    return LoginRequired("The person has to sign in first.")
