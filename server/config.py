"""Settings: every knob once, read from the environment at boot and never changed after.

Each field carries its environment variable (`GATEPOST_` and the upper-case name), its default and one sentence;
`docs/configuration.md` is generated from them. Any variable may instead be given as `…_FILE`, the path of a file that
holds the value, so that secrets need not stand in the environment.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

PREFIX = "GATEPOST_"
_URL = re.compile(r"[!-~]+")
_HOST = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
_ACR = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")
_KEY_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,22}_")
#: What other secrets of ours begin with.
_OWN_PREFIXES = (
    "rt_",
    "cs_",
    "ac_",
    "bs_",
    "iat_",
    "rat_",
    "invitation_",
    "key_",
    "org_",
    "usr_",
    "mem_",
    "rol_",
    "inv_",
)
#: Headers that mean something else, and those by which gateways ask and are answered.
_MEANT_HEADERS = frozenset({"authorization", "cookie", "host", "origin", "forwarded", "content-type", "content-length"})
_MEANT_BEGINNINGS = ("x-forwarded-", "x-original-", "x-required-", "x-auth-", "x-csrf-", "sec-", "proxy-")
_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
#: How Gatepost's own paths begin, those that are reserved for later too.
_OWN_PATHS = frozenset(
    {
        *("oauth", ".well-known", "v1", "api", "scim", "dev", "static", "healthz", "readyz"),
        *("login", "logout", "signed-out", "consent", "select-account", "client-logo"),
        *("invitations", "account", "dashboard"),
    }
)
_UNWANTED = ("HTTP_", "CONTENT_", "REMOTE_", "FLASK_", PREFIX)
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class ConfigurationError(Exception):
    """A setting is missing or wrong; the message is the sentence that mends it."""


def _check_issuer(value: str) -> str:
    parts = urlsplit(value)
    # Reading the port raises ValueError when it is none.
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.port == 0 or not _URL.fullmatch(value):
        raise ValueError("must be an http(s) URL such as https://login.example.com")
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise ValueError("must have no query and no fragment (RFC 8414 §2)")
    if not value.startswith(f"{parts.scheme}://{parts.netloc.lower()}"):
        raise ValueError("must have scheme and host in lower case: every client compares it character by character")
    if "@" in parts.netloc:
        raise ValueError("must hold no user name or password")
    if value.endswith("/"):
        raise ValueError("must not end in a slash: every client compares it character by character")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("must be https; http is allowed on localhost only")
    return value


def _check_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        ipaddress.ip_network(network, strict=False)
    return value


def _check_hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    for host in value:
        if not _HOST.fullmatch(host):
            raise ValueError(f"{host!r} is no host: a name in lower case, or name:port")
    return value


def _is_database_url(value: str) -> bool:
    """Whether it names a database file, or a database on a server; a database in memory would be empty each time."""
    try:
        parts = urlsplit(value)
        is_port_valid = parts.port != 0
    except ValueError:
        return False
    if parts.scheme == "sqlite":
        return not parts.netloc and parts.path.lstrip("/") not in {"", ":memory:"}
    is_named = parts.path not in {"", "/"} or "dbname=" in parts.query
    return parts.scheme in {"postgresql", "postgresql+psycopg"} and is_named and is_port_valid


def _is_mail_server(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in {"smtp", "smtps"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


#: Up to ten years: longer ones overflow calendars and cookies.
Seconds = Annotated[int, Field(ge=1, le=10 * 365 * 86400)]


class _FileTwins(PydanticBaseSettingsSource):
    """Reads `GATEPOST_X_FILE` for every setting X, as container platforms hand out secrets."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{PREFIX}{field_name.upper()}_FILE names {path}, which cannot be read as text."
            ) from error

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is not None:
                found[name] = self._parsed(name, field, value)
        return found

    def _parsed(self, name: str, field: Any, value: Any) -> Any:
        try:
            return self.prepare_field_value(name, field, value, value_is_complex=False)
        except ValueError as error:
            raise ConfigurationError(f"{PREFIX}{name.upper()}_FILE holds no valid JSON.") from error


