"""A network of its own in which every address is this machine, and a process that sees all that is sent into it.

`python -m tests.security.ssrf_canary FOLDER`: answers the names of the corpus and TLS on every address, and writes each
connection that anybody asks for into `FOLDER/connections`, as `address port`; read off the wire, before it is answered.
"""

from __future__ import annotations

import http.server
import ipaddress
import itertools
import socket
import ssl
import struct
import sys
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from server.infra.certificates import CertificateAuthority
from tests.security.ssrf_corpus import INNER_ADDRESSES, OWN_ADDRESS, OWN_HOST, PUBLIC_ADDRESS, PUBLIC_HOST

TLS_PORTS = (443, 8443)
PLAIN_PORTS = (22, 25, 80, 6379)
_A, _CNAME, _AAAA = 1, 5, 28
_NO_SUCH_NAME = 3

Records = list[tuple[str, int, bytes]]


# ----------------------------------------------------------------------------------------------------------- the wire


def watch(wire: socket.socket, folder: Path) -> None:
    """Writes down whom connections are asked of: every TCP segment with SYN and without ACK that arrives."""
    with (folder / "connections").open("a", buffering=1) as log:
        while True:
            frame, origin = wire.recvfrom(65536)
            # A frame on the loopback device is seen when it is sent, and again when it arrives.
            found = None if origin[2] == socket.PACKET_OUTGOING else _asked(frame[14:])
            if found is not None:
                log.write(f"{found[0]} {found[1]}\n")


def _asked(packet: bytes) -> tuple[str, int] | None:
    if packet[0] >> 4 == 4:
        protocol, destination, segment = packet[9], packet[16:20], packet[(packet[0] & 15) * 4 :]
    else:
        protocol, destination, segment = packet[6], packet[24:40], packet[40:]
    if protocol != socket.IPPROTO_TCP or segment[13] & 0x12 != 0x02:
        return None
    return str(ipaddress.ip_address(destination)), int.from_bytes(segment[2:4])


# --------------------------------------------------------------------------------------------------------------- names


def answer_names(server: socket.socket) -> None:
    """A name server that means harm: it answers alternately, late, in crowds and in chains, and wants nothing kept."""
    asked: Counter[tuple[str, int]] = Counter()
    while True:
        query, client = server.recvfrom(4096)
        name, kind, question = _question(query)
        records = _records(name, asked[name, kind])
        asked[name, kind] += 1
        server.sendto(_reply(query, question, kind, records), client)


def _question(query: bytes) -> tuple[str, int, bytes]:
    labels, position = [], 12
    while query[position]:
        labels.append(query[position + 1 : position + 1 + query[position]].decode().lower())
        position += 1 + query[position]
    return ".".join(labels), int.from_bytes(query[position + 1 : position + 3]), query[12 : position + 5]


def _records(name: str, times: int) -> Records | None:
    """What the name leads to when it is asked for the `times`-th time; None when there is no such name."""
    if name in {PUBLIC_HOST, OWN_HOST}:
        return [_address(name, PUBLIC_ADDRESS if name == PUBLIC_HOST else OWN_ADDRESS)]
    kind, _, number = name.partition(".")[0].partition("-")
    if not number.isdigit() or not name.endswith(".corpus.test"):
        return None
    inner, public = INNER_ADDRESSES[int(number)], _address(name, PUBLIC_ADDRESS)
    if kind == "mixed":
        return [public, _address(name, inner)]
    if kind == "crowd":
        return [*[_address(name, f"93.184.216.{last}") for last in range(20)], _address(name, inner)]
    if kind == "rebind":
        return [public if times % 2 == 0 else _address(name, inner)]
    if kind == "late":
        return None if times == 0 else [_address(name, inner)]
    if kind in {"alias", "deep"}:
        chain = [name, *[f"step-{step}.corpus.test" for step in range(1 if kind == "alias" else 8)]]
        links = [(one, _CNAME, _encoded(other)) for one, other in itertools.pairwise(chain)]
        return [*links, _address(chain[-1], inner)]
    return [_address(name, inner)]


def _address(name: str, address: str) -> tuple[str, int, bytes]:
    parsed = ipaddress.ip_address(address)
    return name, _A if parsed.version == 4 else _AAAA, parsed.packed


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _reply(query: bytes, question: bytes, kind: int, records: Records | None) -> bytes:
    shown = [record for record in records or [] if record[1] in {kind, _CNAME}]
    flags = 0x8580 | (_NO_SUCH_NAME if records is None else 0)
    body = b"".join(_encoded(name) + struct.pack(">HHIH", of, 1, 0, len(data)) + data for name, of, data in shown)
    return query[:2] + struct.pack(">HHHHH", flags, 1, len(shown), 0, 0) + question + body


# --------------------------------------------------------------------------------------------------------------- sites


class _Site(http.server.BaseHTTPRequestHandler):
    """Would answer anybody who came, wherever he was sent: with what is in the folder, or an empty document."""

    folder = Path()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def _answer(self) -> None:
        file = self.folder / "site" / Path(self.path).name
        body = file.read_bytes() if file.is_file() else b"[]"
        self.send_response(200)
        self.send_header("Content-Type", "application/jwt" if file.suffix == ".jwt" else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


class _Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever leaves is nobody's concern."""


def _serve(port: int, context: ssl.SSLContext | None) -> None:
    server = _Server(("::", port), _Site)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main(folder: Path) -> None:
    """Runs until it is ended; the file `ready` says that it does."""
    _Site.folder = folder
    certificate = CertificateAuthority(folder, datetime.now(UTC)).certificate_for("site", ["*.corpus.test"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    for port in TLS_PORTS:
        _serve(port, context)
    for port in PLAIN_PORTS:
        _serve(port, None)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 53))
    threading.Thread(target=answer_names, args=(names,), daemon=True).start()
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind(("lo", 0))
    (folder / "ready").touch()
    watch(wire, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
