"""An Apache of the tests' own, with mod_auth_openidc before an app that knows nothing of OpenID."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

from tests.interop.apps import running_app
from tests.interop.person import Person
from tests.interop.registry import SCOPE, RegisteredClient
from tests.support.components import missing
from tests.support.servers import Server

CALLBACK = "/protected/callback"

_MODULES = ("mpm_event", "authn_core", "authz_core", "authz_user", "proxy", "proxy_http", "auth_openidc")
_MODULE_FOLDERS = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules")

_CONFIGURATION = """
ServerName 127.0.0.1
ServerRoot "{directory}"
DefaultRuntimeDir "{directory}"
PidFile "{directory}/apache.pid"
ErrorLog "{directory}/error.log"
LogLevel warn
Listen 127.0.0.1:{port}
# A browser sends again what meets a connection just closed for idleness; the person of the tests does not.
KeepAlive Off
{modules}
{account}

OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID {client.client_id}
OIDCClientSecret {client.client_secret}
OIDCProviderTokenEndpointAuth client_secret_basic
OIDCRedirectURI {client.redirect_uri}
OIDCScope "{scope}"
OIDCPKCEMethod S256
OIDCCryptoPassphrase {passphrase}
OIDCRemoteUserClaim sub
OIDCInfoHook access_token id_token userinfo refresh_token

ProxyPass "/" "http://127.0.0.1:{backend}/"
<Location "{callback}">
    ProxyPass "!"
</Location>
<Location "/protected">
    AuthType openid-connect
    Require valid-user
    OIDCAuthNHeader X-Remote-User
</Location>
<Location "/protected/fresh">
    # Longer than any access token lives: every request refreshes.
    OIDCRefreshAccessTokenBeforeExpiry 864000 logout_on_error
</Location>
"""


class _Echo(BaseHTTPRequestHandler):
    """Answers with the headers that Apache passed on."""

    def do_GET(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Says nothing: a test's output is the test's."""


@dataclass
class Apache:
    """The running server as a person meets it."""

    origin: str
    error_log: Path

    @property
    def callback_uri(self) -> str:
        return f"{self.origin}{CALLBACK}"

    def headers(self, person: Person, path: str = "/protected/") -> dict[str, str]:
        """What the app behind Apache is told, by somebody who is signed in."""
        answer = person.request("GET", f"{self.origin}{path}")
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}\n{self.error_log.read_text()}"
        told: dict[str, str] = answer.json()
        return told

    def info(self, person: Person) -> dict[str, Any]:
        """What the module itself says of the session."""
        answer = person.request("GET", f"{self.callback_uri}?info=json")
        assert answer.status_code == 200, self.error_log.read_text()
        session: dict[str, Any] = answer.json()
        return session

    def hook(self, name: str, back_to: str, **parameters: str) -> str:
        """The address of one of the module's own actions: `refresh` or `logout`."""
        query = "".join(f"&{key}={quote(value, safe='')}" for key, value in parameters.items())
        return f"{self.callback_uri}?{name}={quote(back_to, safe='')}{query}"


def _programs() -> tuple[str, Path]:
    """Apache and the folder of its modules."""
    program = shutil.which("apache2", path=f"{os.environ['PATH']}:/usr/sbin") or shutil.which("httpd")
    folders = [Path(folder) for folder in _MODULE_FOLDERS]
    folder = next((each for each in folders if (each / "mod_auth_openidc.so").exists()), None)
    if program is None or folder is None:
        missing("Apache or mod_auth_openidc is not installed (Debian: libapache2-mod-auth-openidc)")
    return program, folder


@contextmanager
def _backend() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def running_apache(directory: Path, gatepost: Server, client: RegisteredClient, port: int) -> Iterator[Apache]:
    """Apache in the foreground, from a configuration of its own, until the context ends."""
    program, folder = _programs()
    with _backend() as backend:
        text = _CONFIGURATION.format(
            directory=directory,
            port=port,
            backend=backend,
            # Started as root, Apache gives its workers to somebody else and insists on it.
            account="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
            modules="\n".join(f"LoadModule {name}_module {folder}/mod_{name}.so" for name in _MODULES),
            issuer=gatepost.issuer,
            client=client,
            scope=SCOPE,
            passphrase=secrets.token_hex(16),
            callback=CALLBACK,
        )
        configuration = directory / "apache.conf"
        configuration.write_text(text)
        origin = f"http://127.0.0.1:{port}"
        with running_app([program, "-f", str(configuration), "-D", "FOREGROUND"], origin, directory):
            yield Apache(origin, directory / "error.log")
