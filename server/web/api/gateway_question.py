"""What a gateway asks of `/v1/verify`: what a credential must have, and which request it came with.

A gateway says what it requires in the address it is configured with, which no client can reach, or in `X-Required-…`
headers. A client's own headers may come along, so a header only ever asks for more: all that is said must hold. What is
said twice about the request itself must be the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from server.domain import scopes
from server.domain.organizations import ID_PREFIX as ORGANIZATION_PREFIX
from server.domain.policy.environments import ENVIRONMENTS
from server.web.api.error_answers import MOUNTS, Refusal

#: A name and its value, in the order of a query.
Pairs: TypeAlias = tuple[tuple[str, str], ...]

_METHOD_HEADERS: Final = ("HTTP_X_ORIGINAL_METHOD", "HTTP_X_FORWARDED_METHOD")
_TARGET_HEADERS: Final = ("HTTP_X_ORIGINAL_URI", "HTTP_X_ORIGINAL_URL", "HTTP_X_FORWARDED_URI")
_SCIM_PATH: Final = re.compile(r"/scim/v2(?:/[A-Za-z0-9._~@:%+=,-]+)*/?")
#: What other servers may read as the end of a segment, of the path, or as something to decode once more.
_ODD_IN_SCIM: Final = re.compile(r"%(?:00|25|2f|5c|[89a-f])", re.IGNORECASE)
#: The environments of the addresses that paths of requests are put behind.
_BELOW: Final = {"verify/": "live", "verify.test/": "test", "verify.any/": "any"}
#: Slugs change hands: whoever takes a freed one would come in where it is required.
_ORGANIZATION: Final = re.compile(re.escape(ORGANIZATION_PREFIX) + "[0-9A-Za-z]{1,60}")
#: What a path may hold as it is, in a target that a query may follow.
_UNQUOTED: Final = "/~!$&'()*+,;=:@"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DEFAULT_ENVIRONMENT: Final = "live"
_ANY: Final = "any"
_MAXIMUM_PARAMETERS: Final = 50
_WRONG_QUERY: Final = (
    "The query of this address may have scope, scope.<METHOD>, organization and environment (live, test or any)."
)


@dataclass(frozen=True)
class Required:
    """What the credential must have."""

    scopes: frozenset[str] = frozenset()
    #: Further scopes of single methods.
    by_method: Pairs = ()
    #: Ids, all of which must be its organization's.
    organizations: frozenset[str] = frozenset()
    #: Those of which one must be its own.
    environments: frozenset[str] = frozenset(ENVIRONMENTS)


@dataclass(frozen=True)
class Question:
    """One question of a gateway."""

    required: Required
    #: Path and query of the original request; None when it was not told.
    target: str | None

    @property
    def is_for_scim(self) -> bool:
        """Whether the request is one for provisioning: no other path may be reached by way of this one."""
        return self.target is not None and _is_scim(self.target)

    def query(self, telling: Iterable[str]) -> Pairs:
        """The names and values in the original request's query, if any could be what begins with one of `telling`.

        It is the API's, which may read it as it likes: nothing about it is wrong here.
        """
        query = (self.target or "").partition("?")[2]
        if "%" not in query and not any(text in query for text in telling):
            return ()
        return tuple(parse_qsl(query, keep_blank_values=True))


@dataclass(frozen=True)
class Below:
    """What follows the endpoint's own address: the path of the original request, as Envoy sends it, or nothing."""

    path: str
    #: What the address says of the environment.
    environment: str = _DEFAULT_ENVIRONMENT


def read_question(environ: Mapping[str, Any], below: Below) -> Question:
    """The question of one request.

    Args:
        environ: the request, as WSGI has it.
        below: what follows the endpoint's own address.

    Raises:
        Refusal: 400 when it cannot be read, or contradicts itself.
    """
    own_query = environ.get("QUERY_STRING", "")
    methods = {environ[name] for name in _METHOD_HEADERS if name in environ}
    targets = [environ[name] for name in _TARGET_HEADERS if name in environ]
    if below.path:
        # The method and the query are the original request's then, and a client's.
        methods.add(environ["REQUEST_METHOD"])
        path = quote(below.path, safe=_UNQUOTED, encoding="latin-1")
        targets.append(f"{path}?{own_query}" if own_query else path)
        stated = Required(environments=_environments([below.environment], _WRONG_QUERY))
    else:
        stated = _stated(own_query)
    targets = [*dict.fromkeys(map(_without_origin, targets))]
    if len(methods) > 1 or len(targets) > 1:
        raise Refusal(400, "The request's method or path was told in two ways that differ.")
    required = _with_headers(stated, environ)
    required = _with_method(required, next(iter(methods), None))
    return Question(required, next(iter(targets), None))