class ScopeSetting(BaseModel):
    """One scope of the deployment's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: What the consent page says.
    sentence: str = Field(min_length=1, max_length=200)
    detail: str | None = Field(None, max_length=300)
    #: Shown first and with a warning.
    sensitive: bool = False
    #: Scopes that whoever has this one has too; `*` stands for all of the deployment's.
    implies: tuple[str, ...] = ()


def _check_prefixes(value: dict[str, str]) -> dict[str, str]:
    for name, prefix in value.items():
        if name not in DEFAULT_KEY_PREFIXES:
            raise ValueError(f"{name!r} is none of {', '.join(DEFAULT_KEY_PREFIXES)}")
        if not _KEY_PREFIX.fullmatch(prefix):
            raise ValueError(f"{prefix!r} must be up to 24 letters, digits and underscores, with one at the end")
    prefixes = DEFAULT_KEY_PREFIXES | value
    taken = [prefix for prefix in prefixes.values() if prefix.startswith(_OWN_PREFIXES)]
    if taken:
        raise ValueError(f"{taken[0]!r} is what secrets of another kind begin with")
    if len(set(prefixes.values())) < len(prefixes):
        raise ValueError("must differ: a key's prefix says which kind it is")
    return prefixes


#: What API keys begin with, by kind and environment.
DEFAULT_KEY_PREFIXES: dict[str, str] = {
    "live": "gp_live_",
    "test": "gp_test_",
    "restricted": "gp_rk_live_",
    "restricted_test": "gp_rk_test_",
    "scim": "gp_scim_live_",
    "scim_test": "gp_scim_test_",
}


class Settings(BaseSettings):
    """All configuration of one deployment; frozen, validated at boot."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    environment: Literal["development", "production"] = Field(
        "production", description="`gatepost dev` sets `development`; everything else is production."
    )
    issuer: Annotated[str, AfterValidator(_check_issuer)] = Field(
        "http://localhost:8000",
        description="The issuer identifier: the one origin of every URL Gatepost writes. Https; a path is allowed.",
    )
    issuer_name: str = Field("Gatepost", min_length=1, max_length=60, description="The name people see on the pages.")
    database_url: SecretStr = Field(
        SecretStr("sqlite:///var/gatepost.sqlite"),
        description="`sqlite:///path` or `postgresql://user:password@host/name` (the latter needs the extra "
        "`gatepost[postgres]`).",
    )
    keys_dir: Path = Field(Path("keys"), description="The folder of the keyring, readable by its owner alone.")
    bind: str = Field("127.0.0.1:8000", description="Address and port that `gatepost serve` listens on.")
    workers: int | None = Field(None, ge=1, description="Worker processes; by default one per CPU core.")
    pin_workers: bool = Field(
        True, description="Each worker keeps to one core, where there are as many workers as cores (Linux)."
    )
    drain_seconds: int = Field(
        5,
        ge=0,
        le=25,
        description="Seconds after SIGTERM in which `/readyz` already answers 503 and all else is still served.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, AfterValidator(_check_networks)] = Field(
        (), description="Networks (CIDR, comma-separated) whose `X-Forwarded-For` is believed. Empty: nobody's."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, AfterValidator(_check_hosts)] = Field(
        (),
        description="Further `Host`s (`name` or `name:port`, comma-separated) beside the issuer's and this machine's; "
        "any other is answered 421.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")
    log_format: Literal["text", "json"] = Field("text", description="One line of text or one JSON object per event.")
    access_log: bool = Field(False, description="One line at info for each request: endpoint, status, milliseconds.")
    metrics_bind: str | None = Field(None, description="Address and port of the Prometheus metrics; by default none.")

    authorization_request_lifetime: Seconds = Field(
        1800, description="Seconds a person has to sign in and consent before the request expires."
    )
    authorization_code_lifetime: int = Field(
        60, ge=1, le=600, description="Seconds an authorization code lives (RFC 6749 §4.1.2 allows 600 at most)."
    )
    access_token_lifetime: Seconds = Field(3600, description="Seconds an access token is valid.")
    id_token_lifetime: Seconds = Field(3600, description="Seconds an ID token is valid.")
    refresh_token_idle_lifetime: Seconds = Field(
        30 * 86400, description="Seconds a refresh token lives unless it is used."
    )
    refresh_token_lifetime: Seconds = Field(
        180 * 86400, description="Seconds after which the person signs in again, however often tokens were refreshed."
    )
    refresh_replay_window: int = Field(
        30, ge=0, le=60, description="Seconds in which a retried refresh is answered with the very same response."
    )
    session_idle_lifetime: Seconds = Field(86400, description="Seconds a browser session lives unless it is used.")
    session_lifetime: Seconds = Field(14 * 86400, description="Seconds after which a browser session ends.")
    signing_key_retirement: Seconds = Field(
        2 * 86400, description="Seconds a retiring signing key stays in the JWKS, at least the longest token lifetime."
    )
    access_token_audience: str | None = Field(
        None, description="The `aud` of access tokens when the client asks for no resource; by default the issuer."
    )
    scopes: dict[str, ScopeSetting] = Field(
        {},
        description='Further scopes and their consent sentences, as JSON: `{"notes:read": "Read your notes"}`. Instead '
        "of a sentence an object may stand: `sentence`, `detail`, `sensitive`, and the scopes it `implies`.",
    )
    api_key_prefixes: Annotated[dict[str, str], AfterValidator(_check_prefixes)] = Field(
        DEFAULT_KEY_PREFIXES,
        description='What API keys begin with, as JSON: `{"live": "ak_live_", "test": "ak_test_"}`; also '
        "`restricted`, `restricted_test`, `scim`, `scim_test`.",
    )
    api_key_lifetime: Seconds = Field(
        90 * 86400, description="Seconds an API key lives when its maker does not say how long."
    )
    api_key_token_lifetime: int = Field(
        900, ge=1, le=86400, description="Seconds a token lives that an API key was exchanged for (RFC 8693)."
    )
    api_requests_per_minute: int = Field(
        600, ge=1, description="Requests that one credential may send to `/v1` in a minute."
    )
    organization_header: str = Field(
        "Organization-ID", description="The request header that names the organization a credential is used for."
    )
    organization_header_required: bool = Field(
        False, description="Whether API keys are refused with 400 where that header is missing."
    )
    organization_creation: Literal["anyone", "operator"] = Field(
        "anyone", description="Who may create organizations: everybody who can sign in, or the command line alone."
    )
    session_alias_path: str | None = Field(
        None,
        description="A path such as `/auth` where the deployment's own client trades its refresh token for new tokens, "
        "in a form or as JSON.",
    )
    session_alias_client: str | None = Field(None, description="The id of that client.")
    smtp_url: SecretStr | None = Field(
        None,
        description="`smtp://user:password@host:587` (STARTTLS where the server offers it) or `smtps://host:465`. "
        "Without it nothing is mailed, and invitations are links to copy.",
    )
    mail_from: str | None = Field(None, description="The sender of mails; by default `no-reply@` the issuer's host.")
    leak_report_keys_url: str = Field(
        "https://api.github.com/meta/public_keys/secret_scanning",
        description="Where the keys are published that sign reports of leaked keys.",
    )
    acr_ladder: dict[str, tuple[str, ...]] = Field(
        {"1": ("pwd",)},
        description="The classes of `acr`, weakest first, each with the `amr` values a sign-in needs for it, as JSON: "
        '`{"1": ["pwd"]}`.',
    )
    signing_key_rotation: Seconds | None = Field(
        90 * 86400, description="Seconds a signing key signs before the next one does; `none`: only by command."
    )
    signing_key_publication: Seconds = Field(
        86400, description="Seconds the next signing key is in the JWKS before it signs, so that verifiers have met it."
    )
    registration: Literal["off", "token", "open"] = Field(
        "off",
        description="Who may register clients at `/oauth/register` (RFC 7591): nobody, holders of an initial access "
        "token (`gatepost registration create`), or everybody.",
    )
    registration_per_hour: int = Field(20, ge=1, description="Clients that one network may register in an hour.")
    registration_maximum: int = Field(
        10_000, ge=1, description="Clients that may be registered at `/oauth/register` at one time, over everybody."
    )
    registration_unused_days: int = Field(
        90, ge=1, description="Days after which a client registered at `/oauth/register` that nobody uses is removed."
    )
    software_statement_issuers: dict[str, str] = Field(
        {},
        description="Who may vouch for clients (RFC 7591 §2.3), as JSON: issuers and the `jwks_uri` of each, "
        '`{"https://directory.example": "https://directory.example/jwks.json"}`.',
    )
    outbound_timeout: float = Field(
        5.0, gt=0, le=30, description="Seconds that a request of ours to somebody else's server may take."
    )
    outbound_ports: Annotated[tuple[int, ...], NoDecode] = Field(
        (443, 8443), description="Ports that clients' URLs may name, comma-separated."
    )
    outbound_networks: Annotated[tuple[str, ...], NoDecode, AfterValidator(_check_networks)] = Field(
        (),
        description="Networks (CIDR, comma-separated) that are not public and may be asked all the same: where your "
        "own applications run.",
    )
    outbound_ca_file: Path | None = Field(
        None, description="PEM certificates that such requests trust beside the system's."
    )
    outbound_allow_loopback: bool = Field(
        False,
        description="For tests only: such requests may also go to this machine. `gatepost serve` refuses it unless the "
        "issuer is on this machine too.",
    )
    argon2_time_cost: int = Field(2, ge=1, le=100, description="Argon2id passes for people's passwords.")
    argon2_memory_kib: int = Field(19456, ge=8192, le=4194304, description="Argon2id memory in KiB.")
    argon2_parallelism: int = Field(1, ge=1, le=64, description="Argon2id lanes.")
    password_minimum_length: int = Field(
        15, ge=8, le=20, description="Characters a new password has at least (NIST SP 800-63B-4 §3.1.1.2)."
    )
    login_failures_per_minute: int = Field(
        1000,
        ge=1,
        description="Failed sign-ins on unknown browsers a minute, over everybody, before all such ones wait.",
    )
    rate_limit_redis_url: SecretStr | None = Field(
        None,
        description="`redis://host:6379/0`: count attempts there and not in the database (needs the extra "
        "`gatepost[redis]`).",
    )
    rate_limit_processes: int | None = Field(
        None,
        ge=1,
        description="Worker processes over all replicas, which share the budgets while Redis is away; by default those "
        "of this one.",
    )

    @field_validator("signing_key_rotation", mode="before")
    @classmethod
    def _none_for_never(cls, value: Any) -> Any:
        return None if value == "none" else value

    @field_validator("acr_ladder")
    @classmethod
    def _ladder_names(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        # RFC 6711 §3: an absolute URI or a registered name; `acr_values` separates them by spaces.
        for name, methods in value.items():
            if not _ACR.fullmatch(name) or not methods:
                raise ValueError(f"{name!r} must be printable ASCII without space, with at least one amr value")
        if not value:
            raise ValueError("must have at least one class")
        return value

    @field_validator("trusted_proxies", "allowed_hosts", "outbound_ports", "outbound_networks", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        # Its text is not repeated in the message: it may hold a password.
        if not _is_database_url(value.get_secret_value()):
            raise ValueError("must be sqlite:///path or postgresql://user:password@host/name")
        return value

    @field_validator("scopes", mode="before")
    @classmethod
    def _sentences_alone(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"sentence": each} if isinstance(each, str) else each for name, each in value.items()}

    @field_validator("scopes")
    @classmethod
    def _scope_names(cls, value: dict[str, ScopeSetting]) -> dict[str, ScopeSetting]:
        for name in (*value, *(implied for each in value.values() for implied in each.implies)):
            if not SCOPE_TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is no scope: printable ASCII without space, quote and backslash")
        return value

    @field_validator("organization_header")
    @classmethod
    def _header_name(cls, value: str) -> str:
        if not _HEADER_NAME.fullmatch(value):
            raise ValueError("must be letters, digits and hyphens")
        if value.lower() in _MEANT_HEADERS or value.lower().startswith(_MEANT_BEGINNINGS):
            raise ValueError("must not be a header that means something else")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _known_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        # Its text is not repeated in the message: it may hold a password.
        if value is not None and not _is_mail_server(value.get_secret_value()):
            raise ValueError("must be smtp://user:password@host:587 or smtps://user:password@host:465")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _not_everybody(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(ipaddress.ip_network(network, strict=False).prefixlen == 0 for network in value):
            raise ValueError("must not be everybody: then anybody could choose the address they come from")
        return value

    @model_validator(mode="after")
    def _alias_is_whole(self) -> Settings:
        if (self.session_alias_path is None) != (self.session_alias_client is None):
            raise ValueError("session_alias_path and session_alias_client are given together or not at all")
        if self.session_alias_path is not None and not _PATH.fullmatch(self.session_alias_path):
            raise ValueError("session_alias_path must be a path such as /auth")
        if self.session_alias_path is not None and self.session_alias_path.split("/")[1] in _OWN_PATHS:
            raise ValueError("session_alias_path must not begin like a path of Gatepost's own")
        return self

    @model_validator(mode="after")
    def _keys_outlive_tokens(self) -> Settings:
        if self.signing_key_retirement < max(self.access_token_lifetime, self.id_token_lifetime):
            raise ValueError("signing_key_retirement must be at least as long as the longest token lifetime")
        return self

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the issuer is a name that only this machine, or a test's own network, knows (RFC 6761 §6)."""
        host = urlsplit(self.issuer).hostname or ""
        return host in LOOPBACK_HOSTS or host.endswith((".localhost", ".test"))

    @property
    def audience(self) -> str:
        """The `aud` of access tokens issued without a resource indicator."""
        return self.access_token_audience or self.issuer

    @property
    def issuer_path(self) -> str:
        """The issuer's path, `""` when the issuer is an origin."""
        return urlsplit(self.issuer).path

    @property
    def is_https(self) -> bool:
        """Whether browsers reach this deployment over TLS."""
        return self.issuer.startswith("https://")

    @property
    def wants_strict_transport(self) -> bool:
        """Whether browsers shall never try http again. On localhost that would hold for every port and program."""
        return self.is_https and urlsplit(self.issuer).hostname not in LOOPBACK_HOSTS

    def url(self, path: str) -> str:
        """The absolute URL of `path`, always from the configured issuer and never from a request."""
        return self.issuer + path

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flag over environment over `_FILE` over `.env` over default."""
        return init_settings, env_settings, _FileTwins(settings_cls), dotenv_settings


def load_settings(**overrides: Any) -> Settings:
    """Reads and validates the configuration.

    Raises:
        ConfigurationError: with one line per wrong setting, naming its variable.
    """
    try:
        return Settings(**overrides)
    except UnicodeDecodeError as error:
        raise ConfigurationError("The file .env is not UTF-8 text.") from error
    except SettingsError as error:
        # pydantic-settings names the field in quotes; the value is not repeated.
        field = str(error).partition('"')[2].partition('"')[0]
        raise ConfigurationError(f"{PREFIX}{field.upper()} must be JSON, as docs/configuration.md shows it") from error
    except ValidationError as error:
        lines = []
        for fault in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in fault["loc"])
            message = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{PREFIX}{name.upper()}: {message}" if name else message)
        raise ConfigurationError("\n".join(lines)) from None


def scrub_environment() -> None:
    """Removes variables that a WSGI server would hand to the application as if a request had sent them (PEP 3333).

    And those by which a shell would switch Flask's debugging on.
    """
    for name in [name for name in os.environ if name.startswith(_UNWANTED)]:
        del os.environ[name]
