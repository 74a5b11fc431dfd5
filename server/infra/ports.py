"""TCP ports: whether one is free, asked before a server that would quietly share it with another."""

from __future__ import annotations

import socket


def split_bind(bind: str) -> tuple[str, int]:
    """`host:port` in its parts; an IPv6 host stands in brackets.

    Raises:
        ValueError: when it is not of that form.
    """
    host, colon, port = bind.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"{bind!r} is not HOST:PORT, such as 127.0.0.1:8000")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 -- an empty host means all, as everywhere


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
