"""The fault proxy does to a connection what it is told, and nothing else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.support.servers.proxy import FaultProxy, Way

WAIT_S = 5.0
SHORT_S = 0.2


@pytest.fixture
def echo_port() -> Iterator[int]:
    """Give the port of a server that says back what it hears."""

    def serve(connection: socket.socket) -> None:
        with closing(connection):
            try:
                while heard := connection.recv(65536):
                    connection.sendall(heard)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(WAIT_S)


@pytest.fixture
def proxy(new_proxy: Callable[[int], FaultProxy], echo_port: int) -> FaultProxy:
    return new_proxy(echo_port)


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), WAIT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def says(client: socket.socket, text: bytes, *, expects: int | None = None) -> bytes:
    client.sendall(text)
    return hears(client, len(text) if expects is None else expects)


def hears(client: socket.socket, count: int) -> bytes:
    heard = b""
    while len(heard) < count and (more := client.recv(count - len(heard))):
        heard += more
    return heard


def is_silent(client: socket.socket) -> bool:
    client.settimeout(SHORT_S)
    try:
        return client.recv(1) is None
    except TimeoutError:
        return True
    finally:
        client.settimeout(WAIT_S)


def test_without_a_fault_everything_passes(proxy: FaultProxy, client: socket.socket) -> None:
    big = bytes(range(256)) * 4096
    sender = threading.Thread(target=client.sendall, args=(big,))
    sender.start()
    assert hears(client, len(big)) == big
    sender.join()
    assert proxy.open_connections == proxy.connections == 1
    assert proxy.bytes_seen(Way.TO_SERVER) == proxy.bytes_seen(Way.TO_CLIENT) == len(big)


def test_a_delay_holds_up_each_chunk_and_their_order_stays(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.delay(SHORT_S, Way.TO_CLIENT)
    started = time.monotonic()
    assert says(client, b"one") == b"one"
    assert time.monotonic() - started >= SHORT_S
    client.sendall(b"two")
    proxy.delay(0)
    assert says(client, b"three", expects=8) == b"twothree"


@pytest.mark.parametrize("way", [Way.TO_SERVER, Way.TO_CLIENT])
def test_a_blackhole_swallows_one_way_and_the_connection_stays(
    proxy: FaultProxy, client: socket.socket, way: Way
) -> None:
    proxy.blackhole(way)
    client.sendall(b"lost")
    assert is_silent(client)
    assert (proxy.bytes_seen(Way.TO_CLIENT) == 4) == (way is Way.TO_CLIENT)
    proxy.heal()
    assert says(client, b"found") == b"found"


def test_what_is_held_comes_when_it_is_released(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.hold(Way.TO_CLIENT)
    client.sendall(b"held")
    assert is_silent(client)
    proxy.release()
    assert hears(client, 4) == b"held"


def test_chunks_are_dropped_doubled_and_garbled_as_many_as_were_asked_for(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.drop(1, Way.TO_SERVER)
    client.sendall(b"dropped")
    assert is_silent(client)
    proxy.duplicate(1, Way.TO_SERVER)
    assert says(client, b"ab", expects=4) == b"abab"
    proxy.garble(1, Way.TO_CLIENT)
    garbage = says(client, b"x" * 64)
    assert len(garbage) == 64
    assert garbage != b"x" * 64
    assert says(client, b"well") == b"well"


def test_two_chunks_change_places(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.swap(Way.TO_SERVER)
    client.sendall(b"1")
    assert is_silent(client)
    assert says(client, b"2", expects=2) == b"21"


def test_a_connection_ends_in_the_middle_of_an_answer(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.truncate(3, Way.TO_CLIENT)
    assert says(client, b"abcdef") == b"abc"
    with socket.create_connection(("127.0.0.1", proxy.port), WAIT_S) as second:
        assert says(second, b"whole") == b"whole"


def test_a_half_closed_connection_still_goes_the_other_way(
    proxy: FaultProxy, client: socket.socket
) -> None:
    assert says(client, b"before") == b"before"
    proxy.half_close(Way.TO_CLIENT)
    assert client.recv(1) == b""
    client.sendall(b"heard by the server")
    ends_at = time.monotonic() + WAIT_S
    while proxy.bytes_seen(Way.TO_SERVER) < 25 and time.monotonic() < ends_at:
        time.sleep(0.01)
    assert proxy.bytes_seen(Way.TO_SERVER) == 25


def test_a_client_that_ends_its_half_still_hears_the_rest(client: socket.socket) -> None:
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert hears(client, 100) == b"last words"


def test_a_reset_is_a_reset_and_a_cut_lasts_until_it_is_healed(
    proxy: FaultProxy, client: socket.socket
) -> None:
    assert says(client, b"hello") == b"hello"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        _connect_and_say(proxy)
    proxy.heal()
    assert _connect_and_say(proxy) == b"hello"


def test_a_refusing_proxy_keeps_the_connections_that_it_has(
    proxy: FaultProxy, client: socket.socket
) -> None:
    assert says(client, b"old") == b"old"
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        _connect_and_say(proxy)
    assert says(client, b"old") == b"old"


def test_without_a_server_the_connection_is_reset(new_proxy: Callable[[int], FaultProxy]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = new_proxy(unused.getsockname()[1])
        with pytest.raises(ConnectionResetError):
            _connect_and_say(proxy)


def _connect_and_say(proxy: FaultProxy) -> bytes:
    with socket.create_connection(("127.0.0.1", proxy.port), WAIT_S) as client:
        return says(client, b"hello")
