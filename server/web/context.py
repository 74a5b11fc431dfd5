"""What every view leans on: the process's parts, and the unit of work of the request being served."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

from flask import Flask, abort, current_app, g, request

from server.config import Settings
from server.domain.actor import Actor, ActorKind
from server.domain.unit_of_work import Runtime, UnitOfWork
from server.infra import secrets
from server.infra.database import database
from server.infra.logging import request_id as logged_request_id
from server.protocol.authorization_server import AuthorizationServer

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_EXTENSION: Final = "gatepost"
_MAXIMUM_USER_AGENT: Final = 300
_BRACKETED: Final = re.compile(r"\[([^\]]*)\](?::[0-9]+)?")


@dataclass(frozen=True)
class Gatepost:
    """The parts that live as long as the process."""

    runtime: Runtime
    server: AuthorizationServer


def attach(app: Flask, gatepost: Gatepost) -> None:
    """Makes the parts known to the views and gives each request its id."""
    app.extensions[_EXTENSION] = gatepost
    app.before_request(_begin_request)
    app.teardown_request(_end_request)


def current_gatepost() -> Gatepost:
    """The parts of the application that serves this request."""
    return parts_of(current_app)


def parts_of(app: Flask) -> Gatepost:
    """The parts that `attach` gave to `app`."""
    return cast(Gatepost, app.extensions[_EXTENSION])


def current_work() -> UnitOfWork:
    """The unit of work of this request; one a request."""
    if "work" not in g:
        runtime = current_gatepost().runtime
        actor = anonymous(request.environ, runtime.settings, current_request_id())
        g.work = UnitOfWork.begin(runtime, database.session(), actor)
    return cast(UnitOfWork, g.work)


def act_as(kind: ActorKind, actor_id: str) -> UnitOfWork:
    """The unit of work of this request, on behalf of somebody who proved who they are."""
    g.work = current_work().acting_as(kind, actor_id)
    return cast(UnitOfWork, g.work)


def act_as_user(user_id: str) -> UnitOfWork:
    """As `act_as`, for a person."""
    return act_as("user", user_id)


def current_request_id() -> str:
    """The id that this request has in logs, audit rows, error pages and the `X-Request-ID` header."""
    return cast(str, g.request_id)


def _begin_request() -> None:
    g.request_id = "req_" + secrets.new_id()
    logged_request_id.set(g.request_id)
    try:
        request.query_string.decode()
    except UnicodeDecodeError:
        # Raw bytes that are no UTF-8: reading any parameter would fail.
        abort(400)


def _end_request(_error: BaseException | None) -> None:
    logged_request_id.set("-")


def anonymous(environ: Mapping[str, Any], settings: Settings, request_id: str) -> Actor:
    """Whoever sent the request, before they prove who they are."""
    user_agent = environ.get("HTTP_USER_AGENT", "")[:_MAXIMUM_USER_AGENT] or None
    return Actor("anonymous", None, client_ip(environ, settings), user_agent, request_id)


def client_ip(environ: Mapping[str, Any], settings: Settings) -> str | None:
    """The client's address: the socket's peer, or behind trusted proxies the nearest address that is none of them.

    None where a proxy tells what is no address: it is not the proxy's own then.
    """
    nearest: str | None = environ.get("REMOTE_ADDR")
    if settings.trusted_proxies:
        trusted = _parse_networks(settings.trusted_proxies)
        hops = [hop.strip() for hop in environ.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
        while nearest is not None and hops and _is_in(nearest, trusted):
            nearest = hops.pop()
    return _normalized(nearest) if nearest is not None else None


@lru_cache(maxsize=256)
def _normalized(host: str) -> str | None:
    address = _parse(host)
    return str(address) if address is not None else None


@lru_cache(maxsize=8)
def _parse_networks(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(network, strict=False) for network in networks)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of one hop; some proxies write its port behind it."""
    bracketed = _BRACKETED.fullmatch(text)
    host = bracketed[1] if bracketed else text.rpartition(":")[0] if text.count(":") == 1 else text
    try:
        # A zone id is whatever the sender wrote.
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_in(address: str, networks: tuple[Network, ...]) -> bool:
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)
