"""A mail server of our own on this machine: speaks as much SMTP as a client needs, and answers as a test says."""

from __future__ import annotations

import email
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from pathlib import Path

from server.infra.certificates import CertificateAuthority
from server.infra.clock import SystemClock

_PATIENCE = 30


@dataclass
class MailServer:
    """Where it listens, how it answers, and what it got."""

    port: int
    #: The certificate to trust, where it speaks TLS.
    authority: Path | None
    #: Answers by command in place of 250: `{"RCPT": "550 no such person"}`.
    answers: dict[str, str] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("SMTPUTF8", "8BITMIME")
    mails: list[EmailMessage] = field(default_factory=list)
    #: Each command, with whether it came over TLS.
    commands: list[tuple[str, bool]] = field(default_factory=list)
    connections: int = 0

    def heard(self, verb: str) -> list[tuple[str, bool]]:
        """The commands of this verb."""
        return [each for each in self.commands if each[0].upper().startswith(verb)]


@contextmanager
def mail_server(
    folder: Path | None = None, *, implicit_tls: bool = False, host: str = "127.0.0.1"
) -> Iterator[MailServer]:
    """A server until the context ends; with a folder for certificates it speaks TLS, from the start or by STARTTLS."""
    listener = socket.create_server((host, 0))
    found = MailServer(listener.getsockname()[1], None if folder is None else folder / "ca.pem")
    context = None if folder is None else _tls(folder, ["localhost", host])
    if context is not None and not implicit_tls:
        found.extensions += ("STARTTLS",)
    serving = threading.Thread(target=_accept, args=(listener, context, found, implicit_tls), daemon=True)
    serving.start()
    try:
        yield found
    finally:
        # A thread that waits in accept() hears of it only so.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        serving.join(5)


def _tls(folder: Path, names: list[str]) -> ssl.SSLContext:
    certificate = CertificateAuthority(folder, SystemClock().now()).certificate_for("mail", names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


def _accept(
    listener: socket.socket,
    context: ssl.SSLContext | None,
    found: MailServer,
    implicit_tls: bool,
) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        found.connections += 1
        connection.settimeout(_PATIENCE)
        with suppress(OSError):
            if implicit_tls and context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            conversation = _Conversation(connection, context, found)
            try:
                conversation.hold()
            finally:
                conversation.close()


class _Conversation:
    """One connection, command by command."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None, found: MailServer) -> None:
        self.connection, self.context, self.found = connection, context, found
        self.stream = connection.makefile("rb")

    @property
    def is_tls(self) -> bool:
        """Whether it is encrypted by now."""
        return isinstance(self.connection, ssl.SSLSocket)

    def say(self, line: str) -> None:
        """One answer."""
        self.connection.sendall(line.encode() + b"\r\n")

    def close(self) -> None:
        """Hangs up."""
        self.stream.close()
        self.connection.close()

    def hold(self) -> None:
        """Until the client leaves."""
        self.say(self.found.answers.get("CONNECT", "220 mail.test"))
        while received := self.stream.readline():
            command = received.decode().rstrip()
            verb = command.partition(" ")[0].upper()
            self.found.commands.append((command, self.is_tls))
            if verb in self.found.answers:
                self.say(self.found.answers[verb])
            elif verb == "EHLO":
                offered = [each for each in self.found.extensions if each != "STARTTLS" or not self.is_tls]
                for line in ("mail.test", *offered):
                    self.say(f"250-{line}")
                self.say("250 HELP")
            elif verb == "STARTTLS" and self.context is not None:
                self.say("220 go ahead")
                self.stream.close()
                self.connection = self.context.wrap_socket(self.connection, server_side=True)
                self.stream = self.connection.makefile("rb")
            elif verb == "AUTH":
                self.say("235 welcome")
            elif verb == "DATA":
                self.take()
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")

    def take(self) -> None:
        """The mail itself."""
        self.say("354 go on")
        lines = []
        while (line := self.stream.readline()) not in {b".\r\n", b""}:
            lines.append(line[1:] if line.startswith(b"..") else line)
        self.found.mails.append(email.message_from_bytes(b"".join(lines), policy=policy.default))
        self.say(self.found.answers.get("END", "250 taken"))
