"""Mail over SMTP (RFC 5321): one message, one conversation with the configured server.

Over `smtps://` TLS comes first (RFC 8314 §3.3); over `smtp://` STARTTLS is used where the server offers it (RFC 3207).
A password goes over TLS alone, or to this very machine.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final
from urllib.parse import unquote, urlsplit

from server.config import LOOPBACK_HOSTS, Settings
from server.infra.clock import Clock

#: RFC 6409 §3.1 and RFC 8314 §3.3.
_SUBMISSION, _SUBMISSIONS = 587, 465
#: RFC 5321 §4.2.1: from here on a refusal is for good.
_PERMANENT: Final = 500
#: One address, and nothing that would need quotes.
_ADDRESS: Final = re.compile(r"""[^\s@,;:<>()\[\]"\\]+@[^\s@,;:<>()"\\]+""")


class MailDelayed(Exception):
    """The mail did not get through now; it may later."""


class MailRefused(Exception):
    """The mail will never get through: the server, or its own form, forbids it."""


@dataclass(frozen=True)
class Letter:
    """A mail ready to be sent."""

    #: The same at every attempt, by which a mail that arrives twice is known as one.
    number: str
    recipient: str
    subject: str
    text: str
    html: str


def is_configured(settings: Settings) -> bool:
    """Whether there is a server to send mail by."""
    return settings.smtp_url is not None


def send(settings: Settings, clock: Clock, letter: Letter) -> None:
    """Hands one mail to the configured server.

    Raises:
        MailDelayed: when the server is away, or says to come again.
        MailRefused: when it never takes this mail.
    """
    try:
        message = _message_of(settings, clock, letter)
    except (ValueError, UnicodeError) as error:
        raise MailRefused("the address or the subject cannot stand in a mail") from error
    try:
        with _connect(settings) as server:
            _hand_over(server, message)
    except (smtplib.SMTPException, OSError) as error:
        # Whatever it was, it was not the mail's fault: once it is mended the mail goes out.
        raise MailDelayed(f"the mail server cannot be used: {type(error).__name__}") from error


def _hand_over(server: smtplib.SMTP, message: EmailMessage) -> None:
    try:
        server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code, _ = next(iter(error.recipients.values()))
        raise _outcome(code) from error
    except smtplib.SMTPResponseException as error:
        raise _outcome(error.smtp_code) from error
    except smtplib.SMTPNotSupportedError as error:
        raise MailRefused("the mail server lacks what the address needs") from error


def _outcome(code: int) -> MailDelayed | MailRefused:
    """What a reply code means. Its text is the server's, and may hold anything."""
    return (MailRefused if code >= _PERMANENT else MailDelayed)(f"the mail server answered {code}")


def _message_of(settings: Settings, clock: Clock, letter: Letter) -> EmailMessage:
    host = urlsplit(settings.issuer).hostname or "localhost"
    message = EmailMessage()
    message["From"] = Address(settings.issuer_name, addr_spec=settings.mail_from or f"no-reply@{host}")
    if not _ADDRESS.fullmatch(letter.recipient):
        raise ValueError("no address")
    local, _, domain = letter.recipient.rpartition("@")
    # In its parts, since as a whole it may have ASCII letters only (RFC 6531).
    message["To"] = Address(username=local, domain=domain)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{letter.number}@{host}>"
    # RFC 3834 §5: nobody's holiday notice is wanted.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message


def _connect(settings: Settings) -> smtplib.SMTP:
    url = urlsplit(settings.smtp_url.get_secret_value() if settings.smtp_url else "")
    host, timeout, context = url.hostname or "", settings.outbound_timeout, _tls_context(settings)
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, url.port or _SUBMISSIONS, timeout=timeout, context=context)
    else:
        server = smtplib.SMTP(host, url.port or _SUBMISSION, timeout=timeout)
    try:
        is_private = url.scheme == "smtps" or host in LOOPBACK_HOSTS or _start_tls(server, context)
        if url.username:
            if not is_private:
                raise MailDelayed("the mail server offers no TLS, so it gets no password")
            server.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _start_tls(server: smtplib.SMTP, context: ssl.SSLContext) -> bool:
    """Goes over to TLS, if the server offers it; with this very machine nobody listens in, so that it is not asked."""
    server.ehlo_or_helo_if_needed()
    if not server.has_extn("starttls"):
        return False
    server.starttls(context=context)
    return True


def _tls_context(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.outbound_ca_file is not None:
        context.load_verify_locations(cafile=settings.outbound_ca_file)
    return context
