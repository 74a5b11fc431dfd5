"""Settings: every knob validated at boot, from four sources in a fixed order, without showing a secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from server.config import _OWN_PATHS, ConfigurationError, ScopeSetting, Settings, load_settings, scrub_environment
from server.web.urls import API, URLS


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("GATEPOST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(f"GATEPOST_{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    return str(caught.value)


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"GATEPOST_{name}", value)
    return load_settings()


# ------------------------------------------------------------------------------------------------------------ defaults


def test_defaults_are_safe_when_nothing_is_set() -> None:
    settings = load_settings()
    assert settings.environment == "production"
    assert settings.trusted_proxies == ()
    assert settings.bind == "127.0.0.1:8000"
    assert settings.authorization_code_lifetime == 60
    assert settings.refresh_replay_window == 30
    assert settings.database_url.get_secret_value() == "sqlite:///var/gatepost.sqlite"
    assert settings.keys_dir == Path("keys")
    assert settings.log_level == "info"


def test_every_setting_explains_itself() -> None:
    unexplained = [name for name, field in Settings.model_fields.items() if not (field.description or "").strip()]
    assert unexplained == []


def test_settings_cannot_be_changed_when_they_are_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().issuer = "https://other.example"


def test_unknown_variables_are_ignored_when_the_environment_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not hasattr(loaded(monkeypatch, SOMETHING_ELSE="1"), "something_else")


# -------------------------------------------------------------------------------------------------------------- issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "https://login.example.com",
        "https://login.example.com:8443",
        "https://example.com/tenant/one",
        "http://localhost:8000",
        "http://127.0.0.1",
        "http://[::1]:8000/path",
    ],
)
def test_issuer_is_taken_as_written_when_it_is_a_url_of_ours(monkeypatch: pytest.MonkeyPatch, issuer: str) -> None:
    settings = loaded(monkeypatch, ISSUER=issuer)
    assert settings.issuer == issuer
    assert settings.url("/oauth/token") == issuer + "/oauth/token"


@pytest.mark.spec("RFC 8414 §2")
@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        pytest.param("login.example.com", "http(s) URL", id="no scheme"),
        pytest.param("ftp://login.example.com", "http(s) URL", id="another scheme"),
        pytest.param("https://", "http(s) URL", id="no host"),
        pytest.param("", "http(s) URL", id="empty"),
        pytest.param("https://login.example.com?x=1", "no query", id="query"),
        pytest.param("https://login.example.com?", "no query", id="empty query"),
        pytest.param("https://login.example.com#part", "no fragment", id="fragment"),
        pytest.param("https://login.example.com#", "no fragment", id="empty fragment"),
        pytest.param("https://u@login.example.com", "user name", id="user name"),
        pytest.param("https://u:p@login.example.com", "user name", id="password"),
        pytest.param("https://@login.example.com", "", id="empty user name"),
        pytest.param("https://login.example.com/", "slash", id="slash at the end"),
        pytest.param("https://login.example.com/tenant/", "slash", id="slash after a path"),
        pytest.param("http://login.example.com", "must be https", id="http off localhost"),
        pytest.param("http://localhost.example.com", "must be https", id="http on a host that begins with localhost"),
        pytest.param("http://127.0.0.2", "must be https", id="http on another loopback address"),
        pytest.param("https://Login.example.com", "lower case", id="host in capitals"),
        pytest.param("HTTPS://login.example.com", "lower case", id="scheme in capitals"),
        pytest.param("https://login example.com", "", id="space"),
        pytest.param("https://login.example.com/a b", "", id="space in the path"),
        pytest.param("https://login.example.com\n", "", id="line break"),
        pytest.param("https://login.example.com:https", "", id="port that is no number"),
        pytest.param("https://login.example.com:65536", "", id="port out of range"),
        pytest.param("https://[::1", "", id="half an IPv6 address"),
    ],
)
def test_issuer_is_refused_when(monkeypatch: pytest.MonkeyPatch, issuer: str, reason: str) -> None:
    message = refusal(monkeypatch, ISSUER=issuer)
    assert message.startswith("GATEPOST_ISSUER: ")
    assert reason in message
    assert "\n" not in message


def test_issuer_parts_are_derived_when_it_has_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, ISSUER="https://example.com/tenant")
    assert (settings.issuer_path, settings.is_https) == ("/tenant", True)
    plain = loaded(monkeypatch, ISSUER="http://localhost:8000")
    assert (plain.issuer_path, plain.is_https) == ("", False)


def test_audience_is_the_issuer_unless_one_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().audience == "http://localhost:8000"
    assert loaded(monkeypatch, ACCESS_TOKEN_AUDIENCE="https://api.example.com").audience == "https://api.example.com"


# ------------------------------------------------------------------------------------------------------------ database


@pytest.mark.parametrize(
    "url", ["sqlite:///var/x.sqlite", "sqlite:////x.sqlite", "postgresql://u:p@db/name", "postgresql+psycopg://db/name"]
)
def test_database_url_is_taken_when_the_database_is_known(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert loaded(monkeypatch, DATABASE_URL=url).database_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        *("mysql://u:hunter2@db/x", "u:hunter2@db", "/var/hunter2.sqlite", "", "postgresql://u:hunter2@db:port/x"),
        *("postgresql+pg8000://u:hunter2@db/x", "postgresql://u:hunter2@db", "sqlite://", "sqlite:///:memory:"),
    ],
)
def test_database_url_is_refused_without_showing_it_when_it_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    message = refusal(monkeypatch, DATABASE_URL=url)
    assert message == "GATEPOST_DATABASE_URL: must be sqlite:///path or postgresql://user:password@host/name"


def test_database_password_is_masked_when_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, DATABASE_URL="postgresql://u:hunter2@db/name")
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


# ----------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    "name",
    [
        "AUTHORIZATION_REQUEST_LIFETIME",
        "AUTHORIZATION_CODE_LIFETIME",
        "ACCESS_TOKEN_LIFETIME",
        "ID_TOKEN_LIFETIME",
        "REFRESH_TOKEN_IDLE_LIFETIME",
        "REFRESH_TOKEN_LIFETIME",
        "SESSION_IDLE_LIFETIME",
        "SESSION_LIFETIME",
        "SIGNING_KEY_RETIREMENT",
        "WORKERS",
        "ARGON2_TIME_COST",
        "ARGON2_PARALLELISM",
    ],
)
@pytest.mark.parametrize("value", ["0", "-1", "soon", "1.5", ""])
def test_number_is_refused_when_it_is_not_a_positive_one(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert refusal(monkeypatch, **{name: value}).startswith(f"GATEPOST_{name}: ")


@pytest.mark.parametrize(
    ("name", "maximum"),
    [
        ("ACCESS_TOKEN_LIFETIME", 315360000),
        ("SESSION_LIFETIME", 315360000),
        ("SIGNING_KEY_RETIREMENT", 315360000),
        ("ARGON2_TIME_COST", 100),
        ("ARGON2_MEMORY_KIB", 4194304),
        ("ARGON2_PARALLELISM", 64),
    ],
)
def test_number_is_refused_when_nothing_could_keep_it(monkeypatch: pytest.MonkeyPatch, name: str, maximum: int) -> None:
    monkeypatch.setenv("GATEPOST_SIGNING_KEY_RETIREMENT", "315360000")
    assert str(maximum) in refusal(monkeypatch, **{name: str(maximum + 1)})
    assert getattr(loaded(monkeypatch, **{name: str(maximum)}), name.lower()) == maximum


@pytest.mark.spec("RFC 6749 §4.1.2")
def test_code_lifetime_is_refused_when_it_is_over_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, AUTHORIZATION_CODE_LIFETIME="600").authorization_code_lifetime == 600
    assert "600" in refusal(monkeypatch, AUTHORIZATION_CODE_LIFETIME="601")


@pytest.mark.parametrize("value", ["-1", "61"])
def test_replay_window_is_refused_when_it_is_outside_a_minute(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert refusal(monkeypatch, REFRESH_REPLAY_WINDOW=value).startswith("GATEPOST_REFRESH_REPLAY_WINDOW: ")


@pytest.mark.parametrize("value", [0, 60])
def test_replay_window_is_taken_when_it_is_within_a_minute(monkeypatch: pytest.MonkeyPatch, value: int) -> None:
    assert loaded(monkeypatch, REFRESH_REPLAY_WINDOW=str(value)).refresh_replay_window == value


def test_argon2_memory_is_refused_when_it_is_under_8_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "8192" in refusal(monkeypatch, ARGON2_MEMORY_KIB="8191")


@pytest.mark.parametrize("name", ["ACCESS_TOKEN_LIFETIME", "ID_TOKEN_LIFETIME"])
def test_key_retirement_is_refused_when_tokens_outlive_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    message = refusal(monkeypatch, **{name: "7201", "SIGNING_KEY_RETIREMENT": "7200"})
    assert message == "signing_key_retirement must be at least as long as the longest token lifetime"
    monkeypatch.setenv(f"GATEPOST_{name}", "7200")
    assert load_settings().signing_key_retirement == 7200


# -------------------------------------------------------------------------------------------------------------- others


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", ()),
        (" , ", ()),
        ("10.0.0.0/8", ("10.0.0.0/8",)),
        ("10.0.0.0/8,::1", ("10.0.0.0/8", "::1")),
        (" 10.1.2.3/8 , fd00::/8 ,", ("10.1.2.3/8", "fd00::/8")),
    ],
)
def test_trusted_proxies_are_split_at_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, networks: tuple[str, ...]
) -> None:
    assert loaded(monkeypatch, TRUSTED_PROXIES=text).trusted_proxies == networks


def test_trusted_proxies_are_taken_when_they_come_from_code() -> None:
    assert load_settings(trusted_proxies=("10.0.0.0/8",)).trusted_proxies == ("10.0.0.0/8",)


@pytest.mark.parametrize("text", ["proxy.example.com", "10.0.0.0/33", "10.0.0.0/8,*", "10.0.0.0/8 10.1.0.0/16"])
def test_trusted_proxies_are_refused_when_one_is_no_network(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert refusal(monkeypatch, TRUSTED_PROXIES=text).startswith("GATEPOST_TRUSTED_PROXIES: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENVIRONMENT", "staging"),
        ("LOG_LEVEL", "verbose"),
        ("LOG_FORMAT", "xml"),
        ("ISSUER_NAME", ""),
        ("ISSUER_NAME", "x" * 61),
    ],
)
def test_choice_is_refused_when_it_is_not_one_of_ours(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert refusal(monkeypatch, **{name: value}).startswith(f"GATEPOST_{name}: ")


def test_scopes_are_read_when_they_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    scopes = loaded(monkeypatch, SCOPES='{"a:read": "Read", "admin": {"sentence": "All", "implies": ["*"]}}').scopes
    assert scopes == {
        "a:read": ScopeSetting(sentence="Read"),
        "admin": ScopeSetting(sentence="All", implies=("*",)),
    }


@pytest.mark.parametrize("text", ["notes:read", "[", "[]", '"x"', '{"notes:read": 5}'])
def test_scopes_are_refused_when_they_are_not_a_json_object_of_sentences(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    assert "GATEPOST_SCOPES" in refusal(monkeypatch, SCOPES=text)


@pytest.mark.spec("RFC 6749 §3.3")
@pytest.mark.parametrize("name", ["two words", "", 'with"quote', "back\\\\slash", "näme"])
def test_scopes_are_refused_when_a_name_breaks_the_grammar(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    escaped = name.replace('"', '\\"')
    assert "GATEPOST_SCOPES" in refusal(monkeypatch, SCOPES=f'{{"{escaped}": "A sentence"}}')


def test_each_fault_has_its_line_when_several_settings_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = refusal(monkeypatch, ISSUER="nowhere", LOG_LEVEL="loud", WORKERS="0").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["GATEPOST_ISSUER", "GATEPOST_WORKERS", "GATEPOST_LOG_LEVEL"]


# ----------------------------------------------------------------------------------------------------------- sources


def test_sources_win_over_each_other_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_settings().issuer_name == "Gatepost"
    (tmp_path / ".env").write_text("GATEPOST_ISSUER_NAME=dotenv\n")
    assert load_settings().issuer_name == "dotenv"
    (tmp_path / "name").write_text("file\n")
    monkeypatch.setenv("GATEPOST_ISSUER_NAME_FILE", str(tmp_path / "name"))
    assert load_settings().issuer_name == "file"
    monkeypatch.setenv("GATEPOST_ISSUER_NAME", "environment")
    assert load_settings().issuer_name == "environment"
    assert load_settings(issuer_name="flag").issuer_name == "flag"


def test_file_twin_gives_every_kind_of_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    contents = {
        "DATABASE_URL": "postgresql://u:hunter2@db/name\n",
        "TRUSTED_PROXIES": "10.0.0.0/8, ::1\n",
        "SCOPES": '{"notes:read": "Read your notes"}',
        "ACCESS_TOKEN_LIFETIME": " 900 ",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        monkeypatch.setenv(f"GATEPOST_{name}_FILE", str(tmp_path / name))
    settings = load_settings()
    assert settings.database_url.get_secret_value() == "postgresql://u:hunter2@db/name"
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.scopes == {"notes:read": ScopeSetting(sentence="Read your notes")}
    assert settings.access_token_lifetime == 900


def test_file_twin_is_validated_when_it_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "issuer").write_text("http://login.example.com")
    assert "must be https" in refusal(monkeypatch, ISSUER_FILE=str(tmp_path / "issuer"))


@pytest.mark.parametrize("path", ["missing", "."])
def test_file_twin_is_refused_when_it_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str
) -> None:
    message = refusal(monkeypatch, DATABASE_URL_FILE=str(tmp_path / path))
    assert message.startswith(f"GATEPOST_DATABASE_URL_FILE names {tmp_path / path}, which cannot be read")


def test_dotenv_is_refused_when_it_is_not_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"GATEPOST_ISSUER_NAME=\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"The file \.env is not UTF-8 text\."):
        load_settings()


def test_file_twin_is_refused_when_it_is_not_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "name").write_bytes(b"\xff\xfe\x00")
    assert "GATEPOST_ISSUER_NAME_FILE" in refusal(monkeypatch, ISSUER_NAME_FILE=str(tmp_path / "name"))


def test_scopes_file_is_refused_when_it_is_not_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "scopes").write_text("notes:read")
    assert "GATEPOST_SCOPES" in refusal(monkeypatch, SCOPES_FILE=str(tmp_path / "scopes"))


# --------------------------------------------------------------------------------------------------------------- scrub


def test_environment_is_scrubbed_of_what_could_pass_for_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    dangerous = ("HTTP_PROXY", "HTTP_X_FORWARDED_FOR", "CONTENT_TYPE", "REMOTE_ADDR", "GATEPOST_DATABASE_URL")
    for name in (*dangerous, "LANG_OF_TEST"):
        monkeypatch.setenv(name, "x")
    scrub_environment()
    assert not set(dangerous) & set(os.environ)
    assert os.environ["LANG_OF_TEST"] == "x"


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"SESSION_ALIAS_PATH": "/auth"}, "together"),
        ({"SESSION_ALIAS_CLIENT": "web"}, "together"),
        ({"SESSION_ALIAS_PATH": "auth", "SESSION_ALIAS_CLIENT": "web"}, "path such as"),
        ({"SESSION_ALIAS_PATH": "/auth?x", "SESSION_ALIAS_CLIENT": "web"}, "path such as"),
        ({"SESSION_ALIAS_PATH": "/oauth/token", "SESSION_ALIAS_CLIENT": "web"}, "own"),
        ({"SESSION_ALIAS_PATH": "/v1/me", "SESSION_ALIAS_CLIENT": "web"}, "own"),
        ({"API_KEY_PREFIXES": '{"lively": "a_"}'}, "none of"),
        ({"API_KEY_PREFIXES": '{"live": "a-b"}'}, "underscores"),
        ({"API_KEY_PREFIXES": '{"live": "k_", "test": "k_"}'}, "differ"),
        ({"API_KEY_PREFIXES": '{"live": "rt_"}'}, "another kind"),
        ({"ORGANIZATION_HEADER": "Organization ID"}, "hyphens"),
        ({"ORGANIZATION_HEADER": "Authorization"}, "something else"),
        ({"ORGANIZATION_HEADER": "X-Forwarded-For"}, "something else"),
        ({"TRUSTED_PROXIES": "0.0.0.0/0"}, "everybody"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8,::/0"}, "everybody"),
        ({"SMTP_URL": "http://mail.example"}, "smtp://"),
        ({"SMTP_URL": "smtp://"}, "smtp://"),
        ({"SCOPES": '{"a": {"sentence": "A", "implies": ["b c"]}}'}, "no scope"),
        ({"SCOPES": '{"a": {"words": "A"}}'}, "SCOPES"),
    ],
)
def test_setting_of_organizations_and_keys_is_refused_when_it_cannot_work(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], word: str
) -> None:
    with pytest.raises(ConfigurationError, match=word):
        loaded(monkeypatch, **settings)


def test_every_first_part_of_a_path_is_known_when_a_session_alias_must_not_take_it() -> None:
    begins = {path.split("/")[1] for path, *_ in (*URLS, *API)} - {""}
    assert begins <= _OWN_PATHS