def path_below(path: str, issuer_path: str) -> Below | None:
    """What follows the endpoint's own address in `path`; None when it is another endpoint's, or odd."""
    for mount in MOUNTS:
        if path == f"{issuer_path}{mount}/verify":
            return Below("")
        for name, environment in _BELOW.items():
            own = f"{issuer_path}{mount}/{name}"
            if path.startswith(own):
                below = path[len(own) - 1 :]
                return None if below.startswith("//") or _CONTROL.search(below) else Below(below, environment)
    return None


@lru_cache(maxsize=256)
def _stated(query: str) -> Required:
    """What the address itself requires: always the same one, so that it is read once."""
    found: dict[str, set[str]] = {"scope": set(), "organization": set()}
    environments, by_method = [], []
    try:
        # WSGI hands the raw bytes over as Latin-1 (PEP 3333).
        text = query.encode("latin-1").decode()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAXIMUM_PARAMETERS)
    except ValueError as error:
        raise Refusal(400, _WRONG_QUERY) from error
    for name, value in pairs:
        prefix, _, method = name.partition(".")
        if name in found and value:
            found[name].update(scopes.parse(value) if name == "scope" else _organizations(value))
        elif name == "environment":
            environments.append(_environments([value], _WRONG_QUERY))
        elif prefix == "scope" and method.isalpha() and method.isupper() and value:
            by_method += [(method, scope) for scope in scopes.parse(value)]
        else:
            # A requirement that is misspelt would be none.
            raise Refusal(400, _WRONG_QUERY)
    allowed = frozenset[str].intersection(*environments) if environments else frozenset({_DEFAULT_ENVIRONMENT})
    return Required(frozenset(found["scope"]), tuple(by_method), frozenset(found["organization"]), allowed)


def _environments(values: Iterable[str], sentence: str) -> frozenset[str]:
    allowed = frozenset(ENVIRONMENTS)
    for value in values:
        if value != _ANY and value not in ENVIRONMENTS:
            raise Refusal(400, sentence)
        allowed &= frozenset(ENVIRONMENTS) if value == _ANY else frozenset({value})
    return allowed


def _organizations(value: str | None) -> frozenset[str]:
    if not value:
        return frozenset()
    if not _ORGANIZATION.fullmatch(value):
        raise Refusal(400, "A required organization is named by its id, org_…: a slug can become another's.")
    return frozenset({value})


def _with_headers(stated: Required, environ: Mapping[str, Any]) -> Required:
    scope, organization = environ.get("HTTP_X_REQUIRED_SCOPE"), environ.get("HTTP_X_REQUIRED_ORGANIZATION")
    environment = environ.get("HTTP_X_REQUIRED_ENVIRONMENT")
    if scope is None and organization is None and environment is None:
        return stated
    sentence = "X-Required-Environment must be live, test or any."
    return Required(
        stated.scopes | scopes.parse(scope),
        stated.by_method,
        stated.organizations | _organizations(organization),
        stated.environments & _environments([environment] if environment is not None else [], sentence),
    )


def _with_method(required: Required, method: str | None) -> Required:
    if not required.by_method:
        return required
    if method is None:
        raise Refusal(400, "The gateway must tell the request's method, in X-Original-Method or X-Forwarded-Method.")
    # A HEAD tells of what a GET would answer; and not every server minds the case of a method.
    names = {method.upper(), "GET"} if method.upper() == "HEAD" else {method.upper()}
    further = frozenset(scope for name, scope in required.by_method if name in names)
    return Required(required.scopes | further, (), required.organizations, required.environments)


def _without_origin(target: str) -> str:
    """The path and query of a target; ingress controllers tell the whole URL."""
    if target.startswith("/"):
        return target
    try:
        parts = urlsplit(target)
    except ValueError as error:
        raise Refusal(400, "The path of the request cannot be read.") from error
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _is_scim(target: str) -> bool:
    path = target.partition("?")[0]
    segments = unquote(path).split("/")
    is_plain = _SCIM_PATH.fullmatch(path) is not None and _ODD_IN_SCIM.search(path) is None
    return is_plain and not {".", ".."} & set(segments)
