"""New connections stop, and those that had begun come through."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from server.infra import listening

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has such filters")]

PATIENCE_SECONDS = 0.5


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with closing(socket.socket(request.param)) as listener:
        listener.bind(("::1" if request.param == socket.AF_INET6 else "127.0.0.1", 0))
        listener.listen(8)
        listener.settimeout(PATIENCE_SECONDS)
        yield listener


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname()[:2], timeout=PATIENCE_SECONDS)


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.mark.spec("R-27")
def test_connection_in_the_queue_is_served_and_no_new_one_taken(listener: socket.socket) -> None:
    with connect(listener) as early:
        assert listening.refuse_new_connections(port_of(listener)) == 1
        with pytest.raises(TimeoutError):
            connect(listener)
        early.sendall(b"asked")
        served, _ = listener.accept()
        with served:
            assert served.recv(5) == b"asked"
            served.sendall(b"answered")
        assert early.recv(8) == b"answered"
        with pytest.raises(TimeoutError):
            listener.accept()


def test_listener_on_another_port_goes_on(listener: socket.socket) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        assert listening.refuse_new_connections(port_of(other)) == 1
        with connect(listener):
            listener.accept()[0].close()


def test_nothing_is_refused_when_the_port_is_only_connected_to(listener: socket.socket) -> None:
    with connect(listener) as client:
        assert listening.refuse_new_connections(client.getsockname()[1]) == 0


@pytest.mark.spec("R-27")
def test_listener_ends_as_it_would_have_when_the_kernel_knows_no_filters(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_NO_NEW_CONNECTIONS", b"\xff" * 8)  # a program that no kernel takes
    assert listening.refuse_new_connections(port_of(listener)) == 0
    with connect(listener):
        listener.accept()[0].close()
