import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from codapi_flask.httpd import sending
from codapi_flask.httpd.sending import SendQueue
from codapi_flask.httpd.socket import SEND_BUFFER, BufferedSocket


@dataclass(eq=False)
class Conn:
    """A connection, as gunicorn has it."""

    sock: BufferedSocket


@dataclass
class Loop:
    """An event loop of connections whose clients are slow."""

    poller: selectors.BaseSelector
    closed: list[Conn]
    done: list[Conn]
    connect: Callable[[], tuple[Conn, socket.socket]]
    sending: SendQueue

    def look(self):
        for key, _ in self.poller.select(0):
            key.data(key.fileobj)

    def finish(self, conn):
        self.sending.finish(conn, lambda: self.done.append(conn))


@pytest.fixture
def loop():
    sockets = []

    def connect():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peer = socket.create_connection(listener.getsockname(), 5)
            own = BufferedSocket(listener.accept()[0])
        sockets.extend((own, peer))
        return Conn(own), peer

    with selectors.DefaultSelector() as poller:
        closed = []
        yield Loop(poller, closed, [], connect, SendQueue(poller, 10, closed.append))
    for each in sockets:
        each.close()


def test_finish_with_all_data_sent_completes_at_once(loop):
    conn, _ = loop.connect()
    conn.sock.sendall(b"answer")
    loop.finish(conn)
    assert (loop.done, loop.closed) == ([conn], [])


def test_finish_with_unsent_data_completes_once_the_client_reads(loop):
    conn, peer = loop.connect()
    data = bytes(SEND_BUFFER * 32)
    conn.sock.sendall(data)
    loop.finish(conn)
    loop.look()
    assert not loop.done
    size = 0
    while size < len(data):
        size += len(peer.recv(1 << 20))
        loop.look()
    assert (loop.done, loop.closed) == ([conn], [])
    # nothing is polled any more
    assert not loop.poller.get_map()


def test_client_not_reading_in_time_is_disconnected(loop, monkeypatch):
    conn, _ = loop.connect()
    conn.sock.sendall(bytes(SEND_BUFFER * 32))
    loop.finish(conn)
    later = time.monotonic() + 10
    monkeypatch.setattr("codapi_flask.httpd.sending.time.monotonic", lambda: later)
    loop.sending.end_overdue()
    assert (loop.done, loop.closed) == ([], [conn])


def test_client_within_the_send_timeout_stays_connected(loop):
    conn, _ = loop.connect()
    conn.sock.sendall(bytes(SEND_BUFFER * 32))
    loop.finish(conn)
    loop.sending.end_overdue()
    assert not loop.closed


def test_client_gone_before_its_answer_is_closed(loop):
    conn, peer = loop.connect()
    conn.sock.sendall(bytes(SEND_BUFFER * 32))
    loop.finish(conn)
    peer.close()
    while not loop.closed:
        loop.look()
    assert (loop.done, loop.closed) == ([], [conn])


def test_single_answer_may_exceed_the_unsent_limit(loop, monkeypatch):
    monkeypatch.setattr(sending, "UNSENT_MAX", 0)
    conn, peer = loop.connect()
    data = bytes(range(256)) * SEND_BUFFER
    conn.sock.sendall(data)
    loop.finish(conn)
    found = b""
    while len(found) < len(data):
        found += peer.recv(1 << 20)
        loop.look()
    assert (loop.done, loop.closed, found) == ([conn], [], data)


def test_finish_with_a_closed_socket_closes_the_connection(loop):
    conn, _ = loop.connect()
    conn.sock.sendall(bytes(SEND_BUFFER * 32))
    conn.sock.close()
    loop.finish(conn)
    assert (loop.done, loop.closed) == ([], [conn])


def test_oldest_clients_are_closed_above_the_unsent_limit(loop, monkeypatch):
    monkeypatch.setattr(sending, "UNSENT_MAX", SEND_BUFFER * 80)
    conns = [loop.connect()[0] for _ in range(3)]
    for conn in conns:
        conn.sock.sendall(bytes(SEND_BUFFER * 48))
        loop.finish(conn)
    assert loop.closed == conns[:2]
