"""An nginx of the tests' own before an API that knows nothing of keys, configured by the documentation's text."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from tests.interop.apps import running_app
from tests.support.components import REPOSITORY, missing
from tests.support.documented_commands import FENCE

PAGE = REPOSITORY / "docs" / "verification.md"

#: What stands around a site in nginx's own configuration.
_AROUND = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class _Api(BaseHTTPRequestHandler):
    """Tells what reached it; the path may ask for an error of the API's own."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps(
            {"method": self.command, "path": self.path, "body": sent.decode(), "headers": headers}
        ).encode()
        own_status = urlsplit(self.path).path.rpartition("/")[2]
        self.send_response(int(own_status) if own_status in {"401", "403", "429", "500"} else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *_arguments: Any) -> None:
        """Says nothing: a test's output is the test's."""


@dataclass
class Nginx:
    """The running gateway."""

    origin: str
    error_log: Path


def documented() -> tuple[str, str]:
    """What every location includes, and the site, as the documentation shows them."""
    text = PAGE.read_text("utf-8")
    included, site = (block["text"] for block in FENCE.finditer(text) if block["language"] == "nginx")
    return included, site


def _here(text: str, places: dict[str, str]) -> str:
    """The text with the addresses of this machine; each of them must be there."""
    for shown, ours in places.items():
        assert shown in text, f"the documentation's nginx has no {shown}"
        text = text.replace(shown, ours)
    return text


@contextmanager
def _api() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Api) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def running_nginx(folder: Path, port: int, gatepost_port: int) -> Iterator[Nginx]:
    """nginx in the foreground until the context ends, before a Gatepost on that port and an API of its own."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        missing("nginx is not installed")
    included, site = documented()
    with _api() as api_port:
        (folder / "gatepost.conf").write_text(included)
        places = {
            "/etc/nginx/gatepost.conf": f"{folder}/gatepost.conf",
            "127.0.0.1:8000": f"127.0.0.1:{gatepost_port}",
            "localhost:8000": f"localhost:{gatepost_port}",
            "127.0.0.1:9000": f"127.0.0.1:{api_port}",
            "127.0.0.1:8080": f"127.0.0.1:{port}",
        }
        (folder / "site.conf").write_text(_here(site, places))
        (folder / "nginx.conf").write_text(_AROUND.format(folder=folder))
        origin = f"http://127.0.0.1:{port}"
        with running_app([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)], origin, folder):
            yield Nginx(origin, folder / "error.log")
