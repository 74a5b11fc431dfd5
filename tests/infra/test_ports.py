"""Ports: what an address to listen on may look like, and whether somebody has it already."""

from __future__ import annotations

import socket

import pytest

from server.infra.ports import is_free, split_bind


@pytest.mark.parametrize(
    ("bind", "parts"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:65535", ("::1", 65535)),
        (":8000", ("0.0.0.0", 8000)),
    ],
)
def test_bind_is_split_when_it_is_host_and_port(bind: str, parts: tuple[str, int]) -> None:
    assert split_bind(bind) == parts


@pytest.mark.parametrize(
    "bind", ["", "8000", "localhost", "localhost:", "localhost:0", "localhost:65536", "localhost:http", "h:-1", "h: 1"]
)
def test_bind_is_refused_when_it_is_not_host_and_port(bind: str) -> None:
    with pytest.raises(ValueError, match=r"is not HOST:PORT, such as 127\.0\.0\.1:8000"):
        split_bind(bind)


def test_bind_is_refused_when_its_port_has_digits_of_another_script() -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        split_bind("localhost:²")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_port_is_not_free_when_somebody_listens(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((host, 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not is_free(host, port)
    assert is_free(host, port)


def test_port_is_not_free_when_the_address_is_nobodys() -> None:
    assert not is_free("192.0.2.1", 8000)
