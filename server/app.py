"""The composition root: the only module that sees every ring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask import Flask

from server.config import Settings, load_settings, scrub_environment
from server.domain import tables
from server.domain.actor import OPERATOR
from server.domain.demo_seed import DemoCredentials
from server.domain.unit_of_work import UnitOfWork, open_runtime
from server.domain.usage_writing import UsageWriter
from server.infra.circuit_breaker import circuit
from server.infra.clock import Clock
from server.infra.database import database, database_url, engine_options, prepare_engine
from server.infra.database_clock import serving_clock
from server.infra.logging import configure_logging
from server.infra.registry_listener import RegistryListener
from server.infra.resources import TEMPLATES
from server.protocol import metadata
from server.protocol.authorization_server import AuthorizationServer
from server.web import context, errors, metrics_listener, pages, request_metrics, security_headers, session_cookie, urls
from server.web.api import limits
from server.web.background import Sweeper
from server.web.dev import try_it
from server.web.machine_lane import MachineLane
from server.web.mail_worker import MailWorker
from server.web.oauth import cors
from server.web.one_at_a_time import OneAtATime
from server.web.outbox_worker import OutboxWorker
from server.web.request_metrics import CountedRequests
from server.web.wsgi_guard import WsgiGuard

_MAXIMUM_BODY_BYTES = 64 * 1024
#: Of logos that developers upload; the views of such paths take as much.
_MAXIMUM_LOGO_BYTES = 512 * 1024


def create_app(settings: Settings | None = None, clock: Clock | None = None) -> Flask:
    """The application, ready to serve.

    Raises:
        ConfigurationError, KeyringError: with the sentence that mends it.
    """
    settings = settings or load_settings()
    app = Flask("server", template_folder=str(TEMPLATES), static_folder=None, root_path=str(Path(__file__).parent))
    app.config["MAX_CONTENT_LENGTH"] = _MAXIMUM_BODY_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = _MAXIMUM_BODY_BYTES
    _attach_database(app, settings)
    context.attach(app, context.Gatepost(open_runtime(settings, clock), AuthorizationServer()))
    pages.register(app, settings)
    errors.register(app)
    session_cookie.register(app)
    security_headers.register(app)
    request_metrics.register(app)
    limits.register(app)
    cors.register(app)
    urls.register(app, settings)
    # Flask's documented way to wrap.
    app.wsgi_app = CountedRequests(  # type: ignore[method-assign]
        WsgiGuard(_with_lane(app), settings),
        context.parts_of(app).runtime.metrics,
        writes_access_log=settings.access_log,
    )
    return app


def _with_lane(app: Flask) -> MachineLane:
    with app.app_context():
        return MachineLane(app.wsgi_app, context.parts_of(app), database.engine, _MAXIMUM_BODY_BYTES)


def load() -> None:
    """What the workers of one server share: every module, the driver of the configured database among them."""
    database_url(load_settings()).get_dialect().import_dbapi()


def create_serving_app(settings: Settings | None = None) -> Flask:
    """The application of one production worker, configured from the environment; the target of `gatepost serve`."""
    settings = settings or load_settings()
    scrub_environment()
    configure_logging(settings)
    circuit.arm()
    app = create_app(settings, serving_clock(settings))
    runtime = context.parts_of(app).runtime
    Sweeper(runtime).start()
    OutboxWorker(runtime).start()
    MailWorker(runtime).start()
    UsageWriter(runtime).start()
    runtime.audit_queue.start(settings)
    with app.app_context():
        RegistryListener(settings, runtime.registry_cache).listen(database.engine)
        # A worker that has never served the JWKS has it all the same when the database goes away.
        metadata.jwks_document(UnitOfWork.begin(runtime, database.session(), OPERATOR))
    with app.app_context():
        metrics_listener.start(runtime, database.engine.pool)
    liveness_paths = frozenset({"/healthz", f"{settings.issuer_path}/healthz"})
    app.wsgi_app = OneAtATime(  # type: ignore[method-assign]
        app.wsgi_app, _maximum_body_bytes(settings), liveness_paths, settings.issuer_path
    )
    return app


def _maximum_body_bytes(settings: Settings) -> Callable[[str], int]:
    dashboard = f"{settings.issuer_path}/dashboard/"

    def of(path: str) -> int:
        is_logo = path.startswith(dashboard) and path.endswith("/logo")
        return _MAXIMUM_LOGO_BYTES if is_logo else _MAXIMUM_BODY_BYTES

    return of


def create_dev_app(settings: Settings, credentials: DemoCredentials) -> Flask:
    """The application of `gatepost dev`: the same, and the try-it client inside it."""
    app = create_app(settings)
    runtime = context.parts_of(app).runtime
    OutboxWorker(runtime).start()
    MailWorker(runtime).start()
    UsageWriter(runtime).start()
    try_it.register_try_it(app, runtime, credentials.web_secret, credentials.machine_secret)
    return app


def _attach_database(app: Flask, settings: Settings) -> None:
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url(settings)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings)
    database.init_app(app)
    with app.app_context():
        prepare_engine(database.engine)
    # Importing the tables is what makes them known to the mapper.
    app.extensions["gatepost.tables"] = tables.METADATA
