"""Applications that notice when somebody signs out: in a frame, and by asking a frame of the server's."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

#: What a client of Session Management 1.0 §3.1 does: it posts to the frame and notes each answer.
WATCHING = """<!doctype html><html lang="en"><title>Watching</title><link rel="icon" href="data:,">
<iframe id="op" src="{frame}" title="Session" hidden></iframe><p id="answer"></p>
<script>
  const origin = new URL("{frame}").origin;
  addEventListener("message", (event) => {{
    if (event.origin === origin) document.getElementById("answer").textContent = event.data;
  }});
  window.ask = (message) => document.getElementById("op").contentWindow.postMessage(message, origin);
</script>"""
PAGE = '<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,"><p id="arrived">{text}</p>'


@dataclass
class App:
    """An application on an origin of its own."""

    origin: str = ""
    #: The frame that its page watches.
    frame: str = ""
    #: How long its front-channel page takes; None is for ever.
    front_seconds: float | None = 0.0
    callbacks: list[dict[str, str]] = field(default_factory=list)
    #: The parameters of each front-channel request, and when its answer left.
    fronts: list[dict[str, str]] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    #: The parameters with which the browser came back after signing out, and when.
    returns: list[dict[str, str]] = field(default_factory=list)
    returned: list[float] = field(default_factory=list)
    ended: Event = field(default_factory=Event)

    @property
    def callback_uri(self) -> str:
        return f"{self.origin}/callback"

    @property
    def front_uri(self) -> str:
        return f"{self.origin}/front"

    @property
    def signed_out_uri(self) -> str:
        return f"{self.origin}/signed-out"

    def answer(self, path: str, parameters: dict[str, str]) -> str:
        """The page at `path`; what it was asked with is noted."""
        if path == "/callback":
            self.callbacks.append(parameters)
        if path == "/signed-out":
            self.returns.append(parameters)
            self.returned.append(time.monotonic())
        if path == "/front":
            self.fronts.append(parameters)
            self.ended.wait(self.front_seconds)
        return WATCHING.format(frame=self.frame) if path == "/watching" else PAGE.format(text=json.dumps(path))


@contextmanager
def running_app(host: str = "127.0.0.1", **options: Any) -> Iterator[App]:
    """Runs an application on a free loopback port until the context ends."""
    app = App(**options)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = app.answer(parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if parts.path == "/front":
                # Before it is written: the browser may be quicker to go on than this thread.
                app.answered.append(time.monotonic())
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Says nothing: a test's output is the test's."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        app.origin = f"http://{host}:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield app
        app.ended.set()
        server.shutdown()
        thread.join()
