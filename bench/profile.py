"""Where the CPU of one kind of request goes: in this process, without HTTP, with and without cProfile.

The figure without it is CPU-µs per request, the lowest of several batches; the tables after it rank packages and
functions by the CPU time they take themselves. cProfile charges for each call: compare its times with each other only.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import pstats
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import event
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from bench.subject import (
    CLIENT_CREDENTIALS,
    CLIENT_CREDENTIALS_ES256,
    CODE_EXCHANGE,
    DISCOVERY,
    INTROSPECTION,
    JWKS,
    REFRESH,
    USERINFO,
)
from tests.support.application import Gatepost
from tests.support.flow import VERIFIER, Flow, basic, flow_of
from tests.support.servers import postgres_cluster

REDIRECT_URI = "https://app.example/cb"
BATCHES = 5


class Application:
    """Gatepost as a WSGI function, and the requests it is called with."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        more: dict[str, Any] = {"database_url": database_url} if database_url else {}
        self.gatepost = Gatepost(folder, scopes={"notes:read": "Read your notes"}, **more)
        if not database_url:
            # As `gatepost serve` has it; the tests switch it off.
            self.gatepost.runtime.autocommit.close()
            for engine in self.gatepost.engines:
                event.listen(engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA synchronous=FULL"))
                engine.dispose()
        self.gatepost.add_user()
        self.web = flow_of(self.gatepost, redirect_uris=(REDIRECT_URI,), is_first_party=True)
        self.machine = flow_of(self.gatepost, "machine", scope="notes:read")
        self.body = b""

    def call(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> None:
        """One request; the answer's body is kept."""
        environ = EnvironBuilder(
            path, "http://localhost:8000", method=method, data=form, headers=Headers(headers)
        ).get_environ()
        statuses: list[str] = []

        def start_response(status: str, _headers: Any, _info: Any = None) -> Callable[[bytes], object]:
            statuses.append(status)
            return lambda _data: None

        answer = self.gatepost.app.wsgi_app(environ, start_response)
        self.body = b"".join(answer)
        getattr(answer, "close", lambda: None)()
        if not statuses[0].startswith("200"):
            raise SystemExit(f"{method} {path} answered {statuses[0]}: {self.body[:300]!r}")


def _of(flow: Flow) -> dict[str, str]:
    return basic(flow.client.id, flow.secret or "")


def _client_credentials(app: Application) -> Callable[[], None]:
    form = {"grant_type": "client_credentials", "scope": "notes:read"}
    return lambda: app.call("POST", "/oauth/token", form, **_of(app.machine))


def _client_credentials_es256(app: Application) -> Callable[[], None]:
    app.gatepost.change_client(app.machine.client.id, access_token_signed_response_alg="ES256")
    return _client_credentials(app)


def _code_exchange(app: Application, count: int) -> Callable[[], None]:
    codes: Iterator[str] = iter([app.web.code() for _ in range(count)])
    form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
    return lambda: app.call("POST", "/oauth/token", {**form, "code": next(codes)}, **_of(app.web))


def _refresh(app: Application) -> Callable[[], None]:
    token = app.web.tokens()["refresh_token"]

    def refresh() -> None:
        nonlocal token
        app.call("POST", "/oauth/token", {"grant_type": "refresh_token", "refresh_token": token}, **_of(app.web))
        # Found without a parser, so that the profile shows none.
        token = app.body.partition(b'"refresh_token":"')[2].partition(b'"')[0].decode()

    return refresh


def _introspection(app: Application) -> Callable[[], None]:
    token = app.web.tokens()["access_token"]
    return lambda: app.call("POST", "/oauth/introspect", {"token": token}, **_of(app.web))


def _userinfo(app: Application) -> Callable[[], None]:
    bearer = f"Bearer {app.web.tokens()['access_token']}"
    return lambda: app.call("GET", "/oauth/userinfo", Authorization=bearer)


def _requests(app: Application, operation: str, count: int) -> Callable[[], None]:
    makers: dict[str, Callable[[], Callable[[], None]]] = {
        CLIENT_CREDENTIALS: lambda: _client_credentials(app),
        CLIENT_CREDENTIALS_ES256: lambda: _client_credentials_es256(app),
        CODE_EXCHANGE: lambda: _code_exchange(app, count * (BATCHES + 1) + 10),
        REFRESH: lambda: _refresh(app),
        INTROSPECTION: lambda: _introspection(app),
        USERINFO: lambda: _userinfo(app),
        JWKS: lambda: lambda: app.call("GET", "/.well-known/jwks.json"),
        DISCOVERY: lambda: lambda: app.call("GET", "/.well-known/openid-configuration"),
    }
    return makers[operation]()


def _package(filename: str) -> str:
    """The part of the code that a file belongs to: a ring of ours, or somebody's package."""
    for marker in ("site-packages/", "/lib/python3"):
        if marker in filename:
            rest = filename.rpartition(marker)[2]
            return rest.split("/")[0 if marker == "site-packages/" else 1].removesuffix(".py")
    parts = Path(filename).parts
    if "server" in parts:
        return "/".join(parts[parts.index("server") :][:2])
    return "C code (driver, signature, built-ins)" if filename == "~" else Path(filename).name


def _by_package(stats: Any, count: int) -> str:
    own: Counter[str] = Counter()
    for (filename, _line, _name), (_calls, _primitive, total, _cumulative, _callers) in stats.stats.items():
        own[_package(filename)] += total
    whole = sum(own.values())
    rows = [f"  {name:38} {t / count * 1e6:8.0f} µs {t / whole:6.1%}" for name, t in own.most_common(12)]
    return "\n".join(["  by package, under cProfile:", *rows])


def profile(app: Application, operation: str, count: int, lines: int) -> str:
    """The figure and the tables of one operation."""
    request = _requests(app, operation, count)
    for _ in range(10):
        request()
    batches = []
    for _ in range(BATCHES):
        began = time.process_time()
        for _ in range(count):
            request()
        batches.append((time.process_time() - began) / count * 1e6)
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    for _ in range(count):
        request()
    profiler.disable()
    text = io.StringIO()
    stats = pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime")
    whole = _by_package(pstats.Stats(profiler), count)
    stats.print_stats(lines)
    table = text.getvalue().partition("ncalls")
    return f"{operation}: {min(batches):,.0f} CPU-µs\n{whole}\n  ncalls (of {count}){table[2]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Profiles what the command line names."""
    named = (CLIENT_CREDENTIALS, CLIENT_CREDENTIALS_ES256, CODE_EXCHANGE, REFRESH, INTROSPECTION, USERINFO, JWKS)
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("operations", nargs="*", metavar="WORD", help="operations whose name contains it; default: all")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite", help="default: %(default)s")
    parser.add_argument("--count", type=int, default=200, help="requests per batch (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=25, help="functions to show (default: %(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gatepost-profile-"))
        postgres = stack.enter_context(postgres_cluster()) if options.database == "postgres" else None
        app = Application(Path(folder), postgres.create_database() if postgres else None)
        stack.callback(app.gatepost.close)
        for operation in (*named, DISCOVERY):
            if not options.operations or any(word in operation for word in options.operations):
                print(profile(app, operation, options.count, options.lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
